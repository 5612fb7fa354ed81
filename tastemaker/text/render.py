"""Items and histories in words: what encoders and language models read, made from whatever columns a catalogue has."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import overload

import polars as pl

from tastemaker.data.dataset import WRITTEN_FROM
from tastemaker.data.entities import Entities
from tastemaker.data.join import shop_names
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.redaction import redact
from tastemaker.text.clean import clean_all, cut
from tastemaker.text.manipulation import kinds_of, neutral_all

DEFAULT_TEMPLATE = (
    "{title|title_keywords}; brand: {brand}; category: {categories}; {description|written:300}; {written_keywords:200}"
)
"""The last two are columns that augmentation writes."""
# Columns that a catalogue may lack without a template that names them being wrong.
KNOWN = ("title", "title_keywords", "brand", "categories", "description", "price", "written", "written_keywords")

FIELD_LENGTH = 200  # characters of one field, where the template does not say, as "{description:300}" does
CATEGORIES = 3  # at most so many categories of an item, the most specific ones
# A category that so large a share of a catalogue carries tells no item from another; small catalogues keep all.
SHARED = 0.95
SHARED_FROM = 20  # items
# Columns of shoppers that identify a person, whatever stands in them.
_IDENTIFYING = re.compile(
    r".*(?:name|mail|phone)|mobile|fax|street|address|iban|card|account|birth.*|passport"
    r"|vorname|nachname|stra(?:ß|ss)e|anschrift|adresse|telefon|geburt.*",
    re.IGNORECASE,
)
# A column in which so large a share of the shoppers have a value of their own names them, as an e-mail address does.
OWN = 0.5

BETWEEN_NAMES = "; "  # titles hold commas more often than semicolons

# Between two fields: what ends the first one (a unit, a bracket), what parts them, what labels the second one.
_BETWEEN = re.compile(r"([^;,.|\n]*(?=[;,.|\n])|[)\]}»”]*)([;,.|\s/·–—-]*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a template.

    Attributes:
        columns: the first one that has a value is shown.
        max_length: characters of the value.
        before: separator from the field before (left out of the first field that has a value), and label.
        after: what ends the field: a unit, a bracket.
    """

    columns: tuple[str, ...]
    max_length: int
    before: tuple[str, str]
    after: str


def item_texts(items: Entities, *, template: str = DEFAULT_TEMPLATE, max_length: int = 600) -> list[str]:
    """Describe every item in one line, from the columns that it has.

    A template names columns: "{title}; brand: {brand}; {price} EUR". A field without a value takes its label, its unit
    and its separator along. "{title|title_keywords}" takes the first that has a value, "{description:300}" at most 300
    characters. Lists are joined by commas; "categories" keeps its most specific ones and leaves out what (nearly) all
    items of a shop share. Values are cleaned and neutral: no markup, no commands, no praise
    (`tastemaker.text.manipulation`). Joined shops have the texts that each has alone.

    Args:
        items: the catalogue; any column can be named, "id" too, which no default template shows.
        template: as above.
        max_length: characters of a whole text; a longer one is cut at a word border.

    Returns:
        One string an item, in item order; "" for an item that has none of the fields.

    Raises:
        ConfigError: the template is malformed, or names a column that is neither usual nor in `items`.
    """
    fields = _parse(template, [column for column in items.frame.columns if column != WRITTEN_FROM])
    cells = [
        _first_present([_product_values(items.frame, column, field.max_length) for column in field.columns])
        for field in fields
    ]
    return [cut(_fill(fields, row), max_length) for row in zip(*cells, strict=True)]


