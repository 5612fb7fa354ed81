"""What the defences cost honest shops: accuracy with and without them.

    TASTEMAKER_DATA=FOLDER python benchmarks/defences.py [--data NAME] [--sample N] [--json PATH]

Leave-one-out, seed 0, histories masked, the same random test shoppers throughout (FOLDER/NAME).

1. **Texts.** `text_knn` is fitted and asked twice: with neutral texts, and with texts as the sellers wrote them
   (`tastemaker.defences.undefended`); NDCG@10 of both, and their paired difference with its p value.
2. **The bound on rising.** Fifty candidates of `transitions` are put in order by `text_knn`, a judge that knows what
   the retriever does not, mixed in with the weight that is best on validation under the same bound. NDCG@10 by bound;
   50 is no bound. A language model's judge moves no further than that, so this is what the bound can cost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics
from tastemaker.data import readers
from tastemaker.data.splits import leave_one_out
from tastemaker.defences import undefended
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.parts.reranking.mixing import mixed, try_weights
from tastemaker.models.parts.reranking.reranker import ranks_of

if TYPE_CHECKING:
    from tastemaker.data.ranking import Ranking
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.types import Float32, Int32

MEASURE, OFFERED = "ndcg@10", 50
BOUNDS = (0, 5, 10, 15, 25, 50)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="amazon-beauty-2014")
    parser.add_argument("--sample", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    if "TASTEMAKER_DATA" not in os.environ:
        sys.exit("set TASTEMAKER_DATA to the folder of real data sets")
    split = leave_one_out(readers.read(str(Path(os.environ["TASTEMAKER_DATA"]) / options.data))[0])
    test = split.test.sample(options.sample, seed=0)
    found = {
        "data": options.data,
        "split": "leave-one-out, masked, seed 0",
        "test_queries": len(test),
        "texts": texts(split, test),
        "bound_on_rising": bounds(split, test, split.validation.sample(options.sample, seed=0)),
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def texts(split: Split, test: Holdout) -> dict[str, Any]:
    """Compare a text model with neutral and with raw texts."""
    values = {}
    for name in ("neutral", "raw"):
        with undefended() if name == "raw" else nullcontext():
            values[name] = ndcg(TextKNN().fit(split.train).rank(test.queries, 10), test)
    difference = metrics.paired_test(values["neutral"], values["raw"])
    means = {name: float(value.mean()) for name, value in values.items()}
    return {"model": "text_knn", MEASURE: means, "difference": difference.difference, "p": difference.p}


def bounds(split: Split, test: Holdout, validation: Holdout) -> list[dict[str, Any]]:
    """Compare bounds on rising, each with its own best weight."""
    retriever, judge = Transitions().fit(split.train), TextKNN().fit(split.train)
    parts = {name: (holdout, *judged(retriever, judge, holdout)) for name, holdout in (("v", validation), ("t", test))}
    rows, values = [], {}
    for bound in BOUNDS:
        holdout, offered, ranks = parts["v"]
        trials = try_weights(offered, ranks, holdout.targets, max_rise=bound)
        weight = max(trials, key=lambda trial: trial[MEASURE])["weight"]
        holdout, offered, ranks = parts["t"]
        values[bound] = ndcg(mixed(offered, ranks, weight, max_rise=bound), holdout)
        rows.append({"max_rise": bound, "weight": weight, MEASURE: float(values[bound].mean())})
    for row in rows:
        compared = metrics.paired_test(values[row["max_rise"]], values[BOUNDS[-1]])
        row |= {"difference_to_no_bound": compared.difference, "p": compared.p}
    return rows


def judged(retriever: Transitions, judge: TextKNN, holdout: Holdout) -> tuple[Ranking, list[Int32]]:
    """Return the retriever's candidates, and the judge's ranks of them; without opinion last, in the given order."""
    offered = retriever.rank(holdout.queries, OFFERED)
    ranks = []
    for start in range(0, len(holdout), 500):
        rows = np.arange(start, min(start + 500, len(holdout)))
        scores = judge.score(holdout.queries.take(rows))
        for row, own in zip(rows, scores, strict=True):
            items = offered.items[row][offered.items[row] >= 0]
            ranks.append(ranks_of(np.where(np.isneginf(own[items]), np.float32(-1e9), own[items])))
    return offered, ranks


def ndcg(ranking: Ranking, holdout: Holdout) -> Float32:
    """Return NDCG@10 of each question."""
    return metrics.per_query(ranking.cut(10), holdout.targets, (10,))[MEASURE]


if __name__ == "__main__":
    main()
