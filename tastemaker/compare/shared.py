"""What all jobs of a comparison must do alike: splitting, item vectors for measures, example shoppers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file

from tastemaker.data import readers
from tastemaker.evaluate import prepare
from tastemaker.metrics import Catalogue

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.split import Holdout, Split
    from tastemaker.types import Float32

EXAMPLES, EXAMPLE_LENGTH = 5, 5
"""Shoppers shown in the report, and products shown of each list."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A data set as it was read, and as it is split.

    Attributes:
        data: as it was read.
        split: with ties and repeats as the protocol wants them.
    """

    data: Dataset
    split: Split

    def catalogue(self, vectors: Float32 | None) -> Catalogue:
        """Return what measures know about items.

        Args:
            vectors: text vectors in the order of `data.items`, or None; the split may number items otherwise.
        """
        items = self.split.train.items
        order = self.data.items.numbers(items.frame["id"])
        return Catalogue.of(self.split.train, vectors=None if vectors is None else vectors[order])


def shop(source: dict[str, Any], decides: dict[str, Any]) -> Shop:
    """Read and split a data set.

    Args:
        source: fields of a `Source`.
        decides: `Job.to_dict`.
    """
    data, _ = readers.read(source["path"], format=source["format"], max_bad=source["max_bad"])
    return Shop(data, split(data, decides))


def split(data: Dataset, decides: dict[str, Any]) -> Split:
    """Split data as a job wants it."""
    return prepare(
        data,
        split=decides["split"],
        ties=decides["ties"],
        repeats=decides["repeats"],
        seed=decides["options"]["seed"],
    )


def read_vectors(path: str | None) -> Float32 | None:
    """Return the text vectors that the comparison keeps for its jobs."""
    return None if path is None else load_file(path)["vectors"]


def example_questions(split: Split, *, seed: int) -> Holdout:
    """Return the questions of the example shoppers: the same for every model."""
    return split.test.sample(EXAMPLES, seed=seed)
