"""What business rules cost a request: 100,000 products, twelve rules of every kind, a history of 200 events.

    python benchmarks/rules_speed.py [--products 100000] [--repeats 200]

Prints milliseconds: compiling once for a document and a catalogue, planning a request, arranging 200 candidates, and
500 by maximal marginal relevance in all of 100 places.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker.rules import CatalogueColumns, Context, RuleSet, Selection, Shopper, compile_rules

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_795_000_000_000
DAY = 86_400_000


def catalogue(n: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return n products with every column that the rules speak of."""
    return pl.DataFrame(
        {
            "id": [f"i{number}" for number in range(n)],
            "brand": [f"brand {number}" for number in rng.integers(0, 2000, n)],
            "categories": [[f"level {number % 20}", f"special {number % 500}"] for number in range(n)],
            "price": rng.random(n) * 100,
            "availability": np.where(rng.random(n) < 0.1, "out_of_stock", "in_stock"),
            "group_id": [f"g{number // 3}" for number in range(n)],
            "seller": [f"seller {number}" for number in rng.integers(0, 300, n)],
            "minimum_age": np.where(rng.random(n) < 0.02, 18.0, np.nan),
            "regions": [["DE", "CH"] if number % 10 == 0 else None for number in range(n)],
            "created_at": NOW - rng.integers(0, 1000, n) * DAY,
        }
    )


DOCUMENT = {
    "rule": [
        {"name": "stock", "hide": {"availability": ["out_of_stock"]}},
        {"name": "age", "minimum_age": {"column": "minimum_age"}},
        {"name": "region", "region": {}},
        {"name": "bought", "already_bought": {"days": 90, "same": "group_id"}},
        {"name": "home", "when": {"strategies": ["home"]}, "hide": {"brands": ["brand 7"]}},
        {"name": "price", "keep": {"price": {"min": 1, "max": 99}}},
        {"name": "new", "boost": {"newer_than_days": 30, "factor": 1.2}},
        {"name": "hero", "pin": {"items": ["i5", "i77"], "positions": [2, 5]}},
        {"name": "brands", "cap": {"by": "brand", "at_most": 2, "top": 10}},
        {"name": "sellers", "cap": {"by": "seller", "at_most": 2}},
        {"name": "variety", "diversity": {"strength": 0.3, "top": 20}},
        {"name": "spare", "fallback": {"items": [f"i{number}" for number in range(50)]}},
    ]
}

VARIED = {"rule": [{"name": "variety", "diversity": {"strength": 0.3}}]}


def milliseconds(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return median and 99th percentile of the time that some work takes."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) * 1000)
    return {"p50": round(float(np.median(found)), 3), "p99": round(float(np.quantile(found, 0.99)), 3)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=200)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    n = asked.products
    frame, rules = catalogue(n, rng), RuleSet.parse(DOCUMENT)
    start = time.perf_counter()
    compiled = compile_rules(rules, CatalogueColumns(frame))
    found: dict[str, object] = {"products": n, "compile": round((time.perf_counter() - start) * 1000, 1)}
    history = rng.integers(0, n, 200).astype(np.int32)
    shopper = Shopper({"age": 30, "region": "DE"}, history, ["purchase"] * 200, np.full(200, NOW - 5 * DAY))
    context = Context(NOW, "home")
    narrow = Selection(categories=("level 3",), but_not=Selection(brands=("brand 9",)))
    found["plan"] = milliseconds(lambda: compiled.plan(shopper, context), asked.repeats)
    found["plan with a filter of the request"] = milliseconds(
        lambda: compiled.plan(shopper, context, keep=narrow), asked.repeats
    )
    plan = compiled.plan(shopper, context)
    items = rng.choice(np.flatnonzero(plan.allowed), 200, replace=False).astype(np.int32)
    scores = np.sort(rng.random(200))[::-1].astype(np.float32)
    vectors = rng.normal(size=(n, 64)).astype(np.float32)
    for length in (10, 100):
        found[f"arrange 200, show {length}"] = milliseconds(
            lambda length=length: plan.apply(items, scores, n=length, vectors=vectors.__getitem__), asked.repeats
        )
    varied = compile_rules(RuleSet.parse(VARIED), compiled.columns).plan(shopper, context)
    many = rng.choice(np.flatnonzero(varied.allowed), 500, replace=False).astype(np.int32)
    falling = np.sort(rng.random(500))[::-1].astype(np.float32)
    for size in (64, 384):
        vectors = rng.normal(size=(n, size)).astype(np.float32)
        found[f"vary 500 of {size} numbers, show 100"] = milliseconds(
            lambda vectors=vectors: varied.apply(many, falling, n=100, vectors=vectors.__getitem__), asked.repeats
        )
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
