"""What it costs to let a language model rank 20 candidates: letters, titles, and what a shared key-value cache saves.

    TASTEMAKER_DATA=FOLDER python benchmarks/choice_likelihood.py [--rounds N] [--threads N] [--json PATH]

One shopper with a history of 10 titles and 20 candidates, all from FOLDER/amazon-beauty-2014/items.parquet (seed 0),
asked with the prompt of `listwise`. Five ways take turns, and the medians of the rounds are shown:

- letters: one prompt, the log-probability of each letter (`next_token`);
- letters, 4 orders: the mean over four arrangements, as one call, which reads rules and history once;
- the same in full: four whole prompts, no cache;
- titles: the log-likelihood of each whole title after the prompt, which is read once (`loglikelihood`);
- the same in full: twenty whole prompts with a title each, no cache.

Each pair has to agree to 1e-3, or the benchmark fails. CPU seconds stand beside wall seconds: where the two differ by
more than the number of threads, other work disturbed the measurement.
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

from tastemaker.lm.local import LocalLM
from tastemaker.text.clean import clean_all
from tastemaker.text.prompting.prompts import LETTERS, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.lm.base import Prompt
    from tastemaker.types import Float32

HISTORY, CANDIDATES, ORDERS = 10, 20, 4
TOLERANCE = 1e-3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    if "TASTEMAKER_DATA" not in os.environ:
        sys.exit("set TASTEMAKER_DATA to the folder of real data sets")
    lm = LocalLM(options.model, threads=options.threads)
    history, candidates = titles(Path(os.environ["TASTEMAKER_DATA"]))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(CANDIDATES) for _ in range(ORDERS)]
    prompts = [choose(history, [candidates[place] for place in order]) for order in orders]
    letters = list(LETTERS[:CANDIDATES])

    ways: dict[str, Callable[[], Float32]] = {
        "letters, 1 order": lambda: lm.next_token(prompts[:1], letters),
        f"letters, {ORDERS} orders, shared prefix": lambda: lm.next_token(prompts, letters),
        f"letters, {ORDERS} orders, in full": lambda: np.array([letters_in_full(lm, p, letters) for p in prompts]),
        "titles, shared prefix": lambda: lm.loglikelihood(prompts[:1], [candidates])[0],
        "titles, in full": lambda: np.array([title_in_full(lm, prompts[0], title) for title in candidates]),
    }
    ways["letters, 1 order"]()  # warm up
    seconds, values = measure(ways, options.rounds)
    names = list(ways)
    for shared, full in ((names[1], names[2]), (names[3], names[4])):
        difference = float(np.abs(values[shared] - values[full]).max())
        print(f"{shared} / in full: largest difference {difference:.1e}")
        if not difference <= TOLERANCE:
            sys.exit(f"{shared}: differs from the full computation by {difference}")

    base = seconds[names[0]][0]
    tokens = lm.count_tokens(prompts[0])
    print(f"\n{lm.name}, {tokens} tokens a prompt, {options.threads} threads, {options.rounds} rounds")
    print(f"{'way':36}{'wall s':>9}{'CPU s':>9}{'x letters':>11}")
    for name, (wall, cpu) in seconds.items():
        print(f"{name:36}{wall:9.2f}{cpu:9.2f}{wall / base:11.2f}")
    if options.json:
        facts = {"model": lm.name, "fingerprint": lm.fingerprint, "threads": options.threads, "rounds": options.rounds}
        facts |= {"prompt_tokens": tokens, "torch": torch.__version__}
        table = {name: {"wall_s": wall, "cpu_s": cpu} for name, (wall, cpu) in seconds.items()}
        options.json.write_text(json.dumps({**facts, "ways": table}, indent=1) + "\n")


def titles(folder: Path) -> tuple[list[str], list[str]]:
    """Return the titles of a history and of candidates."""
    items = pl.read_parquet(folder / "amazon-beauty-2014" / "items.parquet")
    known = sorted({title for title in clean_all(items["title"].to_list()) if title})
    chosen = np.random.default_rng(0).choice(len(known), HISTORY + CANDIDATES, replace=False)
    return [known[place] for place in chosen[:HISTORY]], [known[place] for place in chosen[HISTORY:]]


def measure(
    ways: dict[str, Callable[[], Float32]], rounds: int
) -> tuple[dict[str, tuple[float, float]], dict[str, Float32]]:
    """Return the median (wall, CPU) seconds of each way, and what it computed."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    values = {}
    for _ in range(rounds):
        for name, compute in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            values[name] = compute()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {
        name: (median(wall for wall, _ in pairs), median(cpu for _, cpu in pairs)) for name, pairs in taken.items()
    }
    return medians, values


def log_probabilities(lm: LocalLM, ids: list[int], keep: int) -> torch.Tensor:
    """Return log-probabilities [keep, V] at the last places of one full pass without a cache."""
    with torch.inference_mode():
        output = lm._model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=keep)
        return output.logits[0].log_softmax(-1)


def letters_in_full(lm: LocalLM, prompt: Prompt, letters: list[str]) -> Float32:
    """Return what `next_token` returns for one prompt."""
    columns = lm._tokens.choices(prompt, letters)
    return np.asarray(log_probabilities(lm, lm._tokens.encode(prompt), 1)[0, columns].numpy(), dtype=np.float32)


def title_in_full(lm: LocalLM, prompt: Prompt, title: str) -> np.float32:
    """Return what `loglikelihood` returns for one prompt and title."""
    after = lm._tokens.continuation(prompt, title)
    logs = log_probabilities(lm, lm._tokens.encode(prompt) + after, len(after) + 1)
    return np.float32(logs[range(len(after)), after].sum().item())


if __name__ == "__main__":
    main()
