"""Top-100 for every shopper of Amazon Beauty by a sequence model, against faiss flat search on the same vectors.

    python benchmarks/retrieval_speed.py DATA/amazon-beauty-2014 --json benchmarks/results/retrieval_speed.json
    python benchmarks/retrieval_speed.py --table

A sasrec is trained for one epoch; its forecasts, one vector a history, and its item table are what both search. Timed
in turns, for each number of threads: `rank` (encoding the histories, scoring, top-100), encoding alone, our scoring and
top-100 alone (the matrix product and `top_k`, as `rank` does them), and `IndexFlatIP.search`. Both lists must
be the same but for items whose scores differ by rounding, or the benchmark fails. Nothing is masked, as faiss cannot.

Then memory: peak resident memory of `rank` for 1, 4 and 16 times the shoppers, each in a process of its own, beside
the size of what goes in and comes out (histories and lists), which no method can avoid.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

import tastemaker
from tastemaker import registry
from tastemaker.data import readers
from tastemaker.data.splits import leave_one_out
from tastemaker.evaluate.cost import peak_mib

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.models.parts.sequential.sequence_model import SequenceModel
    from tastemaker.types import Float32

RESULTS = Path(__file__).parent / "results" / "retrieval_speed.json"
ROUNDING = 1e-5
"""Scores of one item differ by so much between two ways to sum, as a share of the largest score."""


def require_same(ours: Ranking, scores: Float32, items: Float32) -> float:
    """Return the share of places that hold the same item in both; where they differ, it must be by rounding.

    Raises:
        SystemExit: the lists differ by more.
    """
    allowed = ROUNDING * float(np.abs(scores).max())
    worst = float(np.abs(ours.scores - scores).max())
    if worst > allowed:
        sys.exit(f"the lists differ: scores at the same place by up to {worst:g}, rounding allows {allowed:g}")
    return float((ours.items == items).mean())


def speed(model: SequenceModel, queries: Queries, *, k: int, threads: int, rounds: int) -> dict[str, Any]:
    """Time everything in turns with this number of threads."""
    table = np.ascontiguousarray(model._table.numpy())
    index = faiss.IndexFlatIP(table.shape[1])
    index.add(table)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            vectors, known = model._states(queries)
            ours, (scores, items) = model._nearest(vectors, known, k, exclude=None), index.search(vectors, k)
            same = require_same(ours, scores, items)
            runs: dict[str, Callable[[], object]] = {
                "rank": lambda: model.rank(queries, k, seen=True),
                "encode": lambda: model._states(queries),
                "search": lambda: model._nearest(vectors, known, k, exclude=None),
                "faiss": lambda: index.search(vectors, k),
            }
            taken: dict[str, list[float]] = {name: [] for name in runs}
            for turn in range(rounds):
                for name in list(runs)[:: 1 if turn % 2 == 0 else -1]:
                    start = time.perf_counter()
                    runs[name]()
                    taken[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    seconds = {name: median(values) for name, values in taken.items()}
    ratio = median(theirs / mine for theirs, mine in zip(taken["faiss"], taken["search"], strict=True))
    return {"threads": threads, "seconds": seconds, "times_faster_than_faiss": ratio, "same_places": same}


def memory(folder: Path, data: Path, times: int, k: int) -> dict[str, Any]:
    """Measure `rank` for so many times the shoppers in a process of its own."""
    command = [sys.executable, __file__, str(data), "--child", str(folder), str(times), "--k", str(k)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(folder: Path, data: Path, times: int, k: int) -> dict[str, Any]:
    """Rank for so many times the shoppers, and say what it took."""
    model = tastemaker.load(folder)
    queries = leave_one_out(readers.read(data)[0]).test.queries
    many = queries.take(np.tile(np.arange(len(queries)), times))
    model.rank(queries.take(slice(0, 1)), k)
    start, before = time.perf_counter(), peak_mib()
    lists = model.rank(many, k)
    seconds = time.perf_counter() - start
    moved = sum(array.nbytes for array in (many.items, many.offsets, lists.items, lists.scores)) / 2**20
    return {
        "users": len(many),
        "seconds": seconds,
        "peak_mib": peak_mib(),
        "before_mib": before,
        "histories_and_lists_mib": moved,
    }


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of amazon-beauty-2014")
    parser.add_argument("--table", action="store_true", help="print the table of the result that is there")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16], help="how many times the shoppers")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    if options.data is None:
        parser.error("name the folder of amazon-beauty-2014")
    if options.child:
        folder, times = options.child
        print(json.dumps(child(Path(folder), options.data, int(times), options.k)))
        return
    split = leave_one_out(readers.read(options.data)[0])
    pipeline = registry.build({"stage": [{"model": "sasrec", "epochs": 1, "patience": 0}], "fallback": "none"})
    pipeline.fit(split.train)
    model, queries = pipeline.stages[0].recommender, split.test.queries
    result: dict[str, Any] = {
        "data": options.data.name,
        "users": len(queries),
        "items": split.train.n_items,
        "dim": model.config.dim,
        "k": options.k,
        "rounds": options.rounds,
        "speed": [
            speed(model, queries, k=options.k, threads=threads, rounds=options.rounds) for threads in options.threads
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model"
        tastemaker.save(saved, pipeline)
        result["memory"] = [memory(saved, options.data, times, options.k) for times in options.times]
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def table(result: dict[str, Any]) -> str:
    """Return speed and memory as two markdown tables."""
    lines = [
        f"{result['users']:,} histories, {result['items']:,} items, {result['dim']} dimensions, top {result['k']}\n",
        "| threads | encode | score and top-k | faiss flat | times faster | encode, score and top-k | same places |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["speed"]:
        encode_s, search_s, faiss_s, rank_s = (row["seconds"][name] for name in ("encode", "search", "faiss", "rank"))
        lines.append(
            f"| {row['threads']} | {encode_s:.2f} s | {search_s:.2f} s | {faiss_s:.2f} s"
            f" | {row['times_faster_than_faiss']:.2f} | {rank_s:.2f} s | {row['same_places']:.2%} |"
        )
    lines += ["\n| users | seconds | peak MiB | before | of which histories and lists |", "|---:|---:|---:|---:|---:|"]
    for row in result["memory"]:
        lines.append(
            f"| {row['users']:,} | {row['seconds']:.1f} | {row['peak_mib']:,} | {row['before_mib']:,}"
            f" | {row['histories_and_lists_mib']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
