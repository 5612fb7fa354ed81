"""Speed of item_knn against the library implicit: fit, and the ten best unseen items for every shopper.

Both compare items by TF-IDF with the same number of neighbours, learn from the same interactions, and answer for the
same histories, in one process, taking turns. implicit counts an item among its own neighbours, so it gets one more.
Run it with all threads allowed (OMP_NUM_THREADS unset) on a quiet machine:

    python benchmarks/item_knn_speed.py DATA/amazon-beauty-2014 --json item_knn_speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from implicit.nearest_neighbours import TFIDFRecommender
from scipy.sparse import csr_matrix

from tastemaker.data.dataset import Dataset
from tastemaker.data.splits import leave_one_out
from tastemaker.models.collaborative.item_knn import ItemKNN

if TYPE_CHECKING:
    from tastemaker.data.splits import Split
    from tastemaker.types import Int32

K = 10


def ours(split: Split, neighbours: int) -> tuple[float, float, Int32]:
    """Return seconds to fit, seconds to rank, and the lists of item_knn in the published form."""
    start = time.perf_counter()
    model = ItemKNN(neighbours=neighbours, recency=1.0, shrinkage=0.0).fit(split.train)
    fitted = time.perf_counter()
    items = model.rank(split.test.queries, K).items
    return fitted - start, time.perf_counter() - fitted, items


def theirs(split: Split, neighbours: int) -> tuple[float, float, Int32]:
    """Return the same of implicit; making its input matrices is not timed."""
    train = csr_matrix(split.train.matrix())
    histories = csr_matrix(split.test.queries.matrix(split.train.n_items))
    start = time.perf_counter()
    model = TFIDFRecommender(K=neighbours + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own conversions, and items that nobody has
        model.fit(train, show_progress=False)
    fitted = time.perf_counter()
    items, _ = model.recommend(np.arange(histories.shape[0]), histories, N=K)
    return fitted - start, time.perf_counter() - fitted, items


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with interactions.parquet")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[20, 100, 500])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args()
    split = leave_one_out(Dataset.from_frames(pl.read_parquet(options.data / "interactions.parquet")))
    rows: list[dict[str, Any]] = []
    print(f"{options.data.name}: {split.protocol['users']:,} shoppers, {split.protocol['items']:,} items, top {K}")
    print(f"{'K':>5} {'':<11} {'fit: median':>12} {'best':>7} {'rank: median':>13} {'best':>7}   seconds")
    for neighbours in options.neighbours:
        runs: dict[str, list[tuple[float, float, Int32]]] = {"tastemaker": [], "implicit": []}
        for _ in range(options.repeats):
            runs["tastemaker"].append(ours(split, neighbours))
            runs["implicit"].append(theirs(split, neighbours))
        same = float((np.sort(runs["tastemaker"][0][2]) == np.sort(runs["implicit"][0][2])).mean())
        for name, results in runs.items():
            fits, ranks = ([result[part] for result in results] for part in (0, 1))
            row = {"neighbours": neighbours, "library": name, "fit": fits, "rank": ranks, "equal_places": same}
            rows.append(row)
            print(
                f"{neighbours:>5} {name:<11} {statistics.median(fits):>12.3f} {min(fits):>7.3f}"
                f" {statistics.median(ranks):>13.3f} {min(ranks):>7.3f}"
            )
        print(f"      places that hold the same item in both, lists sorted: {same:.1%}")
    if options.json:
        facts = {"data": options.data.name, "k": K, "threads": os.environ.get("OMP_NUM_THREADS", "all"), "rows": rows}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
