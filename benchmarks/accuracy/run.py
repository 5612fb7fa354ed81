"""Accuracy of our models on public data, one command a table; a killed run goes on where it was.

    TASTEMAKER_DATA=... python benchmarks/accuracy/run.py headline       # what is missing, cheapest first; the table
    python benchmarks/accuracy/run.py headline --table                   # the table only
    TASTEMAKER_DATA=... python benchmarks/accuracy/run.py headline --quick

A table is tables/NAME.toml: data sets, a split, and rows, each a configuration and a number of seeds (0, 1, ...). A
cell is a row on a data set: it is compared with the floor, masked and unmasked, all products ranked, fitted on train,
each seed in a process of its own, and written to results/NAME.json with the commit that made it. Cells that are there
with the same settings are not run again; --again runs them all. Finished seeds of a killed cell are kept under --runs
as long as the package's code is the same, so run long tables from a checkout that nobody edits (with another checkout
installed: PYTHONPATH=. python benchmarks/accuracy/run.py ...).

Rows that the table names as `paired` are tested against each other on the same questions; where the code has changed
since one of them was run, that one is run again, because a test needs both lists.

--jobs N runs N fits at once, each in a process of its own, and --device says where networks are trained; both are told
with the results. --data and --row take only some cells of the table.

--quick tries the machinery on the smallest set: 2 epochs at most, its result beside the runs and in no document.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accuracy_results as results
from accuracy_results import FOLDER, ROOT

import tastemaker
from tastemaker import config, progress, registry
from tastemaker.compare import Plan, Source, compare, entries
from tastemaker.compare.plan import FLOOR, Entry
from tastemaker.data import readers
from tastemaker.data.readers import complete_journey
from tastemaker.errors import ConfigError
from tastemaker.evaluate import DEFAULT_KS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK_DATA, QUICK_EPOCHS = "amazon-office-2014", 2


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration of a table.

    Attributes:
        name: in the table.
        config: a file beside configs/, or a model's name.
        seeds: fits of it, with the seeds 0, 1, ...
    """

    name: str
    config: str
    seeds: int = 1

    def settings(self, *, quick: bool, device: str = "cpu") -> dict[str, Any]:
        """Return the settings, checked; with `quick` no network trains for long.

        Encoder and language model work on `device` too.

        Raises:
            ConfigError: the file or the model is not there, or a setting is unknown.
        """
        file = FOLDER / "configs" / self.config
        settings = config.read(str(file) if file.suffix == ".toml" else self.config)
        if quick:
            for stage in settings["stage"]:
                _shorten(stage)
        settings = registry.on_device(settings, None if device == "cpu" else device, move=True)
        registry.build(settings, place=self.name)
        return settings


@dataclass(frozen=True, slots=True)
class Table:
    """What is measured; see the files in tables/.

    Attributes:
        name: of the file.
        title, note: in words.
        data: sets, smallest first.
        rows: cheapest first.
        split: a name in `SPLITS`.
        sample: so many random test questions, the same for all rows, where all would take too long.
        ks: list lengths.
        price: money for a million tokens read and written, where language models answer.
        paired: pairs of rows that are tested against each other; the second may be of the floor.
    """

    name: str
    title: str
    note: str
    data: tuple[str, ...]
    rows: tuple[Row, ...]
    split: str = "leave-one-out"
    paired: tuple[tuple[str, str], ...] = ()
    sample: int | None = None
    ks: tuple[int, ...] = DEFAULT_KS
    price: tuple[float, float] | None = None

    @classmethod
    def read(cls, name: str) -> Table:
        """Read a table.

        Raises:
            ConfigError: a pair names no row, or rows with different seeds.
        """
        facts = tomllib.loads((FOLDER / "tables" / f"{name}.toml").read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in facts.pop("row"))
        pairs = tuple((a, b) for a, b in facts.pop("paired", []))
        facts = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
        table = cls(name=name, rows=rows, paired=pairs, **facts)
        seeds = {row.name: row.seeds for row in rows}
        for a, b in pairs:
            if a not in seeds or (b not in FLOOR and seeds.get(b) != seeds[a]):
                raise ConfigError(f"{name}.toml: paired {[a, b]}: name two rows with the same number of seeds")
        return table

    def part(self, data: Sequence[str] | None, rows: Sequence[str] | None) -> Table:
        """Return only some data sets and rows of the table; None for all.

        Raises:
            SystemExit: the table has none of them.
        """
        names = tuple(one for one in self.data if data is None or one in data)
        kept = tuple(row for row in self.rows if rows is None or row.name in rows)
        if not names or not kept:
            sys.exit(f"{self.name}: has no such row or data set; rows: {[row.name for row in self.rows]}, {self.data}")
        pairs = tuple(
            pair for pair in self.paired if all(one in FLOOR or one in [r.name for r in kept] for one in pair)
        )
        return replace(self, data=names, rows=kept, paired=pairs)

    def partners(self, row: Row) -> list[Row]:
        """Return the earlier rows that this one is tested against."""
        earlier = self.rows[: self.rows.index(row)]
        return [other for other in earlier if {(row.name, other.name), (other.name, row.name)} & set(self.paired)]

    def wanted_pairs(self, row: Row) -> list[tuple[str, str]]:
        """Return the pairs that are tested when this row is run."""
        there = {row.name, *FLOOR, *(other.name for other in self.partners(row))}
        return [pair for pair in self.paired if row.name in pair and set(pair) <= there]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a table is made on.

    Attributes:
        device: where networks are trained.
        jobs: fits at once.
        limit: seconds for the fits that are made at once; what is not done by then is left for the next run.
        commit: of the code, where the checkout cannot tell; None asks git.
    """

    device: str = "cpu"
    jobs: int = 1
    limit: float | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of a table on a data set.

    Attributes:
        row: the row.
        data: name of the data set.
        asked: the rows that are run together, with their settings: those it is tested against, and itself at the end.
        pairs: that are tested.
    """

    row: Row
    data: str
    asked: tuple[tuple[Row, dict[str, Any]], ...]
    pairs: list[tuple[str, str]]

    def plan(self, table: Table, folder: Path, *, device: str, floor: bool = True) -> Plan:
        """Return the comparison that makes it."""
        return Plan(
            entries=(*(entries([]) if floor else ()), *(Entry(one.name, settings) for one, settings in self.asked)),
            data=Source(place(folder, self.data)),
            split=table.split,
            maskings=(True, False),
            seeds=tuple(range(self.row.seeds)),
            options=Options(device=device, sample=table.sample, ks=table.ks, price=table.price),
        )


