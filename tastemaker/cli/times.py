"""Times as options of commands."""

from __future__ import annotations

from datetime import UTC, datetime

from tastemaker.errors import ConfigError


def milliseconds(text: str | None, option: str) -> int | None:
    """Return a time in milliseconds UTC, None for none; one without an offset is UTC.

    Raises:
        ConfigError: no time; the message names the option.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: must be a time such as 2026-11-27T18:00+01:00") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def now() -> int:
    """Return the time, in milliseconds UTC."""
    return round(datetime.now(tz=UTC).timestamp() * 1000)
