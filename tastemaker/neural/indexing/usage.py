"""How well identifiers use their codes, what they have in common, and how stale they have become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.neural.indexing.words import END

if TYPE_CHECKING:
    from tastemaker.neural.indexing.semantic_ids import SemanticIds
    from tastemaker.types import Bool, Int64


def usage(ids: SemanticIds) -> dict[str, Any]:
    """Return facts about identifiers, JSON values.

    Returns:
        "scheme", "version", "digest", "items"; "distinct": different tuples; "collisions": items that did not have
        their first choice to themselves, and their "collision_share"; "levels": for each level its "codes", how many
        are "used", and the "perplexity" of their use (2 to the entropy in bits: as many codes, equally often used,
        would tell as much); "error": mean squared distance of the items' vectors from what their codes stand for.
    """
    levels = []
    for level, size in enumerate(ids.sizes):
        counts = np.bincount(ids.codes[:, level], minlength=size)
        shares = counts[counts > 0] / max(1, len(ids))
        perplexity = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
        levels.append({"codes": size, "used": int((counts > 0).sum()), "perplexity": round(perplexity, 2)})
    return {
        "scheme": ids.scheme,
        "version": ids.version,
        "digest": ids.digest,
        "items": len(ids),
        "distinct": len(np.unique(ids.codes, axis=0)),
        "collisions": int(ids.moved.sum()),
        "collision_share": _share(ids.moved),
        "error": _mean(ids.errors),
        "levels": levels,
    }


def staleness(ids: SemanticIds) -> dict[str, Any]:
    """Compare the items that came later with those that identifiers were made for, JSON values.

    Returns:
        "new_items" and their "new_share" of the catalogue; "error" and "new_error", mean squared distances from what
        the codes stand for, and "error_ratio" of the two: over 1 the codes fit new items worse; "collision_share" and
        "new_collision_share". None where nothing is new, or a scheme has no vectors.
    """
    new = ids.born > 0
    old, later = _mean(ids.errors[~new]), _mean(ids.errors[new])
    return {
        "new_items": int(new.sum()),
        "new_share": _share(new),
        "error": old,
        "new_error": later,
        "error_ratio": round(later / old, 4) if old and later is not None else None,
        "collision_share": _share(ids.moved[~new]),
        "new_collision_share": _share(ids.moved[new]),
    }


def in_common(ids: SemanticIds, number: int) -> Int64:
    """Return how many codes of each item say the same as those of one item, int64 [n].

    A code means something beside those before it, so only equal beginnings count; with "product" codes each stands for
    itself and counts wherever it is. The level that tells equal tuples apart says nothing and does not count, nor does
    what fills up a short textual identifier.
    """
    telling = ids.levels - (ids.policy == "suffix")
    own = ids.codes[number, :telling]
    equal = ids.codes[:, :telling] == own
    equal[:, : ids.shared] &= own[: ids.shared] != END
    if ids.scheme != "product":
        equal = np.logical_and.accumulate(equal, axis=1)
    common: Int64 = equal.sum(axis=1, dtype=np.int64)
    return common


def _share(flags: Bool) -> float | None:
    return round(float(flags.mean()), 6) if len(flags) else None


def _mean(errors: Any) -> float | None:  # noqa: ANN401  # a float array, NaN where nothing is known
    known = errors[np.isfinite(errors)]
    return round(float(known.mean()), 6) if len(known) else None
