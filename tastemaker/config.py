"""One TOML file describes a pipeline. This is the only module that reads settings.

A smallest file is `[[stage]]` and `model = "transitions"`. Keys can be set from the command line as
`stage.0.recency=0.5`. Keys and passwords come from the environment only and never stand in a file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tastemaker import registry
from tastemaker.errors import ConfigError


def read(source: str, *, overrides: list[str] | None = None) -> dict[str, Any]:
    """Read settings from a TOML file, or make the smallest ones from a model's name.

    Args:
        source: path of a TOML file, or the name of a model.
        overrides: "dotted.key=value" each; a number in the key picks from a list; values are TOML, bare words strings.

    Raises:
        ConfigError: no such file or model, not TOML, or an override that does not fit.
    """
    path = Path(source)
    if _is_file(path):
        try:
            settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid TOML: {error}") from error
    elif source in registry.names():
        settings = {"stage": [{"model": source}]}
    else:
        raise ConfigError(f"{source}: no such file, and no model of that name; models: {', '.join(registry.names())}")
    for override in overrides or []:
        _apply(settings, override)
    return settings


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _apply(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: must look like stage.0.recency=0.5")
    *parents, last = key.strip().split(".")
    place: Any = settings
    for part in parents:
        place = _step(place, part, override)
    value = _value(text.strip())
    if isinstance(place, list):
        raise ConfigError(f"--set {override}: '{last}' is no key of a list; write stage.0.{last}=...")
    if not isinstance(place, dict):
        raise ConfigError(f"--set {override}: '{last}' lies inside a plain value")
    place[last] = value


def _step(place: Any, part: str, override: str) -> Any:  # noqa: ANN401  # nested TOML values
    if isinstance(place, list):
        if not part.isdigit() or int(part) >= len(place):
            raise ConfigError(f"--set {override}: no entry '{part}'; there are {len(place)} (counted from 0)")
        return place[int(part)]
    if isinstance(place, dict):
        return place.setdefault(part, {})
    raise ConfigError(f"--set {override}: '{part}' lies inside a plain value")


def _value(text: str) -> Any:  # noqa: ANN401  # whatever TOML says
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
