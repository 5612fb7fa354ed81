"""Splits into train, validation and test, what they consist of, and choices that move figures."""

from tastemaker.data.splits.cold import item_cold, user_cold
from tastemaker.data.splits.holdout import Holdout, Split
from tastemaker.data.splits.splitters import SPLITS, as_given, leave_one_out, temporal

__all__ = ["SPLITS", "Holdout", "Split", "as_given", "item_cold", "leave_one_out", "temporal", "user_cold"]