def place(folder: Path, name: str) -> str:
    """Return what readers find a data set by: its folder, or the word that they know it by where no folder has it."""
    there = folder / name
    if readers.is_word(name):
        return name if not complete_journey.recognises(there) else str(there)
    return str(there) if there.exists() else name


def missing(table: Table, found: results.Results, *, quick: bool, device: str) -> tuple[list[Cell], int]:
    """Return the cells that are not among the results, cheapest rows first, and how many cannot be run."""
    cells, failed = [], 0
    for row in table.rows:
        for data in (QUICK_DATA,) if quick else table.data:
            try:
                asked = tuple((one, one.settings(quick=quick, device=device)) for one in (*table.partners(row), row))
            except ConfigError as error:
                print(f"{data}, {row.name}: {error}", flush=True)
                failed += 1
                continue
            pairs = table.wanted_pairs(row)
            if not results.done(found, data, row.name, asked[-1][1], row.seeds, pairs):
                cells.append(Cell(row, data, asked, pairs))
    return cells, failed


def run(table: Table, folder: Path, cells: Sequence[Cell], *, out: Path, runs: Path, machine: Machine) -> int:
    """Run cells, and write the results after each; return how many fits failed."""
    found, failed = results.load(out), 0
    late = fit_at_once(table, cells, runs=runs, machine=machine) if machine.jobs > 1 else set()
    for cell in cells:
        if late & {(cell.data, one.name) for one, _ in cell.asked}:
            print(f"{cell.data}, {cell.row.name}: not done within {machine.limit} s", flush=True)
            failed += 1
            continue
        compared = compare(cell.plan(table, folder, device=machine.device), runs / cell.data, progress=progress.bar)
        found = results.with_cell(found, compared, data=cell.data, pairs=cell.pairs, made_by=made_by(machine))
        results.write(out, found)
        failed += _tell(compared, cell.data, cell.row.name)
    return failed


def fit_at_once(table: Table, cells: Sequence[Cell], *, runs: Path, machine: Machine) -> set[tuple[str, str | None]]:
    """Make the fits of all cells, so many at a time. `compare` then finds them, and tries again what failed.

    Returns:
        Data set and row of the fits that were stopped because time was up; no row for those of the floor.
    """
    end = time.monotonic() + (machine.limit or float("inf"))
    late: set[tuple[str, str | None]] = set()

    def fit(data: str, row: str | None, seed: int) -> None:
        part = ["--data", data, *([] if row is None else ["--row", row]), "--one-seed", str(seed)]
        command = [sys.executable, __file__, table.name, "--runs", str(runs), "--device", machine.device, *part]
        left = end - time.monotonic()
        try:
            done = subprocess.run(
                command, check=False, stdout=subprocess.DEVNULL, timeout=None if left == float("inf") else max(left, 0)
            )
        except subprocess.TimeoutExpired:
            late.add((data, row))
        else:
            if done.returncode:
                late.add((data, row))

    wanted = [(cell.data, cell.row.name, seed) for cell in cells for seed in range(cell.row.seeds)]
    floors = [(data, None, 0) for data in dict.fromkeys(cell.data for cell in cells)]
    with ThreadPoolExecutor(machine.jobs) as pool:
        list(pool.map(lambda one: fit(*one), [*floors, *sorted(wanted, key=lambda one: one[2])]))
    return late


