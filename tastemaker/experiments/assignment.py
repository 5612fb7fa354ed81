"""Who is in which variant: a keyed hash, so the same shopper gets the same answer in every process and at any time."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.experiments.definition import Experiment


def bucket(*parts: str) -> float:
    """Return a number in [0, 1) that depends on all parts, even over them: 53 bits of BLAKE2b."""
    state = blake2b(digest_size=8)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "little") + raw)
    return (int.from_bytes(state.digest(), "little") >> 11) / 2**53


def assign(experiment: Experiment, unit_id: str) -> str | None:
    """Return a shopper's variant, None if they take no part.

    Taking part and the variant are independent draws, so widening `traffic` at its end moves nobody between variants.
    Of an interleaved experiment everyone who takes part sees all variants, whatever the answer.

    Args:
        experiment: the experiment; whether it runs now is the caller's question.
        unit_id: the shopper's id, or the session's for those without one.
    """
    forced = experiment.overrides.get(unit_id)
    if forced is not None:
        return forced
    low, high = experiment.traffic
    if not low <= bucket("layer", experiment.layer or experiment.name, unit_id) < high:
        return None
    drawn = bucket("variant", experiment.salt, experiment.name, unit_id)
    total = 0.0
    for name, share in experiment.shares.items():
        total += share
        if drawn < total:
            return name
    return experiment.names[-1]


def assign_first(experiments: Sequence[Experiment], unit_id: str, *, now: int) -> tuple[Experiment, str] | None:
    """Return the first experiment that runs now and that a shopper takes part in, with their variant.

    Args:
        experiments: in order of importance; a list is credited to one experiment.
        unit_id: the shopper's id, or the session's.
        now: milliseconds UTC.
    """
    for experiment in experiments:
        variant = assign(experiment, unit_id) if experiment.runs(now) else None
        if variant is not None:
            return experiment, variant
    return None
