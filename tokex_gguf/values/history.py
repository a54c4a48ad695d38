"""The history of a text field: earlier texts, and the unfinished one. Pure."""

from tokex_gguf.values.record import record, replace

MOST_TEXTS = 100
MOST_CHARACTERS = 1 << 20
"""Limits of the history; the newest text is kept at any length."""


@record
class History:
    """The texts typed in one field. Only the oldest are dropped."""

    texts: tuple[str, ...] = ()
    """Texts that were used or abandoned; the oldest first, each once."""
    unfinished: str = ""
    """The text that comes back the next time; while an earlier text is in the field, the one that was typed."""
    place: int | None = None
    """The index of the text in the field; None: it is new."""

    def remember(self, text: str) -> "History":
        """Adds a text as the newest.

        >>> History(("a", "b")).remember("a").texts
        ('b', 'a')
        """
        if not text:
            return replace(self, place=None)
        texts = [*(one for one in self.texts if one != text), text][-MOST_TEXTS:]
        room = MOST_CHARACTERS - len(text)
        kept = [text]
        for one in reversed(texts[:-1]):
            room -= len(one)
            if room < 0:
                break
            kept.insert(0, one)
        return replace(self, texts=tuple(kept), place=None)

    def use(self, text: str) -> "History":
        """Records that the text in the field was used. The unfinished text is remembered as well."""
        return replace(self.remember(self.unfinished).remember(text), unfinished="")

    def leave(self, text: str) -> "History":
        """Records that the field was left; the text comes back the next time."""
        if self.place is not None and text == self.texts[self.place]:
            return replace(self, place=None)  # the text that was typed before it comes back
        return replace(self.remember(self.unfinished), unfinished=text)

    def change(self) -> "History":
        """Records that the text in the field was changed: it is new now, and the unfinished one is remembered."""
        if self.place is None:
            return self
        return replace(self.remember(self.unfinished), unfinished="")

    def earlier(self, text: str) -> "tuple[History, str] | None":
        """The history and the text in the field after a step back from `text`; None at the oldest."""
        if self.place is None:
            place, unfinished = len(self.texts) - 1, text
        else:
            place, unfinished = self.place - 1, self.unfinished
        if place < 0:
            return None
        return replace(self, unfinished=unfinished, place=place), self.texts[place]

    def later(self) -> "tuple[History, str] | None":
        """As `earlier`, after a step forward; None at the newest, the text being typed."""
        if self.place is None:
            return None
        if self.place + 1 < len(self.texts):
            return replace(self, place=self.place + 1), self.texts[self.place + 1]
        return replace(self, unfinished="", place=None), self.unfinished
