"""Probes of trust: are the lists sound, is the language model steady, and are the reasons true?"""

from tastemaker.probes.language_models import counts_of, counts_since, failures, language_models, order_sensitivity
from tastemaker.probes.lists import audit
from tastemaker.probes.reasons import counterfactual, grounding
from tastemaker.probes.sensitivity import ATTRIBUTES, NAMES, sensitivity
from tastemaker.probes.similarity import similarities

__all__ = [
    "ATTRIBUTES",
    "NAMES",
    "audit",
    "counterfactual",
    "counts_of",
    "counts_since",
    "failures",
    "grounding",
    "language_models",
    "order_sensitivity",
    "sensitivity",
    "similarities",
]
