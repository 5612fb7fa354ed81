"""How stale identifiers become: new products added to old identifiers, against identifiers made anew.

The log is cut in time. Products that were bought in its first 80 % are old, the others are new. Identifiers come from
texts. `extended`: they are made for the old products, the model is fitted on the first 80 %, and `transfer` adds the
new products without learning anything. `rebuilt`: they are made for all products, and the model is fitted on the same
80 % (so nobody has bought the new ones there either). Both are asked for the first purchase of each shopper in the last
20 % that is a new product, with everything before the cut as history, all products ranked, history masked.

    TASTEMAKER_DATA=... python benchmarks/staleness.py            # tiger and rpg on Office; results/staleness.json
    python benchmarks/staleness.py --table                         # the table only
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import polars as pl

import tastemaker
from tastemaker import registry
from tastemaker.data import Dataset, Queries, readers
from tastemaker.neural.indexing.usage import staleness, usage

RESULTS = Path(__file__).parent / "results" / "staleness.json"
DATA = "amazon-office-2014"
OLD = 0.8
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


def parts(folder: Path) -> tuple[Dataset, Dataset, Dataset]:
    """Return the past with the old products, the past with all products, and what came after."""
    shop, _ = readers.read(folder / DATA)
    ids = shop.log.with_columns(
        user_id=shop.users.frame["id"].gather(shop.log["user"]), item_id=shop.items.frame["id"].gather(shop.log["item"])
    )
    cut = np.quantile(shop.log["timestamp"].to_numpy(), OLD, method="lower")
    frames = [
        ids.filter(part).select("user_id", "item_id", "timestamp")
        for part in (pl.col("timestamp") <= cut, pl.col("timestamp") > cut)
    ]
    items = shop.items.frame.rename({"id": "item_id"})
    old = pl.col("item_id").is_in(frames[0]["item_id"].unique().implode())
    catalogue = pl.concat([items.filter(old), items.filter(~old)])
    users = shop.users.frame.rename({"id": "user_id"})
    return (
        Dataset.from_frames(frames[0], items.filter(old), users),
        Dataset.from_frames(frames[0], catalogue, users),
        Dataset.from_frames(frames[1], catalogue, users),
    )


def questions(past: Dataset, later: Dataset) -> tuple[Queries, np.ndarray]:
    """Return histories before the cut and the first new product that each shopper bought after it."""
    known, bought = past.queries(), later.queries()
    new = past.popularity == 0
    rows, targets = [], []
    for row in range(len(known)):
        found = [item for item in bought.history(row) if new[item]]
        if found and known.lengths[row]:
            rows.append(row)
            targets.append(found[0])
    return known.take(np.array(rows)), np.array(targets)


def measure(row: str, how: str, folder: Path) -> dict[str, object]:
    """Fit one model one way and ask it for new products."""
    old, past, later = parts(folder)
    name = row.partition(",")[0]
    settings = {"stage": [{"model": name, **SETTINGS[row]}], "encoder": {"model": "transformer"}}
    model = registry.build(settings).stages[0].recommender
    if how == "extended":
        model.fit(old, seed=0)
        model.transfer(past.items)
    else:
        model.fit(past, seed=0)
    asked, targets = questions(past, later)
    ranking = model.rank(asked, max(KS))
    hits = ranking.items == targets[:, None]
    ids = model.ids
    if how == "rebuilt":  # the same products are called new in both rows
        ids = type(ids)(
            **{**{f: getattr(ids, f) for f in ids.__slots__}, "born": (past.popularity == 0).astype(np.int32)}
        )
    return {
        "row": row,
        "identifiers": how,
        "settings": SETTINGS[row],
        "asked": len(asked),
        **staleness(ids),
        "version": ids.version,
        "usage": usage(ids),
        **{f"recall@{k}": round(float(hits[:, :k].any(axis=1).mean()), 4) for k in KS},
    }


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"data": DATA, "old": OLD, "rows": []}
    if not options.table:
        folder = Path(os.environ["TASTEMAKER_DATA"])
        for row in SETTINGS:
            for how in ("extended", "rebuilt"):
                done = [(one["row"], one["identifiers"], one["settings"]) for one in result["rows"]]
                if (row, how, SETTINGS[row]) in done:
                    continue
                rows = [one for one in result["rows"] if (one["row"], one["identifiers"]) != (row, how)]
                result = {**result, "tastemaker": tastemaker.__version__, "rows": [*rows, measure(row, how, folder)]}
                RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print("| " + " | ".join(COLUMNS.values()) + " |")
    print("|" + "---|" * len(COLUMNS))
    for one in result["rows"]:
        print("| " + " | ".join(str(one.get(key, "-")) for key in COLUMNS) + " |")


if __name__ == "__main__":
    main()
