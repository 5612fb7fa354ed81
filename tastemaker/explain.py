"""Reasons for recommendations: text plus machine-readable evidence, each piece checked against history and catalogue.

Evidence comes from the model's own arithmetic (which history items brought the score about) and from attributes that
the product shares with the history. A language model may phrase it; a sentence that cites a product, brand or number
that is not in the evidence is dropped, counted, and replaced by the template's. Where nothing is known, that is said.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from tastemaker.abilities import Attributing, Composed, Counting
from tastemaker.characters import mark_ranges
from tastemaker.errors import LanguageModelError
from tastemaker.pipeline import Pipeline
from tastemaker.text.clean import clean
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.prompting.prompts import NAME_LENGTH, PHRASE, quoted
from tastemaker.text.reason_words import Language, worded
from tastemaker.text.render import ItemNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.lm.base import LanguageModel
    from tastemaker.recommender import Recommender
    from tastemaker.types import Float32, Int32

CITED = 2
"""History items cited in one reason."""
SHARED, SHARED_FROM = 0.5, 20
"""An attribute that so large a share of a catalogue of at least so many items has explains nothing."""
PHRASE_TOKENS = 60
OFTEN = 4
"""Times that any word may stand in a sentence, unless the facts say it oftener: small models fall into loops."""
SENTENCE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact behind a recommendation.

    Attributes:
        kind: "history" (a bought product that raised the score), "attribute" (shared with the history), "profile"
            (a keyword of the shopper's profile that the product shows), "wish" (a word of the shopper's wish that
            the product shows), or "popularity".
        item_id: the history item that shows it, or None.
        name: the item's name, the attribute's column, or the keyword.
        value: the attribute's value, what a history item means, the number of purchases, else "".
        weight: share of the positive evidence of its kind, 0 to 1.
        source: the model whose arithmetic this is, else "catalogue" or "profile".
    """

    kind: Literal["history", "attribute", "profile", "wish", "popularity"]
    item_id: str | None
    name: str
    value: str
    weight: float
    source: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one product is recommended.

    Attributes:
        text: one sentence.
        evidence: what it rests on; empty where nothing is known.
        phrased_by: "template" or the language model's name.
    """

    text: str
    evidence: tuple[Evidence, ...]
    phrased_by: str

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as plain values for JSON."""
        return {
            "text": self.text,
            "phrased_by": self.phrased_by,
            "evidence": [asdict(evidence) for evidence in self.evidence],
        }


