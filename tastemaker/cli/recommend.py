"""`tastemaker recommend`: lists from a saved model, for one shopper, one history, or everybody."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import typer

from tastemaker import saved
from tastemaker.cli import options
from tastemaker.cli.output import as_json, note, print_table, write_text
from tastemaker.cli.protocol import MOVE_OPTION, check_device
from tastemaker.data.checks.problems import counted
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import only
from tastemaker.data.writers.formulas import neutralised, risky_cells
from tastemaker.errors import ConfigError, DataError, TastemakerError
from tastemaker.evaluate import BLOCK
from tastemaker.explain import Explainer
from tastemaker.progress import bar
from tastemaker.text.reason_words import Language
from tastemaker.text.render import item_names
from tastemaker.wishes import WishReader, language_model_of, why_short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.pipeline import Pipeline
    from tastemaker.saved import SavedModel
    from tastemaker.types import Bool
    from tastemaker.wishes import Understood


def recommend(
    model: Path = typer.Argument(help="Folder of a saved model."),
    user: str | None = typer.Option(None, "--user", metavar="ID", help="A shopper that the model knows."),
    history: str | None = typer.Option(
        None, "--history", metavar="ID,ID,...", help='Item ids, oldest first; an id with a comma goes in quotes: "a,b".'
    ),
    everybody: bool = typer.Option(False, "--all", help="Every shopper that the model knows, one line each."),
    k: int = typer.Option(10, "-k", min=1, help="Length of the lists."),
    wish: str | None = typer.Option(
        None,
        "--wish",
        metavar="TEXT",
        help="What the shopper wants, in words: 'under 20, for dry hair, not from Acme'. Prices, brands and categories "
        "become filters; the rest goes to stages that read wishes.",
    ),
    wish_reader: Literal["rules", "lm"] = typer.Option(
        "rules", "--wish-reader", help="Who reads the wish: rules, or the model's language model, checked by them."
    ),
    explain: bool = typer.Option(False, "--explain", help="Give a reason with evidence for each product."),
    phrase: bool = typer.Option(
        False, "--phrase", help="Let the model's language model phrase the reasons; what it invents is dropped."
    ),
    language: Language = typer.Option(
        "en", "--language", help="Language of the reasons, en or de; a language model phrases in en alone."
    ),
    seen: bool = typer.Option(False, "--seen", help="Allow products that the shopper has already."),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Write JSON lines to a file, or a table if its name ends in .csv."
    ),
    device: str | None = MOVE_OPTION,
    json: bool = options.JSON,
) -> None:
    """Recommend products; JSON lines carry user_id, item_ids and scores, and a note where a wish makes a list short."""
    if sum((user is not None, history is not None, everybody)) != 1:
        raise ConfigError("recommend: give exactly one of --user ID, --history ID,ID,... and --all")
    if wish is None and wish_reader != "rules":
        raise ConfigError(f"recommend: --wish-reader {wish_reader}: there is no wish to read; give --wish TEXT too")
    if language != "en" and (phrase or not explain):
        cure = "a language model phrases in English alone; leave --phrase out" if phrase else "give --explain too"
        raise ConfigError(f"recommend: --language {language}: no reason would be in it: {cure}")
    check_device(device)
    loaded = saved.load(model, device=device)
    queries, ids = _queries(loaded, user, history)
    split = loaded.facts.get("protocol", {}).get("split")
    if history is None and split not in (None, "none"):
        note(f"note: this model holds back test purchases ({split} split); for production fit with --split none")
    k = min(k, len(loaded.pipeline.items))
    allowed, said = None, None
    if wish is not None:
        understood = _understood(loaded.pipeline, wish, wish_reader)
        queries = Queries(queries.offsets, queries.items, (understood.wish.words,) * len(queries), queries.users)
        said, allowed = understood.to_dict(), understood.allowed
    answers = _answers(
        loaded,
        queries,
        ids,
        k=k,
        seen=seen,
        explain=explain or phrase,
        phrase=phrase,
        language=language,
        allowed=allowed,
        wish=said,
    )
    if out is not None:
        write_text(out, _as_csv(answers) if out.suffix.lower() == ".csv" else _as_lines(answers))
        note(f"wrote {len(queries)} lists to {out}")
    elif json or everybody:
        for answer in answers:
            typer.echo(as_json(answer, indent=None))
    else:
        _print_list(loaded, next(answers))


def _understood(pipeline: Pipeline, text: str, reader: str) -> Understood:
    """Read a wish and say on stderr how it was understood.

    Raises:
        ConfigError: the language model is to read it, and no stage has one.
    """
    lm = language_model_of(pipeline, "--wish-reader lm") if reader == "lm" else None
    understood = WishReader(pipeline, lm=lm).read(text)
    for remark in understood.remarks:
        note(f"note: {remark}")
    return understood


def _queries(loaded: SavedModel, user: str | None, history: str | None) -> tuple[Queries, list[str | None]]:
    """Return the queries asked for, and the shopper's id of each."""
    if history is not None:
        try:
            names = next(csv.reader([history], strict=True), [])
            numbers = loaded.pipeline.items.numbers(names)
        except (csv.Error, DataError) as error:
            raise DataError(f"--history: {error}; write the ids as in the data, with commas between them") from error
        return Queries.from_lists([numbers]), [None]
    if user is not None:
        try:
            rows = loaded.users.numbers([user])
        except TastemakerError as error:
            raise DataError(f"--user: {error}; for a new shopper give --history with item ids") from error
        return loaded.histories.take(rows.astype(np.int64)), [user]
    if not len(loaded.users):
        raise DataError("--all: the model was saved without shoppers; fit it with tastemaker fit")
    return loaded.histories, loaded.users.frame["id"].to_list()


