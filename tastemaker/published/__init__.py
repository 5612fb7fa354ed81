"""Published benchmarks and what others report on them, as data, and the table in which their rows and ours stand."""

from __future__ import annotations

from tastemaker.published.figures import Benchmark, Figure, benchmarks, check_data, figures
from tastemaker.published.table import TableRow, as_json, as_markdown, as_page, joined

__all__ = [
    "Benchmark",
    "Figure",
    "TableRow",
    "as_json",
    "as_markdown",
    "as_page",
    "benchmarks",
    "check_data",
    "figures",
    "joined",
]
