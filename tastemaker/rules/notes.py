"""What rules did to a list, line by line, for the audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Source = Literal["ranked", "pinned", "fallback"]
"""Who brought a product in: the model, a pin or a fallback list."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the audit.

    Attributes:
        rule: its name, or what else was the cause.
        action: "suppressed", "boost", "bury", "diversity", "cap", "pin" or "fallback"; "skipped" for a rule that could
            not work.
        item: number of the product, -1 for none.
        before: its place in the list that came in, counted from 1; None where it was not in it.
        after: its place in the list that is shown; None where it is not in it.
    """

    rule: str
    action: str
    item: int
    before: int | None
    after: int | None


@dataclass(slots=True)
class Log:
    """Gathers notes; where products ended up is filled in at the end.

    Attributes:
        before: product -> its place in the list that came in, counted from 1.
        lines: rule, action and product of each note.
    """

    before: dict[int, int]
    lines: list[tuple[str, str, int]] = field(default_factory=list)

    def add(self, rule: str, action: str, item: int) -> None:
        """Note that a rule did something to a product."""
        self.lines.append((rule, action, item))

    def notes(self, shown: list[int]) -> tuple[Note, ...]:
        """Return the notes on a list that is shown, each once, without moves that nobody sees."""
        after = {item: place for place, item in enumerate(shown, start=1)}
        found = []
        for rule, action, item in dict.fromkeys(self.lines):
            note = Note(rule, action, item, self.before.get(item), after.get(item))
            unseen = note.after is None and (note.before or 0) > len(shown)
            if not (unseen and action in ("boost", "bury")):
                found.append(note)
        return tuple(found)