def _answers(
    loaded: SavedModel,
    queries: Queries,
    ids: list[str | None],
    *,
    k: int,
    seen: bool,
    explain: bool,
    phrase: bool,
    language: Language,
    allowed: Bool | None = None,
    wish: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Rank block by block, only what is allowed, and yield one answer a query."""
    pipeline = loaded.pipeline
    explainer = Explainer(pipeline, lm=language_model_of(pipeline, "--phrase") if phrase else None) if explain else None
    blocks = range(0, len(queries), BLOCK)
    for start in bar(blocks, label="ranking") if len(queries) > BLOCK else blocks:
        rows = slice(start, start + BLOCK)
        block = queries.take(rows)
        offered = None if allowed is None else only(allowed, len(block))
        ranking = pipeline.rank(block, k, candidates=offered, seen=seen)
        reasons = explainer.explain(block, ranking, language=language) if explainer else None
        for row, user_id in enumerate(ids[rows]):
            real = ranking.items[row] >= 0
            answer: dict[str, Any] = {
                "user_id": user_id,
                "item_ids": pipeline.items.ids(ranking.items[row][real]),
                "scores": [float(score) for score in ranking.scores[row][real]],
            }
            if wish is not None:
                answer["wish"] = wish
            if allowed is not None:
                why = why_short(pipeline, block.history(row), allowed, int(real.sum()), k, seen=seen)
                answer |= {} if why is None else {"note": why}
            if reasons is not None:
                answer["reasons"] = [reason.to_dict() for reason in reasons[row]]
            yield answer


def _as_lines(answers: Iterator[dict[str, Any]]) -> str:
    return "".join(f"{as_json(answer, indent=None)}\n" for answer in answers)


def _as_csv(answers: Iterator[dict[str, Any]]) -> str:
    """Return one line a listed product, and say on stderr what a table has no place for.

    Cells that a spreadsheet would run are made harmless.
    """
    rows: list[tuple[str | None, int, str, float, str]] = []
    empty = short = 0
    for answer in answers:
        empty += not answer["item_ids"]
        short += "note" in answer
        reasons = [reason["text"] for reason in answer.get("reasons", [])] or [""] * len(answer["item_ids"])
        listed = zip(answer["item_ids"], answer["scores"], reasons, strict=True)
        rows += [(answer["user_id"], place, *row) for place, row in enumerate(listed, 1)]
    types = {"user_id": pl.String, "rank": pl.Int64, "item_id": pl.String, "score": pl.Float64, "reason": pl.String}
    table = pl.DataFrame(rows, schema=types, orient="row")
    if empty:
        note(f"note: {counted(empty, 'list')} without a product: no line of the table")
    if short:
        note(f"note: {counted(short, 'list')} shorter than asked for, as the wish leaves too few; why, JSON lines say")
    if risky := risky_cells(table):
        note(f"note: {counted(risky, 'cell')} that a spreadsheet would run begin with ' now; JSON lines leave them")
    return neutralised(table).write_csv()


def _print_list(loaded: SavedModel, answer: dict[str, Any]) -> None:
    """Print one list as a table with product names, and why it is short."""
    if "note" in answer:
        note(f"note: {answer['note']}")
    names = item_names(loaded.pipeline.items)
    numbers = loaded.pipeline.items.numbers(answer["item_ids"])
    reasons = [reason["text"] for reason in answer.get("reasons", [])]
    rows: list[list[Any]] = [
        [place, id_, names[number], score]
        for place, (id_, number, score) in enumerate(zip(answer["item_ids"], numbers, answer["scores"], strict=True), 1)
    ]
    columns = ["rank", "item_id", "product", "score"]
    if reasons:
        columns.append("reason")
        rows = [[*row, reason] for row, reason in zip(rows, reasons, strict=True)]
    print_table(columns, rows)
