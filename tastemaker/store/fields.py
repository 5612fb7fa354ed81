"""What may stand in a row: checked once, at the door, so that whatever the store holds can be written and read back."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from unicodedata import is_normalized

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_ID = 256
"""Bytes of UTF-8."""
LARGEST_DOCUMENT = 262_144
"""Bytes of UTF-8 in one row's JSON."""
LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""

SECONDS_BELOW = 10**11
"""Times of events before 1973 in milliseconds are those of today in seconds."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_id(value: object, place: str) -> str:
    """Return an id that may be stored.

    Raises:
        DataError: it is no text, empty, longer than `LONGEST_ID`, not in Unicode's NFC, or has control characters.
    """
    if not isinstance(value, str):
        raise DataError(f"{place}: {value!r} is no text; give ids as strings")
    if value.isascii():
        if value.isprintable() and 0 < len(value) <= LONGEST_ID:
            return value
    elif not _CONTROL.search(value) and len(value.encode()) <= LONGEST_ID and is_normalized("NFC", value):
        return value
    raise DataError(f"{place}: {_shown(value)}: {_fault(value)}")


def _fault(value: str) -> str:
    if not value:
        return "an id must not be empty"
    if _CONTROL.search(value):
        return "an id must not have control characters or half characters (surrogates)"
    if not is_normalized("NFC", value):
        return "an id must be in Unicode normal form C; normalise it at the source"
    return f"an id must have at most {LONGEST_ID} bytes of UTF-8, this one has {len(value.encode())}"


def check_optional_id(value: object, place: str) -> str | None:
    """Return None or an id that may be stored; errors as in `check_id`."""
    return None if value is None else check_id(value, place)


def check_text(value: object, place: str) -> str:
    """Return a text that may be stored.

    Raises:
        DataError: it is no text, or has half characters (surrogates) that no encoding can write.
    """
    if not isinstance(value, str):
        raise DataError(f"{place}: {value!r} is no text")
    if _SURROGATE.search(value):
        raise DataError(f"{place}: {_shown(value)}: half a character (a lone surrogate); mend the text at its source")
    return value


def check_time(value: object, place: str) -> int:
    """Return a time that may be stored.

    Raises:
        DataError: it is no whole number, or outside the years 1970 to 9999.
    """
    if type(value) is not int:
        raise DataError(f"{place}: {value!r} is no whole number; give milliseconds since 1970 (UTC)")
    if not 0 <= value <= LATEST:
        raise DataError(f"{place}: {value} lies outside 1970 to 9999; give milliseconds since 1970 (UTC)")
    return value


def check_number(value: object, place: str) -> float:
    """Return a number that may be stored.

    Raises:
        DataError: it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{place}: {value!r} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"{place}: {number} is not finite")
    return number


def check_count(value: object, place: str) -> int:
    """Return a whole number from 0 that may be stored.

    Raises:
        DataError: it is none, or too large.
    """
    if type(value) is not int or not 0 <= value < 2**31:
        raise DataError(f"{place}: {value!r} is no whole number from 0 to 2^31 - 1")
    return value


def as_document(value: Mapping[str, Any] | list[Any], place: str) -> str:
    """Return JSON values as the text of a row.

    Raises:
        DataError: they are no JSON values, hold half characters or endless numbers, or are too large.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{place}: cannot be kept as JSON: {error}") from error
    if _SURROGATE.search(text):
        raise DataError(f"{place}: half a character (a lone surrogate); mend the text at its source")
    if len(text) > LARGEST_DOCUMENT or len(text.encode()) > LARGEST_DOCUMENT:
        raise DataError(f"{place}: more than {LARGEST_DOCUMENT:,} bytes as JSON; leave out what is not needed")
    return text


def _shown(value: str) -> str:
    short = value if len(value) <= 40 else f"{value[:40]}..."
    return ascii(short)
