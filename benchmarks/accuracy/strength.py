"""How far another shop should follow what two_tower learnt: each of four shops is left out in turn.

A model learns from the three others, with configs/transfer.toml, and ranks the shop that is left out at each strength
from 0 (whitened texts alone) to 1. It is asked on that shop's validation part: its test part, and the target of
transfer.py, are not looked at. The strength with the best mean of NDCG@10 over that of strength 0 is the default of
`transfer_strength`. Finished rows are not run again.

    TASTEMAKER_DATA=... python benchmarks/accuracy/strength.py           # what is missing, then the table
    python benchmarks/accuracy/strength.py --table                       # the table only
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accuracy_results as results
import numpy as np
from run import made_by
from transfer import FOLDER, SOURCES, learn, settings_of

from tastemaker import evaluate
from tastemaker.data import readers
from tastemaker.metrics import per_query
from tastemaker.models.content.two_tower import TwoTower

if TYPE_CHECKING:
    from tastemaker.pipeline import Pipeline

RESULTS = FOLDER.parent / "results" / "strength.json"
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
SAMPLE = 5_000


def asked_of(shop: str) -> dict[str, Any]:
    """Return all that decides a row but for the code."""
    settings = settings_of("transferred")
    return {"left_out": shop, "settings": settings, "strengths": list(STRENGTHS), "sample": SAMPLE}


def measure(shop: str, *, data: Path, runs: Path) -> dict[str, Any]:
    """Return one row: what a model of the other shops is worth in `shop`, at each strength."""
    split = evaluate.prepare(readers.read(str(data / shop))[0])
    asked, values = split.validation.sample(SAMPLE, seed=0), []
    for strength in STRENGTHS:
        pipeline = learn(data, runs, split, sources=[name for name in SOURCES if name != shop]).pipeline
        _set_strength(pipeline, strength)
        pipeline.transfer(split.train.items)
        found = per_query(pipeline.rank(asked.queries, 10), asked.targets, (10,))
        values.append(round(float(found["ndcg@10"].mean()), 5))
    return {**asked_of(shop), "ndcg@10": values, "made_by": made_by()}


def _set_strength(pipeline: Pipeline, strength: float) -> None:
    for stage in pipeline.stages:
        if isinstance(stage.recommender, TwoTower):
            config = stage.recommender.config
            stage.recommender.config = config.model_copy(update={"transfer_strength": strength})


def load() -> list[dict[str, Any]]:
    """Return the rows that are there."""
    return results.load(RESULTS).get("rows", [])


def table(found: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown, with the mean over shops of the gain over strength 0."""
    lines = [f"| left out | {' | '.join(map(str, STRENGTHS))} |", "|---" * (1 + len(STRENGTHS)) + "|"]
    rows = sorted(found, key=lambda row: SOURCES.index(row["left_out"]))
    for row in rows:
        lines.append(f"| {row['left_out']} | {' | '.join(f'{value:.4f}' for value in row['ndcg@10'])} |")
    if rows:
        gains = np.mean([np.array(row["ndcg@10"]) / row["ndcg@10"][0] - 1 for row in rows], axis=0)
        lines.append(f"| mean change | {' | '.join(f'{gain:+.1%}' for gain in gains)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing unless only the table is wanted, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    parser.add_argument("--runs", type=Path, default=FOLDER / "runs", help="folder for the models of the sources")
    options = parser.parse_args()
    if not options.table:
        options.runs.mkdir(parents=True, exist_ok=True)
        for shop in SOURCES:
            if any(asked_of(shop).items() <= row.items() for row in load()):
                continue
            row = measure(shop, data=Path(os.environ["TASTEMAKER_DATA"]), runs=options.runs)
            others = [one for one in load() if one["left_out"] != shop]
            results.write(RESULTS, {"rows": [*others, row]})
            print(shop, row["ndcg@10"], flush=True)
    print(table(load()))


if __name__ == "__main__":
    main()
