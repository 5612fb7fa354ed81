"""How often a language model's reasons say more than is known, and that none of those is shown.

    TASTEMAKER_DATA=FOLDER python benchmarks/grounding.py [--data NAME] [--model NAME] [--reasons N] [--json PATH]
        [--sentences PATH]

A pipeline (item_knn) is fitted on the training part of FOLDER/NAME (leave-one-out, seed 0), lists of 10 are made for
random shoppers, and the reason for one product of each list, drawn at random, is phrased by the language model from its
evidence. `Explainer.fault` judges each sentence: one that fails is replaced by the template's. Printed are the share of
sentences that passed as the model wrote them ("before the check"), why the others did not, and the share of shown
sentences that are grounded ("after the check"), told by a second judge that shares no code with the first: it goes
through a sentence word by word, crossing out whatever the facts say.

Reasons without evidence are not phrased and do not count. `--sentences` writes what was shown, to be read by people.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data import readers
from tastemaker.data.splits import leave_one_out
from tastemaker.explain import CONNECTING, Explainer
from tastemaker.lm.build import build
from tastemaker.metrics import bootstrap_interval
from tastemaker.models.collaborative.item_knn import ItemKNN
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tastemaker.data.queries import Queries
    from tastemaker.explain import Evidence
    from tastemaker.lm.base import LanguageModel

K = 10
QUOTES = '"\u201c\u201d'


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="amazon-beauty-2014")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--reasons", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--sentences", type=Path, help="write the sentences here, with what became of them")
    options = parser.parse_args()
    if "TASTEMAKER_DATA" not in os.environ:
        sys.exit("set TASTEMAKER_DATA to the folder of real data sets")
    known = options.data != "complete-journey"
    source = str(Path(os.environ["TASTEMAKER_DATA"]) / options.data) if known else options.data
    split = leave_one_out(readers.read(source)[0])
    pipeline = Pipeline([Stage(ItemKNN())]).fit(split.train)
    lm = build({"model": options.model, "device": options.device, "cache": False})
    found = measure(pipeline, split.test.queries, lm, reasons=options.reasons)
    sentences = found.pop("sentences")
    facts = {"data": options.data, "model": lm.name, "fingerprint": lm.fingerprint, **found}
    text = json.dumps(facts, indent=1)
    print(text)
    if options.json:
        options.json.write_text(f"{text}\n")
    if options.sentences:
        options.sentences.write_text(json.dumps(sentences, indent=1, ensure_ascii=False) + "\n")
    if found["grounded_after"] != 1.0:
        sys.exit("a sentence that was shown is not grounded")


def measure(pipeline: Pipeline, queries: Queries, lm: LanguageModel, *, reasons: int, seed: int = 0) -> dict[str, Any]:
    """Let the model phrase one reason a shopper until `reasons` sentences were written."""
    rng = np.random.default_rng(seed)
    explainer = Explainer(pipeline, lm=lm)
    names = item_names(pipeline.items)
    sentences: list[dict[str, Any]] = []
    began = time.perf_counter()
    for row in rng.permutation(len(queries)):
        if len(sentences) == reasons:
            break
        asked = queries.take([row])
        listed = pipeline.rank(asked, K).items[0]
        item = int(rng.choice(listed[listed >= 0])) if (listed >= 0).any() else -1
        if item < 0:
            continue
        before = Counter(explainer.counts)
        reason = explainer.reason(asked.history(0), item)
        outcome = Counter(explainer.counts) - before
        if not outcome:
            continue  # no evidence, so nothing to phrase
        [verdict] = outcome
        facts = [names[item], *said(reason.evidence)]
        sentences.append({"shown": reason.text, "verdict": verdict, "grounded": is_grounded(reason.text, facts)})
    passed = np.array([one["verdict"] == "kept" for one in sentences], dtype=np.float32)
    low, high = bootstrap_interval(passed, seed=seed)
    return {
        "reasons": len(sentences),
        "passed_before": {"value": float(passed.mean()), "low": low, "high": high},
        "dropped": dict(Counter(one["verdict"] for one in sentences if one["verdict"] != "kept").most_common()),
        "grounded_after": float(np.mean([one["grounded"] for one in sentences])),
        "kept_and_grounded": float(
            np.mean([one["grounded"] for one in sentences if one["verdict"] == "kept"] or [1.0])
        ),
        "seconds": round(time.perf_counter() - began, 1),
        "seed": seed,
        "list_length": K,
        "interval": "95 % percentile bootstrap over reasons, 1,000 resamples",
        "sentences": sentences,
    }


def said(evidence: Iterable[Evidence]) -> list[str]:
    """Return all that the evidence says, in pieces."""
    return [text for one in evidence for text in (one.name, one.value) if text]


def is_grounded(sentence: str, facts: Sequence[str]) -> bool:
    """Say whether a sentence says nothing beyond its facts: the second judge.

    Quoted parts must be a fact, give or take case and the mark of a cut. Every other word has to be one of a fact, or
    one that joins facts (`CONNECTING`), or one of the template's own. Every number has to stand in a fact.
    """
    lowered = folded(sentence)
    known = [folded(fact) for fact in facts]
    parts = lowered.split('"')
    if len(parts) % 2 == 0:
        return False  # a quote that is never closed
    for quoted in parts[1::2]:
        if quoted.strip(" .,") not in {form.strip(" .,") for fact in known for form in (fact, fact.replace('"', "'"))}:
            return False
    vocabulary = {word for fact in known for word in words(fact)} | set(CONNECTING) | TEMPLATE
    return all(word in vocabulary or word.removesuffix("'s") in vocabulary for word in words(" ".join(parts[::2])))


TEMPLATE = frozenset(
    """same brand category as before popular with other shoppers bought times fits what you buy your wish often like
    together after described those""".split()  # noqa: SIM905
)
"""Words of the template's sentences and of what models say of their arithmetic."""


def folded(text: str) -> str:
    """Return a text in lower case, with one kind of quote."""
    text = unicodedata.normalize("NFC", text)
    for quote in QUOTES:
        text = text.replace(quote, '"')
    return text.lower().replace("\u2019", "'")


def words(text: str) -> list[str]:
    """Split a text at whatever is no letter, digit or apostrophe, character by character."""
    found, word = [], ""
    for letter in f"{text} ":
        if letter.isalnum() or (letter in "'" and word):
            word += letter
        elif word:
            found.append(word.strip("'"))
            word = ""
    return [word for word in found if word]


if __name__ == "__main__":
    main()
