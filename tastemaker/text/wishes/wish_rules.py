"""Reading wishes by rules: amounts by pattern, brands and categories by the catalogue's own names. No model is needed.

"under 20", "cheaper than €15", "at most 20", "between 10 and 20", "10-20 euros", "over 5", "around 20" (a fifth less or
more) are prices, unless a unit of measure follows the number. "not from Acme", "no perfume", "anything but Bolt or
Cosy" exclude. "by Acme", "only Acme" and a name that is no ordinary word of the catalogue include; so does a category
that the wish is for ("shampoo for dry hair", but not "shampoo bottles"), or that "in" or "category" marks. Everything
else is kept as words. The same is read in German: "unter 20 Euro", "bis 20", "nicht von Acme", "ohne Parfüm".
"Under 20" is at most 19.99: prices have two decimals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tastemaker.text.wishes import phrases
from tastemaker.text.wishes.vocabulary import Vocabulary
from tastemaker.text.wishes.wish import Filters, Wish, currency_of, said_words

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.text.wishes.vocabulary import Mention

CENT = 0.01
AROUND = 0.2
"""How far from an amount "around" reaches, as a share of it."""
LARGEST = 1e9
"""Amounts beyond are no prices."""

_SPAN = "\x00"
"""Stands where something was taken out."""


@dataclass
class _Draft:
    """What is found while a wish is read."""

    text: str
    taken: list[tuple[int, int]] = field(default_factory=list)
    price_from: float | None = None
    price_to: float | None = None
    currency: str | None = None
    names: dict[str, list[str]] = field(
        default_factory=lambda: {"brands": [], "not_brands": [], "categories": [], "not_categories": []}
    )
    notes: list[str] = field(default_factory=list)

    def take(self, start: int, end: int) -> None:
        """Take a span out of the words that remain; the places of all others stay."""
        self.taken.append((start, end))

    def left(self) -> str:
        """Return the text with marks in the places of what was taken out."""
        letters = list(self.text)
        for start, end in self.taken:
            letters[start:end] = _SPAN * (end - start)
        return "".join(letters)

    def words(self) -> str:
        """Return what remains."""
        parts = [phrases.EDGES.sub("", part) for part in re.split(rf"{_SPAN}+", self.left())]
        return re.sub(r"\s+", " ", phrases.EDGES.sub("", " ".join(part for part in parts if part))).strip()


class RuleReader:
    """Reads wishes by rules; deterministic and total."""

    def __init__(self, items: Entities, *, vocabulary: Vocabulary | None = None) -> None:
        self.vocabulary = vocabulary or Vocabulary(items)

    def read(self, text: str) -> Wish:
        """Return filters and remaining words of any text."""
        draft = _Draft(said_words(text))
        self._prices(draft)
        self._names(draft)
        try:
            filters = Filters(
                price_from=draft.price_from,
                price_to=draft.price_to,
                currency=draft.currency,
                **{kind: tuple(dict.fromkeys(names)) for kind, names in draft.names.items()},
            )
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            return Wish(draft.text, Filters(), draft.text, "rules", (f"kept as words: {reason}",))
        self._unknown(draft)
        return Wish(draft.text, filters, draft.words(), "rules", tuple(draft.notes))

    def _prices(self, draft: _Draft) -> None:
        found: list[tuple[int, int, float | None, float | None, str | None]] = []
        for match in phrases.BETWEEN.finditer(draft.text):
            low, high = _number(match["amount1"]), _number(match["amount2"])
            code = _code(match, "1") or _code(match, "2")
            marked = match["word"] or code or re.search("price|preis", match[0].lower())
            word, join = (match["word"] or "").lower(), match["join"].lower()
            fits = join in phrases.PAIRS[word] if word in phrases.PAIRS else join not in ("and", "und")
            if low is None or high is None or not marked or not (fits or code):
                continue
            found.append((*match.span(), min(low, high), max(low, high), code))
        for match in phrases.BOUND.finditer(draft.text):
            if any(start < match.end() and match.start() < end for start, end, *_ in found):
                continue
            amount, code = _number(match["amount1"]), _code(match, "1")
            word = (match["from"] or match["around"] or "").lower()
            if amount is None or (word in phrases.UNSURE and not code):
                continue
            low, high = _bounds(match, amount)
            found.append((*match.span(), low, high, code))
        if not found:
            return
        if not self.vocabulary.prices.count():
            draft.notes.append("the catalogue has no prices: the amount is kept as words")
            return
        for start, end, least, most, code in found:
            draft.take(start, end)
            draft.price_from = least if least is not None else draft.price_from
            draft.price_to = most if most is not None else draft.price_to
            draft.currency = code or draft.currency
        known = self.vocabulary.currencies
        if draft.currency and known and draft.currency not in known:
            draft.notes.append(f"the catalogue has no prices in {draft.currency}; nothing is converted")
        elif draft.currency and not known:
            draft.notes.append(f"the catalogue names no currency: its prices are taken for {draft.currency}")
        unpriced = int(self.vocabulary.prices.null_count())
        if unpriced:
            draft.notes.append(f"products without a price are left out: {unpriced:,}")

    def _names(self, draft: _Draft) -> None:
        before: tuple[Mention, bool] | None = None
        mentions = self.vocabulary.mentions(draft.text)
        for mention, behind in zip(mentions, _ruled_out_behind(draft.text, mentions), strict=True):
            if any(start < mention.end and mention.start < end for start, end in draft.taken):
                continue
            head, tail = draft.text[: mention.start], draft.text[mention.end :]
            if phrases.NOT_ONLY.search(head):
                before = None
                continue
            negated = phrases.NEGATION.search(head)
            carried = before is not None and _goes_on(before[0], mention, draft.text)
            wanted = before[1] if before is not None and carried and not negated else not negated
            wanted = wanted and behind < mention.end
            if not wanted:
                draft.names["not_brands" if mention.kind == "brand" else "not_categories"].append(mention.name)
                start = negated.start() if negated else before[0].end if before and carried else mention.start
                draft.take(start, max(mention.end, behind))
            elif mention.kind == "brand":
                cue = phrases.BRAND_CUE.search(head) or phrases.AFTER_BRAND.search(tail) or carried
                if cue or self.vocabulary.is_distinct(mention.name):
                    draft.names["brands"].append(mention.name)
                else:
                    wanted = False  # an ordinary word begins no list
                    before = None
                    continue
            elif (
                phrases.CATEGORY_CUE.search(head)
                or phrases.AFTER_CATEGORY.search(tail)
                or carried
                or _is_the_wish(head, tail)
            ):
                draft.names["categories"].append(mention.name)
            else:
                before = None
                continue
            before = (mention, wanted)

    def _unknown(self, draft: _Draft) -> None:
        """Take out what a wish rules out that is no brand and no category: as words it would be looked for."""
        for match in phrases.UNKNOWN_NEGATION.finditer(draft.left()):
            note = f"no brand or category is called {match[1]!r}: it rules nothing out, and is not looked for"
            draft.notes += [] if note in draft.notes else [note]
            draft.take(*match.span())


def _goes_on(before: Mention, mention: Mention, text: str) -> bool:
    """Say whether a name stands in a list with the one before: "not Acme or Bolt", but not "no perfume, from Acme"."""
    listed = phrases.AND.search(text[before.end : mention.start])
    return listed is not None and (before.kind == mention.kind or not listed["maker"])


def _ruled_out_behind(text: str, mentions: list[Mention]) -> list[int]:
    """Return for each mention the end of the words behind it, or behind its list, that rule it out, 0 where none do."""
    ends: list[int] = []
    after: tuple[Mention, int] | None = None
    for mention in reversed(mentions):
        found = phrases.NEGATED_AFTER.search(text[mention.end :])
        listed = after is not None and after[1] and after[0].kind == mention.kind
        if found:
            end = mention.end + found.end()
        elif after is not None and listed and phrases.AND.search(text[mention.end : after[0].start]):
            end = mention.end
        else:
            end = 0
        ends.append(end)
        after = (mention, end)
    return ends[::-1]


def _is_the_wish(head: str, tail: str) -> bool:
    """Say whether a category is what is wished for: nothing but an opening before it, and no noun behind it."""
    return bool(phrases.OPENING.fullmatch(head)) and bool(phrases.PHRASE_ENDS.match(tail))


def _bounds(match: re.Match[str], amount: float) -> tuple[float | None, float | None]:
    """Return least and largest price of a bound."""
    if match["up_to"]:
        return None, amount
    if match["under"]:
        return None, max(0.0, round(amount - CENT, 2))
    if match["from"]:
        return amount, None
    if match["over"]:
        return round(amount + CENT, 2), None
    return round(amount * (1 - AROUND), 2), round(amount * (1 + AROUND), 2)


def _code(match: re.Match[str], number: str) -> str | None:
    word = match[f"sign{number}"] or match[f"unit{number}"]
    return currency_of(word) if word else None


def _number(text: str) -> float | None:
    """Read 1,000 and 1.000 as a thousand, 19,99 and 19.99 as a price; None for what is neither."""
    if re.fullmatch(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*(?:[.,]\d{1,2})?", text):
        whole, _, cents = text.rpartition(text[-3]) if text[-3] in ".," else (text, "", "0")
        value = float(f"{re.sub('[.,]', '', whole)}.{cents}")
    elif re.fullmatch(r"\d{1,12}(?:[.,]\d{1,2})?", text):
        value = float(text.replace(",", "."))
    else:
        return None
    return value if value <= LARGEST else None
