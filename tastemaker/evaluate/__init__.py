"""Offline evaluation: `prepare` a split, then `evaluate` a pipeline on it, or several variants at once."""

from tastemaker.evaluate.adapting import Adaptation, check_share
from tastemaker.evaluate.fitting import fit, fit_on_all, forget_checkpoints, tune_on_all
from tastemaker.evaluate.lists import BLOCK
from tastemaker.evaluate.outcome import Evaluation
from tastemaker.evaluate.protocol import DEFAULT_KS, Options, Variant, choices_of, prepare
from tastemaker.evaluate.run import evaluate, evaluate_variants

__all__ = [
    "BLOCK",
    "DEFAULT_KS",
    "Adaptation",
    "Evaluation",
    "Options",
    "Variant",
    "check_share",
    "choices_of",
    "evaluate",
    "evaluate_variants",
    "fit",
    "fit_on_all",
    "forget_checkpoints",
    "prepare",
    "tune_on_all",
]
