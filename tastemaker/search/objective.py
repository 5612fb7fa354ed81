"""What one trial does: fit on train, rank the validation questions, return one figure. There is no test part here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics, registry
from tastemaker.data.splits import variants
from tastemaker.errors import ConfigError, DataError, did_you_mean
from tastemaker.evaluate import prepare
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Holdout
    from tastemaker.evaluate.protocol import Repeats

LEAST_QUESTIONS = 20
"""Fewer validation questions cannot tell settings apart."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One ranking measure at one list length, e.g. "ndcg@10"."""

    name: str
    k: int

    @classmethod
    def of(cls, text: str) -> Measure:
        """Read "ndcg@10".

        Raises:
            ConfigError: an unknown measure, or no list length.
        """
        name, _, k = text.partition("@")
        if name not in metrics.RANKING_MEASURES:
            raise ConfigError(f"--measure {text}: unknown measure{did_you_mean(name, metrics.RANKING_MEASURES)}")
        if not k.isdecimal() or int(k) < 1:
            raise ConfigError(f"--measure {text}: needs the length of the lists, e.g. {name}@10")
        return cls(name, int(k))

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure as the mean over questions, and the standard error of that mean."""

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search may see of a shop: the train part, and validation questions about it. Nothing else is kept.

    Attributes:
        train: what is learnt from.
        validation: what may end training and set weights: all questions, or one half of them where `apart`.
        judged: what the figure is measured on: all questions, the other half where `apart`, or a sample of these.
        apart: whether nobody in `judged` is in `validation`, as weights fitted to questions flatter themselves there.
        masked: whether products of the history are left out of the lists.
        facts: data and protocol, as JSON values.
    """

    train: Dataset
    validation: Holdout
    judged: Holdout
    apart: bool
    masked: bool
    facts: dict[str, Any]

    @classmethod
    def of(
        cls,
        data: Dataset,
        *,
        split: str = "leave-one-out",
        repeats: Repeats = "count",
        masked: bool = True,
        calibrates: bool = False,
        sample: int | None = None,
        seed: int = 0,
    ) -> Asked:
        """Split a shop and let go of its test part.

        Args:
            data: any data set.
            split: a name in `SPLITS`.
            repeats: see `evaluate.prepare`.
            masked: whether products of the history are left out of the lists.
            calibrates: whether the pipeline chooses weights or trees on validation questions
                (`Pipeline.wants_calibration`); it does so on a random half of them, and is judged on the other.
            sample: judge on so many random validation questions.
            seed: of random splits, of the halves and of the sample.

        Raises:
            ConfigError: an unknown name.
            DataError: the data do not allow the split, or leave too few questions.
        """
        parts = prepare(data, split=split, repeats=repeats, seed=seed)
        train, validation = parts.train, parts.validation
        learnt, others = _halves(validation, seed=seed) if calibrates else (validation, validation)
        judged = others if sample is None else others.sample(sample, seed=seed)
        if len(judged) < LEAST_QUESTIONS:
            raise DataError(
                f"{len(judged)} validation questions cannot tell settings apart; needs {LEAST_QUESTIONS}: "
                "use more data, another split, or a larger --sample"
            )
        facts = {
            "data_fingerprint": data.fingerprint,
            "split": split,
            "repeats": repeats,
            "history_masked": masked,
            "fitted_on": "train",
            "measured_on": "validation",
            "train_interactions": len(train),
            "validation_questions": len(validation),
            "questions": len(judged),
            "repeated_targets": int(variants.in_history(judged).sum()),
        }
        if calibrates:
            facts["choices"] = f"weights and the end of training: {len(learnt):,} other validation questions"
        return cls(train, learnt, judged, calibrates, masked, facts)


def _halves(questions: Holdout, *, seed: int) -> tuple[Holdout, Holdout]:
    """Return two random halves; a shopper asks one question, so nobody is in both."""
    order = np.random.default_rng(seed).permutation(len(questions))
    first, second = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    return questions.take(first), questions.take(second)


def measure_settings(
    settings: Mapping[str, Any],
    asked: Asked,
    measure: Measure,
    *,
    seed: int = 0,
    device: str | None = None,
    on_epoch: Callable[[str, Mapping[str, float]], None] | None = None,
) -> Figure:
    """Fit a pipeline on train, let it make its own choices on validation, and measure it on what is judged.

    Args:
        settings: of the pipeline.
        asked: train part and validation questions.
        measure: what is returned.
        seed: of the fit.
        device: where networks are trained, and where encoder and language model work unless their tables name one.
        on_epoch: see `Aids`; what it raises ends the fit.

    Raises:
        TastemakerError: the settings, or the data with them, do not work.
        ConfigError: the pipeline chooses weights or trees, and `asked` keeps no questions for that.
    """
    pipeline = registry.build(registry.on_device(settings, device), place="trial")
    if pipeline.wants_calibration and not asked.apart:
        raise ConfigError(
            "this trial chooses weights on validation questions, and none were kept apart for that, as the "
            "configuration as it stands chooses none; begin with one that does"
        )
    aids = Aids(validation=asked.validation, device=device or "cpu", on_epoch=on_epoch)
    pipeline.fit(asked.train, aids=aids, seed=seed)
    if pipeline.wants_calibration:
        pipeline.calibrate(asked.validation, seed=seed)
    k = min(measure.k, asked.train.n_items)
    lists = pipeline.rank(asked.judged.queries, k, seen=not asked.masked)
    values = metrics.per_query(lists, asked.judged.targets, (measure.k,))[str(measure)]
    exact = values.astype(np.float64)
    return Figure(float(exact.mean()), float(exact.std(ddof=1) / np.sqrt(len(exact))))
