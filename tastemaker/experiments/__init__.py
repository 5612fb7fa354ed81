"""Experiments: who sees what, what came of it, and what another policy would have earned. See docs/experiments.md."""

from tastemaker.experiments.assignment import assign, assign_first, bucket
from tastemaker.experiments.definition import Experiment, Variant, check_together
from tastemaker.experiments.interleaving import Interleaved, interleave

__all__ = [
    "Experiment",
    "Interleaved",
    "Variant",
    "assign",
    "assign_first",
    "bucket",
    "check_together",
    "interleave",
]
