"""How fast the ranking measures are: recall and NDCG at 5 and 10 for 22,363 lists of 10, against ranx in one run.

Both get the same random lists with one target each; ranx is warm (numba compiled) and its own Qrels and Run are built
outside the clock. Prints a table; `--json PATH` writes it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import ranx

from tastemaker import metrics
from tastemaker.data import Queries, Ranking

USERS, ITEMS, K = 22_363, 12_101, 10
NAMES = ("recall", "ndcg")


def median_seconds(call, rounds: int) -> float:  # noqa: ANN001  # any call
    """Return the median seconds of `rounds` calls."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    items = np.stack([rng.choice(ITEMS, K, replace=False) for _ in range(USERS)]).astype(np.int32)
    scores = np.tile(-np.arange(K, dtype=np.float32), (USERS, 1))
    targets = np.where(rng.random(USERS) < 0.3, items[np.arange(USERS), rng.integers(0, K, USERS)], 0).astype(np.int32)
    ranking = Ranking(items, scores)
    truth = Queries(np.arange(USERS + 1), targets)
    qrels = ranx.Qrels({f"q{row}": {f"d{target}": 1} for row, target in enumerate(targets)})
    run = ranx.Run(
        {
            f"q{row}": {f"d{item}": float(K - place) for place, item in enumerate(found)}
            for row, found in enumerate(items)
        }
    )
    wanted = [f"{name}@{k}" for name in NAMES for k in (5, 10)]

    def ours() -> dict[str, float]:
        found, counts = metrics.hits(ranking, truth), metrics.distinct_counts(truth)
        return {
            f"{name}@{k}": float(metrics.RANKING_MEASURES[name](found, counts, k).mean())
            for name in NAMES
            for k in (5, 10)
        }

    def theirs() -> dict[str, float]:
        return dict(ranx.evaluate(qrels, run, wanted))

    mine, reference = ours(), theirs()
    for name in wanted:
        if abs(mine[name] - reference[name]) > 1e-6:
            raise SystemExit(f"{name}: {mine[name]} here, {reference[name]} in ranx")
    result = {
        "users": USERS,
        "k": K,
        "tastemaker_seconds": median_seconds(ours, 21),
        "ranx_seconds": median_seconds(theirs, 5),
    }
    result["times_faster"] = result["ranx_seconds"] / result["tastemaker_seconds"]
    print(
        f"tastemaker {1000 * result['tastemaker_seconds']:.1f} ms, ranx {1000 * result['ranx_seconds']:.1f} ms: "
        f"{result['times_faster']:.0f} times faster, equal values"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