class Explainer:
    """Gives reasons for the lists of one fitted recommender.

    Attributes:
        counts: sentences written by the language model: "kept", "dropped: ...".
    """

    def __init__(self, recommender: Recommender, *, lm: LanguageModel | None = None) -> None:
        self._models = _attributing(recommender)
        self._purchases = _purchases(recommender)
        self._first = _stages(recommender)[0]
        self._only_fallback_counts = not any(isinstance(stage, Counting) for stage in _stages(recommender))
        self._heeds_wish = recommender.heeds_wish()
        self._ranker = " -> ".join(stage.name for stage in _stages(recommender))
        self._items = recommender.items
        self._names = ItemNames(self._items)
        self._lm = lm
        self.counts: Counter[str] = Counter()

    @cached_property
    def _profiles(self) -> ProfileWriter:
        return ProfileWriter(self._items)

    @cached_property
    def _attributes(self) -> dict[str, list[str | None]]:
        return _attributes(self._items)

    def prepare(self) -> None:
        """Read the catalogue for all kinds of evidence, which the first reason that needs it would wait for."""
        _ = self._attributes
        self._profiles.prepare()

    def explain(self, queries: Queries, ranking: Ranking, *, language: Language = "en") -> list[list[Reason]]:
        """Return a reason for each listed item of each query, in list order."""
        wishes = queries.texts or ("",) * len(queries)
        return [
            [
                self.reason(queries.history(row), int(item), wish=wishes[row], language=language)
                for item in ranking.items[row]
                if item >= 0
            ]
            for row in range(len(queries))
        ]

    def reason(self, history: Int32, item: int, *, wish: str = "", language: Language = "en") -> Reason:
        """Return the reason for one item; a language model phrases it in English alone, as only that can be checked."""
        evidence = self.evidence(history, item, wish=wish)
        text = worded(evidence, ranker=self._ranker, language=language)
        if language == "en" and self._lm is not None and any(one.kind != "popularity" for one in evidence):
            phrased = self._phrase(self._lm, item, evidence)
            if phrased is not None:
                return Reason(phrased, evidence, self._lm.name)
        return Reason(text, evidence, "template")

    def evidence(self, history: Int32, item: int, *, wish: str = "") -> tuple[Evidence, ...]:
        """Collect the facts for one item: contributions, shared attributes and the wish; else profile or popularity."""
        found = [*self._contributions(history, item), *self._shared(history, item), *self._wished(wish, item)]
        return tuple(found or self._keywords(history, item) or self._popular(history, item))

    def _contributions(self, history: Int32, item: int) -> list[Evidence]:
        """Cite the history items that raised the score, from the first stage that has an opinion on the item."""
        for model in self._models:
            given = np.maximum(np.asarray(model.contributions(history, item)), 0) if len(history) else np.zeros(0)
            if given.sum() > 0:
                best = [int(place) for place in np.argsort(-given, kind="stable")[:CITED] if given[place] > 0]
                return [
                    Evidence(
                        "history",
                        self._items.ids([int(history[place])])[0],
                        self._names[history[place]],
                        model.because,
                        float(given[place] / given.sum()),
                        model.name,
                    )
                    for place in best
                ]
        return []

    def _shared(self, history: Int32, item: int) -> list[Evidence]:
        """Cite the brand and the category that the item shares with the newest product that has them."""
        found = []
        for column, values in self._attributes.items():
            wanted = values[item]
            sharing = [int(other) for other in history[::-1] if wanted and values[other] == wanted]
            if wanted and sharing:
                share = len(sharing) / len(history)
                item_id = self._items.ids(sharing[:1])[0]
                found.append(Evidence("attribute", item_id, column, wanted, share, "catalogue"))
        return found

    def _keywords(self, history: Int32, item: int) -> list[Evidence]:
        """Cite profile keywords that occur in the item's name."""
        [profile] = self._profiles.write([history])
        name = f" {self._names[item].lower()} "
        return [
            Evidence("profile", self._items.ids([keyword.support[0]])[0], keyword.word, "", keyword.weight, "profile")
            for keyword in profile.keywords
            if re.search(rf"\b{re.escape(keyword.word)}(?![\w{mark_ranges()}])", name)
        ][:CITED]

    def _wished(self, wish: str, item: int) -> list[Evidence]:
        """Cite the words of the wish that the product's name or category shows, if the recommender heeds wishes.

        Words of the brand do not count: a pen by Paper Mate is no paper.
        """
        if not wish or not self._heeds_wish:
            return []
        category, brand = (
            self._attributes[column][item] if column in self._attributes else None for column in ("categories", "brand")
        )
        shown = set(_words(f"{self._names[item]} {category or ''}".lower())) - set(_words((brand or "").lower()))
        words = [word for word in dict.fromkeys(_words(wish.lower())) if word in shown and word not in CONNECTING]
        return [Evidence("wish", None, word, "", 1 / len(words), "wish") for word in words]

    def _popular(self, history: Int32, item: int) -> list[Evidence]:
        """Cite the number of purchases, where a popularity model put the item there and counted any.

        A fallback put it there if the first stage could have said otherwise and did not: it has no opinion on shoppers
        without history, or attributes its scores and attributed none.
        """
        abstains = not len(history) and not self._first.answers_empty_history
        if self._purchases is None or not self._purchases[item] > 0:
            return []
        if self._only_fallback_counts and not (self._models or abstains):
            return []
        return [Evidence("popularity", None, "popular", f"{self._purchases[item]:.0f}", 1.0, "popular")]

    def _phrase(self, lm: LanguageModel, item: int, evidence: Sequence[Evidence]) -> str | None:
        """Let the model write the sentence; None when it fails or cites what is not in the evidence."""
        facts = "\n".join(f"- {worded([one], ranker=self._ranker)}" for one in evidence)
        prompt = PHRASE.fill(product=quoted(self._names[item]), facts=facts)
        try:
            [answer] = lm.generate([prompt], max_tokens=PHRASE_TOKENS, stop=("\n",))
        except LanguageModelError as error:
            self.counts[f"dropped: {type(error).__name__}"] += 1
            return None
        sentence = clean(answer.text, max_length=SENTENCE_LENGTH)
        fault = self.fault(sentence, item, evidence)
        self.counts["kept" if fault is None else f"dropped: {fault}"] += 1
        return sentence if fault is None else None

    def fault(self, sentence: str, item: int, evidence: Sequence[Evidence]) -> str | None:
        """Say what a sentence cites that is not in its evidence, or None when it is grounded.

        It must be a whole sentence and cite at least one piece of evidence. Quoted names must be those of the product
        or of cited history items; numbers, and every word that is not one of English's connecting words, must occur in
        the facts. That is strict on purpose: "cosy" or "jacket" is a claim about a product, and nothing here can vouch
        for it. What the product is said to be by must be a brand of the facts: a category is no maker.
        """
        names = [self._names[item], *(one.name for one in evidence)]
        facts = " ".join((*names, *(one.value for one in evidence), worded(evidence, ranker=self._ranker))).lower()
        allowed = {clean(name, max_length=NAME_LENGTH).replace('"', "'").lower().strip(AROUND) for name in names}
        lowered = sentence.lower()
        if not sentence:
            return "empty"
        parts = re.split(r'["\u201c\u201d]', lowered)  # every second one stood in quotes
        if len(parts) % 2 == 0:
            return "a quote that is never closed"
        if not lowered.rstrip(' "\u201d').endswith((".", "!", "?")):
            return "no end"
        if any(name.strip(AROUND) not in allowed for name in parts[1::2]):
            return "unknown product"
        if not _numbers(lowered) <= _numbers(facts):
            return "unknown number"
        if self._names[item] not in {one.name for one in evidence} and _says_bought(lowered, self._names[item]):
            return "says that the product itself was bought"
        cited = [one.value if one.kind == "attribute" else clean(one.name, max_length=NAME_LENGTH) for one in evidence]
        if not any(text.replace('"', "'").lower().strip(AROUND) in lowered for text in cited):
            return "cites no evidence"
        if not set(_words(lowered)) <= {*_words(facts), *CONNECTING}:
            return "unknown claim"
        brands = {one.value.lower() for one in evidence if one.kind == "attribute" and one.name == "brand"}
        if not all(maker.startswith((*brands, *BUYERS)) for maker in _makers(parts)):
            return "unknown maker"
        if max(Counter(_words(lowered)).values(), default=0) > max([OFTEN, *Counter(_words(facts)).values()]):
            return "repeats itself"
        return None


