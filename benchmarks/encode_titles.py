"""How fast product titles are encoded: `TransformerEncoder` against plain `SentenceTransformer.encode`, same weights.

    TASTEMAKER_DATA=FOLDER python benchmarks/encode_titles.py [--rows N] [--rounds N] [--json PATH]

Data: the titles of FOLDER/amazon-beauty-2014/items.parquet (12,101), or their first N. The two take turns, and change
who begins, in one process with the same number of threads; the medians of the rounds and the median ratio are shown,
with the smallest cosine between the vectors that both make. Loading the model is timed for neither; tokenizing, sorting
and scaling to length 1 is timed for both.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from tastemaker.encoders.cache import cached
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.text.clean import clean_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.types import Float32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="only the first so many titles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="", help="a sentence-transformers model; default: the packaged MiniLM")
    parser.add_argument("--bfloat16", action="store_true", help="measure precision='bfloat16' too")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    if "TASTEMAKER_DATA" not in os.environ:
        sys.exit("set TASTEMAKER_DATA to the folder of real data sets")
    items = pl.read_parquet(Path(os.environ["TASTEMAKER_DATA"]) / "amazon-beauty-2014" / "items.parquet")
    titles = [title for title in clean_all(items["title"].to_list()) if title][: options.rows]

    encoder = TransformerEncoder(folder=options.folder)
    runs: dict[str, Callable[[], Float32]] = {
        "sentence-transformers": lambda: encoder._model.encode(titles, normalize_embeddings=True),
        "tastemaker": lambda: encoder.encode(titles, kind="document"),
    }
    if options.bfloat16:
        reduced = TransformerEncoder(folder=options.folder, precision="bfloat16")
        runs["tastemaker bfloat16"] = lambda: reduced.encode(titles, kind="document")
    seconds, vectors = measure(runs, options.rounds)

    plain = seconds["sentence-transformers"]
    rows = []
    for name, taken in seconds.items():
        cosine = float((vectors[name] * vectors["sentence-transformers"]).sum(axis=1).min())
        ratio = median(a / b for a, b in zip(plain, taken, strict=True))
        rows.append({"encoder": name, "seconds": median(taken), "ratio": ratio, "smallest_cosine": cosine})
    rows += once(encoder, titles)

    facts = {"titles": len(titles), "rounds": options.rounds, "threads": torch.get_num_threads(), "rows": rows}
    print(f"{len(titles)} titles, {len(set(titles))} distinct, {facts['threads']} threads, {options.rounds} rounds\n")
    print(f"{'encoder':<34}{'seconds':>9}{'titles/s':>10}{'times plain':>13}{'smallest cosine':>17}")
    for row in rows:
        extra = f"{row['ratio']:>13.2f}{row['smallest_cosine']:>17.6f}" if "ratio" in row else ""
        print(f"{row['encoder']:<34}{row['seconds']:>9.2f}{len(titles) / row['seconds']:>10.0f}{extra}")
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


def measure(runs: dict[str, Callable[[], Float32]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Float32]]:
    """Return the seconds of each run in each round, and its vectors; the order turns around each round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    vectors = {}
    for name, run in runs.items():
        vectors[name] = run()  # the first call also warms up
    for turn in range(rounds):
        for name in list(runs)[:: 1 if turn % 2 == 0 else -1]:
            start = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds, vectors


def once(encoder: TransformerEncoder, titles: list[str]) -> list[dict[str, str | float]]:
    """Time what has no counterpart: the cache once it is filled, and TF-IDF."""
    import tempfile

    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as folder:
        stored = cached(encoder, Path(folder))
        stored.encode(titles, kind="document")
        start = time.perf_counter()
        again = stored.encode(titles, kind="document")
        rows.append({"encoder": "tastemaker, from its cache", "seconds": time.perf_counter() - start})
        if not np.isfinite(again).all():
            sys.exit("the cache gave back infinite numbers")
    start = time.perf_counter()
    TfidfEncoder().fit(titles).encode(titles, kind="document")
    rows.append({"encoder": "tastemaker tfidf, fit and encode", "seconds": time.perf_counter() - start})
    return rows


if __name__ == "__main__":
    main()
