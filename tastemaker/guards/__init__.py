"""Leak tests that run before any score is printed: a caught leak is an error that names its rows.

Each test takes a split (some a fitted pipeline too), raises `LeakError`, and returns facts for the protocol: what was
noticed that is no leak, but that a reader of the figures should know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.abilities import Traceable
from tastemaker.guards.catalogue import check_duplicates, check_ids
from tastemaker.guards.events import check_pairs, check_split
from tastemaker.guards.other_shop import check_other_shop
from tastemaker.guards.prompts import check_prompts
from tastemaker.guards.texts import check_texts

if TYPE_CHECKING:
    from tastemaker.data.splits import Split
    from tastemaker.pipeline import Pipeline

__all__ = [
    "check_all",
    "check_duplicates",
    "check_fitted",
    "check_ids",
    "check_other_shop",
    "check_pairs",
    "check_prompts",
    "check_split",
    "check_texts",
]


def check_all(pipeline: Pipeline | None, split: Split) -> dict[str, Any]:
    """Run every test of the data, before anything is fitted.

    Args:
        pipeline: fitted or not, only asked whether a part of it reads ids; None where there is none.
        split: train, validation and test.

    Returns:
        Facts for the protocol.

    Raises:
        LeakError: something held out is known before it may be.
    """
    reads_ids = pipeline is not None and any(part.reads_ids for part in pipeline.parts.values())
    return {
        **check_split(split),
        **check_ids(split, reads_ids=reads_ids),
        **check_texts(split),
        **check_duplicates(split),
    }


def check_fitted(
    pipeline: Pipeline, split: Split, *, source: Split | None = None, refit: bool = False
) -> dict[str, Any]:
    """Run every test of a fitted pipeline: what its parts were tuned on, and what they say to language models.

    Args:
        pipeline: fitted; stays as it is.
        split: what is asked.
        source: what was learnt from, where that is another shop.
        refit: whether the last fit was on train + validation.

    Returns:
        Facts for the protocol.

    Raises:
        LeakError: something held out is known before it may be.
    """
    for part in pipeline.parts.values():
        if isinstance(part, Traceable):
            for what, pairs in part.learnt_from().items():
                check_pairs(pairs, source or split, what=f"{what} of {part.name}", refit=refit)
    return check_prompts(pipeline, split)
