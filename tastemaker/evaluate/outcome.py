"""The outcome of one evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tastemaker.data.ranking import Ranking
    from tastemaker.evaluate.protocol import Variant
    from tastemaker.metrics import Ratio
    from tastemaker.types import Float32


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pipeline under one variant of the protocol; every field but the last four is JSON-ready.

    Attributes:
        protocol: split, masking, refit, sample, seeds, counts, data fingerprint, and what the leak tests noticed.
        metrics: measure -> {"value", "low", "high"}: the mean over questions and its 95 % bootstrap interval.
        slices: measures by group of questions: history length, popularity and age of the target, chosen columns.
        gaps: for each way of grouping the worst and the best group, and what lies between them.
        curves: "lorenz" (share of products, share of places in lists) and "coverage" (list length, share listed).
        cold_start: the same shoppers with only their newest purchases shown; empty unless probed.
        stages: measures after each stage, what the stage changed, and its own report.
        trust: the audit of the lists; with probes also order sensitivity, whether lists change with who asks, and the
            truth of reasons, and under which variant they were tried out.
        cost: seconds, latency, and what language models were asked during fitting, ranking and probes.
        variant: masking, refit, ties.
        per_query: measure -> one value a question, for paired tests.
        ratios: measures that are one sum over questions divided by another: revenue, popularity lift.
        lists: what was answered.
    """

    protocol: dict[str, Any]
    metrics: dict[str, dict[str, float | None]]
    slices: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    curves: dict[str, Any]
    cold_start: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    trust: dict[str, Any]
    cost: dict[str, Any]
    variant: Variant
    per_query: dict[str, Float32] = field(repr=False)
    ratios: dict[str, Ratio] = field(repr=False)
    lists: Ranking = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values for JSON, without the lists."""
        return {
            "variant": self.variant.name,
            "protocol": self.protocol,
            "metrics": self.metrics,
            "slices": self.slices,
            "gaps": self.gaps,
            "curves": self.curves,
            "cold_start": self.cold_start,
            "stages": self.stages,
            "trust": self.trust,
            "cost": self.cost,
        }
