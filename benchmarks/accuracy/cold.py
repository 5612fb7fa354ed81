"""Products that nobody has bought: are they told apart, or only lifted? And what does it cost the others?

In an item-cold split every target is a product that nobody bought in training, so a model that lifts all such products
gains by the lift alone. Each row is one fit that is asked three times, histories masked:

- all products: the usual item-cold question;
- among new products: only products that nobody bought in training are candidates, so a lift changes nothing;
- warm: the last purchase of each shopper among the products of training, all products ranked, so a lift that is too
  high costs something. To ask that, the last two purchases of each shopper are held out of the training part too.

Beside them stands the share of new products among the first ten places of the warm lists. Rows are those of
tables/cold.toml, popularity, and text_knn with both packaged encoders; seed 0. Finished rows are not run again.

    TASTEMAKER_DATA=... python benchmarks/accuracy/cold.py               # what is missing, then the table
    python benchmarks/accuracy/cold.py --table                           # the table only
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import accuracy_results as results
import numpy as np
from run import Table, made_by

from tastemaker import evaluate, registry
from tastemaker.data import readers
from tastemaker.data.ranking import Ranking
from tastemaker.data.splits import Holdout, Split, item_cold, leave_one_out
from tastemaker.metrics import per_query
from tastemaker.metrics.summary import summarise
from tastemaker.pipeline import Pipeline
from tastemaker.progress import bar

RESULTS = results.ROOT / "benchmarks" / "results" / "cold.json"
"""Beside cold.json, which run.py makes of the same table, with paired tests."""
FLOOR: dict[str, dict[str, Any]] = {
    "popular": {"stage": [{"model": "popular"}]},
    "text_knn, tfidf": {"encoder": {"model": "tfidf"}, "stage": [{"model": "text_knn"}]},
    "text_knn, MiniLM": {"encoder": {"model": "transformer"}, "stage": [{"model": "text_knn"}]},
}
ASKED = ("all products", "among new products", "warm")
BLOCK, K = 512, 10


def settings_of_rows() -> dict[str, dict[str, Any]]:
    """Return the settings of each row, the cheapest first."""
    return FLOOR | {row.name: row.settings(quick=False) for row in Table.read("cold").rows}


def splits(data: Path) -> tuple[Split, Holdout]:
    """Return the item-cold split without the newest purchases of each shopper in train, and these as questions."""
    cold = item_cold(readers.read(str(data))[0])
    warm = leave_one_out(cold.train)
    return replace(cold, train=warm.train, refit=warm.refit), warm.test


def measure(settings: dict[str, Any], split: Split, warm: Holdout) -> dict[str, Any]:
    """Fit once and ask three times."""
    pipeline, started = registry.build(settings), time.perf_counter()
    evaluate.fit(pipeline, split, progress=bar)
    seconds = time.perf_counter() - started
    new = np.flatnonzero(split.train.popularity == 0).astype(np.int32)
    lists = {
        "all products": pipeline.rank(split.test.queries, K),
        "among new products": among(pipeline, split.test, new),
        "warm": pipeline.rank(warm.queries, K),
    }
    found: dict[str, Any] = {"seconds": round(seconds, 1)}
    for name, ranking in lists.items():
        told = summarise(per_query(ranking, (warm if name == "warm" else split.test).targets, (K,)))
        found[name] = {measure: told[f"{measure}@{K}"] for measure in results.MEASURES}
    placed = lists["warm"].items[lists["warm"].items >= 0]
    return {**found, "new_in_warm_lists": round(float(np.isin(placed, new).mean()), 4)}


def among(pipeline: Pipeline, asked: Holdout, items: np.ndarray[Any, np.dtype[np.int32]]) -> Ranking:
    """Rank these items only for each question."""
    lists = []
    for at in range(0, len(asked), BLOCK):
        queries = asked.queries.take(slice(at, min(at + BLOCK, len(asked))))
        shape = (len(queries), len(items))
        offered = Ranking(np.broadcast_to(items, shape).copy(), np.zeros(shape, dtype=np.float32))
        lists.append(pipeline.rank(queries, K, candidates=offered))
    return Ranking.stack(lists, K)


def load() -> list[dict[str, Any]]:
    """Return the rows that are there."""
    return results.load(RESULTS).get("rows", [])


def table(found: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        f"| data | model | {' | '.join(f'{asked}: recall@{K} | NDCG@{K}' for asked in ASKED)} | new in warm lists |",
        "|---" * 9 + "|",
    ]
    for row in found:
        cells = [f"{row[asked][measure]['value']:.4f}" for asked in ASKED for measure in results.MEASURES]
        lines.append(f"| {row['data']} | {row['model']} | {' | '.join(cells)} | {row['new_in_warm_lists']:.1%} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing unless only the table is wanted, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    for name in () if parser.parse_args().table else Table.read("cold").data:
        split, warm = splits(Path(os.environ["TASTEMAKER_DATA"]) / name)
        for model, settings in settings_of_rows().items():
            asked = {"data": name, "model": model, "settings": settings}
            if any(asked.items() <= row.items() for row in load()):
                continue
            row = {**asked, **measure(settings, split, warm), "made_by": made_by()}
            others = [one for one in load() if (one["data"], one["model"]) != (name, model)]
            results.write(RESULTS, {"rows": [*others, row]})
            print(name, model, row["all products"]["recall"]["value"], flush=True)
    print(table(load()))


if __name__ == "__main__":
    main()
