"""What soft tokens save: `hybrid` against the prompt in words, at equal history and equal candidates.

    TASTEMAKER_DATA=FOLDER python benchmarks/hybrid_speed.py [--rounds N] [--threads N] [--table]

One shopper with a history of 20 titles and 20 candidates from FOLDER/amazon-beauty-2014/items.parquet (seed 0) is
asked in two ways, which take turns; the medians of the rounds count:

- words: the prompt of `listwise` with one order of the candidates, whose letters' probabilities are read;
- soft tokens: the same instruction in a few words, and one token for each product; all layers of the same model.

Rounds are written to benchmarks/results/hybrid_speed.json as they are measured; those that are there are not measured
again. CPU seconds stand beside wall seconds: where the two differ by more than the number of threads, other work
disturbed the measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from tastemaker.lm.local import LocalLM
from tastemaker.lm.trunk import trunk_of
from tastemaker.models.llm.hybrid import BEFORE, BETWEEN
from tastemaker.neural.candidates import Asked, Tables
from tastemaker.neural.language.soft_tokens import SoftTokenRanker
from tastemaker.text.clean import clean_all
from tastemaker.text.prompting.prompts import LETTERS, choose

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results" / "hybrid_speed.json"
HISTORY, CANDIDATES = 20, 20
DIM, TEXT = 64, 384
"""Widths of collaborative and text vectors, those of the defaults with MiniLM."""


def main() -> None:
    """Measure the rounds that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not options.table:
        if "TASTEMAKER_DATA" not in os.environ:
            sys.exit("set TASTEMAKER_DATA to the folder of real data sets")
        lm = LocalLM(options.model, threads=options.threads)
        history, candidates = titles(Path(os.environ["TASTEMAKER_DATA"]))
        results = run(lm, history, candidates, options.rounds, threads=options.threads, before=results)
    print(table(results))


def titles(folder: Path) -> tuple[list[str], list[str]]:
    """Return the titles of a history and of candidates."""
    items = pl.read_parquet(folder / "amazon-beauty-2014" / "items.parquet")
    known = sorted({title for title in clean_all(items["title"].to_list()) if title})
    chosen = np.random.default_rng(0).choice(len(known), HISTORY + CANDIDATES, replace=False)
    return [known[place] for place in chosen[:HISTORY]], [known[place] for place in chosen[HISTORY:]]


def run(
    lm: LocalLM, history: list[str], candidates: list[str], rounds: int, *, threads: int, before: dict[str, Any]
) -> dict[str, Any]:
    """Measure until there are `rounds` rounds under the same conditions; each is written when it is there."""
    facts = {"model": lm.name, "fingerprint": lm.fingerprint, "threads": threads, "torch": torch.__version__}
    facts |= {"history": len(history), "candidates": len(candidates)}
    ways, tokens = ways_of(lm, history, candidates)
    same = all(before.get(name) == value for name, value in {**facts, "tokens": tokens}.items())
    results = {**facts, "tokens": tokens, "rounds": before["rounds"] if same else []}
    for ask in ways.values():
        ask()  # warm up
    while len(results["rounds"]) < rounds:
        taken = {}
        for name, ask in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            ask()
            taken[name] = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        results["rounds"].append(taken)
        draft = RESULTS.with_suffix(".draft")
        draft.write_text(json.dumps(results, indent=1) + "\n")
        draft.replace(RESULTS)
    return results


def ways_of(
    lm: LocalLM, history: list[str], candidates: list[str]
) -> tuple[dict[str, Callable[[], Any]], dict[str, int]]:
    """Return the two ways to ask, and how many tokens the model reads in each."""
    prompt, letters = choose(history, candidates), list(LETTERS[: len(candidates)])
    count = len(history) + len(candidates)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tables = Tables(torch.randn(1, count, DIM), torch.ones(1, count), torch.randn(count, TEXT))
        trunk = trunk_of(lm, (BEFORE, BETWEEN), layers=None, tuned="none")
        network = SoftTokenRanker(trunk, tables, dropout=0.0, precision="float32").to(lm.config.device).eval()
    numbers = torch.arange(count)[None]
    nothing = torch.zeros(1, len(candidates))
    question = Asked(
        numbers[:, : len(history)],
        numbers[:, len(history) :],
        torch.arange(len(candidates), dtype=torch.float32)[None],
        nothing,
        torch.ones(1, dtype=torch.bool),
        torch.zeros(1, dtype=torch.long),
    )

    def soft() -> torch.Tensor:
        with torch.inference_mode():
            return network(question)

    words = sum(len(lm.tokens_of(text)) for text in (BEFORE, BETWEEN))
    tokens = {"words": lm.count_tokens(prompt), "soft tokens": words + count}
    return {"words": lambda: lm.next_token([prompt], letters), "soft tokens": soft}, tokens


def ratio(results: dict[str, Any], kind: str = "wall_s") -> float:
    """Return how many times faster soft tokens are: the ratio of the medians."""
    words, soft = (median(taken[name][kind] for taken in results["rounds"]) for name in ("words", "soft tokens"))
    return words / soft


def table(results: dict[str, Any]) -> str:
    """Return the results as a markdown table."""
    if not results:
        return "nothing is measured yet"
    lines = ["| asked in | tokens | wall s | CPU s |", "|---|---|---|---|"]
    for name, tokens in results["tokens"].items():
        wall, cpu = (median(taken[name][kind] for taken in results["rounds"]) for kind in ("wall_s", "cpu_s"))
        lines.append(f"| {name} | {tokens} | {wall:.3f} | {cpu:.3f} |")
    lines.append(
        f"\n{results['model']}, history of {results['history']}, {results['candidates']} candidates, "
        f"{results['threads']} threads, medians of {len(results['rounds'])} rounds: "
        f"soft tokens are {ratio(results):.1f} times as fast ({ratio(results, 'cpu_s'):.1f} by CPU time)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
