"""A comparison as CSV: one row a model and variant, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from tastemaker.report.reading import read

if TYPE_CHECKING:
    from tastemaker.report.reading import Comparison, Row

FORMULA = ("=", "+", "-", "@")
"""A spreadsheet runs cells that start with one of these."""
BOUNDS = ("value", "low", "high", "spread")


def comparison_csv(comparison: dict[str, Any]) -> str:
    """Return one line a model and variant: verdict, measures with bounds and spread, the test against the floor, cost.

    What was not measured is empty. A text that a spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        DataError: the format is another, or a part has the wrong type.
    """
    known = read(comparison)
    measures = list(dict.fromkeys(name for row in known.rows for name in row.metrics))
    records = [_record(known, row, measures) for row in known.rows]
    written = io.StringIO()
    columns = list(dict.fromkeys(key for record in records for key in record))
    out = csv.DictWriter(written, columns or ["model"], restval="", lineterminator="\n")
    out.writerow({column: _safe(column) for column in out.fieldnames})
    out.writerows({key: _safe(value) for key, value in record.items()} for record in records)
    return written.getvalue()


def _record(comparison: Comparison, row: Row, measures: list[str]) -> dict[str, Any]:
    """Return the cells of one row."""
    record: dict[str, Any] = {
        "model": row.model,
        "variant": row.variant,
        "floor": row.floor,
        "headline": comparison.measure,
        "verdict": row.verdict,
        "error": row.error,
    }
    for measure in measures:
        measured = row.measured(measure)
        for bound in BOUNDS:
            record[measure if bound == "value" else f"{measure} {bound}"] = getattr(measured, bound)
    test = row.against_floor
    record |= {
        "floor model": test.model,
        "floor difference": test.difference,
        "floor difference low": test.low,
        "floor difference high": test.high,
        "floor p": test.p,
        "floor p_holm": test.p_holm,
        "fit_seconds": row.cost.fit_seconds,
        "rank_seconds": row.cost.rank_seconds,
        "peak_mib": row.cost.peak_mib,
        "latency_ms p50": row.cost.latency_ms.get("p50"),
        "latency_ms p95": row.cost.latency_ms.get("p95"),
    }
    return record | {f"{key} per 1000": value for key, value in row.cost.per_1000_requests.items()}


def _safe(value: object) -> object:
    """Return a cell on one line that no spreadsheet takes for a formula."""
    if isinstance(value, str):
        line = " ".join(value.split())
        return f"'{line}" if line.startswith(FORMULA) and not _is_number(line) else line
    return "" if value is None else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
