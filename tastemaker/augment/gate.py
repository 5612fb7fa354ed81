"""The gate: what was written is used only if it helps on validation questions for certain.

A configuration is fitted on the training part without and with each kind of augmentation, and judged on the same
validation questions. A kind is kept if its paired gain in NDCG@10 exceeds 2.8 standard errors, the rule by which a
re-ranker's weight is chosen (`tastemaker.models.parts.reranking.mixing`). Kinds that help each alone are then judged
together; where they do not help together, the best one alone is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics, registry
from tastemaker.models.parts.reranking.mixing import CERTAINTY
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tastemaker.data.dataset import Dataset
    from tastemaker.search.objective import Asked
    from tastemaker.types import Float64

JUDGED_AT = 10
MEASURE = f"ndcg@{JUDGED_AT}"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a set of kinds does on validation.

    Attributes:
        kinds: what was used.
        value: mean NDCG@10.
        gain: paired mean gain over the data without any.
        error: standard error of the gain.
    """

    kinds: tuple[str, ...]
    value: float
    gain: float
    error: float

    @property
    def helps(self) -> bool:
        """Whether the gain is there for certain."""
        return self.gain > CERTAINTY * self.error > 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "kinds": list(self.kinds),
            MEASURE: self.value,
            "gain": self.gain,
            "standard_error": self.error,
            "helps": self.helps,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate lets through.

    Attributes:
        kept: kinds that are used.
        without: NDCG@10 of the data without any.
        trials: what was judged, in order.
        questions: validation questions that it was judged on.
    """

    kept: tuple[str, ...]
    without: float
    trials: tuple[Trial, ...]
    questions: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "measure": MEASURE,
            "questions": self.questions,
            "certainty": CERTAINTY,
            "without": self.without,
            "trials": [trial.to_dict() for trial in self.trials],
            "kept": list(self.kept),
        }


def judge(
    settings: Mapping[str, Any],
    asked: Asked,
    kinds: Sequence[str],
    augmented: Callable[[Sequence[str]], Dataset],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Verdict:
    """Say which kinds help.

    Args:
        settings: of the pipeline that is to profit.
        asked: train part and validation questions.
        kinds: what was written.
        augmented: returns the training part with some kinds.
        seed: of every fit.
        progress: shown over the trials.
    """
    before = _values(settings, asked, asked.train, seed=seed)

    def tried(*some: str) -> Trial:
        values = _values(settings, asked, augmented(some), seed=seed)
        gain = values - before
        return Trial(some, float(values.mean()), float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain))))

    trials = [tried(kind) for kind in progress(list(kinds), label="judging on validation")]
    helpful = [trial for trial in trials if trial.helps]
    kept: tuple[str, ...] = tuple(trial.kinds[0] for trial in helpful)
    if len(helpful) > 1:
        together = tried(*kept)
        trials.append(together)
        best = max(helpful, key=lambda trial: trial.gain)
        kept = kept if together.helps and together.gain >= best.gain else best.kinds
    return Verdict(kept, float(before.mean()), tuple(trials), len(asked.judged))


def _values(settings: Mapping[str, Any], asked: Asked, train: Dataset, *, seed: int) -> Float64:
    """Fit on a training part and return the measure of each question that is judged."""
    pipeline = registry.build(settings, place="augment")
    pipeline.fit(train, aids=Aids(validation=asked.validation), seed=seed)
    if pipeline.wants_calibration:
        pipeline.calibrate(asked.validation, seed=seed)
    lists = pipeline.rank(asked.judged.queries, min(JUDGED_AT, train.n_items), seen=not asked.masked)
    found: Float64 = metrics.per_query(lists, asked.judged.targets, (JUDGED_AT,))[MEASURE].astype(np.float64)
    return found