def user_texts(users: Entities, *, max_length: int = 600) -> list[str]:
    """Describe every shopper in one line, from the describing columns: "age: 25-34; household size: 2".

    These are all columns but the id, the mark of augmented texts, and what names a person instead of describing one:
    columns called name, mail, phone, address and the like, and in a table of 20 shoppers and more those in which over
    half of the values occur once. Personal data within the texts are redacted (`tastemaker.redaction`).

    Args:
        users: the shoppers.
        max_length: characters of a whole text; a longer one is cut at a word border.

    Returns:
        One string a shopper, in number order; "" for a shopper of whom nothing is known.

    Raises:
        ConfigError: a column holds what a text cannot show.
    """
    frame = users.frame
    shown = [column for column in frame.columns if column not in ("id", WRITTEN_FROM) and not _names(frame, column)]
    labels = [re.sub(r"[\W_]+", " ", column).strip() for column in shown]
    cells = [[redact(text, personal=True) for text in _values(frame, column, FIELD_LENGTH)] for column in shown]
    rows = zip(*cells, strict=True) if cells else [()] * len(users)
    return [
        cut("; ".join(f"{label}: {value}" for label, value in zip(labels, row, strict=True) if value), max_length)
        for row in rows
    ]


def item_names(items: Entities, *, max_length: int = 80) -> list[str]:
    """Return a short name for every item, for prompts and pages; names may repeat, they are not ids.

    It is the title, else the keywords of the title, else brand and most specific category, else "item ID".
    """
    frame = items.frame
    titles, keywords, brands, ids = (
        neutral_all(_column(frame, column), max_length=max_length)
        for column in ("title", "title_keywords", "brand", "id")
    )
    kinds = neutral_all([row[-1] if row else None for row in _lists(frame, "categories")], max_length=max_length)
    return [
        cut(title or words or f"{brand} {kind}".strip() or f"item {id_}", max_length)
        for title, words, brand, kind, id_ in zip(titles, keywords, brands, kinds, ids, strict=True)
    ]


class ItemNames(Sequence[str]):
    """What `item_names` returns, each name made when it is asked for first: a service names few of its products.

    Args:
        items: the products.
        max_length: as in `item_names`.
    """

    def __init__(self, items: Entities, *, max_length: int = 80) -> None:
        self._items, self._max_length = items, max_length
        self._made: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Return the name of a product by its number."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = range(len(self))[int(place)]
        name = self._made.get(number)
        if name is None:
            [name] = item_names(Entities(self._items.frame[number : number + 1]), max_length=self._max_length)
            self._made[number] = name
        return name


def suspicious(items: Entities) -> dict[tuple[str, str], list[int]]:
    """Return the products whose texts speak to a model, praise themselves or hide something.

    Returns:
        (column, kind of `text.manipulation.KINDS`) -> item numbers, for the columns that texts are made of.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for column in ("title", "title_keywords", "brand", "description"):
        for number, text in enumerate(_column(items.frame, column)):
            for kind in kinds_of(text) if text else ():
                found.setdefault((column, kind), []).append(number)
    return found


def history_text(names: Sequence[str], *, max_items: int = 20, max_length: int = 1000) -> str:
    """Join the names of a history into one line, the newest last; what does not fit is dropped from the oldest on.

    Args:
        names: names or texts, oldest first; empty ones are left out.
        max_items: at most so many of the newest.
        max_length: characters in all; a single name that is longer is cut.
    """
    kept: list[str] = []
    room = max_length
    newest_first = [name for name in reversed(names) if name]
    for name in newest_first[:max_items]:
        if kept and len(name) > room:
            break
        kept.append(cut(name, room))
        room -= len(name) + len(BETWEEN_NAMES)
    return BETWEEN_NAMES.join(reversed(kept))


def _parse(template: str, columns: Sequence[str]) -> list[_Field]:
    """Take a template apart into fields, each with the text that belongs to it."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"template {template!r}: {error}; write {{{{ and }}}} for plain braces") from error
    # Doubled braces come as parts without a name; their text goes with the literal that follows.
    literals, names, specs = [""], [], []
    for literal, name, spec, conversion in parts:
        literals[-1] += literal
        if name is None:
            continue
        if conversion or not re.fullmatch(r"[1-9]\d{0,5}|", spec or ""):
            raise ConfigError(
                f"template {template!r}: {{{name}}} may only be followed by a length, as in {{{name}:100}}"
            )
        names.append(_alternatives(template, name, columns))
        specs.append(int(spec) if spec else FIELD_LENGTH)
        literals.append("")
    if not names:
        raise ConfigError(f"template {template!r}: names no column, as {{title}} would")
    between = [_BETWEEN.fullmatch(literal) for literal in literals[1:-1]]
    ends = [*(match[1] if match else "" for match in between), literals[-1]]
    starts = [("", literals[0]), *((match[2], match[3]) if match else ("", "") for match in between)]
    return [_Field(*parts) for parts in zip(names, specs, starts, ends, strict=True)]


