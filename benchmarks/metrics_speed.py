"""How fast the measures are, against ranx in one run, on random lists with one target each.

    python benchmarks/metrics_speed.py [--rounds N] [--json PATH]

1. Recall and NDCG at 5 and 10 for 22,363 lists of 10 (the size of Amazon Beauty): both libraries compute the same.
2. Every measure at 5, 10 and 100 for 22,363 lists of 100, with text vectors of 128 numbers, 250 categories and prices,
   and a bootstrap interval for each; ranx computes recall, NDCG, MRR and MAP at the same three, without intervals.

Both are warm (numba compiled), the two take turns, and the medians of the rounds are shown. The Qrels and Run of ranx
are built outside the clock. Values that both have must agree to 1e-6, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ranx

from tastemaker import metrics
from tastemaker.data import Holdout, Queries, Ranking

if TYPE_CHECKING:
    from collections.abc import Callable

USERS, ITEMS, DIM, CATEGORIES = 22_363, 12_101, 128, 250
FEW, ALL = (5, 10), (5, 10, 100)
THEIRS = ("recall", "ndcg", "mrr", "map")


def main() -> None:
    """Measure both parts and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    ranking, holdout = questions(max(ALL))
    short = ranking.cut(max(FEW))
    two = compare(lambda: recall_and_ndcg(short, holdout), short, holdout, ("recall", "ndcg"), FEW, options.rounds)
    known = catalogue()
    every = compare(lambda: everything(ranking, holdout, known), ranking, holdout, THEIRS, ALL, options.rounds)
    result = {"users": USERS, "k": max(FEW), **two, "everything": {"users": USERS, "k": max(ALL), **every}}
    for name, part in (("recall and NDCG", two), ("every measure, with intervals", every)):
        ours, theirs = 1000 * part["tastemaker_seconds"], 1000 * part["ranx_seconds"]
        print(
            f"{name}: tastemaker {ours:.1f} ms for {part['tastemaker_measures']} measures, ranx {theirs:.1f} ms for "
            f"{part['ranx_measures']}; {part['times_faster']:.1f} times faster, equal values"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def questions(k: int) -> tuple[Ranking, Holdout]:
    """Return random lists of k; three shoppers in ten find their target in it. Histories have 2 to 15 products."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.choice(ITEMS, k, replace=False) for _ in range(USERS)]).astype(np.int32)
    scores = np.tile(-np.arange(k, dtype=np.float32), (USERS, 1))
    found = rng.random(USERS) < 0.3
    targets = np.where(found, items[np.arange(USERS), rng.integers(0, k, USERS)], rng.integers(0, ITEMS, USERS))
    offsets = np.concatenate([[0], np.cumsum(rng.integers(2, 16, USERS))])
    histories = Queries(offsets, rng.integers(0, ITEMS, offsets[-1], dtype=np.int32))
    return Ranking(items, scores), Holdout(histories, Queries(np.arange(USERS + 1), targets.astype(np.int32)))


def catalogue() -> metrics.Catalogue:
    """Return products with popularity, category, text vector, and, nine in ten, a price."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((ITEMS, DIM)).astype(np.float32)
    popularity = rng.geometric(0.06, ITEMS).astype(np.float32)
    return metrics.Catalogue(
        popularity=popularity,
        buyers=popularity,
        n_users=USERS,
        categories=rng.integers(0, CATEGORIES, ITEMS, dtype=np.int32),
        category_names=tuple(map(str, range(CATEGORIES))),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        prices=np.where(rng.random(ITEMS) < 0.9, rng.gamma(2, 10, ITEMS), np.nan),
    )


def recall_and_ndcg(ranking: Ranking, holdout: Holdout) -> dict[str, float]:
    """Compute two measures at 5 and 10."""
    found = metrics.hits(ranking, holdout.targets)
    measures = {name: metrics.RANKING_MEASURES[name] for name in ("recall", "ndcg")}
    return {f"{name}@{k}": float(measure(found, k).mean()) for name, measure in measures.items() for k in FEW}


def everything(ranking: Ranking, holdout: Holdout, known: metrics.Catalogue) -> dict[str, float | None]:
    """Compute every measure at 5, 10 and 100, with intervals."""
    return {name: found["value"] for name, found in metrics.everything(ranking, holdout, known, ALL).summary.items()}


def compare(
    ours: Callable[[], dict[str, Any]],
    ranking: Ranking,
    holdout: Holdout,
    names: tuple[str, ...],
    ks: tuple[int, ...],
    rounds: int,
) -> dict[str, Any]:
    """Time `ours` and ranx in turns, and check that they agree."""
    width = ranking.items.shape[1]
    places = [float(width - place) for place in range(width)]
    listed = [[f"d{item}" for item in row] for row in ranking.items.tolist()]
    run = ranx.Run({f"q{row}": dict(zip(found, places, strict=True)) for row, found in enumerate(listed)})
    qrels = ranx.Qrels({f"q{row}": {f"d{target}": 1} for row, target in enumerate(holdout.targets.items.tolist())})
    wanted = [f"{name}@{k}" for name in names for k in ks]
    mine, reference = ours(), ranx.evaluate(qrels, run, wanted)
    for name in wanted:
        if abs(mine[name] - reference[name]) > 1e-6:
            raise SystemExit(f"{name}: {mine[name]} here, {reference[name]} in ranx")
    taken: dict[str, list[float]] = {"tastemaker": [], "ranx": []}
    for _ in range(rounds):
        for name, call in (("tastemaker", ours), ("ranx", lambda: ranx.evaluate(qrels, run, wanted))):
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)
    seconds = {name: statistics.median(every) for name, every in taken.items()}
    return {
        "tastemaker_seconds": seconds["tastemaker"],
        "tastemaker_measures": len(mine),
        "ranx_seconds": seconds["ranx"],
        "ranx_measures": len(wanted),
        "times_faster": seconds["ranx"] / seconds["tastemaker"],
    }


if __name__ == "__main__":
    main()
