"""What one P5 answers beside its lists: ratings, attributes, explanations, and prompts in words it never saw.

    TASTEMAKER_DATA=... python benchmarks/p5_tasks.py                # Office and MovieLens 100k, on the CPU
    TASTEMAKER_DATA=... python benchmarks/p5_tasks.py --device cuda --epochs 20
    python benchmarks/p5_tasks.py --table                            # the table only

Each shop is split leave-one-out and P5 learns from its train part, with accuracy/configs/p5.toml but
for what the command changes.

- ratings (MovieLens): MAE of the rating that is written for the test item, beside the mean of all train ratings and the
  shopper's own mean; answers that are no number are counted and get the shopper's mean.
- attributes (Office): of one product in ten the brand is taken out of the catalogue before anything is learnt; share of
  answers that are the true brand, for these and for the others, beside the most frequent brand.
- explanations: share of sentences of which every part is true: the product named was bought by this shopper and is
  bought with the offered one by two shoppers and more, and a shared brand or category is shared.
- lists: recall@10 and NDCG@10, asked in a wording of the training and in one that no training saw.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data import readers
from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.splits import leave_one_out
from tastemaker.models.generative.p5 import P5
from tastemaker.progress import bar
from tastemaker.recommender import Aids
from tastemaker.text.instructions.task_families import TaskWriter
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from tastemaker.data.splits import Split

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "p5_tasks.json"
HIDDEN = 0.1
"""Share of the products whose brand nobody tells."""
ASKED = 2000
"""Shoppers that are asked for a rating or an explanation, at most."""


def fitted(split: Split, settings: dict[str, Any], device: str) -> tuple[P5, float]:
    """Return P5, learnt on the train part, and the seconds it took."""
    started = time.perf_counter()
    model = P5(**settings)
    model.fit(split.train, aids=Aids(validation=split.validation, device=device), seed=0, progress=bar)
    return model, time.perf_counter() - started


def lists(model: P5, split: Split) -> dict[str, float]:
    """Return accuracy in a seen wording and in an unseen one."""
    targets = split.test.targets.items[split.test.targets.offsets[:-1]][:, None]
    found = {}
    for name, wording in (("seen wording", 0), ("unseen wording", -1)):
        model.config = model.config.model_copy(update={"wording": wording})
        hits = model.rank(split.test.queries, 10).items == targets
        found[f"recall@10, {name}"] = float(hits.any(axis=1).mean())
        found[f"ndcg@10, {name}"] = float((hits / np.log2(np.arange(2, 12))).sum(axis=1).mean())
    return found


def ratings(model: P5, data: Dataset, split: Split) -> dict[str, float]:
    """Return the errors of ratings for test items, asked with what each shopper gave before."""
    log = split.train.log
    overall = float(log["value"].mean())  # type: ignore[arg-type]  # a mean of floats
    own = dict(log.group_by("user").agg(pl.col("value").mean()).iter_rows())
    last = data.log.group_by("user", maintain_order=True).last()
    truth = {(user, item): value for user, item, value in last.select("user", "item", "value").iter_rows()}
    users, items = split.test.who(), split.test.targets.items[split.test.targets.offsets[:-1]]
    rows = [row for row in range(len(users)) if (int(users[row]), int(items[row])) in truth][:ASKED]
    means = np.array([own.get(int(users[row]), overall) for row in rows])
    wanted = np.array([truth[int(users[row]), int(items[row])] for row in rows])
    usual = [f"{mean:.1f}" for mean in means]
    said = model.generate("rating", split.test.queries.take(rows), items[rows], usual=usual)
    read = np.array([_number(text) for text in said])
    given = np.where(np.isnan(read), means, read)
    return {
        "MAE, written": float(np.abs(given - wanted).mean()),
        "MAE, mean of all": float(np.abs(overall - wanted).mean()),
        "MAE, shopper's mean": float(np.abs(means - wanted).mean()),
        "answers that are no number": float(np.isnan(read).mean()),
    }


def attributes(model: P5, split: Split, brands: list[str | None], hidden: np.ndarray) -> dict[str, float]:
    """Return how often the brand that is written is the true one."""
    known = np.array([bool(brand) for brand in brands]) & (split.train.popularity > 0)
    items = np.flatnonzero(known)
    said = model.generate("attribute", items=items, attribute=["brand"] * len(items))
    right = np.array([text == " ".join(str(brands[item]).split()) for text, item in zip(said, items, strict=True)])
    common = pl.Series([brands[item] for item in items]).value_counts(sort=True)["count"][0] / len(items)
    return {
        "brand, learnt": float(right[~hidden[items]].mean()),
        "brand, never told": float(right[hidden[items]].mean()),
        "brand, most frequent": float(common),
    }


def explanations(model: P5, split: Split) -> dict[str, float]:
    """Return the share of explanations that are true, for the products that the model lists first."""
    queries = split.test.queries.take(slice(0, ASKED))
    items = model.rank(queries, 1).items[:, 0]
    rows = np.flatnonzero(items >= 0)
    said = model.generate("explanation", queries.take(rows), items[rows])
    names = item_names(split.train.items)
    writer = TaskWriter(split.train, names=[f'"{name}"' for name in names])
    true = 0
    for row, text in zip(rows, said, strict=True):
        history, item = queries.history(int(row)), int(items[row])
        grounds = [set(writer.reason(history[place : place + 1], item).split("; ")) for place in range(len(history))]
        true += bool(text) and set(text.split("; ")) <= set().union(*grounds)
    return {"explanations all true": true / len(rows)}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def without_brands(data: Dataset) -> tuple[Dataset, list[str | None], np.ndarray]:
    """Return the shop with the brand of one product in ten taken out, all brands, and which were taken."""
    hidden = np.random.default_rng(0).random(data.n_items) < HIDDEN
    frame = data.items.frame.with_columns(
        pl.when(pl.Series(hidden)).then(None).otherwise(pl.col("brand")).alias("brand")
    )
    return Dataset(data.users, Entities(frame), data.log), data.items.frame["brand"].to_list(), hidden


def measure(settings: dict[str, Any], device: str) -> dict[str, Any]:
    """Return the results of both shops."""
    place = Path(os.environ["TASTEMAKER_DATA"])
    office, brands, hidden = without_brands(readers.read(str(place / "amazon-office-2014"))[0])
    split = leave_one_out(office)
    model, seconds = fitted(split, settings, device)
    found: dict[str, Any] = {"settings": settings, "device": device}
    found["amazon-office-2014"] = {
        "fit seconds": round(seconds, 1),
        "best epoch": model.report()["best_epoch"],
        **lists(model, split),
        **attributes(model, split, brands, hidden),
    }
    model.config = model.config.model_copy(update={"wording": 0})
    found["amazon-office-2014"] |= explanations(model, split)
    films = readers.read(str(place / "movielens-100k"))[0]
    split = leave_one_out(films)
    model, seconds = fitted(split, settings, device)
    found["movielens-100k"] = {
        "fit seconds": round(seconds, 1),
        "best epoch": model.report()["best_epoch"],
        **lists(model, split),
        **ratings(model, films, split),
    }
    return found


def table(found: dict[str, Any]) -> str:
    """Return the results as a markdown table."""
    lines = ["| data | measure | value |", "|---|---|---|"]
    for data in ("amazon-office-2014", "movielens-100k"):
        lines += [f"| {data} | {name} | {value:.4g} |" for name, value in found[data].items()]
    return "\n".join(lines)


def main() -> None:
    """Measure, write JSON, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--table", action="store_true", help="print what was measured before")
    options = parser.parse_args()
    if not options.table:
        [settings] = tomllib.loads((FOLDER / "accuracy" / "configs" / "p5.toml").read_text(encoding="utf-8"))["stage"]
        settings.pop("model")
        for name in ("epochs", "dim", "layers"):
            if getattr(options, name) is not None:
                settings[name] = getattr(options, name)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(measure(settings, options.device), indent=1) + "\n", encoding="utf-8")
    print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
