"""`tastemaker demo`: the whole road on packaged retail data, on the terminal and as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import demo as main_job
from tastemaker import report, weights
from tastemaker.cli import options
from tastemaker.cli.output import note, print_json, print_table, write_text
from tastemaker.errors import TastemakerError
from tastemaker.progress import bar

if TYPE_CHECKING:
    from tastemaker.demo import Demo

PAGE = "demo.html"


def demo(
    out: Path = typer.Option(Path("demo-out"), "--out", metavar="DIR", help="Folder for the page."),
    shoppers: int = typer.Option(3, "--shoppers", min=1, max=50, help="Shoppers shown in full."),
    sample: int = typer.Option(100, "--sample", min=10, help="Shoppers on which the language model is measured."),
    no_lm: bool = typer.Option(False, "--no-lm", help="Leave the language model out."),
    seed: int = options.SEED,
    json: bool = options.JSON,
) -> None:
    """Train, profile, rank and explain on packaged retail orders; print it and write one HTML page."""
    encoder, lm = settings(no_lm=no_lm)
    found = main_job.run(encoder=encoder, lm=lm, shoppers=shoppers, sample=sample, seed=seed, progress=bar)
    page = out / PAGE
    write_text(page, report.demo_page(found))
    if json:
        print_json({**found.to_dict(), "page": str(page)})
        return
    _print(found)
    typer.echo(f"page: {page}")


def settings(*, no_lm: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return settings of encoder and language model: the packaged ones where their weights are there."""
    encoder: dict[str, Any] = {"model": "tfidf"}
    lm: dict[str, Any] | None = None
    try:
        weights.weights_folder("minilm-l6-v2")
        encoder = {"model": "transformer"}
    except TastemakerError as error:
        note(f"note: texts are encoded by tfidf ({error})")
    if not no_lm:
        try:
            weights.weights_folder("smollm2-135m-instruct")
            lm = {"model": "smollm2-135m-instruct"}
        except TastemakerError as error:
            note(f"note: no language model takes part ({error})")
    return encoder, lm


def _print(found: Demo) -> None:
    for shopper in found.shoppers:
        typer.echo(f"\nShopper {shopper.user_id}")
        typer.echo("  bought: " + " | ".join(shopper.history))
        typer.echo(f"  profile ({shopper.profile.source}): {shopper.profile.in_words() or '-'}")
        rows = [
            [place, product, "yes" if place - 1 in shopper.bought else "", reason.text]
            for place, (product, reason) in enumerate(zip(shopper.products, shopper.reasons, strict=True), 1)
        ]
        print_table(["rank", "recommended", "bought later", "reason"], rows)
    print_table(
        ["model", "shoppers", "ndcg@10", "95 % interval", "recall@10", "seconds"],
        [
            [
                row["model"],
                row["shoppers"],
                row["ndcg@10"]["value"],
                f"{row['ndcg@10']['low']:.4f} .. {row['ndcg@10']['high']:.4f}",
                row["recall@10"]["value"],
                "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
            ]
            for row in found.comparison
        ],
        title="Held-out purchases: products new to the household, newest tenth of the orders, all products ranked",
    )
    if found.pipeline_report:
        typer.echo(report.verdict(found.pipeline_report))
    if found.sentences:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in found.sentences.items())
        typer.echo(f"sentences by the language model: {counts}")
