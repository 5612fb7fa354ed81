"""One job of a comparison in a process of its own: its memory is its own, and a crash costs one row.

    python -m tastemaker.compare.worker < JOB.json

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
from tastemaker.compare import maps, shared, store
from tastemaker.compare.plan import REFUSED
from tastemaker.errors import DataError, TastemakerError
from tastemaker.evaluate import Options, Variant, evaluate_variants
from tastemaker.explain import Explainer
from tastemaker.progress import bar, silent

if TYPE_CHECKING:
    from tastemaker.data.splits import Split
    from tastemaker.evaluate import Evaluation
    from tastemaker.pipeline import Pipeline


def run(job: dict[str, Any]) -> None:
    """Do the job and keep what it found."""
    decides = job["decides"]
    shops = shared.shops([shared.read(source, progress=silent).data for source in job["sources"]], decides)
    changed = [
        source["path"]
        for source, shop, digest in zip(job["sources"], shops, decides["shops"], strict=True)
        if shop.digest != digest
    ]
    if changed:
        raise DataError(f"{changed[0]}: changed while the comparison ran; run it again")
    shop, source = shops[0], shops[1].split if len(shops) > 1 else None
    catalogue = shop.catalogue(maps.read_vectors(Path(job["products"])))
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


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, so that a killed comparison leaves nothing running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Do the job that is described on stdin."""
    job = json.load(sys.stdin)
    _end_with(job["parent"])
    try:
        run(job)
    except TastemakerError as error:
        sys.stdout.write("; ".join(str(error).splitlines()) + "\n")
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
