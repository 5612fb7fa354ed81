"""How stale identifiers become: new products added to old identifiers, against identifiers made anew.

The item-cold split (these data have no times): a random fifth of the bought products, near-duplicates together, is new,
and training holds no purchase of them. Identifiers come from texts. `extended`: they are made for the old products, the
model is fitted, and `transfer` adds the new products without learning anything. `rebuilt`: they are made for all
products, and the model is fitted on the same purchases. Both are asked who bought the test half of the new products,
all products ranked, history masked; recall is over all of a shopper's test products.

    TASTEMAKER_DATA=... python benchmarks/staleness.py            # tiger and rpg on Office; results/staleness.json
    python benchmarks/staleness.py --table                         # the table only
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tastemaker
from tastemaker import registry
from tastemaker.data import Dataset, Entities, readers
from tastemaker.data.splits import Holdout, item_cold
from tastemaker.neural.indexing.usage import staleness, usage
from tastemaker.recommender import Aids

RESULTS = Path(__file__).parent / "results" / "staleness.json"
DATA = "amazon-office-2014"
NEW = 0.2
"""Share of the bought products that is new: half of them validation, half of them test products."""
KS = (10, 50)
SETTINGS = {
    "tiger": {"source": "text", "epochs": 15, "smoothing": 0.05, "learning_rate": 2e-3},
    "tiger, no smoothing": {"source": "text", "epochs": 15, "smoothing": 0.0, "learning_rate": 2e-3},
    "rpg": {"source": "text", "levels": 16, "epochs": 15, "item_loss": 0.5, "learning_rate": 2e-3, "dropout": 0.3},
}
"""Row -> settings beyond the model's defaults; the word before the comma is the model."""
COLUMNS = {
    "row": "model",
    "identifiers": "identifiers",
    "new_items": "new products",
    "error": "error of old",
    "new_error": "error of new",
    "collision_share": "collisions of old",
    "new_collision_share": "collisions of new",
    "recall@10": "recall@10 of new",
    "recall@50": "recall@50 of new",
    "asked": "asked",
}


def parts(folder: Path) -> tuple[Dataset, Dataset, Holdout]:
    """Return the training part with the old products, the same with all products behind them, and the questions."""
    shop, _ = readers.read(folder / DATA)
    split = item_cold(shop, share=NEW / 2)
    new = split.train.popularity == 0
    order = np.argsort(new, kind="stable")  # old products first, so that they have the same numbers in both catalogues
    number = np.empty(len(order), dtype=np.int32)
    number[order] = np.arange(len(order))
    frame = shop.items.frame[order]
    log = split.train.log.with_columns(item=pl.Series(number[split.train.log["item"].to_numpy()]))
    old, everything = (Dataset(shop.users, Entities(part), log) for part in (frame[: int((~new).sum())], frame))
    asked, answers = (
        replace(queries, items=number[queries.items]) for queries in (split.test.queries, split.test.targets)
    )
    return old, everything, Holdout(asked, answers)


def measure(row: str, how: str, folder: Path, *, device: str = "cpu") -> dict[str, object]:
    """Fit one model one way and ask it for new products."""
    old, train, test = parts(folder)
    name = row.partition(",")[0]
    settings = {"stage": [{"model": name, **SETTINGS[row]}], "encoder": {"model": "transformer"}}
    model = registry.build(settings).stages[0].recommender
    if how == "extended":
        model.fit(old, aids=Aids(device=device), seed=0)
        model.transfer(train.items)
    else:
        model.fit(train, aids=Aids(device=device), seed=0)
    found = model.rank(test.queries, max(KS)).items
    n, targets = train.n_items, test.targets
    hits = np.isin(np.arange(len(found))[:, None] * n + found, targets.rows * n + targets.items) & (found >= 0)
    ids = model.ids
    if how == "rebuilt":  # the same products are called new in both rows
        ids = replace(ids, born=(train.popularity == 0).astype(np.int32))
    return {
        "row": row,
        "identifiers": how,
        "settings": SETTINGS[row],
        "asked": len(found),
        **staleness(ids),
        "version": ids.version,
        "usage": usage(ids),
        **{f"recall@{k}": round(float((hits[:, :k].sum(axis=1) / targets.lengths).mean()), 4) for k in KS},
    }


def load() -> dict[str, Any]:
    """Return what was measured."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"data": DATA, "new": NEW, "rows": []}


def table(result: dict[str, Any]) -> str:
    """Return the results as a markdown table."""
    rows = [[str(one.get(key, "-")) for key in COLUMNS] for one in result["rows"]]
    lines = [list(COLUMNS.values()), ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table only")
    parser.add_argument("--device", default="cpu", help="where networks are trained")
    options = parser.parse_args()
    result = load()
    if not options.table:
        folder = Path(os.environ["TASTEMAKER_DATA"])
        for row in SETTINGS:
            for how in ("extended", "rebuilt"):
                done = [(one["row"], one["identifiers"], one["settings"]) for one in result["rows"]]
                if (row, how, SETTINGS[row]) in done:
                    continue
                rows = [one for one in result["rows"] if (one["row"], one["identifiers"]) != (row, how)]
                result = {
                    **result,
                    "tastemaker": tastemaker.__version__,
                    "rows": [*rows, measure(row, how, folder, device=options.device)],
                }
                RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
