"""`tastemaker compare`: several models under one protocol, with the floor, tests, and one report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import compare as comparing
from tastemaker import report
from tastemaker.cli import options, protocol
from tastemaker.cli.output import as_json, interval, made_by, note, print_json, print_table, write_text
from tastemaker.progress import bar

if TYPE_CHECKING:
    from tastemaker.compare import Plan


def compare(
    configs: list[str] = typer.Argument(help="TOML files or model names; LABEL=CONFIG gives a row its name."),
    data: str = options.DATA,
    out: Path = typer.Option(
        Path("compare-out"), "--out", metavar="DIR", help="Folder for report and finished runs; run again to go on."
    ),
    learn_from: str | None = typer.Option(
        None, "--learn-from", metavar="DIR", help="Fit on this other shop; --data is only asked (cross-data)."
    ),
    split: str = protocol.SPLIT_OPTION,
    ks: list[int] = protocol.K_OPTION,
    masking: str = protocol.MASKING_OPTION,
    ties: str = protocol.TIES_OPTION,
    refit: str = protocol.REFIT_OPTION,
    repeats: str = protocol.REPEATS_OPTION,
    seeds: int = typer.Option(1, "--seeds", min=1, help="Fit each model with so many seeds."),
    sample: int | None = protocol.SAMPLE_OPTION,
    user_groups: list[str] | None = protocol.USER_GROUPS_OPTION,
    item_groups: list[str] | None = protocol.ITEM_GROUPS_OPTION,
    price: str | None = protocol.PRICE_OPTION,
    device: str | None = protocol.DEVICE_OPTION,
    no_floor: bool = typer.Option(False, "--no-floor", help="Leave the training-free floor out; nothing is claimed."),
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    format: str | None = typer.Option(
        None, "--format", help="Format of --data (not of --learn-from); found out from the content by default."
    ),
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Compare models with each other and with the floor; write JSON, CSV and one HTML report."""
    choices = protocol.Choices.of(masking=masking, ties=ties, refit=refit)
    plan = comparing.Plan(
        entries=comparing.entries(
            configs, floor=not no_floor, overrides=overrides, learn_from=learn_from is not None, device=device
        ),
        data=comparing.Source(data, format, max_bad),
        learn_from=None if learn_from is None else comparing.Source(learn_from, None, max_bad),
        split=split,
        repeats=repeats,  # type: ignore[arg-type]  # checked by `Plan`
        ties=choices.ties,
        maskings=choices.maskings,
        refits=choices.refits,
        seeds=tuple(range(seed, seed + seeds)),
        options=protocol.options_of(
            ks=ks,
            sample=sample,
            seed=seed,
            user_groups=user_groups,
            item_groups=item_groups,
            price=price,
            probe=True,
            device=device,
        ),
    )
    found = run(plan, out)
    if json:
        print_json(found)
    else:
        print_comparison(found)
        typer.echo(f"report: {out / 'report.html'}")
    end(found)


def run(plan: Plan, out: Path) -> dict[str, Any]:
    """Run a comparison and write its three files."""
    found = {**comparing.compare(plan, out, progress=bar), "made_by": made_by()}
    write_text(out / "comparison.json", as_json(found) + "\n")
    write_text(out / "comparison.csv", report.comparison_csv(found))
    write_text(out / "report.html", report.comparison_page(found))
    for row in found["rows"]:
        if row["error"]:
            note(f"warning: {row['model']} failed ({row['variant']}): {row['error']}")
    for line in found["notes"]:
        note(f"note: {line}")
    return found


def end(found: dict[str, Any]) -> None:
    """End with exit status 1 where a model that was asked for failed, also if with some of its seeds only."""
    if any(row["failed_seeds"] for row in found["rows"] if not row["floor"]):
        raise typer.Exit(1)


def print_comparison(found: dict[str, Any]) -> None:
    """Print one table a variant, and under it the pairs of models that cannot be told apart."""
    measure = found["measure"]
    other = f"recall@{measure.partition('@')[2]}"
    for variant in found["variants"]:
        rows = [row for row in found["rows"] if row["variant"] == variant]
        rows.sort(key=lambda row: -row["metrics"][measure]["value"] if row["metrics"] else 1.0)
        print_table(
            [
                "model",
                measure,
                "95 % interval",
                "± seeds",
                other,
                "against the floor",
                "p (Holm)",
                "verdict",
                "fit + rank, s",
                "MiB",
            ],
            [_cells(row, measure, other) for row in rows],
            title=variant,
        )
        noise = [
            f"{pair['a']} and {pair['b']}"
            for pair in found["pairs"]
            if not pair["significant"] and pair["variant"] == variant
        ]
        if noise:
            typer.echo(f"inside the noise ({measure}, {variant}): {'; '.join(noise)}")


def _cells(row: dict[str, Any], measure: str, other: str) -> list[Any]:
    """Return the cells of one row of the table."""
    if row["error"]:
        return [row["model"], None, None, None, None, None, None, "failed", None, None]
    found, against, cost = row["metrics"][measure], row["against_floor"], row["cost"]
    return [
        row["model"],
        found["value"],
        interval(found),
        found["spread"],
        row["metrics"][other]["value"],
        "-" if against is None else f"{against['difference']:+.4f} ({against['model']})",
        None if against is None else against["p_holm"],
        row["verdict"],
        f"{cost['fit_seconds'] + cost['rank_seconds']:.1f}",
        cost["peak_mib"],
    ]
