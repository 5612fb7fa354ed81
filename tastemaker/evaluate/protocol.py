"""The choices that move a figure, each with a name: variants of the protocol, and what a result says about its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from tastemaker.abilities import Calibrated
from tastemaker.data.splits import SPLITS, variants
from tastemaker.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.pipeline import Pipeline

Ties = Literal["file", "shuffled"]
Repeats = Literal["count", "exclude", "novel"]

DEFAULT_KS = (5, 10)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to fit and rank the same split.

    Attributes:
        refit: whether the last fit is on train + validation.
        masking: whether items of the history are left out of the lists.
        ties: order of interactions at the same time and of equal scores: as in the files, or at random by seed.
    """

    refit: bool = False
    masking: bool = True
    ties: Ties = "file"

    def __lt__(self, other: Variant) -> bool:
        """Put train before refit, file order before shuffled, masked before unmasked: the order of work and tables."""
        return (self.refit, self.ties, not self.masking) < (other.refit, other.ties, not other.masking)

    @property
    def name(self) -> str:
        """The variant in words, e.g. "masked, file ties, fitted on train"."""
        masked, fitted = "masked" if self.masking else "unmasked", "train + validation" if self.refit else "train"
        return f"{masked}, {self.ties} ties, fitted on {fitted}"


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, beyond the variant.

    Attributes:
        ks: list lengths.
        sample: measure so many random test questions instead of all.
        seed: of sampling, bootstrap and probes, and of fitting unless another is given.
        user_groups: columns of the shoppers that split the questions into groups; history length always does.
        item_groups: columns of the products, for the target; popularity and age always do.
        price: money for a million prompt tokens, and for a million answer tokens; None leaves money out.
        probe: whether latency, cold start, order sensitivity and the truth of reasons are tried out as well.
        device: where networks are trained, as torch names it; its arithmetic moves figures by chance, as a seed does.
    """

    ks: tuple[int, ...] = DEFAULT_KS
    sample: int | None = None
    seed: int = 0
    user_groups: tuple[str, ...] = ()
    item_groups: tuple[str, ...] = ()
    price: tuple[float, float] | None = None
    probe: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise ConfigError(f"k {list(self.ks)}: list lengths must be at least 1")

    @property
    def longest(self) -> int:
        """The longest list that is asked for."""
        return max(self.ks)

    @property
    def measure(self) -> str:
        """The headline measure: NDCG at 10, or at the longest list where 10 is not among them."""
        return f"ndcg@{10 if 10 in self.ks else self.longest}"


def prepare(
    data: Dataset, *, split: str = "leave-one-out", ties: Ties = "file", repeats: Repeats = "count", seed: int = 0
) -> Split:
    """Split a data set, with the choices about ties and repeated purchases applied in order and said in the protocol.

    Args:
        data: any data set.
        split: a name in `SPLITS`.
        ties: see `Variant`.
        repeats: a product that a shopper buys again counts as any other target ("count"), is taken out of the data
            but for its first purchase ("exclude"), or stays in histories and does not count as a target ("novel").
        seed: of random splits and of the order of ties.

    Raises:
        ConfigError: an unknown name.
        DataError: the data do not allow the split, or a choice leaves no question.
    """
    require_known(split=split, ties=ties, repeats=repeats)
    facts: dict[str, Any] = {"data_fingerprint": data.fingerprint}
    if ties == "shuffled":
        data, shuffled = variants.shuffled_ties(data, seed=seed)
        facts |= shuffled
    if repeats == "exclude":
        data, excluded = variants.without_repeats(data)
        facts |= excluded
    parts = SPLITS[split](data, seed=seed)
    if repeats == "novel":
        parts = variants.novel_targets(parts)
    return parts.with_facts(**facts, ties=ties, repeats=repeats)


def require_known(*, split: str, ties: str, repeats: str) -> None:
    """Refuse unknown names, also before data are read.

    Raises:
        ConfigError: an unknown name.
    """
    known = {"split": (split, tuple(SPLITS)), "ties": (ties, get_args(Ties)), "repeats": (repeats, get_args(Repeats))}
    for word, (given, names) in known.items():
        if given not in names:
            raise ConfigError(f"{word} {given}: unknown{did_you_mean(given, names)}")


def choices_of(pipeline: Pipeline, validation: Holdout) -> str:
    """Say which validation questions a pipeline makes choices on: weights and trees, or when training ends."""
    if pipeline.stops_early:
        return chosen_on(validation)
    models = (stage.recommender for stage in pipeline.stages)
    wanted = max((model.calibration_size for model in models if isinstance(model, Calibrated)), default=0)
    return chosen_on(validation, wanted=wanted) if wanted else "none"


def chosen_on(validation: Holdout, *, wanted: int | None = None) -> str:
    """Say that choices were made on validation questions, at most so many as are wanted."""
    count = len(validation) if wanted is None else min(wanted, len(validation))
    return f"validation: {count:,} questions"


def stated(
    split: Split,
    test: Holdout,
    variant: Variant,
    options: Options,
    *,
    seed: int,
    choices: str,
    source: Split | None = None,
) -> dict[str, Any]:
    """Say every choice that moves the figures; what the split says of itself has the last word.

    Args:
        split: what is asked.
        test: the questions, perhaps a sample of them.
        variant: masking, refit and ties.
        options: sample and seed.
        seed: of fitting.
        choices: what choices were made on; see `choices_of`.
        source: the shop that was learnt from, where it is another.
    """
    sampled = options.sample is not None and options.sample < len(split.test)
    fitted_on = "train + validation" if variant.refit else "train"
    drawn = {"sample_seed": options.seed if sampled else None, "bootstrap_seed": options.seed}
    return {
        "items_ranked": "all",
        "history_masked": variant.masking,
        "fitted_on": fitted_on if source is None else f"{fitted_on} of another shop",
        "choices": choices,
        "history_at_test": "train + validation",
        "order_of_ties": "file",
        "order_of_equal_scores": "lower item number first",
        "test_queries": len(test),
        "test_queries_available": len(split.test),
        "sample": "random, by seed" if sampled else None,
        "targets_in_history": int(variants.in_history(test).sum()),
        "repeated_targets": _of_repeats(split, variant),
        "popularity_and_age": f"of {fitted_on}",
        "interval": "95 % percentile bootstrap over queries, 1,000 resamples",
        "seed": seed,
        "device": options.device,
        **(drawn if options.seed != seed else {}),
        **split.protocol,
    }


def _of_repeats(split: Split, variant: Variant) -> str:
    """Say what becomes of targets that the shopper had bought before."""
    repeats = split.protocol.get("repeats", "count")
    if repeats == "exclude":
        return "none: only first purchases are in the data"
    if repeats == "novel":
        return "not counted"
    return "counted; a masked list can never hit them" if variant.masking else "counted"
