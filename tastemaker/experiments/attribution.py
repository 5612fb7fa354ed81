"""Which outcomes belong to which list: by request_id within a window, and from there to shoppers and variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.experiments.records import EventRecord, ImpressionRecord

DAY = 86_400_000
"""Milliseconds."""
BLOCK = 10_000
"""Rows held as objects before they become columns."""
CLICKS = ("click", "select_item", "detail-page-view", "view_item", "view")
PURCHASES = ("purchase", "purchase-complete", "buy", "order")
_LISTS: dict[str, Any] = {
    "request_id": pl.String,
    "shown_at": pl.Int64,
    "user_id": pl.String,
    "variant": pl.String,
    "size": pl.Int64,
    "degraded": pl.Boolean,
}
_PLACES: dict[str, Any] = {"request_id": pl.String, "item_id": pl.String, "place": pl.Int64}
_EVENTS: dict[str, Any] = {
    "event_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "event_type": pl.String,
    "timestamp": pl.Int64,
    "value": pl.Float64,
    "request_id": pl.String,
}


@dataclass(frozen=True)
class Crediting:
    """How outcomes are credited.

    Attributes:
        window_days: how long after a list an event counts for it, and after a click a purchase counts for the click.
        clicks: event types that count as a click; upper and lower case, "_", "-" and blanks are alike.
        purchases: event types that count as a purchase; their `value` is what was paid.
    """

    window_days: float = 7.0
    clicks: Sequence[str] = CLICKS
    purchases: Sequence[str] = PURCHASES


@dataclass(frozen=True)
class Attributed:
    """Lists and what came of them.

    Attributes:
        lists: a row for each impression: request_id, shown_at, user_id, variant, size, degraded.
        outcomes: a row for each credited event: request_id, item_id, place (from 0), kind ("click" or "purchase"),
            value, carried (a purchase that came by the shopper's own click on that product, without a request_id).
        purchases: a row for each purchase of anyone: user_id, timestamp, value.
        counts: what was seen, and what could not be credited and why.
    """

    lists: pl.DataFrame
    outcomes: pl.DataFrame
    purchases: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)


def attribute(
    impressions: Iterable[ImpressionRecord],
    events: Iterable[EventRecord],
    *,
    experiment: str | None = None,
    since: int | None = None,
    until: int | None = None,
    crediting: Crediting | None = None,
) -> Attributed:
    """Credit clicks and purchases to the lists that led to them.

    An event with a request_id counts for that list if it happened after it, within the window, is of a product of the
    list and, where both are known, of the same shopper. A purchase without a request_id counts for the list of the
    shopper's newest credited click on the same product within the window. Each event counts once.

    Both are read once, one after the other, and kept as columns alone, so that they may come in any number.

    Args:
        impressions: lists that were shown; of a repeated request_id the first counts.
        events: what shoppers did; of a repeated event_id the first counts.
        experiment: only lists of this experiment; all, without it.
        since: only lists from this time on, in milliseconds UTC.
        until: only lists before this time.
        crediting: how outcomes are credited.
    """
    crediting = crediting or Crediting()
    kinds = {plain(name): "click" for name in crediting.clicks} | {
        plain(name): "purchase" for name in crediting.purchases
    }
    happened = Table(_EVENTS)
    for event in events:
        if kind := kinds.get(plain(event.event_type)):
            of = (event.event_id, event.user_id, event.item_id)
            happened.add((*of, kind, event.timestamp, event.value, event.request_id))
    found = happened.frame().unique("event_id", keep="first", maintain_order=True)
    named_lists = set(found["request_id"].drop_nulls())
    lists, places = Table(_LISTS), Table(_PLACES)
    placed: set[str] = set()
    for one in impressions:
        outside = experiment is not None and one.experiment != experiment
        early = since is not None and one.timestamp < since
        late = until is not None and one.timestamp >= until
        if outside or early or late:
            continue
        lists.add((one.request_id, one.timestamp, one.user_id, one.variant, len(one.item_ids), one.degraded))
        if one.request_id in named_lists and one.request_id not in placed:
            placed.add(one.request_id)
            for place, item in enumerate(one.item_ids):
                places.add((one.request_id, item, place))

    shown = lists.frame().unique("request_id", keep="first", maintain_order=True)
    window = round(crediting.window_days * DAY)
    named = found.filter(pl.col("request_id").is_not_null())
    direct, counts = _direct(named, shown, places.frame(), window)
    nameless = found.filter(pl.col("request_id").is_null() & (pl.col("event_type") == "purchase"))
    carried = _carried(nameless, direct, window)
    columns = ["event_id", "request_id", "item_id", "place", "event_type", "timestamp", "value", "carried"]
    outcomes = pl.concat([direct.select(columns), carried.select(columns)]).rename({"event_type": "kind"})
    bought = found.filter(pl.col("event_type") == "purchase").select("user_id", "timestamp", "value")
    counts = {
        "lists": shown.height,
        "degraded lists": int(shown["degraded"].sum()),
        "events": found.height,
        "credited": outcomes.height,
        "credited by the shopper's click": carried.height,
        **counts,
        "purchases without a value": bought["value"].null_count(),
    }
    return Attributed(shown, outcomes, bought, counts)


def plain(name: str) -> str:
    """Return the one form of an event type's name."""
    return name.strip().casefold().replace("_", "-").replace(" ", "-")


class Table:
    """A table that grows row by row; of its rows only the newest block are objects, the rest are columns.

    Args:
        schema: of the table.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._blocks = [pl.DataFrame(schema=schema)]

    def add(self, row: tuple[Any, ...]) -> None:
        """Add a row, in the order of the columns."""
        self._rows.append(row)
        if len(self._rows) >= BLOCK:
            self._pack()

    def frame(self) -> pl.DataFrame:
        """Return all rows."""
        self._pack()
        return pl.concat(self._blocks, rechunk=True)

    def _pack(self) -> None:
        if self._rows:
            columns = zip(self._schema.items(), zip(*self._rows, strict=True), strict=True)
            self._blocks.append(pl.DataFrame([pl.Series(name, column, dtype) for (name, dtype), column in columns]))
            self._rows = []


def _direct(
    events: pl.DataFrame, lists: pl.DataFrame, places: pl.DataFrame, window: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the events that count for the list they name, and how many do not, by cause."""
    places = places.unique(["request_id", "item_id"], keep="first", maintain_order=True)
    shown = lists.select("request_id", "shown_at", shopper="user_id")
    joined = (
        events.join(shown, on="request_id", how="left", maintain_order="left")
        .join(places, on=["request_id", "item_id"], how="left", maintain_order="left")
        .with_columns(late=pl.col("timestamp") - pl.col("shown_at"))
    )
    cause = (
        pl.when(pl.col("shown_at").is_null())
        .then(pl.lit("of lists that are not known or not part of this"))
        .when(pl.col("place").is_null())
        .then(pl.lit("of products that the list did not show"))
        .when(pl.col("shopper").is_not_null() & (pl.col("shopper") != pl.col("user_id")))
        .then(pl.lit("of another shopper than the list's"))
        .when(pl.col("late") < 0)
        .then(pl.lit("before the list"))
        .when(pl.col("late") > window)
        .then(pl.lit("after the window"))
    )
    joined = joined.with_columns(cause=cause, carried=pl.lit(value=False))
    left_out = joined.filter(pl.col("cause").is_not_null())["cause"].value_counts(sort=True)
    counts = {f"not credited: {name}": int(count) for name, count in left_out.iter_rows()}
    return joined.filter(pl.col("cause").is_null()), counts


def _carried(purchases: pl.DataFrame, direct: pl.DataFrame, window: int) -> pl.DataFrame:
    """Return the purchases that follow a credited click of the same shopper on the same product."""
    clicks = direct.filter(pl.col("event_type") == "click").select(
        "user_id", "item_id", "request_id", "place", clicked_at="timestamp"
    )
    joined = (
        purchases.drop("request_id")
        .sort("timestamp")
        .join_asof(
            clicks.sort("clicked_at"),
            left_on="timestamp",
            right_on="clicked_at",
            by=["user_id", "item_id"],
            strategy="backward",
            tolerance=window,
            check_sortedness=False,
        )
    )
    return joined.filter(pl.col("request_id").is_not_null()).with_columns(carried=pl.lit(value=True))
