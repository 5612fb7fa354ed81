"""What a data set looks like in numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Float32, Int64

QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
DESCRIBING = ("title", "brand", "categories", "description", "price")


def describe(data: Dataset) -> dict[str, Any]:
    """Return the size, shape and coverage of a data set as JSON values.

    Shares are between 0 and 1. `density` counts each user-item pair once. `cold_items` have no interaction.
    `popularity` tells how unequal the items' interactions are: the share that falls on the most popular 1 % of the
    catalogue (at least one item), and the Gini coefficient over the catalogue, 0 = all alike, towards 1 = all on one.
    `activity` is the share that falls on the busiest 1 % of the users (at least one).
    """
    log = data.log
    pairs = log.select(pl.struct("user", "item").n_unique()).item() if len(data) else 0
    lengths = data.queries().lengths
    times, values = log["timestamp"].drop_nulls(), log["value"].drop_nulls()
    return {
        "users": data.n_users,
        "items": data.n_items,
        "interactions": len(data),
        "density": _share(pairs, data.n_users * data.n_items),
        "repeats": _share(len(data) - pairs, len(data)),
        "history_length": _quantiles(lengths[lengths > 0]),
        "activity": {"top_1_percent": _top_share(lengths.astype(np.float32), 0.01)},
        "users_without_interactions": int((lengths == 0).sum()),
        "cold_items": int((data.popularity == 0).sum()),
        "item_interactions": _quantiles(data.popularity[data.popularity > 0]),
        "popularity": {"top_1_percent": _top_share(data.popularity, 0.01), "gini": gini(data.popularity)},
        "items_with": {name: _coverage(data.items.frame, name) for name in DESCRIBING},
        "timestamps": _share(len(times), len(data)),
        "first_time": _iso(times.min()),
        "last_time": _iso(times.max()),
        "values": _share(len(values), len(data)),
        "smallest_value": None if values.is_empty() else float(values.to_numpy().min()),
        "largest_value": None if values.is_empty() else float(values.to_numpy().max()),
        "item_columns": data.items.frame.columns[1:],
        "user_columns": data.users.frame.columns[1:],
        "log_columns": log.columns[2:],
        "fingerprint": data.fingerprint,
    }


def gini(counts: Float32) -> float:
    """Return the Gini coefficient of non-negative counts: half their relative mean absolute difference."""
    ordered = np.sort(counts.astype(np.float64))
    total, n = ordered.sum(), len(ordered)
    if not total:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _quantiles(counts: Int64 | Float32) -> dict[str, float]:
    if not len(counts):
        return {}
    found = {name: int(np.quantile(counts, at, method="lower")) for name, at in QUANTILES.items()}
    return {**found, "mean": float(np.mean(counts, dtype=np.float64))}


def _top_share(counts: Float32, share: float) -> float:
    if not counts.sum():
        return 0.0
    top = max(1, int(len(counts) * share))
    return float(np.sort(counts)[::-1][:top].sum(dtype=np.float64) / counts.sum(dtype=np.float64))


def _coverage(frame: pl.DataFrame, name: str) -> float:
    """Share of rows that have something in a column: no null, empty text or empty list."""
    if name not in frame.columns or frame.is_empty():
        return 0.0
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    elif isinstance(column.dtype, pl.List):
        column = column.list.len().replace(0, None)
    return _share(column.count(), len(column))


def _iso(seconds: Any) -> str | None:  # noqa: ANN401  # polars types an extreme as any Python value
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()
