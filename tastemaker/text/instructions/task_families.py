"""The task families of P5 as instruction pairs, written from training data alone.

Geng et al., "Recommendation as Language Processing", RecSys 2022 (arXiv 2203.13366). Five families there: rating,
sequential, explanation, review and direct recommendation. Here a shopper is a history and has no token of their own;
reviews, which few shops have, give way to descriptions; explanations rest on co-purchases and shared attributes
instead of words from reviews; and profile, attribute, title and facts are added.

Only `train` enters: histories before each purchase, and products that somebody bought there. Whether anybody bought a
product later is not known, so those that nobody bought in `train` stand in no pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.text.clean import clean, clean_all
from tastemaker.text.instructions.task_templates import FAMILIES
from tastemaker.text.instructions.tasks import InstructionPair
from tastemaker.text.profile import KeywordStatistics
from tastemaker.text.prompting.prompts import quoted
from tastemaker.text.render import item_names, item_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tastemaker.data.dataset import Dataset
    from tastemaker.lm.base import Prompt
    from tastemaker.text.prompting.prompts import Template
    from tastemaker.types import Int32, Int64

MAX_HISTORY = 20
"""Newest products of a history in a prompt, as in P5 and PALR."""
CANDIDATES = 10
"""Products to choose from in the family "direct", the bought one among them."""
VALUE_LENGTH = 80
"""Characters of a brand, a category or a title in an answer."""
TEXT_LENGTH = 300
"""Characters of a description in a prompt."""
ATTRIBUTES = {"brand": "{brand}", "category": "{categories}", "price": "{price}"}
"""What the family "attribute" asks for, and how the catalogue writes it."""
UNKNOWN = "unknown"
"""What stands for a shopper's usual rating before the first one."""


@dataclass(frozen=True, slots=True)
class Case:
    """What fills one prompt, and its answer.

    Attributes:
        places: value of each place of the family's templates.
        answer: what is to be written.
        user: number of the shopper, -1 for none.
        item: number of the product, -1 for none.
    """

    places: dict[str, str]
    answer: str
    user: int = -1
    item: int = -1


