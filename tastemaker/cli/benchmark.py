"""`tastemaker benchmark`: our rows and published figures on the same data, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import compare as comparing
from tastemaker import published
from tastemaker.cli import options, protocol
from tastemaker.cli.compare import end, run
from tastemaker.cli.output import as_json, print_json, print_table, write_text
from tastemaker.data import readers
from tastemaker.errors import ConfigError, DataError, did_you_mean
from tastemaker.evaluate import Options
from tastemaker.published.table import YES_NO

if TYPE_CHECKING:
    from tastemaker.published import Benchmark, TableRow

MEASURES = ("ndcg@10", "recall@10", "ndcg@5", "recall@5")


def benchmark(
    name: str | None = typer.Argument(None, help="Benchmark, e.g. beauty; without it all are listed."),
    configs: list[str] | None = typer.Argument(None, help="TOML files or model names to measure beside the floor."),
    data: str | None = typer.Option(
        None, "--data", metavar="DIR", help="The benchmark's data; without it only published figures are shown."
    ),
    out: Path = typer.Option(
        Path("benchmark-out"), "--out", metavar="DIR", help="Folder for report and finished runs."
    ),
    masking: str = protocol.MASKING_OPTION,
    ties: str = protocol.TIES_OPTION,
    refit: str = protocol.REFIT_OPTION,
    seeds: int = typer.Option(1, "--seeds", min=1, help="Fit each model with so many seeds."),
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    json: bool = options.JSON,
) -> None:
    """Measure models under a published benchmark's protocol and put them beside what others report."""
    known = published.benchmarks()
    if name is None:
        _list(known, json=json)
        return
    chosen = known[_found(name, list(known))]
    found = None
    if data is None:
        if configs:
            raise ConfigError(f"benchmark {chosen.name}: --data is needed to measure {', '.join(configs)}")
    else:
        choices = protocol.Choices.of(masking=masking, ties=ties, refit=refit)
        plan = comparing.Plan(
            entries=comparing.entries(configs or [], overrides=overrides),
            data=comparing.Source(data),
            split=chosen.split,
            ties=choices.ties,
            maskings=choices.maskings,
            refits=choices.refits,
            seeds=tuple(range(seed, seed + seeds)),
            options=Options(seed=seed, probe=True),
        )
        shop, _ = readers.read(data)
        other = published.check_data(chosen, shop)
        if other:
            raise DataError(
                f"{data}: not the data of {chosen.name}: {'; '.join(other)}; compare models on it with compare"
            )
        found = run(plan, out)
    rows = published.joined(chosen, found, MEASURES)
    if found is not None:
        write_text(out / "benchmark.md", published.as_markdown(rows, MEASURES))
        write_text(out / "benchmark.json", as_json(published.as_json(rows)) + "\n")
    if json:
        print_json({"benchmark": chosen.name, "split": chosen.split, "rows": published.as_json(rows)})
    else:
        _print(chosen, rows)
        if found is not None:
            typer.echo(f"table: {out / 'benchmark.md'}; report: {out / 'report.html'}")
    if found is not None:
        end(found)


def _found(word: str, names: list[str]) -> str:
    """Return the one benchmark whose name holds the word.

    Raises:
        ConfigError: none, or several.
    """
    plain = word.lower().replace("ml-100k", "movielens-100k")
    matching = [name for name in names if plain == name] or [name for name in names if plain in name]
    if len(matching) != 1:
        raise ConfigError(f"benchmark {word}: {'several match' if matching else 'unknown'}{did_you_mean(word, names)}")
    return matching[0]


def _list(known: Any, *, json: bool) -> None:  # noqa: ANN401  # a mapping of benchmarks
    rows = [
        {"name": one.name, "title": one.title, "split": one.split, **one.counts, "figures": len(one.figures)}
        for one in known.values()
    ]
    if json:
        print_json(rows)
    else:
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def _print(chosen: Benchmark, rows: list[TableRow]) -> None:
    print_table(
        ["model", *MEASURES, "masked", "seeds", "differs in", "not stated", "source"],
        [
            [
                f"{row.model} (ours)" if row.ours else row.model,
                *(row.values.get(measure) for measure in MEASURES),
                YES_NO[row.masked],
                row.seeds,
                "; ".join(row.differs) or None,
                ", ".join(row.not_stated) or None,
                row.note if row.ours else row.source,
            ]
            for row in rows
        ],
        title=f"{chosen.title}; split {chosen.split}; best first",
    )
    if not rows:
        typer.echo(f"{chosen.name}: {chosen.note}")
