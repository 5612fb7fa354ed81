"""Recommenders without a training loop in parallel (blend.toml), beside the floor, on the standard data sets.

Leave-one-out, all items ranked, history masked and not, fitted on train only, ties in file order, seed 0; forms and
weights are learnt on validation. The same as `tastemaker benchmark NAME blend=benchmarks/blend.toml --data DIR
--masking both`, kept small. Sets already in the result file are not run again.

    TASTEMAKER_DATA=... python benchmarks/blend.py            # run what is missing, then print the table
    python benchmarks/blend.py --table                        # print the table only
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import tastemaker
from tastemaker import published
from tastemaker.compare import Plan, Source, compare, entries

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "blend.json"
DATA = ("amazon-beauty-2014", "amazon-toys-2014", "amazon-sports-2014")
MEASURES = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")


def measure(name: str, folder: Path) -> list[dict]:
    """Compare on one data set and keep what the table needs."""
    plan = Plan(
        entries=entries([f"blend={FOLDER / 'blend.toml'}"]),
        data=Source(str(folder / name)),
        maskings=(True, False),
    )
    with tempfile.TemporaryDirectory() as out:
        return kept(name, compare(plan, Path(out)))


def kept(name: str, found: dict) -> list[dict]:
    """Return the rows of a comparison with what the table needs."""
    return [
        {
            "data": name,
            "model": row["model"],
            "variant": row["variant"],
            "metrics": {measure: row["metrics"][measure] for measure in MEASURES},
            "verdict": row["verdict"],
            "against_floor": row["against_floor"],
            "members": row["stages"][0]["report"].get("members"),
            "fit_seconds": row["cost"]["fit_seconds"],
            "rank_seconds": row["cost"]["rank_seconds"],
            "peak_mib": row["cost"]["peak_mib"],
            "data_fingerprint": row["protocol"]["data_fingerprint"],
            "tastemaker": tastemaker.__version__,
        }
        for row in found["rows"]
    ]


def load() -> list[dict]:
    """Return the results that are there."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def table(results: list[dict]) -> str:
    """Return recall@10 / NDCG@10 by data set, with the best published figure of the same protocol, in markdown."""
    cells = {(row["model"], row["variant"], row["data"]): row["metrics"] for row in results}
    lines = ["| recall@10 / NDCG@10 | " + " | ".join(DATA) + " |", "|---|" + "---|" * len(DATA)]
    for model, variant in dict.fromkeys(key[:2] for key in cells):
        if model in ("blend", "transitions"):
            shown = [_cell(cells.get((model, variant, name))) for name in DATA]
            lines.append(f"| {model}, {variant.partition(',')[0]} | " + " | ".join(shown) + " |")
    best = [max(_comparable(name), key=lambda one: one.values["ndcg@10"]) for name in DATA]
    shown = [f"{one.values['recall@10']:.4f} / {one.values['ndcg@10']:.4f} ({one.model})" for one in best]
    lines.append("| best published, masked, by NDCG@10 | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _comparable(name: str) -> list[published.TableRow]:
    """Return published rows that were not made here, masked and fitted on train as far as they say."""
    rows = published.joined(published.benchmarks()[name], None, ("ndcg@10",))
    return [row for row in rows if row.kind != "floor check" and not row.differs and "recall@10" in row.values]


def _cell(metrics: dict | None) -> str:
    return "-" if metrics is None else f"{metrics['recall@10']['value']:.4f} / {metrics['ndcg@10']['value']:.4f}"


def main() -> None:
    """Run the sets that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    results = load()
    if not parser.parse_args().table:
        for name in DATA:
            if name not in {row["data"] for row in results}:
                results += measure(name, Path(os.environ["TASTEMAKER_DATA"]))
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
