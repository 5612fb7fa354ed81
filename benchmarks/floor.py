"""The floor: every model that needs no training loop, on every data set, under one protocol.

Leave-one-out (Games: its own split by time), all items ranked, history masked, fitted on train only, ties in file
order, default settings unless a row says otherwise. One row is one fit; rows already in the result file are not run
again, so the table can be stopped and resumed. Cheapest rows come first.

    TASTEMAKER_DATA=... python benchmarks/floor.py            # run what is missing, then print the table
    python benchmarks/floor.py --table                        # print the table only
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import tastemaker
from tastemaker import evaluate, registry
from tastemaker.data import readers
from tastemaker.data.splits import SPLITS

RESULTS = Path(__file__).parent / "results" / "floor.json"

DATA = {
    "amazon-office-2014": "leave-one-out",
    "movielens-100k": "leave-one-out",
    "amazon-beauty-2014": "leave-one-out",
    "amazon-toys-2014": "leave-one-out",
    "amazon-sports-2014": "leave-one-out",
    "amazon-games-2018": "as-given",
}
"""Data set -> split, smallest first."""

MODELS: dict[str, dict[str, object]] = {
    "popular": {},
    "transitions": {},
    "item_knn": {},
    "item_knn, plain query": {"recency": 1.0},
    "item_knn, with texts": {"alpha": 0.9},
    "user_knn": {},
    "text_knn, tfidf": {},
    "als": {},
    "bpr": {},
    "ease": {},
    "ease, plain query": {"recency": 1.0},
    "text_knn, MiniLM": {},
}
"""Row -> settings beyond the model's defaults; the word before the comma is the model."""


def measure(data_name: str, row: str, folder: Path) -> dict[str, object]:
    """Fit and evaluate one row."""
    data, _ = readers.read(folder / data_name)
    split = SPLITS[DATA[data_name]](data)
    settings: dict[str, object] = {"stage": [{"model": row.partition(",")[0], **MODELS[row]}]}
    if row.endswith("MiniLM"):
        settings["encoder"] = {"model": "transformer"}
    started = time.perf_counter()
    result = evaluate.evaluate(registry.build(settings), split, ks=(5, 10)).to_dict()
    wanted = ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "coverage@10")
    return {
        "data": data_name,
        "row": row,
        "metrics": {name: result["metrics"][name] for name in wanted},
        "settings": result["stages"][0]["config"],
        "protocol": result["protocol"],
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "tastemaker": tastemaker.__version__,
    }


def load() -> list[dict]:
    """Return the results that are there."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def table(results: list[dict]) -> str:
    """Return the results as a markdown table: NDCG@10 and recall@10 a data set."""
    found = {(one["data"], one["row"]): one["metrics"] for one in results}
    names = [name for name in DATA if any(name == data for data, _ in found)]
    lines = ["| model | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row in MODELS:
        cells = []
        for name in names:
            one = found.get((name, row))
            cells.append(f"{one['recall@10']['value']:.4f} / {one['ndcg@10']['value']:.4f}" if one else "-")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the rows that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    results = load()
    if not options.table:
        folder = Path(os.environ["TASTEMAKER_DATA"])
        done = {(one["data"], one["row"]) for one in results}
        for row in MODELS:
            for name in DATA:
                if (name, row) in done:
                    continue
                one = measure(name, row, folder)
                results.append(one)
                RESULTS.parent.mkdir(exist_ok=True)
                draft = RESULTS.with_suffix(".draft")
                draft.write_text(json.dumps(results, indent=1) + "\n")
                draft.replace(RESULTS)
                value = one["metrics"]["ndcg@10"]["value"]
                print(f"{name}, {row}: NDCG@10 {value:.4f}, {one['seconds']} s", flush=True)
    print("recall@10 / NDCG@10\n")
    print(table(results))


if __name__ == "__main__":
    main()
