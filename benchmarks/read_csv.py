"""Time and memory of importing a csv of interactions, against plain `polars.read_csv`.

    python benchmarks/read_csv.py --rows 1000000 --json out.json

Each measurement is a fresh process on the same file: seconds without imports, peak resident memory with everything.
tastemaker.read reads, checks and numbers; tastemaker.convert also writes the canonical folder, as `tastemaker data
convert` does. Claim under test: 1,000,000 rows are converted at 200,000 interactions a second or more, under 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

CHILD = """
import resource, sys, time
path = sys.argv[1]
{imports}
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB; Linux counts KiB
print(seconds, peak, rows)
"""
TASKS = {
    "polars.read_csv": ("import polars as pl", "rows = pl.read_csv(path).height"),
    "tastemaker.read": ("from tastemaker.data.readers import read", "rows = len(read(path)[0])"),
    "tastemaker.convert": (
        "from tastemaker.data.readers import read; from tastemaker.data.writers.canonical import write",
        "data, _ = read(path); write(data, path + '.out', overwrite=True); rows = len(data)",
    ),
}
CLAIM = 200_000
"""Interactions a second."""


def make_csv(path: Path, rows: int, *, seed: int = 0) -> None:
    """Write interactions of a made-up shop: about 10 a user, item popularity falling like Zipf's law."""
    rng = np.random.default_rng(seed)
    users, items = max(1, rows // 10), max(1, rows // 20)
    weights = 1.0 / np.arange(1, items + 1)
    frame = pl.DataFrame(
        {
            "user_id": pl.Series(rng.integers(0, users, rows)).cast(pl.String).str.zfill(8),
            "item_id": "B" + pl.Series(rng.choice(items, rows, p=weights / weights.sum())).cast(pl.String).str.zfill(9),
            "timestamp": rng.integers(1_500_000_000, 1_700_000_000, rows),
            "value": rng.integers(1, 6, rows).astype(np.float64),
            "event_type": rng.choice(["view", "cart", "purchase"], rows),
        }
    )
    frame.write_csv(path)


def measure(name: str, path: Path, *, repeats: int) -> dict[str, float]:
    """Run one task in fresh processes; the best time and the largest memory count."""
    imports, work = TASKS[name]
    command = [sys.executable, "-c", CHILD.format(imports=imports, work=work), str(path)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(repeats)]
    return {
        "seconds": min(float(run[0]) for run in runs),
        "rows_per_second": round(int(runs[0][2]) / min(float(run[0]) for run in runs)),
        "peak_mib": max(float(run[1]) for run in runs),
        "rows": int(runs[0][2]),
    }


def main() -> None:
    """Make the file, measure each task, print the table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "interactions.csv"
        make_csv(path, options.rows)
        megabytes = path.stat().st_size / 1e6
        found = {name: measure(name, path, repeats=options.repeats) for name in TASKS}
    ratio = found["tastemaker.read"]["seconds"] / found["polars.read_csv"]["seconds"]
    print(f"{options.rows:,} rows, {megabytes:.0f} MB, best of {options.repeats}")
    for name, figures in found.items():
        rate = f"{figures['rows_per_second']:12,} rows/s"
        print(f"{name:18} {figures['seconds']:8.2f} s {rate} {figures['peak_mib']:8.0f} MiB")
    print(f"read against polars {ratio:7.1f} times as long")
    held = found["tastemaker.convert"]["rows_per_second"] >= CLAIM
    print(f"claim: convert >= {CLAIM:,} rows/s: {'holds' if held else 'FAILS'}")
    if options.json:
        result = {
            "rows": options.rows,
            "megabytes": megabytes,
            "tasks": found,
            "ratio": ratio,
            "claim": {"rows_per_second": CLAIM, "holds": held},
            "machine": {"processors": len(os.sched_getaffinity(0)), "polars_threads": pl.thread_pool_size()},
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
