"""Pages for people: one self-contained HTML file each, no network, no script; and the comparison as CSV."""

from __future__ import annotations

from tastemaker.report.attack import attack_page
from tastemaker.report.comparison import comparison_page
from tastemaker.report.demo import demo_page, verdict
from tastemaker.report.flat import comparison_csv

__all__ = ["attack_page", "comparison_csv", "comparison_page", "demo_page", "verdict"]
