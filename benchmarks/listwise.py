"""What an untuned language model adds to a retriever: the packaged SmolLM2-135M over `transitions` on Amazon Beauty.

Leave-one-out, all items ranked, history masked, fitted on train only; 20 candidates. The weight is chosen on 100
validation shoppers; the result is measured on 200 random test shoppers, retriever and pipeline on the same ones. Rows
already in the result file are not run again.

    TASTEMAKER_DATA=... python benchmarks/listwise.py [--table]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tastemaker import evaluate, registry
from tastemaker.data import readers
from tastemaker.data.splits import leave_one_out

RESULTS = Path(__file__).parent / "results" / "listwise.json"
DATA, SAMPLE = "amazon-beauty-2014", 200
ROWS = {
    "letters": {"mode": "likelihood", "orders": 2},
    "titles": {"mode": "titles"},
}
"""How the candidates are scored -> settings of `listwise`."""


def measure(row: str, folder: Path) -> dict:
    """Evaluate one way of asking."""
    data, _ = readers.read(folder / DATA)
    settings = {
        "lm": {"model": "smollm2-135m-instruct", "cache": False},
        "stage": [
            {"model": "transitions", "keep": 20},
            {"model": "listwise", "history": 10, "candidates": 20, "calibration": 100, **ROWS[row]},
        ],
    }
    outcome = evaluate.evaluate(registry.build(settings), leave_one_out(data), sample=SAMPLE).to_dict()
    return {"row": row, "settings": settings, **outcome}


def load() -> list[dict]:
    """Return the results that are there."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def table(results: list[dict]) -> str:
    """Return the results as a markdown table."""
    lines = [
        "| candidates scored by | alone, on validation | best weight, on validation | weight taken "
        "| NDCG@10: retriever | pipeline | s a shopper |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        report = one["stages"][1]["report"]
        trials = report["chosen_on_validation"]
        alone = next(trial for trial in trials if trial["weight"] == 1.0)
        best = max(trials[1:], key=lambda trial: trial["gain"])
        before, after = (stage["metrics"]["ndcg@10"] for stage in one["stages"])
        [cost] = one["cost"]["language_models"]
        asked = sum(report["counts_on_validation"].values()) + sum(report["counts"].values())
        lines.append(
            f"| {one['row']} | {alone['gain']:+.4f} ± {alone['standard_error']:.4f} "
            f"| {best['weight']}: {best['gain']:+.4f} ± {best['standard_error']:.4f} | {report['weight']} "
            f"| {before['value']:.4f} | {after['value']:.4f} ({after['low']:.4f} to {after['high']:.4f}) "
            f"| {cost['seconds'] / max(1, asked):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the rows that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    results = load()
    if not options.table:
        for row in ROWS:
            if row not in {one["row"] for one in results}:
                results.append(measure(row, Path(os.environ["TASTEMAKER_DATA"])))
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print("change of NDCG@10 by the language model ± its standard error\n")
    print(table(results))


if __name__ == "__main__":
    main()
