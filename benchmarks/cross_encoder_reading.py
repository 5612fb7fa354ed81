"""What the quicker ways of reading cost in quality: `cross_encoder` trained a little on Amazon's beauty products.

    TASTEMAKER_DATA=FOLDER python benchmarks/cross_encoder_reading.py [--users N] [--questions N] [--asked N]

The first N shoppers of FOLDER/amazon-beauty-2014, leave one out; candidates are the 50 best of `transitions`. Each way
of reading is trained with the same seed and questions, then asked in float32 and in bfloat16. NDCG@10 is of the model's
own order of the candidates over the last purchases, with a 95 % interval of the difference to the first line (bootstrap
over shoppers); agreement is the share of the ten first that both precisions name. CPU seconds are of one question.

Results go to benchmarks/results/cross_encoder_reading.json as they come; those that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tastemaker.data import readers
from tastemaker.data.dataset import Dataset
from tastemaker.data.splits import leave_one_out
from tastemaker.encoders.cache import cached
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.metrics.ranking import hits, ndcg
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.llm.cross_encoder import CrossEncoder
from tastemaker.recommender import Aids

RESULTS = Path(__file__).parent / "results" / "cross_encoder_reading.json"
SHORT = {"history": 3, "item_tokens": 16, "max_tokens": 64}
WAYS: dict[str, dict[str, Any]] = {
    "together": SHORT,
    "history once": {**SHORT, "history_once": True},
    "together, 5 products of 24 tokens": {},
    "history once, 5 products of 24 tokens": {"history_once": True},
}
DRAWS = 2000


def first_shoppers(data: Dataset, users: int) -> Dataset:
    """Return the rows of the first shoppers, and the products that they bought."""
    log = data.log.filter(pl.col("user") < users)
    ids = data.items.frame["id"]
    frame = log.select(
        pl.col("user").cast(pl.String).alias("user_id"),
        ids.gather(log["item"]).alias("item_id"),
        "timestamp",
    )
    items = data.items.frame.filter(pl.col("id").is_in(frame["item_id"].unique().to_list())).rename({"id": "item_id"})
    return Dataset.from_frames(frame, items)


def measure(way: str, split: Any, asked: int, questions: int, encoder: Any) -> dict[str, Any]:  # noqa: ANN401
    """Train one way of reading and ask it."""
    settings = {"weight": 1.0, "rounds": 1, "epochs": 1, "patience": 0, "questions": questions, "warmup": 10}
    settings |= {"negatives": 7, "candidates": 50, **WAYS[way]}
    test = split.test.sample(asked, seed=0)
    offered = Transitions().fit(split.train).rank(test.queries, 50)
    model = CrossEncoder(encoder=encoder, **settings)
    began = time.process_time()
    model.fit(split.train, aids=Aids(), seed=0)
    found: dict[str, Any] = {"training_cpu_seconds": round(time.process_time() - began, 1)}
    tops = {}
    for kind in ("float32", "bfloat16"):
        model._network.asked_precision = kind
        model._network.forget()
        began = time.process_time()
        order = model.own_order(test.queries, offered)
        seconds = (time.process_time() - began) / len(test)
        quality = ndcg(hits(order, test.targets), 10)
        tops[kind] = order.items[:, :10]
        found[kind] = {"cpu_seconds": seconds, "ndcg@10": float(quality.mean()), "each": quality.tolist()}
    both = [len(set(a[a >= 0]) & set(b[b >= 0])) / max(1, (a >= 0).sum()) for a, b in zip(*tops.values(), strict=True)]
    found["agreement"] = float(np.mean(both))
    found["retriever"] = float(ndcg(hits(offered, test.targets), 10).mean())
    return found


def difference(one: list[float], other: list[float]) -> tuple[float, float, float]:
    """Return the mean difference with its 95 % interval, by bootstrap over shoppers."""
    gap = np.asarray(one) - np.asarray(other)
    drawn = np.random.default_rng(0).integers(len(gap), size=(DRAWS, len(gap)))
    low, high = np.quantile(gap[drawn].mean(1), [0.025, 0.975])
    return float(gap.mean()), float(low), float(high)


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    base = next(iter(found["ways"].values()))["float32"]["each"]
    print(f"retriever: NDCG@10 {next(iter(found['ways'].values()))['retriever']:.4f}")
    for way, row in found["ways"].items():
        for kind in ("float32", "bfloat16"):
            gap, low, high = difference(row[kind]["each"], base)
            print(
                f"{way:40} {kind:9} NDCG@10 {row[kind]['ndcg@10']:.4f} ({gap:+.4f}, {low:+.4f} .. {high:+.4f})  "
                f"{1e3 * row[kind]['cpu_seconds']:.0f} CPU ms  agreement {row['agreement']:.3f}"
            )


def main() -> None:
    """Measure what is not there yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--questions", type=int, default=1280)
    parser.add_argument("--asked", type=int, default=500)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    sizes = {"users": given.users, "questions": given.questions, "asked": given.asked}
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if {name: found.get(name) for name in sizes} != sizes:
        found = {**sizes, "torch": torch.__version__, "ways": {}}
    data, _ = readers.read(Path(os.environ["TASTEMAKER_DATA"]) / "amazon-beauty-2014")
    split = leave_one_out(first_shoppers(data, given.users))
    encoder = cached(TransformerEncoder())
    for way in given.ways:
        if way not in found["ways"]:
            found["ways"][way] = measure(way, split, given.asked, given.questions, encoder)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


if __name__ == "__main__":
    main()
