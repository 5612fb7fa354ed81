"""Training beside a process that holds a core: what bounding the spins of waiting threads is worth.

    TASTEMAKER_DATA=FOLDER python benchmarks/busy_core.py            # results/busy_core.json

Two epochs of `lightgcn` and `sasrec` on Office (leave-one-out, train part), as many threads as there are cores, each
measurement a fresh process: on a machine that is idle, and beside one process that does nothing but count; with the
bound that tastemaker sets where GOMP_SPINCOUNT is not set, and with libgomp's own. Seconds of the quicker epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tastemaker

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results" / "busy_core.json"
BOUNDS = {"tastemaker": {}, "libgomp": {"GOMP_SPINCOUNT": "300000"}}
"""Whose bound -> what is set; libgomp shows its own with OMP_DISPLAY_ENV=VERBOSE."""
MODELS = ("lightgcn", "sasrec")
DATA = "amazon-office-2014"
CHILD = """
import sys
from tastemaker import registry
from tastemaker.data import readers
from tastemaker.data.splits import leave_one_out

shop, _ = readers.read(sys.argv[1])
pipeline = registry.build({"stage": [{"model": sys.argv[2], "epochs": 2, "patience": 0}]})
pipeline.fit(leave_one_out(shop).train, seed=0)
print(min(epoch["seconds"] for epoch in pipeline.stages[0].recommender.report()["learning_curve"]))
"""


@contextmanager
def one_core_held(held: bool) -> Iterator[None]:
    """Let a process count in the block, if it is to."""
    if not held:
        yield
        return
    counting = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        counting.kill()
        counting.wait()


def seconds(model: str, bound: dict[str, str], *, held: bool) -> float:
    """Return seconds of an epoch in a fresh process."""
    told = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS")}
    place = str(Path(os.environ["TASTEMAKER_DATA"]) / DATA)
    with one_core_held(held):
        run = subprocess.run(
            [sys.executable, "-c", CHILD, place, model], env=told | bound, capture_output=True, text=True, check=True
        )
    return float(run.stdout.split()[-1])


def main() -> None:
    """Measure, print, and keep."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    for model in MODELS:
        for held in (False, True):
            row = {whose: seconds(model, bound, held=held) for whose, bound in BOUNDS.items()}
            rows.append({"model": model, "one core held": held, **row, "ratio": row["libgomp"] / row["tastemaker"]})
            print(rows[-1], flush=True)
    result = {"data": DATA, "cores": os.cpu_count(), "tastemaker": tastemaker.__version__, "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
