"""How far the protocol alone moves figures: the training-free floor on Beauty under all eight variants, in one run.

Leave-one-out, all items ranked, seed 0; history masked or not, file order or shuffled ties (Beauty has no times, so
only equal scores are shuffled), fitted on train or on train + validation. The same as
`tastemaker benchmark beauty random item_knn --data DIR --masking both --ties both --refit both`, kept small.

    TASTEMAKER_DATA=... python benchmarks/protocol.py            # run, then print the table
    python benchmarks/protocol.py --table                        # print the table only
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import tastemaker
from tastemaker.compare import Plan, Source, compare, entries

RESULTS = Path(__file__).parent / "results" / "protocol.json"
MEASURES = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")


def measure(folder: Path) -> dict:
    """Run the comparison and keep what the table needs."""
    plan = Plan(
        entries=entries(["random", "item_knn"]),
        data=Source(str(folder / "amazon-beauty-2014")),
        ties=("file", "shuffled"),
        maskings=(True, False),
        refits=(False, True),
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        found = compare(plan, Path(out))
    rows = [
        {
            "model": row["model"],
            "variant": row["variant"],
            "verdict": row["verdict"],
            "metrics": {name: row["metrics"][name] for name in MEASURES},
            "peak_mib": row["cost"]["peak_mib"],
        }
        for row in found["rows"]
    ]
    counts = {name: found["data"][name] for name in ("users", "items", "interactions", "fingerprint")}
    together = max(row["peak_mib"] for row in rows) + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "data": counts,
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib_of_both_processes": together,
        "tastemaker": tastemaker.__version__,
    }


def load() -> dict:
    """Return the results that are there."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}


def table(results: dict) -> str:
    """Return recall@10 / NDCG@10 as a markdown table: variants by models."""
    cells = {(row["variant"], row["model"]): row["metrics"] for row in results["rows"]}
    variants, models = (list(dict.fromkeys(key[place] for key in cells)) for place in (0, 1))
    lines = ["| Beauty | " + " | ".join(models) + " |", "|---|" + "---|" * len(models)]
    for variant in variants:
        found = [cells[variant, model] for model in models]
        shown = [f"{one['recall@10']['value']:.4f} / {one['ndcg@10']['value']:.4f}" for one in found]
        lines.append(f"| {variant} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run unless only the table is wanted, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    if not parser.parse_args().table:
        RESULTS.write_text(json.dumps(measure(Path(os.environ["TASTEMAKER_DATA"])), indent=1) + "\n")
    print(table(load()))


if __name__ == "__main__":
    main()
