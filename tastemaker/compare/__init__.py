"""Several models under one protocol, with a floor, tests and one report: `compare(plan(...), folder)`."""

from tastemaker.compare.plan import FLOOR, Entry, Plan, Source, entries
from tastemaker.compare.run import compare

__all__ = ["FLOOR", "Entry", "Plan", "Source", "compare", "entries"]