def fit_one(table: Table, folder: Path, data: str, row: Row | None, seed: int, *, runs: Path, device: str) -> None:
    """Make one fit of one row, or the floor where no row is named, and keep it under `runs`."""
    asked = () if row is None else ((row, row.settings(quick=False, device=device)),)
    cell = Cell(row or table.rows[0], data, asked, [])
    compare(replace(cell.plan(table, folder, device=device, floor=row is None), seeds=(seed,)), runs / data)


def made_by(machine: Machine | None = None) -> dict[str, Any]:
    """Return what made a figure: commit, whether package, tables or configurations were changed, machine."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout

    machine = machine or Machine()
    made = [f":!benchmarks/accuracy/{name}" for name in ("results", "runs")]
    watched = ("--porcelain", "--", "tastemaker", "benchmarks/accuracy", *made)
    return {
        "commit": machine.commit or git("rev-parse", "HEAD").strip(),
        "changed_since": False if machine.commit else bool(git("status", *watched).strip()),
        "tastemaker": tastemaker.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "device": machine.device if machine.device == "cpu" else f"{machine.device}: {_card()}",
    }


def _card() -> str:
    """Return the name of the graphics card."""
    import torch

    return torch.cuda.get_device_name()


def _shorten(table: dict[str, Any]) -> None:
    """Let a stage and its members train for two epochs at most, where they are networks."""
    for member in table.get("member", []):
        _shorten(member)
    if registry.model_class(table["model"]).extra in ("neural", "text"):
        fields = registry.model_class(table["model"]).Config.model_fields
        table |= {"epochs": QUICK_EPOCHS} if "epochs" in fields else {}


def _tell(compared: dict[str, Any], data: str, name: str) -> int:
    """Print what became of a row; return how many of its seeds failed."""
    one = next(row for row in compared["rows"] if row["model"] == name)
    if one["error"] is not None:
        print(f"{data}, {name}: {one['error']}", flush=True)
        return 1
    value, seconds = one["metrics"]["ndcg@10"]["value"], one["cost"]["fit_seconds"]
    lost = "".join(f"; seed {seed['seed']} failed: {seed['error']}" for seed in one["failed_seeds"])
    print(f"{data}, {name}: NDCG@10 {value:.4f}, {seconds:.0f} s a fit, {one['verdict']}{lost}", flush=True)
    return len(one["failed_seeds"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing unless only the table is wanted, and print the table."""
    names = sorted(file.stem for file in (FOLDER / "tables").glob("*.toml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=names, help="the table")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    parser.add_argument("--quick", action="store_true", help="the smallest set and 2 epochs, to try the machinery")
    parser.add_argument("--again", action="store_true", help="run the cells anew that are there")
    parser.add_argument("--device", default="cpu", help="where networks are trained")
    parser.add_argument("--jobs", type=int, default=1, help="fits at once")
    parser.add_argument("--limit", type=float, help="seconds for fits at once; what is not done then is left out")
    parser.add_argument("--data", action="append", help="this data set of the table; may be repeated")
    parser.add_argument("--row", action="append", help="this row of the table; may be repeated")
    parser.add_argument("--commit", help="of the code, where this checkout has no history")
    parser.add_argument("--one-seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=Path, default=FOLDER / "runs", help="folder for finished seeds")
    options = parser.parse_args(arguments)
    whole = Table.read(options.name)
    table = whole.part(options.data, options.row)
    runs = options.runs / "quick" if options.quick else options.runs
    out = runs / f"{table.name}.json" if options.quick else results.place(table.name)
    failed = 0
    if not options.table:
        folder = os.environ.get("TASTEMAKER_DATA")
        if not folder:
            sys.exit("set TASTEMAKER_DATA to the folder of real data sets")
        if Path(tastemaker.__file__).resolve().parent.parent != ROOT:
            sys.exit(f"tastemaker is imported from {Path(tastemaker.__file__).parent}; set PYTHONPATH={ROOT}")
        if options.one_seed is not None:
            row = table.rows[0] if options.row else None
            fit_one(table, Path(folder), table.data[0], row, options.one_seed, runs=options.runs, device=options.device)
            return
        machine = Machine(options.device, 1 if options.quick else options.jobs, options.limit, options.commit)
        there = {} if options.again else results.load(out)
        cells, failed = missing(table, there, quick=options.quick, device=options.device)
        failed += run(table, Path(folder), cells, out=out, runs=runs, machine=machine)
    print(results.markdown(results.load(out), [row.name for row in whole.rows]))
    if failed:
        sys.exit(f"{failed} cells or seeds could not be run; see above")


if __name__ == "__main__":
    main()
