"""One job of a comparison in a process of its own: its memory is its own, and a crash costs one row.

    python -m tastemaker.compare.worker JOB.json

JOB.json is written by `tastemaker.compare.run`; what the job found goes to the folder that it names.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker import registry
from tastemaker.compare import shared, store
from tastemaker.compare.plan import REFUSED
from tastemaker.errors import TastemakerError
from tastemaker.evaluate import Options, Variant, evaluate_variants
from tastemaker.explain import Explainer
from tastemaker.progress import bar

if TYPE_CHECKING:
    from tastemaker.data.split import Split
    from tastemaker.evaluate import Evaluation
    from tastemaker.pipeline import Pipeline


def run(job: dict[str, Any]) -> None:
    """Do the job and keep what it found."""
    decides = job["decides"]
    shop = shared.shop(job["data"], decides)
    source = None if job["learn_from"] is None else shared.shop(job["learn_from"], decides).split
    catalogue = shop.catalogue(shared.read_vectors(job["vectors"]))
    options = Options(**_tuples(decides["options"]))
    variants = [
        Variant(refit=refit, masking=masking, ties=decides["ties"])
        for refit in decides["refits"]
        for masking in decides["maskings"]
    ]
    pipeline = registry.build(decides["settings"], place=job["label"])
    evaluations: list[Evaluation] = []
    examples: list[dict[str, Any]] = []
    for one in evaluate_variants(
        pipeline,
        shop.split,
        variants,
        seed=decides["seed"],
        options=options,
        source=source,
        catalogue=catalogue,
        progress=bar,
    ):
        if not evaluations:
            examples = _examples(pipeline, shop.split, options, masking=one.variant.masking)
        evaluations.append(one)
    store.write(Path(job["folder"]), decides, evaluations, examples=examples)


def _examples(pipeline: Pipeline, split: Split, options: Options, *, masking: bool) -> list[dict[str, Any]]:
    """List and explain products for the example shoppers."""
    shown = shared.example_questions(split, seed=options.seed)
    ranking = pipeline.rank(shown.queries, shared.EXAMPLE_LENGTH, seen=not masking)
    explained = Explainer(pipeline).explain(shown.queries, ranking)
    return [
        {"items": [int(item) for item in listed if item >= 0], "reasons": [reason.text for reason in reasons]}
        for listed, reasons in zip(ranking.items, explained, strict=True)
    ]


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    """Give options their tuples back, which JSON has as lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, so that a killed comparison leaves nothing running."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Do the job that the file on the command line describes."""
    _end_with_parent()
    try:
        run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except TastemakerError as error:
        sys.stdout.write("; ".join(str(error).splitlines()) + "\n")
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
