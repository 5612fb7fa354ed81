"""A model that learnt elsewhere, asked in this shop: as it is (zero-shot), or tuned on some of the shop's shoppers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tastemaker import guards
from tastemaker.data import origins
from tastemaker.data.splits.variants import of_shoppers
from tastemaker.errors import DataError, LeakError
from tastemaker.evaluate.fitting import timed
from tastemaker.evaluate.protocol import chosen_on
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Split
    from tastemaker.pipeline import Pipeline

ADAPTED = "transfer and tuning"
"""The step's name where its seconds are told."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How a fitted pipeline comes to rank the shop that is asked.

    Attributes:
        facts: what its artifact says of how it was fitted, with those of the models that it comes from.
        share: share of the shop's shoppers whose train part it is tuned on; 0 leaves it as it is.
    """

    facts: dict[str, Any]
    share: float = 0.0

    def apply(
        self,
        pipeline: Pipeline,
        split: Split,
        *,
        aids: Aids | None = None,
        seed: int = 0,
        progress: Progress = silent,
        seconds: dict[str, float] | None = None,
    ) -> dict[str, Any]:
        """Move the pipeline to the shop's catalogue and tune it; validation questions of the same shoppers may end it.

        Returns:
            Facts for the protocol.

        Raises:
            ConfigError: a stage cannot rank another catalogue.
            LeakError: the pipeline, or one that it comes from, learnt from another train part of the same data, or from
                other data that hold the shop's log, as joined shops may.
            DataError: the share leaves nobody to learn from.
        """
        _check_origin(self.facts, split)
        with timed(seconds, ADAPTED):
            notes: list[str] = []
            if pipeline.items.digest != split.train.items.digest:
                notes = pipeline.transfer(split.train.items)
            said: dict[str, Any] = {
                **_origin(self.facts, split),
                "transfer": notes,
                "tuned_on_share": self.share,
            }
            if self.share:
                part = split if self.share == 1 else of_shoppers(split, self.share, seed=seed)
                given = replace(aids or Aids(), validation=part.validation)
                ends_early = pipeline.stops_early
                anew = pipeline.tune(part.train, aids=given, seed=seed, progress=progress)
                said |= {"tuned_on": "train", "tuned_on_interactions": len(part.train), "fitted_anew": anew}
                if ends_early and len(part.validation):
                    said["choices"] = f"{chosen_on(part.validation)}; before that {said['choices']}"
        guards.check_fitted(pipeline, split)
        return said


def _lessons(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the facts of each step at which a saved model learnt something, the last first."""
    link: dict[str, Any] | None = facts
    while link:
        if "transferred_from" not in link:
            yield link
        link = link.get("tuned_from") or link.get("transferred_from")


def _check_origin(facts: dict[str, Any], split: Split) -> None:
    """Refuse a model that learnt from these data anything but the train part that is asked about.

    Raises:
        LeakError: it did, or does not say what it learnt from.
    """
    asked = split.protocol["split"]
    for step in _lessons(facts):
        if step.get("data_fingerprint") != split.protocol.get("data_fingerprint"):
            _check_shops(step, split.refit)
            continue
        name, learnt = step.get("protocol", {}).get("split"), step.get("train_fingerprint")
        if name == asked and learnt == split.train.fingerprint:
            continue
        if name != asked:
            why = f"it learnt under the split {name!r}; the split asked is {asked!r}"
        elif learnt is None:
            why = "it does not say which part of them it learnt from, as an older version saved it"
        else:
            why = "it learnt from another train part of them: the seed of the split, ties or repeats differ"
        raise LeakError(
            "the saved model was fitted on these very data",
            [why],
            "Fit it under the same --split and --seed, or measure the configuration instead of the saved model",
        )


def _check_shops(step: dict[str, Any], asked: Dataset) -> None:
    """Refuse what was learnt from other data that hold the log of the shop that is asked.

    Raises:
        LeakError: one of the shops has most of its (user, item) pairs in common with that log.
    """
    shops = [origins.LogDigest.from_dict(facts) for facts in step.get("shops", ())]
    for shop, share in zip(shops, origins.common(shops, asked), strict=True):
        if share >= origins.SAME:
            what = "the data" if shop.shop is None else f"the shop '{shop.shop}' of the joined data"
            raise LeakError(
                "the saved model learnt from this very shop, so it is not zero-shot here",
                [f"{share:.0%} of who bought what in {what} that it was fitted on is in the log that is asked"],
                "Fit on the other shops alone, or measure the configuration instead of the saved model",
            )


def _origin(facts: dict[str, Any], split: Split) -> dict[str, Any]:
    """Say what a saved model learnt from, and what its choices were made on."""
    steps = list(_lessons(facts))
    learnt = [step.get("data_fingerprint") for step in steps]
    here = split.protocol.get("data_fingerprint")
    other = dict.fromkeys(one for one in learnt if one not in (None, here))
    words = {(True, True): "other data and train", (True, False): "other data", (False, True): "train"}
    return {
        "fitted_on": f"{words.get((bool(other), here in learnt), 'unknown data')}, and saved",
        "fitted_on_other_data": ", ".join(other) or None,
        "choices": f"as saved: {steps[0].get('protocol', {}).get('choices', 'unknown')}" if steps else "as saved",
    }


def check_share(share: float) -> float:
    """Return the share of shoppers to learn from.

    Raises:
        DataError: it is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise DataError(f"share {share}: must be between 0 and 1, such as 0.01 for one shopper in a hundred")
    return share
