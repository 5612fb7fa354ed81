"""`tastemaker codes`: the identifiers that a saved model ranks by, and how stale they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tastemaker import saved
from tastemaker.cli import options
from tastemaker.cli.output import print_json, print_table
from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from tastemaker.recommender import Recommender


def codes(
    model: Path = typer.Argument(metavar="MODEL", help="Folder of a saved model with a stage that has identifiers."),
    item: str | None = typer.Option(
        None, "--item", metavar="ID", help="Also show this product's, and what is near it."
    ),
    json: bool = options.JSON,
) -> None:
    """Show item identifiers: scheme, version, use of codes, collisions, and how stale they are after new products."""
    part = _with_ids(saved.load(model).pipeline.parts.values(), model)
    facts: dict[str, Any] = _facts(part)
    if item is not None:
        facts["item"] = _item(part, int(part.items.numbers([item])[0]))
    if json:
        print_json(facts)
        return
    levels, stale, one = facts.pop("levels"), facts.pop("staleness"), facts.pop("item", None)
    print_table(["identifiers", ""], [[name.replace("_", " "), value] for name, value in facts.items()])
    print_table(
        ["level", "codes", "used", "perplexity"],
        [
            [str(number), *(level[key] for key in ("codes", "used", "perplexity"))]
            for number, level in enumerate(levels)
        ],
    )
    print_table(["staleness", ""], [[name.replace("_", " "), value] for name, value in stale.items()])
    if one is not None:
        rows = [[one["item_id"], one["codes"], "-"], *([n["item_id"], n["codes"], n["shared"]] for n in one["nearest"])]
        print_table(["product", "codes", "codes in common"], rows)


def _with_ids(parts: Any, model: Path) -> Recommender:  # noqa: ANN401  # recommenders
    for part in parts:
        if hasattr(type(part), "ids"):
            return part  # type: ignore[no-any-return]
    raise ConfigError(f"{model}: no stage of it has item identifiers, as tiger and rpg have")


def _facts(part: Recommender) -> dict[str, Any]:
    from tastemaker.neural.indexing.usage import staleness, usage  # the model has loaded torch already

    ids = part.ids  # type: ignore[attr-defined]
    return {"model": part.name, **usage(ids), "staleness": staleness(ids)}


def _item(part: Recommender, number: int) -> dict[str, Any]:
    """Return the identifier of a product and those of up to ten with codes in common, most first; see `in_common`."""
    from tastemaker.neural.indexing.usage import in_common

    ids = part.ids  # type: ignore[attr-defined]
    words, shared = ids.words(), in_common(ids, number)
    near = [int(other) for other in (-shared).argsort(kind="stable") if other != number and shared[other]][:10]
    names = part.items.ids([number, *near])
    return {
        "item_id": names[0],
        "codes": words[number],
        "nearest": [
            {"item_id": name, "codes": words[other], "shared": int(shared[other])}
            for name, other in zip(names[1:], near, strict=True)
        ],
    }
