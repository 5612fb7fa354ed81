"""Cost of training against the number of interactions, and of a step against the size of the catalogue.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json
    python benchmarks/scaling.py --table

1. Interactions: one epoch of sasrec and of lightgcn (default settings, which sample negatives in a large catalogue) on
   made-up shops of 0.1 to 10 million purchases. Shoppers have 2 purchases and on average 9, products are drawn by
   Zipf's law, and the catalogue grows with the cube root of the interactions, from 5,000. Seconds of fit less those of
   its start, and peak memory, each in a process of its own. Shown beside it: the exponent of seconds against
   interactions, 1 where the cost is linear. It mixes growth of the catalogue in; --items N holds it fixed.
2. Products: one epoch of both at a fixed number of purchases, with 10,000 to 1,000,000 products and a sampled loss.
3. Catalogue: seconds of a training step (forward and backward through the loss alone, 2,048 places, 64 dimensions) of
   full softmax and of sampled softmax with 1,024 negatives for 2,000 to 200,000 products. The crossing is where both
   cost the same, read off the lines between the measured sizes; `loss = "auto"` changes over at
   `losses.SAMPLED_FROM` products, which is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from tastemaker import registry
from tastemaker.data.dataset import Dataset
from tastemaker.evaluate.cost import peak_mib
from tastemaker.neural import losses

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results" / "scaling.json"
SMALLEST_CATALOGUE, SMALLEST_LOG = 5_000, 100_000
MEAN_LENGTH = 9
DIM, PLACES, NEGATIVES = 64, 2048, 1024


def shop(interactions: int, n_items: int, *, seed: int = 0) -> Dataset:
    """Return a made-up shop; shoppers have 2 purchases and a geometric number beyond, products fall by Zipf's law."""
    rng = np.random.default_rng(seed)
    lengths = 1 + rng.geometric(1 / (MEAN_LENGTH - 1), 2 * interactions // MEAN_LENGTH)
    users = np.repeat(np.arange(len(lengths)), lengths)[:interactions]
    weights = 1.0 / np.arange(1, n_items + 1)
    items = rng.choice(n_items, len(users), p=weights / weights.sum())
    log = pl.DataFrame({"user_id": users, "item_id": items}).with_columns(pl.all().cast(pl.String))
    known = pl.DataFrame({"item_id": np.arange(n_items)}).with_columns(pl.all().cast(pl.String))
    return Dataset.from_frames(log, known)


def catalogue(interactions: int) -> int:
    """Return how many products a made-up shop of this size has."""
    return int(SMALLEST_CATALOGUE * max(1.0, interactions / SMALLEST_LOG) ** (1 / 3) // 100 * 100)


def epoch(model: str, interactions: int, n_items: int, loss: str) -> dict[str, Any]:
    """Train for one epoch in this process, and say what it took."""
    data = shop(interactions, n_items)
    held = peak_mib()
    stage = {"model": model, "epochs": 1, "patience": 0, "loss": loss}
    pipeline = registry.build({"stage": [stage], "fallback": "none"})
    start = time.perf_counter()
    pipeline.fit(data)
    total = time.perf_counter() - start
    report = pipeline.stages[0].recommender.report()
    (entry,) = report["learning_curve"]
    return {
        "model": model,
        "loss": report["loss"],
        "interactions": len(data),
        "users": data.n_users,
        "items": data.n_items,
        "epoch_seconds": entry["seconds"],
        "other_seconds": total - entry["seconds"],
        "data_mib": held,
        "peak_mib": peak_mib(),
    }


def measured(model: str, interactions: int, n_items: int, loss: str = "auto") -> dict[str, Any]:
    """Train for one epoch in a process of its own, and say what it took."""
    command = [sys.executable, __file__, "--child", model, str(interactions), str(n_items), loss]
    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"{model}, {interactions:,} of {n_items:,}: {said['epoch_seconds']:.1f} s", file=sys.stderr, flush=True)
    return said


def step(n_items: int, loss: str, *, repeats: int) -> float:
    """Return the median seconds of the loss and its gradient, after one that warms up."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(PLACES, DIM, generator=generator, requires_grad=True)
    items = torch.randn(n_items, DIM, generator=generator, requires_grad=True)
    targets = torch.randint(n_items, (PLACES,), generator=generator)
    loss_of = losses.loss_of(losses.LossConfig(loss=loss, negatives=NEGATIVES), n_items)
    seconds = []
    for _ in range(repeats + 1):
        hidden.grad = items.grad = None
        start = time.perf_counter()
        loss_of(hidden, items, targets).backward()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def crossing(rows: Sequence[dict[str, Any]]) -> float | None:
    """Return the size from which sampled softmax is cheaper, between measured sizes along straight lines; else None."""
    gaps = [(row["items"], row["softmax"] - row["sampled"]) for row in rows]
    for (small, before), (large, after) in pairwise(gaps):
        if before <= 0 < after:
            return float(small + (large - small) * -before / (after - before))
    return float(gaps[0][0]) if gaps[0][1] > 0 else None


def exponent(rows: Sequence[dict[str, Any]]) -> float:
    """Return the slope of log seconds against log interactions, by least squares."""
    sizes, seconds = (np.log([row[name] for row in rows]) for name in ("interactions", "epoch_seconds"))
    return float(np.polyfit(sizes, seconds, 1)[0])


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of the result that is there")
    parser.add_argument("--interactions", type=int, nargs="+", default=[100_000, 300_000, 1_000_000, 3_000_000, 10**7])
    parser.add_argument("--items", type=int, help="products of each made-up shop; without it they grow")
    parser.add_argument("--models", nargs="*", default=["sasrec", "lightgcn"])
    parser.add_argument("--products", type=int, nargs="*", default=[10_000, 30_000, 100_000, 300_000, 10**6])
    parser.add_argument("--products-interactions", type=int, default=300_000, help="purchases while products grow")
    parser.add_argument("--catalogues", type=int, nargs="+", default=[2_000, 5_000, 10_000, 20_000, 50_000, 200_000])
    parser.add_argument("--repeats", type=int, default=5, help="steps of each loss")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    if options.child:
        model, interactions, n_items, loss = options.child
        print(json.dumps(epoch(model, int(interactions), int(n_items), loss)))
        return
    steps = [
        {"items": n, **{loss: step(n, loss, repeats=options.repeats) for loss in ("softmax", "sampled")}}
        for n in options.catalogues
    ]
    epochs = [
        measured(model, size, options.items or catalogue(size))
        for model in options.models
        for size in options.interactions
    ]
    products = [
        measured(model, options.products_interactions, n_items, "sampled")
        for model in options.models
        for n_items in options.products
    ]
    by_model = {model: [row for row in epochs if row["model"] == model] for model in options.models}
    result = {
        "threads": torch.get_num_threads(),
        "epochs": epochs,
        "exponents": {model: exponent(rows) for model, rows in by_model.items() if len(rows) > 1},
        "products": products,
        "steps": steps,
        "crossing": crossing(steps),
        "sampled_from": losses.SAMPLED_FROM,
    }
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def table(result: dict[str, Any]) -> str:
    """Return all parts in markdown."""
    head = "| model | interactions | products | loss | s an epoch | us an interaction | start | peak MiB |"
    lines = []
    for name in ("epochs", "products"):
        lines += [head, "|---|---:|---:|---|" + "---:|" * 4]
        for row in result[name]:
            each = 1e6 * row["epoch_seconds"] / row["interactions"]
            lines.append(
                f"| {row['model']} | {row['interactions']:,} | {row['items']:,} | {row['loss']}"
                f" | {row['epoch_seconds']:.1f} | {each:.0f} | {row['other_seconds']:.1f} s | {row['peak_mib']:,} |"
            )
        lines.append("")
    for model, power in result["exponents"].items():
        lines.append(f"Seconds of {model} grow as interactions to the power {power:.2f}.")
    lines += ["\n| products | full softmax, ms a step | sampled softmax, ms a step |", "|---:|---:|---:|"]
    for row in result["steps"]:
        lines.append(f"| {row['items']:,} | {1000 * row['softmax']:.1f} | {1000 * row['sampled']:.1f} |")
    where = "not among these sizes" if result["crossing"] is None else f"at {result['crossing']:,.0f} products"
    lines.append(f"\nBoth cost the same {where}; `auto` samples from {result['sampled_from']:,} products on.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
