"""A model that learnt elsewhere, asked in this shop: as it is (zero-shot), or tuned on some of the shop's shoppers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tastemaker import guards
from tastemaker.data.variants import of_shoppers
from tastemaker.errors import DataError, LeakError
from tastemaker.evaluate.fitting import timed
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from tastemaker.data.split import Split
    from tastemaker.pipeline import Pipeline

ADAPTED = "transfer and tuning"
"""The step's name where its seconds are told."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How a fitted pipeline comes to rank the shop that is asked.

    Attributes:
        facts: what its artifact says of how it was fitted.
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
            ConfigError: a stage cannot rank the catalogue of another shop.
            LeakError: the pipeline was fitted on what this split holds out.
            DataError: the share leaves nobody to learn from.
        """
        self._check_origin(split)
        with timed(seconds, ADAPTED):
            notes: list[str] = []
            here = self.facts.get("data_fingerprint") == split.protocol.get("data_fingerprint")
            if pipeline.items.digest != split.train.items.digest:
                notes = pipeline.transfer(split.train.items)
            said: dict[str, Any] = {
                "fitted_on": "train, and saved" if here else "other data, and saved",
                "fitted_on_other_data": None if here else self.facts.get("data_fingerprint"),
                "transfer": notes,
                "tuned_on_share": self.share,
            }
            if self.share:
                part = split if self.share == 1 else of_shoppers(split, self.share, seed=seed)
                given = replace(aids or Aids(), validation=part.validation)
                anew = pipeline.tune(part.train, aids=given, seed=seed, progress=progress)
                said |= {"tuned_on": "train", "tuned_on_interactions": len(part.train), "fitted_anew": anew}
        guards.check_fitted(pipeline, split)
        return said

    def _check_origin(self, split: Split) -> None:
        """Refuse a pipeline that has seen this shop under another split.

        Raises:
            LeakError: it has.
        """
        if self.facts.get("data_fingerprint") != split.protocol.get("data_fingerprint"):
            return
        fitted = self.facts.get("protocol", {}).get("split")
        if fitted != split.protocol["split"]:
            raise LeakError(
                "the saved model was fitted on these very data",
                [f"it learnt under the split {fitted!r}; the split asked is {split.protocol['split']!r}"],
                "Fit it under the same --split, or measure the configuration instead of the saved model",
            )


def check_share(share: float) -> float:
    """Return the share of shoppers to learn from.

    Raises:
        DataError: it is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise DataError(f"share {share}: must be between 0 and 1, such as 0.01 for one shopper in a hundred")
    return share
