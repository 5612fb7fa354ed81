"""Documents that people write: TOML, or JSON if the file's name ends in .json."""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from tastemaker.errors import ConfigError


def read_document(path: str | Path) -> Any:  # noqa: ANN401  # JSON may hold anything
    """Read a TOML or JSON file.

    Raises:
        ConfigError: no such file, not UTF-8, or not TOML or JSON.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {cause}") from error
    notation = "JSON" if path.suffix == ".json" else "TOML"
    try:
        return json.loads(text) if notation == "JSON" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "" if notation == "JSON" or not text.lstrip().startswith("{") else "; a JSON file is called .json"
        raise ConfigError(f"{path}: not valid {notation}: {error}{hint}") from error


def as_json_values(value: Any) -> Any:  # noqa: ANN401  # any value of TOML
    """Return a document of TOML as JSON can hold it: dates and times become ISO 8601 texts."""
    if isinstance(value, dict):
        return {key: as_json_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_values(inner) for inner in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else value
