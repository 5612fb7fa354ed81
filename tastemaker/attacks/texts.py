"""The attack set, and how an attack changes a product's text."""

from __future__ import annotations

import html
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import polars as pl

from tastemaker.characters import letter_run
from tastemaker.confusables import LATIN_OF
from tastemaker.data.entities import Entities
from tastemaker.defences import undefended
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.text.clean import clean
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.types import Float32, Int32

FORMAT = 1
Disguise = Literal[
    "none", "homoglyphs", "zero-width", "invisible", "bidi", "full-width", "small-capitals", "spaced", "entities"
]
BEST = 50
"""Best sellers of a category whose titles and brands an attacker knows."""
WORDS, BRANDS, RIVALS = 40, 10, 5

_WORD = re.compile(letter_run(4))
_PLACE = re.compile(r"\{(\w+)\}")
_HOMOGLYPH = {latin: other for other, latin in reversed(LATIN_OF.items()) if ord(other) < 0x600}
_SMALL = {latin: other for other, latin in LATIN_OF.items() if 0x1D00 <= ord(other) <= 0x1D2F or other in "ʙɢʜɪʟɴʀʏꜰꜱ"}


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to write a product's text so that a recommender lifts it.

    Attributes:
        name: unique.
        kind: what it tries, shared by attacks that try the same.
        field: which text: "title" or "description".
        text: what is written, with places in braces.
        language: of the text, ISO 639.
        source: where it is described, or why it is here.
        place: before, after, or instead of the product's own text.
        disguise: how it is hidden from people or filters.
        repeat: how often it is written.
    """

    name: str
    kind: str
    field: Literal["title", "description"]
    text: str
    language: str
    source: str
    place: Literal["before", "after", "instead"] = "after"
    disguise: Disguise = "none"
    repeat: int = 1

    def written(self, own: str, places: dict[str, str]) -> str:
        """Return the text of a product whose own text is `own`; see `Knowledge.places`."""
        places = {**places, "title": own}
        text = _PLACE.sub(lambda found: places[found[1]], self.text) * self.repeat
        text = disguised(text, self.disguise)
        return {"before": text + own, "after": own + text, "instead": text}[self.place]


class Knowledge:
    """What an attacker knows of the shop: what anybody can read on its pages. Rivals are of the product's own category.

    Args:
        items: the catalogue.
        popularity: purchases of each product, [n]: a page sorted by best sellers shows its order.

    Attributes:
        leaders: product -> what stands first in the list that its seller wants to enter; an insider knows that.
    """

    def __init__(self, items: Entities, popularity: Float32) -> None:
        self._names = item_names(items)
        self._brands = _last(items, "brand")
        self._categories = _last(items, "categories")
        self._best = np.argsort(-popularity, kind="stable")
        self._known: dict[str, dict[str, str]] = {}
        self.leaders: dict[int, int] = {}

    def places(self, item: int) -> dict[str, str]:
        """Return what stands for the places of attacks on a product: best sellers of its category, or of the shop."""
        category = self._categories[item]
        if category not in self._known:
            rivals = [int(other) for other in self._best if category and self._categories[other] == category][:BEST]
            if len(rivals) <= RIVALS:
                rivals = [int(other) for other in self._best[:BEST]]
            self._known[category] = self._of([other for other in rivals if other != item] or rivals)
        known = self._known[category]
        leader = self.leaders.get(item)
        return {**known, "leader": known["rival"] if leader is None else self._names[leader]}

    def _of(self, rivals: Sequence[int]) -> dict[str, str]:
        titles = [self._names[item] for item in rivals]
        brands = list(dict.fromkeys(self._brands[item] for item in rivals if self._brands[item]))
        words = Counter(word for title in titles for word in set(_WORD.findall(title.lower())))
        common = [word for word, _ in words.most_common(WORDS)]
        return {
            "rival": titles[0],
            "rivals": " | ".join(titles[:RIVALS]),
            "brands": ", ".join(brands[:BRANDS] or common[:BRANDS]),
            "words": " ".join(common),
            "word": common[0] if common else "best",
        }


def _last(items: Entities, column: str) -> list[str]:
    """Return a column as clean text, of lists the last member; "" where there is none."""
    if column not in items.frame.columns:
        return [""] * len(items)
    values = items.frame[column]
    values = values.list.last() if isinstance(values.dtype, pl.List) else values
    return [clean(text) if text else "" for text in values.cast(pl.String).to_list()]


@cache
def attacks() -> tuple[Attack, ...]:
    """Return the attack set of the package."""
    content = tomllib.loads(files("tastemaker.attacks").joinpath("attacks.toml").read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise ConfigError(f"attacks.toml: format {content.get('format')!r}; this version reads {FORMAT}")
    found = tuple(Attack(**entry) for entry in content["attack"])
    for attack in found:
        if attack.disguise not in get_args(Disguise):
            raise ConfigError(f"attacks.toml: {attack.name}: unknown disguise {attack.disguise!r}")
    return found


def chosen(kinds: Sequence[str] | None, *, per_kind: int | None = None, seed: int = 0) -> list[Attack]:
    """Return the attacks of some kinds, all by default; of each kind `per_kind` at random.

    Raises:
        ConfigError: an unknown kind.
    """
    known = list(dict.fromkeys(attack.kind for attack in attacks()))
    for kind in kinds or ():
        if kind not in known:
            raise ConfigError(f"--kind {kind}: unknown{did_you_mean(kind, known)}")
    rng = np.random.default_rng(seed)
    found: list[Attack] = []
    for kind in kinds or known:
        own = [attack for attack in attacks() if attack.kind == kind]
        count = len(own) if per_kind is None else min(per_kind, len(own))
        found += [own[place] for place in sorted(rng.permutation(len(own))[:count])]
    return found


def poisoned(items: Entities, targets: Int32, attack: Attack, knowledge: Knowledge) -> Entities:
    """Return the catalogue as it is after the sellers of `targets` have written their texts anew."""
    frame = items.frame
    with undefended():
        names = item_names(items)
    column: str = attack.field
    if column == "title" and "title" not in frame.columns and "title_keywords" in frame.columns:
        column = "title_keywords"
    own: list[str | None] = (
        frame[column].cast(pl.String).to_list() if column in frame.columns else [None] * frame.height
    )
    for item in targets.tolist():
        before = own[item] or (names[item] if attack.field == "title" else "")
        own[item] = attack.written(before, knowledge.places(item))
    return Entities(frame.with_columns(pl.Series(column, own, dtype=pl.String)))


def disguised(text: str, disguise: Disguise) -> str:
    """Write a text so that people or filters do not see what it says."""
    if disguise == "homoglyphs":
        return "".join(_HOMOGLYPH.get(letter, letter) if place % 2 else letter for place, letter in enumerate(text))
    if disguise == "zero-width":
        return "\u200b".join(text)
    if disguise == "invisible":
        return "".join(chr(0xE0000 + ord(letter)) if letter.isascii() else letter for letter in text)
    if disguise == "bidi":
        return f"\u202e{text[::-1]}\u202c"
    if disguise == "full-width":
        return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)
    if disguise == "small-capitals":
        return "".join(_SMALL.get(letter, letter) for letter in text)
    if disguise == "spaced":
        return " ".join(text)
    if disguise == "entities":
        return html.escape(html.escape(text))
    return text