class TaskWriter:
    """Writes the pairs of every family.

    Args:
        train: what is learnt from.
        names: how each product is written, [n]; by default its quoted name.
        between: what stands between the products of a list.
    """

    def __init__(self, train: Dataset, *, names: Sequence[str] | None = None, between: str = ", ") -> None:
        self._train = train
        self._histories = train.queries()
        self._names = [quoted(name) for name in item_names(train.items)] if names is None else list(names)
        self._between = between
        self._starts = self._histories.offsets[:-1][self._histories.rows]
        self._bought = np.flatnonzero(train.bought)
        self._cases: dict[str, Callable[[np.random.Generator, int], Iterator[Case]]] = {
            "sequential": self._sequential,
            "direct": self._direct,
            "rating": self._rating,
            "profile": self._profile,
            "explanation": self._explanation,
            "attribute": self._attribute,
            "title": self._title,
            "facts": self._facts,
            "summary": self._summary,
        }

    @property
    def size(self) -> int:
        """Purchases in the training part: more pairs than any family about purchases has."""
        return len(self._histories.items)

    def pairs(
        self, family: str, rng: np.random.Generator, *, most: int, held_out: bool = False
    ) -> list[InstructionPair]:
        """Return at most `most` pairs of a family, each in a wording drawn at random; none where the data lack it.

        Args:
            family: one of `FAMILIES`.
            rng: draws which cases, which wordings and which negatives.
            most: pairs.
            held_out: use the wordings that no training sees.

        Raises:
            ConfigError: there is no such family.
        """
        wordings = _known(family, held_out=held_out)
        cases = list(self._cases[family](rng, most))
        drawn = rng.integers(len(wordings), size=len(cases))
        return [
            InstructionPair(family, wordings[number].fill(**case.places), case.answer, case.user, case.item)
            for number, case in zip(drawn, cases, strict=True)
        ]

    def listed(self, items: Int32 | Int64) -> str:
        """Write the newest `MAX_HISTORY` of a list of products."""
        return listed(items, self._names, between=self._between)

    def _before(self, place: int) -> Int32:
        """Return what the shopper had bought before the purchase at this place of the log."""
        return self._histories.items[self._starts[place] : place]

    def _places(self, rng: np.random.Generator, most: int) -> Int64:
        """Draw purchases that have others before them; in the order of the log."""
        places = np.flatnonzero(np.arange(len(self._starts)) > self._starts)
        return np.sort(rng.permutation(places)[:most])

    def _sequential(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        for place, user, item in self._drawn(self._places(rng, most)):
            yield Case({"history": self.listed(self._before(place))}, self._names[item], user, item)

    def _direct(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        owned = self._histories.matrix(self._train.n_items)
        for place, user, item in self._drawn(self._places(rng, most)):
            others = rng.choice(self._bought, min(CANDIDATES - 1, len(self._bought)), replace=False)
            mine = owned.indices[owned.indptr[user] : owned.indptr[user + 1]]
            offered = rng.permutation(np.append(np.setdiff1d(others, mine), item))
            places = {"history": self.listed(self._before(place)), "candidates": self.listed(offered)}
            yield Case(places, self._names[item], user, item)

    def _rating(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        values = self._train.log["value"].to_numpy()
        places = np.flatnonzero((np.arange(len(self._starts)) > self._starts) & ~np.isnan(values))
        sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values.astype(np.float64)))])
        counts = np.concatenate([[0], np.cumsum(~np.isnan(values))])
        for place, user, item in self._drawn(np.sort(rng.permutation(places)[:most])):
            start = self._starts[place]
            given = counts[place] - counts[start]
            usual = f"{(sums[place] - sums[start]) / given:.1f}" if given else UNKNOWN
            filled = {"history": self.listed(self._before(place)), "product": self._names[item], "usual": usual}
            yield Case(filled, f"{values[place]:g}", user, item)

    def _profile(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        statistics = KeywordStatistics(self._train.items)
        for user in np.sort(rng.permutation(np.flatnonzero(self._histories.lengths))[:most]).tolist():
            history = self._histories.history(user)
            if words := statistics.write(history).in_words():
                yield Case({"history": self.listed(history)}, words, user)

    def _explanation(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        """Cite the earlier purchase that most others bought together with the product, and what the two share."""
        for place, user, item in self._drawn(self._places(rng, most)):
            before = self._before(place)[-MAX_HISTORY:]
            if reason := self.reason(before, item):
                yield Case({"history": self.listed(before), "product": self._names[item]}, reason, user, item)

    def reason(self, before: Int32, item: int) -> str:
        """Return why a product suits a history, from co-purchases by two shoppers and more and from shared attributes.

        The shopper themselves is one of those who bought both, so one shopper is no evidence. "" where nothing is.
        """
        together = self._together
        row = slice(together.indptr[item], together.indptr[item + 1])
        shoppers = dict(zip(together.indices[row].tolist(), together.data[row].tolist(), strict=True))
        counts = [shoppers.get(other, 0) if other != item else 0 for other in before.tolist()]
        parts = []
        if counts and max(counts) >= 2:
            best = max(range(len(counts)), key=lambda at: (counts[at], at))
            parts.append(f"often bought with {self._names[int(before[best])]}")
        for attribute in ("brand", "category"):
            values = self._values[attribute]
            if values[item] and any(values[other] == values[item] for other in before.tolist()):
                parts.append(f"same {attribute}: {values[item]}")
        return "; ".join(parts)

    def _attribute(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        found = [(item, attribute) for item in self._bought.tolist() for attribute in ATTRIBUTES]
        known = [(item, attribute) for item, attribute in found if self._values[attribute][item]]
        for at in np.sort(rng.permutation(len(known))[:most]).tolist():
            item, attribute = known[at]
            places = {"product": self._names[item], "attribute": attribute}
            yield Case(places, self._values[attribute][item], item=item)

    def _title(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        return self._texts(rng, most, "facts", self._known_facts, self._titles)

    def _facts(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        return self._texts(rng, most, "title", self._titles, self._known_facts)

    def _summary(self, rng: np.random.Generator, most: int) -> Iterator[Case]:
        texts = item_texts(self._train.items, template=f"{{description:{TEXT_LENGTH}}}")
        return self._texts(rng, most, "text", texts, self._titles)

    def _texts(
        self, rng: np.random.Generator, most: int, place: str, given: Sequence[str], wanted: Sequence[str]
    ) -> Iterator[Case]:
        known = [item for item in self._bought.tolist() if given[item] and wanted[item]]
        for at in np.sort(rng.permutation(len(known))[:most]).tolist():
            item = known[at]
            yield Case({place: _quoted(given[item])}, wanted[item], item=item)

    def _drawn(self, places: Int64) -> Iterator[tuple[int, int, int]]:
        """Yield place, shopper and product of purchases."""
        rows, items = self._histories.rows[places], self._histories.items[places]
        return zip(places.tolist(), rows.tolist(), items.tolist(), strict=True)

    @cached_property
    def _together(self) -> csr_array:
        """Number of shoppers who bought both, sparse [n, n]."""
        owned = self._histories.matrix(self._train.n_items)
        return csr_array(owned.T @ owned)

    @cached_property
    def _titles(self) -> list[str]:
        frame = self._train.items.frame
        column = next((name for name in ("title", "title_keywords") if name in frame.columns), None)
        texts: list[Any] = [None] * frame.height if column is None else frame[column].cast(pl.String).to_list()
        return clean_all(texts, max_length=VALUE_LENGTH)

    @cached_property
    def _values(self) -> dict[str, list[str]]:
        """What the catalogue says of each product, by attribute; of its categories the most specific one."""
        frame = self._train.items.frame
        found = {
            attribute: clean_all(item_texts(self._train.items, template=template), max_length=VALUE_LENGTH)
            for attribute, template in ATTRIBUTES.items()
        }
        if isinstance(frame.schema.get("categories"), pl.List | pl.Array):
            last = frame["categories"].cast(pl.List(pl.String)).list.last()
            found["category"] = clean_all(last.to_list(), max_length=VALUE_LENGTH)
        return found

    @cached_property
    def _known_facts(self) -> list[str]:
        brands, categories = self._values["brand"], self._values["category"]
        return [
            "; ".join(f"{label}: {value}" for label, value in (("brand", brand), ("category", category)) if value)
            for brand, category in zip(brands, categories, strict=True)
        ]


def prompt(family: str, *, wording: int = 0, held_out: bool = False, **places: str) -> Prompt:
    """Return one prompt of a family, filled with `places`: what is asked at request, in the words of training.

    Raises:
        ConfigError: there is no such family, wording or place.
    """
    wordings = _known(family, held_out=held_out)
    if not 0 <= wording < len(wordings):
        raise ConfigError(f"{family}: wording {wording} of {len(wordings)}")
    try:
        return wordings[wording].fill(**places)
    except KeyError as error:
        raise ConfigError(f"{family}: needs {error}, which is not given") from error


def listed(items: Int32 | Int64, names: Sequence[str], *, between: str) -> str:
    """Write the newest `MAX_HISTORY` products of a list."""
    return between.join([names[item] for item in items[-MAX_HISTORY:].tolist()])


def _quoted(text: str) -> str:
    """Return a text of the shop as data in quotes, at the length that it has."""
    return '"' + clean(text).replace('"', "'") + '"'


def _known(family: str, *, held_out: bool) -> tuple[Template, ...]:
    if family not in FAMILIES:
        raise ConfigError(f"no task family {family!r}{did_you_mean(family, FAMILIES)}")
    return FAMILIES[family].wordings(held_out=held_out)
