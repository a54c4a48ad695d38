"""A text field. Pure."""

import re
from unicodedata import category

from tokex_gguf.values.record import record

_SURROGATES = re.compile("[\ud800-\udfff]")


def is_text(data: str) -> bool:
    r"""Whether a key sent text: no control character and no invalid UTF-8.

    Text includes characters that `str.isprintable` refuses: spaces of all widths, joiners,
    variation selectors, private use, and characters that Python's Unicode data lacks.

    >>> is_text("\u3000"), is_text("\u200d"), is_text("\x1b"), is_text("\udce9"), is_text("")
    (True, True, False, False, False)
    """
    return data != "" and not any(category(char) in ("Cc", "Cs") for char in data)


def pasted(data: str) -> str:
    r"""Pasted text with line feeds as line ends; a byte that was not UTF-8 becomes U+FFFD.

    >>> pasted("a\r\nb\rc\udce9")
    'a\nb\nc\ufffd'
    """
    return _SURROGATES.sub("\ufffd", data.replace("\r\n", "\n").replace("\r", "\n"))


@record
class TextField:
    """A text and the place of the caret."""

    text: str = ""
    caret: int = 0
    selected: bool = False
    """Whether all of the text is selected: typing replaces it."""

    def typed(self, text: str) -> "TextField":
        """With `text` inserted at the caret, or in place of the selection.

        >>> TextField("ac", 1).typed("b").text, TextField("ac", 2, selected=True).typed("b").text
        ('abc', 'b')
        """
        if self.selected:
            return TextField(text, len(text))
        return TextField(self.text[: self.caret] + text + self.text[self.caret :], self.caret + len(text))

    def moved(self, step: int) -> "TextField":
        """With the caret moved by `step` characters, within the text."""
        return TextField(self.text, max(0, min(len(self.text), self.caret + step)))

    def erased(self) -> "TextField":
        """Without the character before the caret."""
        return self._without(max(0, self.caret - 1))

    def deleted(self) -> "TextField":
        """Without the character at the caret."""
        return TextField(self.text[: self.caret] + self.text[self.caret + 1 :], self.caret)

    def word_erased(self) -> "TextField":
        """Without the word before the caret and the white space after the word.

        >>> TextField("one two  ", 9).word_erased()
        TextField(text='one ', caret=4, selected=False)
        """
        before = self.text[: self.caret].rstrip()
        return self._without(len(before) - len("".join(before.rsplit(maxsplit=1)[-1:])))

    def cleared(self) -> "TextField":
        """Without the text before the caret."""
        return self._without(0)

    def _without(self, start: int) -> "TextField":
        return TextField(self.text[:start] + self.text[self.caret :], start)


EMPTY = TextField()
"""Nothing typed."""