def _alternatives(template: str, name: str, columns: Sequence[str]) -> tuple[str, ...]:
    alternatives = tuple(name.split("|"))
    known = {*columns, *KNOWN}
    for column in alternatives:
        if column not in known:
            raise ConfigError(f"template {template!r}: no column {column!r}{did_you_mean(column, known)}")
    return alternatives


def _fill(fields: Sequence[_Field], values: Sequence[str]) -> str:
    text = ""
    for field, value in zip(fields, values, strict=True):
        if value:
            separator, label = field.before
            text += (separator if text else "") + label + value + field.after
    return text


def _first_present(columns: Sequence[Sequence[str]]) -> list[str]:
    return [next((value for value in row if value), "") for row in zip(*columns, strict=True)]


def _values(frame: pl.DataFrame, column: str, max_length: int) -> list[str]:
    """Return a column as clean text; "" where it has no value or does not exist."""
    return clean_all(_column(frame, column), max_length=max_length)


def _product_values(frame: pl.DataFrame, column: str, max_length: int) -> list[str]:
    """Return a column of products as neutral text; "" where it has no value or does not exist."""
    return neutral_all(_specific(frame) if column == "categories" else _column(frame, column), max_length=max_length)


def _column(frame: pl.DataFrame, column: str) -> list[str | None]:
    if column not in frame.columns:
        return [None] * frame.height
    values, kind = frame[column], frame.schema[column]
    if isinstance(kind, pl.List | pl.Array):
        return [", ".join(row) or None for row in _lists(frame, column)]
    if kind.is_float() or kind.is_decimal():
        return [_number(value) for value in values.cast(pl.Float64).to_list()]
    if isinstance(kind, pl.Struct | pl.Object | pl.Binary):
        raise ConfigError(
            f"column {column!r} holds {kind}; a text can show strings, numbers, dates and lists of strings"
        )
    texts: list[str | None] = values.cast(pl.String).to_list()
    return texts


def _lists(frame: pl.DataFrame, column: str) -> list[list[str]]:
    """Return a column of lists without empty and repeated members; a plain column has lists of one."""
    if column not in frame.columns:
        return [[]] * frame.height
    values = frame[column]
    if not isinstance(values.dtype, pl.List | pl.Array):
        return [[value] if value else [] for value in _column(frame, column)]
    rows = values.cast(pl.List(pl.String)).to_list()
    return [list(dict.fromkeys(word for word in row or [] if word)) for row in rows]


def _specific(frame: pl.DataFrame) -> list[str | None]:
    """Return the categories that tell the items of a shop apart, the most specific ones last."""
    rows = _lists(frame, "categories")
    shops = shop_names(frame)
    filled = Counter(shop for shop, row in zip(shops, rows, strict=True) if row)
    counts = Counter((shop, word) for shop, row in zip(shops, rows, strict=True) for word in row)
    shared = {
        (shop, word)
        for (shop, word), count in counts.items()
        if filled[shop] >= SHARED_FROM and count >= SHARED * filled[shop]
    }
    return [
        ", ".join([word for word in row if (shop, word) not in shared][-CATEGORIES:]) or None
        for shop, row in zip(shops, rows, strict=True)
    ]


def _names(frame: pl.DataFrame, column: str) -> bool:
    """Tell whether a column of shoppers names them instead of describing them."""
    if _IDENTIFYING.fullmatch(column.strip()):
        return True
    values = frame[column].drop_nulls()
    return frame.height >= SHARED_FROM and int(values.is_unique().sum()) > OWN * len(values)


def _number(value: float | None) -> str | None:
    """Write a price or a size as a shop would: 12, 12.5, 12.99."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value:.2f}".rstrip("0").rstrip(".")