CONNECTING = frozenset(
    """
    a an the this that these it its you your yours we our us and or also too as at by for from in of on to with after
    before because since so while when who which is are was be been has have had may might can could will would should
    like enjoy try want need choose recommend recommended recommendation suggest suggested suggestion buy bought buying
    purchase purchased product products item items shopper shoppers customer customers goes go well along together here
    """.split()  # noqa: SIM905  # a list of words reads best as words
)
"""Words a sentence may use beyond its facts: they join facts, or say that things are bought.

No negation, number, quantity, comparison or praise is among them.
"""

BUYERS = ("the same", "shoppers", "customers", "those")
"""Who a product may be said to be bought by; whatever else stands behind "by" has to be its brand."""

AROUND = " .,"
"""What may stand around a quoted name, inside its quotes."""


def _makers(parts: Sequence[str]) -> list[str]:
    """Return what stands behind each "by" outside of quotes; every second part stood in quotes."""
    found = []
    for number in range(0, len(parts), 2):
        behind = [text.strip() for text in re.split(r"\bby\b", parts[number])[1:]]
        if behind and not behind[-1] and number + 1 < len(parts):
            behind[-1] = parts[number + 1]
        found += behind
    return found


def _stages(recommender: Recommender) -> list[Recommender]:
    return [stage.recommender for stage in recommender.stages] if isinstance(recommender, Pipeline) else [recommender]


def _attributing(recommender: Recommender) -> list[Any]:
    """Return the stages, or their voices, that can attribute a score to history items; first stage first."""
    voices: list[Recommender] = []
    for stage in _stages(recommender):
        voices += stage.voices if isinstance(stage, Composed) else [stage]
    return [voice for voice in voices if isinstance(voice, Attributing)]


def _purchases(recommender: Recommender) -> Float32 | None:
    """Return the purchases of each item as the recommender's own popularity model counted them, if it has one."""
    fallback = recommender.fallback if isinstance(recommender, Pipeline) else None
    for part in (*_stages(recommender), fallback):
        if isinstance(part, Counting):
            return part.counts
    return None


def _attributes(items: Entities) -> dict[str, list[str | None]]:
    """Return brand and most specific category of every item, where the catalogue has them.

    A value that most of a catalogue shares explains nothing and is left out.
    """
    found: dict[str, list[str | None]] = {}
    for column in ("brand", "categories"):
        if column in items.frame.columns:
            values = items.frame[column]
            values = (values.list.last() if isinstance(values.dtype, pl.List) else values).cast(pl.String)
            counts = Counter(values.drop_nulls().to_list())
            common = {
                value for value, count in counts.items() if len(items) >= SHARED_FROM and count > SHARED * len(items)
            }
            found[column] = [None if value in common else value for value in values.to_list()]
    return found


def _says_bought(sentence: str, name: str) -> bool:
    """Say whether a sentence in small letters claims that its reader bought the named product."""
    product = re.escape(clean(name, max_length=NAME_LENGTH).replace('"', "'").lower())
    claim = r"\byou(?:'ve| have| had)?\s+(?:\w+\s+)?(?:bought|purchased)\s+(?:(?:the|a|an|this|that|product|item)\s+)*"
    return re.search(f'{claim}["\u201c]?{product}', sentence) is not None


def _words(text: str) -> list[str]:
    """Return the words of a lower-case text, without a possessive ending."""
    return [word.removesuffix("'s") for word in re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)]


def _numbers(text: str) -> set[str]:
    """Return the whole numbers and decimals of a text."""
    return set(re.findall(r"\d+(?:[.,]\d+)*", text))
