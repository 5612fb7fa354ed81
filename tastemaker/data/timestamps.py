"""Times of whatever notation as unix seconds: numbers in seconds to nanoseconds, ISO 8601 text, dates."""

from __future__ import annotations

import polars as pl

# A column of numbers is in the first unit whose limit its median stays below (1e11 seconds are the year 5138).
UNITS = {"seconds": (1e11, 1), "milliseconds": (1e14, 10**3), "microseconds": (1e17, 10**6)}
NANOSECONDS = ("nanoseconds", 10**9)

ISO_8601 = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})(?:[T ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?(?:[.,]\d+)?)?"
    r"\s*(?:(?P<utc>Z)|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)


def to_seconds(column: pl.Series) -> tuple[pl.Series, str]:
    """Return unix seconds (int64, null where a value cannot be read or is missing) and what the column was taken for.

    The unit is inferred once for the whole column. Fractions of a second are cut off; a time without an offset is UTC.
    """
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("s"), "dates with time"
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.epoch("s"), "dates"
    if column.dtype.is_numeric():
        return _from_numbers(column, column)
    text = column.cast(pl.String).str.strip_chars()
    text = text.set(text == "", None)
    whole, real = text.cast(pl.Int64, strict=False), text.cast(pl.Float64, strict=False)
    if 2 * real.count() >= text.count():
        return _from_numbers(whole, real)
    return _from_iso(text), "ISO 8601 text, UTC where no offset is given"


def _from_numbers(whole: pl.Series, real: pl.Series) -> tuple[pl.Series, str]:
    """Scale numbers to seconds; `whole` is exact where it is not null, `real` stands in elsewhere."""
    middle = real.filter(real.is_finite()).abs().median()
    unit, factor = NANOSECONDS
    for name, (limit, divisor) in reversed(UNITS.items()):
        if not isinstance(middle, float) or middle < limit:
            unit, factor = name, divisor
    rough = (real / factor).floor().cast(pl.Int64, strict=False)
    exact = whole // factor if whole.dtype.is_integer() else rough
    return exact.cast(pl.Int64, strict=False).fill_null(rough).alias(real.name), unit


def _from_iso(text: pl.Series) -> pl.Series:
    parts = text.str.extract_groups(ISO_8601).struct.unnest()
    clock = pl.col("date") + " " + pl.col("minute").fill_null("00:00") + pl.col("second").fill_null(":00")
    hours, minutes = (pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hours", "minutes"))
    offset = (hours * 3600 + minutes * 60) * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    moment = clock.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
    return parts.select((moment - offset).alias(text.name)).to_series()
