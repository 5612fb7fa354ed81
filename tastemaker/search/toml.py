"""Settings as TOML text, such that `tastemaker.config.read` gives them back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml(settings: Mapping[str, Any], *, path: tuple[str, ...] = ()) -> str:
    """Return a table as TOML: plain values first, then tables, then lists of tables.

    Args:
        settings: text, numbers, yes or no, lists and tables of such.
        path: keys that lead to the table.

    Raises:
        ConfigError: a value that TOML cannot hold.
    """
    plain, tables = [], []
    for key, value in settings.items():
        inner = (*path, key)
        name = ".".join(_key(part) for part in inner)
        if isinstance(value, dict):
            tables.append(f"[{name}]\n{toml(value, path=inner)}")
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            tables += [f"[[{name}]]\n{toml(one, path=inner)}" for one in value]
        else:
            plain.append(f"{_key(key)} = {_value(value, name)}\n")
    return "".join(plain) + "".join(
        f"{'' if not plain and not number else chr(10)}{one}" for number, one in enumerate(tables)
    )


def comment(line: str) -> str:
    """Return a line of comment; control characters, which would end it or are not allowed, become blanks."""
    return "# " + "".join(letter if letter.isprintable() else " " for letter in line) + "\n"


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def _value(value: Any, name: str) -> str:  # noqa: ANN401  # any value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(one, name) for one in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(one, name)}" for key, one in value.items()) + "}"
    raise ConfigError(f"{name}: {value!r}: no value that a configuration can hold")


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
