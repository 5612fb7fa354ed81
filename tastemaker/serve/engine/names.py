"""Numbers of ids in whichever Unicode form: requests and the store have NFC, a model has what it was fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.entities import Entities

ASCII = r"^[\x00-\x7F]*$"


class Names:
    """Finds the entities that an id names: the one with exactly this id, else those whose id has the same NFC.

    Args:
        entities: of a model.
    """

    def __init__(self, entities: Entities) -> None:
        self._entities = entities
        self._others: dict[str, tuple[int, ...]] = {}  # NFC of ids that are written in another form -> numbers
        ids = entities.frame["id"]
        for number in (~ids.str.contains(ASCII)).arg_true().to_list():
            form = nfc(ids[number])
            if form != ids[number]:
                self._others[form] = (*self._others.get(form, ()), number)

    def number(self, name: str) -> int:
        """Return the number of an id, -1 for none."""
        return self.numbers([name])[0]

    def numbers(self, names: Sequence[str]) -> list[int]:
        """Return the number of each id, -1 for one that is not known."""
        found: list[int] = self._entities.numbers(names, unknown="mark").tolist()
        for place, number in enumerate(found):
            if number < 0 and not names[place].isascii():
                form = nfc(names[place])
                found[place] = self._others[form][0] if form in self._others else self._exact(form)
        return found

    def all_of(self, name: str) -> tuple[int, ...]:
        """Return the numbers of all ids that are the same text, as a shop that hides one means them all."""
        if name.isascii():
            number = self._exact(name)
            return () if number < 0 else (number,)
        form = nfc(name)
        others = self._others.get(form, ())
        exact = [number for number in {self._exact(name), self._exact(form)} if number >= 0 and number not in others]
        return (*exact, *others)

    def _exact(self, name: str) -> int:
        return int(self._entities.numbers([name], unknown="mark")[0])


def nfc(name: str) -> str:
    """Return an id in the form that the store keeps (Unicode normal form C)."""
    return name if name.isascii() else normalize("NFC", name)
