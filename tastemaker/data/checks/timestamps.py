"""Times of whatever notation as unix seconds: numbers in seconds to nanoseconds, ISO 8601 text, 31.01.2026, dates."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

# A column of numbers is in the last unit whose smallest number its median reaches (1e11 seconds are the year 5138,
# 1e11 milliseconds 1973); units per second come second.
UNITS = {
    "seconds": (0.0, 1),
    "milliseconds": (1e11, 10**3),
    "microseconds": (1e14, 10**6),
    "nanoseconds": (1e17, 10**9),
}

ISO_8601 = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})(?:[T ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?(?:[.,]\d+)?)?"
    r"\s*(?:(?P<utc>Z)|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)

CALENDAR = (
    r"^(?P<first>\d{1,2})(?P<mark>[./])(?P<second>\d{1,2})[./](?P<year>\d{4}|\d{2})"
    r"(?:,? (?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<seconds>\d{2}))?(?: Uhr)?)?$"
)


class Times(NamedTuple):
    """A column of times.

    Attributes:
        seconds: unix seconds, int64, null where a value cannot be read or is missing.
        other_unit: whether a number is of a size that tells another unit than the rest of the column.
        words: what the column was taken for; empty where it holds nothing.
    """

    seconds: pl.Series
    other_unit: pl.Series
    words: str


def to_seconds(column: pl.Series) -> Times:
    """Parse times; the unit is inferred once for the whole column.

    Fractions of a second are cut off; a time without an offset is UTC. Where most numbers are like 20170131, they
    are dates and not seconds: none is read. Dates such as 31.01.2026 or 1/31/2026 are read where most of the column
    is so: with points the day stands first, with slashes the column tells by a day beyond 12, and without one, or with
    one on either side, none is read. With points a year may have two digits, and is one from 2000 on.
    """
    if isinstance(column.dtype, pl.Datetime):
        return _plain(column.dt.epoch("s"), "dates with time")
    if column.dtype == pl.Date:
        return _plain(column.cast(pl.Datetime("us")).dt.epoch("s"), "dates")
    if column.dtype.is_numeric():
        return _from_numbers(column, column)
    text = column.cast(pl.String).str.strip_chars()
    text = text.set(text == "", None)
    whole, real = text.cast(pl.Int64, strict=False), text.cast(pl.Float64, strict=False)
    if 2 * real.count() >= text.count():
        return _from_numbers(whole, real)
    parts = text.str.extract_groups(CALENDAR).struct.unnest()
    if 2 * parts["year"].count() > text.count():
        return _from_calendar(parts, text.name)
    return _plain(_from_iso(text), "ISO 8601 text, UTC where no offset is given")


def _plain(seconds: pl.Series, words: str) -> Times:
    return Times(seconds, pl.repeat(value=False, n=len(seconds), eager=True), words if seconds.count() else "")


def _from_numbers(whole: pl.Series, real: pl.Series) -> Times:
    """Scale numbers to seconds; `whole` is exact where it is not null, `real` stands in elsewhere."""
    if _are_compact_dates(real):
        return _plain(pl.Series([None] * len(real), dtype=pl.Int64), "")
    size = real.cast(pl.Float64).abs()
    middle = size.filter(size.is_finite()).median()
    reached = [name for name, (least, _) in UNITS.items() if isinstance(middle, float) and middle >= least]
    unit = reached[-1] if reached else "seconds"
    least, factor = UNITS[unit]
    beyond = min((other for other, _ in UNITS.values() if other > least), default=float("inf"))
    rough = (real / factor).floor().cast(pl.Int64, strict=False)
    exact = whole // factor if whole.dtype.is_integer() else rough
    seconds = exact.cast(pl.Int64, strict=False).fill_null(rough).alias(real.name)
    other_unit = (size > 0) & ((size < least) | (size >= beyond))
    return Times(seconds, other_unit.fill_null(value=False), unit if real.count() else "")


def _are_compact_dates(numbers: pl.Series) -> bool:
    """Whether most numbers are calendar dates written as YYYYMMDD."""
    near = numbers.filter(numbers.is_between(19_700_101, 20_991_231))
    days = near.cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)
    return days.count() > 0 and 2 * days.count() >= numbers.count()


def _from_calendar(parts: pl.DataFrame, name: str) -> Times:
    """Read groups of `CALENDAR`; the order of day and month is one for the whole column."""
    whole = parts.with_columns(pl.exclude("mark").cast(pl.Int32))
    beyond = [bool((whole[place] > 12).any()) for place in ("first", "second")]
    day_first = bool((whole["mark"] == ".").any())
    month_first = not day_first and beyond == [False, True]
    if not day_first and not month_first and beyond != [True, False]:
        return _plain(pl.Series(name, [None] * len(whole), dtype=pl.Int64), "")
    short = whole["year"] < 100
    year = pl.when(short & (pl.col("mark") == ".")).then(pl.col("year") + 2000).when(~short).then("year")
    month, day = ("first", "second") if month_first else ("second", "first")
    clock = (pl.col(part).cast(pl.String).str.zfill(2) for part in (month, day))
    hours = (pl.col(part).fill_null(0).cast(pl.String).str.zfill(2) for part in ("hour", "minute", "seconds"))
    texts = whole.select(pl.format("{}-{}-{} {}:{}:{}", year, *clock, *hours)).to_series()
    moments = texts.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
    order = "month first" if month_first else "day first"
    years = ", years of two digits taken for 20.." if short.any() and moments.count() else ""
    return _plain(moments.alias(name), f"dates with the {order}{years}, UTC")


def _from_iso(text: pl.Series) -> pl.Series:
    parts = text.str.extract_groups(ISO_8601).struct.unnest()
    clock = pl.col("date") + " " + pl.col("minute").fill_null("00:00") + pl.col("second").fill_null(":00")
    hours, minutes = (pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hours", "minutes"))
    offset = (hours * 3600 + minutes * 60) * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    moment = clock.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
    return parts.select((moment - offset).alias(text.name)).to_series()
