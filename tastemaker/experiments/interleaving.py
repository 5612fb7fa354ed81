"""Team-draft interleaving: two or more rankings in one list, and which of them a shopper's clicks speak for.

Radlinski, Kurup and Joachims (2008), "How does clickthrough data reflect retrieval quality?"; for more than two
rankings the team-draft multileaving of Schuth et al. (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tastemaker.errors import DataError
from tastemaker.experiments.assignment import bucket
from tastemaker.experiments.definition import BETWEEN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

T = TypeVar("T")  # ids or numbers of products


@dataclass(frozen=True, slots=True)
class Interleaved(Generic[T]):
    """A mixed list.

    Attributes:
        items: in order.
        teams: which variant brought each in.
    """

    items: tuple[T, ...]
    teams: tuple[str, ...]

    @property
    def variant(self) -> str:
        """The teams as one text, for the impression's field `variant`."""
        return BETWEEN.join(self.teams)


def interleave(rankings: Mapping[str, Sequence[T]], n: int, *, key: str) -> Interleaved[T]:
    """Mix rankings by team draft: in each round every variant, in random order, brings in its best new product.

    Args:
        rankings: variant -> products, best first.
        n: length of the mixed list.
        key: what the draws depend on, e.g. the request_id; equal keys give equal lists.

    Raises:
        DataError: fewer than two rankings.
    """
    if len(rankings) < 2:
        raise DataError(f"interleaving needs two rankings or more; got {len(rankings)}")
    items: list[T] = []
    teams: list[str] = []
    seen: set[T] = set()
    left = {name: iter(ranking) for name, ranking in rankings.items()}
    rounds = 0
    while left and len(items) < n:
        for name in sorted(left, key=lambda name: bucket("draft", key, str(rounds), name)):
            item = next((item for item in left[name] if item not in seen), None)
            if item is None:
                del left[name]
            elif len(items) < n:
                seen.add(item)
                items.append(item)
                teams.append(name)
        rounds += 1
    return Interleaved(tuple(items), tuple(teams))


def teams_of(variant: str, *, places: int) -> tuple[str, ...] | None:
    """Return the variant of each place of an interleaved list from its impression's `variant`, None if it has none."""
    teams = tuple(variant.split(BETWEEN))
    return teams if len(teams) == places else None


def credit(teams: Sequence[str], places: Collection[int]) -> dict[str, int]:
    """Return variant -> how many of the clicked places, counted from 0, were its own."""
    found = dict.fromkeys(teams, 0)
    for place in places:
        found[teams[place]] += 1
    return found
