"""One TOML file describes a pipeline. This is the only module that reads settings.

A smallest file is `[[stage]]` and `model = "transitions"`. Keys can be set from the command line as
`stage.0.recency=0.5`. Keys and passwords come from the environment only and never stand in a file.

The tables `[search]` and `[augment]` say what `tastemaker search` tries and what `tastemaker augment` writes. They are
no part of the pipeline, so `read` leaves them out.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tastemaker import registry
from tastemaker.errors import ConfigError, did_you_mean

BESIDE = {"search": "what to try", "augment": "what to write"}
"""Tables that are no part of the pipeline, and what they hold."""


def read(source: str, *, overrides: list[str] | None = None, beside: str = "") -> dict[str, Any]:
    """Read settings from a TOML file, or make the smallest ones from a model's name.

    Args:
        source: path of a TOML file, or the name of a model.
        overrides: "dotted.key=value" each; a number in the key picks from a list; values are TOML, bare words strings.
        beside: a table that is no part of the pipeline, whose overrides are left to its own reader.

    Raises:
        ConfigError: no such file or model, not TOML, or an override that does not fit.
    """
    settings = _load(source)
    for table in BESIDE:
        settings.pop(table, None)
    for override in overrides or []:
        if not (beside and override.startswith(f"{beside}.")):
            _apply(settings, override)
    return settings


def read_search(source: str) -> dict[str, Any]:
    """Return the table `[search]` of a TOML file, empty where there is none.

    Raises:
        ConfigError: no such file or model, not TOML, or `search` is no table.
    """
    table: dict[str, Any] = _load(source).get("search", {})
    return table


def read_augment(source: str, *, overrides: list[str] | None = None) -> dict[str, Any]:
    """Return the table `[augment]` of a TOML file, empty where there is none.

    Args:
        source: path of a TOML file, or the name of a model.
        overrides: as for `read`; those of other tables are left to it.

    Raises:
        ConfigError: no such file or model, not TOML, or `augment` is no table.
    """
    settings = _load(source)
    for override in overrides or []:
        if override.startswith("augment."):
            _apply(settings, override)
    table: dict[str, Any] = settings.get("augment", {})
    return table


def put(settings: dict[str, Any], key: str, value: Any, *, place: str) -> None:  # noqa: ANN401  # any TOML value
    """Set one value in place.

    Args:
        settings: as `read` returns them.
        key: dotted; a number picks from a list, e.g. "stage.0.member.2.reg".
        value: as TOML has it.
        place: named in messages, e.g. "--set stage.0.reg=3".

    Raises:
        ConfigError: the key leads nowhere.
    """
    *parents, last = key.split(".")
    at: Any = settings
    for part in parents:
        at = _step(at, part, place)
    if isinstance(at, list):
        raise ConfigError(f"{place}: '{last}' is no key of a list; write stage.0.{last}=...")
    if not isinstance(at, dict):
        raise ConfigError(f"{place}: '{last}' lies inside a plain value")
    at[last] = value


def value_of(text: str) -> Any:  # noqa: ANN401  # whatever TOML says
    """Return the TOML value that a word of the command line stands for; what is no TOML is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _load(source: str) -> dict[str, Any]:
    path = Path(source)
    if _is_file(path):
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid TOML: {error}") from error
        for table, holds in BESIDE.items():
            if not isinstance(settings.get(table, {}), dict):
                raise ConfigError(f"{path}.{table}: {settings[table]!r}: must be a table of {holds}, [{table}]")
        return settings
    if source in registry.names():
        return {"stage": [{"model": source}]}
    raise ConfigError(f"{source}: no such file, and no model of that name{did_you_mean(source, registry.names())}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _apply(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: must look like stage.0.recency=0.5")
    put(settings, key.strip(), value_of(text.strip()), place=f"--set {override}")


def _step(at: Any, part: str, place: str) -> Any:  # noqa: ANN401  # nested TOML values
    if isinstance(at, list):
        if not part.isdecimal() or int(part) >= len(at):
            raise ConfigError(f"{place}: no entry '{part}'; there are {len(at)} (counted from 0)")
        return at[int(part)]
    if isinstance(at, dict):
        return at.setdefault(part, {})
    raise ConfigError(f"{place}: '{part}' lies inside a plain value")
