"""How the figures came about: every choice of the protocol, every setting, every version, the command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tastemaker.report.blocks import Block, Code, Hidden, Section, Table, Text
from tastemaker.report.words import capped, plain, title

if TYPE_CHECKING:
    from tastemaker.report.reading import Comparison, Row

COMMAND_LENGTH = 2000


def record(comparison: Comparison) -> Section:
    """Return the command, the data, the protocol, what differs between rows, and each model's settings."""
    made_by = dict(comparison.made_by)
    command = made_by.pop("command", None)
    blocks: list[Block] = []
    if isinstance(command, list) and command:
        blocks.append(Code(capped(shlex.join(str(word) for word in command), COMMAND_LENGTH)))
    else:
        blocks.append(Text("The command that made this comparison is not known."))
    data = {key: value for key, value in comparison.data.items() if value is not None}
    blocks.append(_pairs("Data", {**data, "fitted on": data.pop("fitted_on", "the same data")}))
    run = {
        "list lengths": comparison.ks,
        "seeds": comparison.seeds,
        "variants": " | ".join(comparison.variant_names),
        "floor": comparison.floor or "none was run",
    }
    blocks.append(_pairs("Protocol, the same for all rows", {**run, **comparison.protocol}))
    blocks += [_pairs("Made by", made_by)] if made_by else []
    blocks += _row_by_row(comparison)
    return Section("protocol", "How it was measured", blocks)


def _row_by_row(comparison: Comparison) -> list[Block]:
    """Return what is the row's own in its protocol, and each model's settings, once where all variants share them."""
    blocks: list[Block] = []
    own = dict.fromkeys(key for row in comparison.rows for key in row.protocol)
    keys = [key for key in own if key not in comparison.protocol]
    if keys:
        cells = [[_name(row), *(plain(row.protocol.get(key)) for key in keys)] for row in comparison.rows]
        table = Table("Protocol of each row", ["model and variant", *map(title, keys)], cells)
        blocks.append(Hidden("Protocol, row by row", table))
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in comparison.rows:
        known = shown.setdefault(row.model, [])
        settings = {**row.config, **_in_force(row)}
        if settings and settings not in known:
            label = f"Settings of {capped(row.model, 80) if not known else _name(row)}"
            blocks.append(Hidden(label, _pairs(label, settings)))
            known.append(settings)
    return blocks


def _in_force(row: Row) -> dict[str, Any]:
    """Return every setting of each stage, defaults included."""
    return {
        f"in force, stage {place}: {plain(stage.get('model'), length=60)}": stage["config"]
        for place, stage in enumerate(row.stages)
        if stage.get("config")
    }


def _name(row: Row) -> str:
    return capped(f"{row.model}, {row.variant}" if row.variant else row.model, 140)


def _pairs(label: str, values: dict[str, Any]) -> Table:
    return Table(label, ["choice", "value"], [[title(key), plain(value)] for key, value in values.items()])
