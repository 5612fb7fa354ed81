"""Reasons put into sentences: the same evidence, in English or German."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from tastemaker.text.clean import clean
from tastemaker.text.prompting.prompts import NAME_LENGTH, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Language = Literal["en", "de"]


class Fact(Protocol):
    """What a sentence reads of a piece of evidence: see `tastemaker.explain.Evidence`."""

    @property
    def kind(self) -> str:
        """Which kind of fact."""
        ...

    @property
    def name(self) -> str:
        """Of a product, a column or a keyword."""
        ...

    @property
    def value(self) -> str:
        """What goes with it."""
        ...


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a language around the facts.

    Attributes:
        because: what a model says of a bought product -> the same with {} for the names, where the words are others.
        other: for what a model says that is not among these; {} stands for the names.
        same: column -> what is said of a value that was bought before; {} stands for it.
        other_same: for columns that are not among these; {name} and {value}.
        popular, profile, wish, nothing: {} stands for the count, the words, or who ranked.
        both: what joins two names.
    """

    because: Mapping[str, str]
    other: str
    same: Mapping[str, str]
    other_same: str
    popular: str
    profile: str
    wish: str
    nothing: str
    both: str


ENGLISH = Wording(
    because={},
    other="{because} {}",
    same={"categories": "the same category as before: {}"},
    other_same="the same {name} as before: {value}",
    popular="popular with other shoppers: bought {} times",
    profile="fits what you buy: {}",
    wish="fits your wish: {}",
    nothing="chosen by {}; no single purchase or attribute explains it",
    both=" and ",
)
GERMAN = Wording(
    because={
        "bought by shoppers who bought": "gekauft von Kunden, die auch {} gekauft haben",
        "bought by the same shoppers as": "von denselben Kunden gekauft wie {}",
        "bought by shoppers with the same taste as those of": "gekauft von Kunden mit einem Geschmack wie bei {}",
        "liked by shoppers with the same taste as those of": "beliebt bei Kunden mit einem Geschmack wie bei {}",
        "goes together with": "passt zu {}",
        "described like": "ähnlich beschrieben wie {}",
        "bought by those who bought what is described like": "gekauft von Kunden, die Ähnliches wie {} gekauft haben",
    },
    other="passt zu {}",
    same={"categories": "dieselbe Kategorie wie zuvor: {}", "brand": "dieselbe Marke wie zuvor: {}"},
    other_same="wie zuvor: {value} ({name})",
    popular="beliebt bei anderen: {}-mal gekauft",
    profile="passt zu Ihren Käufen: {}",
    wish="passt zu Ihrem Wunsch: {}",
    nothing="ausgewählt von {}; kein einzelner Kauf und keine Eigenschaft erklärt es",
    both=" und ",
)
WORDINGS: Mapping[str, Wording] = {"en": ENGLISH, "de": GERMAN}


def worded(evidence: Sequence[Fact], *, ranker: str, language: Language = "en") -> str:
    """Put evidence into a sentence by template.

    Args:
        evidence: the facts, in order.
        ranker: who ranked, for a reason without a fact.
        language: of the sentence; names stay as the shop has them.
    """
    words, parts = WORDINGS[language], []
    cited = [one for one in evidence if one.kind == "history"]
    if cited:
        names = words.both.join(dict.fromkeys(quoted(one.name) for one in cited))  # two products may have one name
        pattern = words.because.get(cited[0].value, words.other)
        parts.append(_filled(pattern, names, because=cited[0].value))
    for one in evidence:
        if one.kind == "attribute":
            value = clean(one.value, max_length=NAME_LENGTH)
            parts.append(_filled(words.same.get(one.name, words.other_same), value, name=one.name, value=value))
        elif one.kind == "popularity":
            parts.append(_filled(words.popular, one.value))
    for kind, pattern in (("profile", words.profile), ("wish", words.wish)):
        named = [one.name for one in evidence if one.kind == kind]
        if named:
            parts.append(_filled(pattern, ", ".join(named)))
    text = "; ".join(parts) or _filled(words.nothing, ranker)
    return f"{text[0].upper()}{text[1:]}."


def _filled(pattern: str, *values: str, **named: str) -> str:
    """Put values into a pattern of this module; braces in values stay as they are."""
    return pattern.format(*values, **named)
