"""Whether the held-out answer turns up oftener than chance allows."""

from __future__ import annotations

from scipy.special import bdtrc

ALPHA = 1e-3
"""Chance below which a coincidence is no longer taken for one."""


def beyond_chance(found: int, asked: int, found_by_chance: int, asked_by_chance: int, *, tests: int = 1) -> bool:
    """Say whether `found` of `asked` is too much, beside what random answers reach.

    One-sided conditional binomial test: if both had one rate, each find would be among the `asked` ones with the
    probability of their share. Where so many `tests` are made, each must be the surer (Bonferroni).
    """
    if not found:
        return False
    share = asked / (asked + asked_by_chance)
    return bool(bdtrc(found - 1, found + found_by_chance, share) < ALPHA / tests)
