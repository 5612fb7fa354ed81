"""Rules on the six products of `rule_shop`."""

from __future__ import annotations

import numpy as np
import pytest
from rule_shop import NOW, frame

from tastemaker.rules import CatalogueColumns, Context, RuleSet, Shopper, plan


@pytest.fixture
def columns() -> CatalogueColumns:
    return CatalogueColumns(frame())


@pytest.fixture
def allowed(columns):
    """Ids that one rule leaves to a shopper."""

    def call(rule: dict, *, shopper: Shopper | None = None, context: Context | None = None, **more) -> list[str]:
        rules = RuleSet.parse({"rule": [{"name": "it", **rule}], **more})
        made = plan(rules, columns, shopper or Shopper(), context or Context(NOW))
        return columns.ids(np.flatnonzero(made.allowed))

    return call


@pytest.fixture
def arranged(columns):
    """Ids that are shown, with their notes, for a list of ids."""

    def call(rules: list[dict], ids: list[str], *, n: int = 10, scores: list[float] | None = None, **more):
        made = plan(RuleSet.parse({"rule": rules}), columns, Shopper(), Context(NOW))
        given = scores or [float(len(ids) - place) for place in range(len(ids))]
        done = made.apply(columns.numbers(ids), np.asarray(given, dtype=np.float32), n=n, **more)
        notes = [
            (note.rule, note.action, columns.ids([note.item])[0] if note.item >= 0 else None, note.before, note.after)
            for note in done.notes
        ]
        return columns.ids(done.items), notes, done

    return call
