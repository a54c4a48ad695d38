"""Texts that were typed before, and the one that was left unfinished. Pure."""

from dataclasses import replace

from tokex_gguf.values.record import record

MOST_TEXTS = 100
MOST_CHARACTERS = 1 << 20
"""Limits of what is remembered; the newest text is, however long."""


@record
class History:
    """What was typed in one place. Nothing typed leaves it but for its age."""

    texts: tuple[str, ...] = ()
    """Texts that were used, or left for another; the oldest first, no two alike."""
    unfinished: str = ""
    """The text to go on with the next time; while an earlier one is in the line, the one that was typed."""
    place: int | None = None
    """The index of the text that is in the line; None: a new one is."""

    def remember(self, text: str) -> "History":
        """With a text as the newest.

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
        """The text in the line was used: nothing is unfinished. A text that was left for it is remembered, too."""
        return replace(self.remember(self.unfinished).remember(text), unfinished="")

    def leave(self, text: str) -> "History":
        """The text in the line is left, and comes back the next time."""
        if self.place is not None and text == self.texts[self.place]:
            return replace(self, place=None)  # the text that was typed before it comes back
        return replace(self.remember(self.unfinished), unfinished=text)

    def change(self) -> "History":
        """The text in the line becomes a new one; the one that was left for it is remembered."""
        if self.place is None:
            return self
        return replace(self.remember(self.unfinished), unfinished="")

    def earlier(self, text: str) -> "tuple[History, str] | None":
        """The history and the text in the line after a step back from `text`; None at the oldest."""
        if self.place is None:
            place, unfinished = len(self.texts) - 1, text
        else:
            place, unfinished = self.place - 1, self.unfinished
        if place < 0:
            return None
        return replace(self, unfinished=unfinished, place=place), self.texts[place]

    def later(self) -> "tuple[History, str] | None":
        """The same after a step forward; None at the newest, which is the one that was being typed."""
        if self.place is None:
            return None
        if self.place + 1 < len(self.texts):
            return replace(self, place=self.place + 1), self.texts[self.place + 1]
        return replace(self, unfinished="", place=None), self.unfinished
