"""What the canonical columns may hold: accepted types and what becomes of them, refused ones and the error."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from tastemaker.data import Dataset
from tastemaker.data.checks.timestamps import to_seconds
from tastemaker.data.readers import read, validate
from tastemaker.data.writers.canonical import write
from tastemaker.errors import DataError

PAIRS = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"]}
ITEMS = {"item_id": ["a", "b"]}
MOMENT = dt.datetime(2020, 1, 1)
CATEGORIES = [["x", "y"], ["z", "z"]]


@pytest.fixture
def shop(tmp_path):
    """Write interactions and items with these further columns as parquet."""

    def make(log=None, items=None):
        pl.DataFrame({**PAIRS, **(log or {})}).write_parquet(tmp_path / "interactions.parquet")
        pl.DataFrame({**ITEMS, **(items or {})}).write_parquet(tmp_path / "items.parquet")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            (column, value)
            for column in ("value", "position", "timestamp")
            for value in ([1.0], {"a": 1}, b"1", dt.timedelta(1), dt.time(1), True)
        ),
        ("value", MOMENT.date()),
        ("position", MOMENT),
    ],
)
def test_numbers_of_an_impossible_type_are_refused(shop, column, value):
    with pytest.raises(DataError, match=rf"interactions.parquet: column '{column}' holds \w+.*; give "):
        validate(shop({column: [value] * 3}))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("title", b"\xff"),
        ("title", {"en": "x"}),
        ("brand", MOMENT),
        ("description", [1.5]),
        ("price", [1.0]),
        ("price", MOMENT.date()),
        ("categories", {"x": 1}),
        ("categories", [["x"]]),
        ("item_id", b"x"),
    ],
)
def test_texts_prices_and_categories_of_an_impossible_type_are_refused(shop, column, value):
    with pytest.raises(DataError, match=rf"items.parquet: column '{column}' holds \w+.*; "):
        validate(shop(items={column: [value] * 2}))


@pytest.mark.parametrize(
    ("values", "dtype", "seconds"),
    [
        ([Decimal("1577836800.5")] * 3, pl.Decimal(20, 2), 1577836800),
        (["2020-01-01"] * 3, pl.Categorical, 1577836800),
        ([MOMENT.date()] * 3, pl.Date, 1577836800),
        ([MOMENT] * 3, pl.Datetime("ns"), 1577836800),
        ([1577836800] * 3, pl.Int128, 1577836800),
    ],
)
def test_times_of_any_type_are_read(shop, values, dtype, seconds):
    data, _ = read(shop({"timestamp": pl.Series(values, dtype=dtype)}))
    assert data.log["timestamp"].to_list() == [seconds] * 3


def test_columns_of_one_table_are_no_canonical_columns_of_another(shop, tmp_path):
    log = {"categories": ["a|b", None, "["], "title": [[1], [2], [3]], "price": ["1.5", "", None]}
    data, _ = read(shop(log, {"value": ["x", None], "position": [[1], [2]], "timestamp": ["soon", ""]}))
    assert data.log["price"].to_list() == [1.5, None, None]
    assert data.log.select("categories", "title").row(0) == ("a|b", [1])
    assert data.items.frame.rows() == [("a", "x", [1], "soon"), ("b", None, [2], "")]
    plain = Dataset.from_frames(pl.DataFrame({**PAIRS, "categories": log["categories"]}))
    assert read(write(plain, tmp_path / "out", format="csv"))[0].log.equals(plain.log)


def test_a_price_of_an_interaction_is_an_amount(shop):
    (problem,) = validate(shop({"price": [1.0, -1.0, None]})).problems
    assert (problem.line, problem.column, problem.rule) == (2, "price", "negative")
    with pytest.raises(DataError, match="column 'price' holds List"):
        validate(shop({"price": [[1.0]] * 3}))


def test_decimal_values_and_prices_are_numbers(shop):
    money = [Decimal("1.50"), Decimal("2.25"), Decimal("3.00")]
    data, _ = read(shop({"value": money}, {"price": money[:2]}))
    assert data.log["value"].to_list() == [1.5, 2.25, 3.0]
    assert data.items.frame["price"].to_list() == [1.5, 2.25]


def test_lists_of_texts_are_joined_and_said(shop):
    data, report = read(shop(items={"title": [["A"], ["B", None, "C"]], "description": pl.Series([["x"], None])}))
    assert data.items.frame.select("title", "description").rows() == [("A", "x"), ("B\nC", None)]
    assert sum("lists of texts" in note for note in report.notes) == 2


@pytest.mark.parametrize(
    "dtype", [pl.List(pl.String), pl.List(pl.Categorical), pl.Array(pl.String, 2), pl.List(pl.Enum(["x", "y", "z"]))]
)
def test_categories_of_any_list_of_texts(shop, dtype):
    data, _ = read(shop(items={"categories": pl.Series(CATEGORIES, dtype=dtype)}))
    assert data.items.frame["categories"].to_list() == CATEGORIES
    assert data.items.frame.schema["categories"] == pl.List(pl.String)


def test_categories_that_are_one_category_each(shop):
    data, _ = read(shop(items={"categories": pl.Series(["x|y", "z"], dtype=pl.Categorical)}))
    assert data.items.frame["categories"].to_list() == [["x", "y"], ["z"]]


def test_a_name_in_brackets_is_no_nested_list(shop):
    assert validate(shop(items={"categories": [["[Sale]", "Toys"], ["x"]]})).ok


def test_columns_with_the_names_of_the_data_set_s_own_get_a_free_name(shop):
    data, report = read(
        shop({"user": [1, 2, 3], "item": ["x", "y", "z"], "item_": [7, 8, 9]}, {"id": [5, 6], "title": ["A", "B"]})
    )
    assert data.log.select("user_", "item__", "item_").rows() == [(1, "x", 7), (2, "y", 8), (3, "z", 9)]
    assert data.items.frame.rows() == [("a", 5, "A"), ("b", 6, "B")]
    assert data.items.frame.columns == ["id", "id_", "title"]
    assert any("column 'id' is called 'id_'" in note for note in report.notes)
    direct = Dataset.from_frames(pl.DataFrame({**PAIRS, "user": [1, 2, 3]}), pl.DataFrame({**ITEMS, "id": [5, 6]}))
    assert (direct.log["user_"].to_list(), direct.items.frame["id_"].to_list()) == ([1, 2, 3], [5, 6])


@pytest.mark.parametrize(
    ("values", "other", "words"),
    [
        ([1577836800, 1577836801, 1577836800000], [False, False, True], "seconds"),
        ([1577836800000, 1577836800001, 1577836800], [False, False, True], "milliseconds"),
        ([1577836800000000, 1577836800000000, 1577836800000], [False, False, True], "microseconds"),
        ([1577836800000000000, 1577836800000000000, 0], [False, False, False], "nanoseconds"),
    ],
)
def test_a_number_in_another_unit_than_the_rest_is_marked(values, other, words):
    for column in (pl.Series(values), pl.Series([str(value) for value in values])):
        times = to_seconds(column)
        assert (times.other_unit.to_list(), times.words) == (other, words)


def test_another_unit_and_compact_dates_are_problems(shop):
    (problem,) = validate(shop({"timestamp": [1577836800000, 1577836800000, 1577836800]})).problems
    assert (problem.line, problem.column, problem.value, problem.rule) == (3, "timestamp", "1577836800", "other-unit")
    for values in ([20200131, 20200229, 20201301], ["20200131", "20200229", None]):
        rules = [problem.rule for problem in validate(shop({"timestamp": values, "position": [0, 1, 0]})).problems]
        assert rules == ["bad-timestamp"] * len([value for value in values if value])


@pytest.mark.parametrize(
    ("values", "days"),
    [
        (["31.12.2025", "01.02.2026 8:05", "3.2.2026, 23:59:58"], ["2025-12-31", "2026-02-01", "2026-02-03"]),
        (["01.02.2026", "03.02.2026", None], ["2026-02-01", "2026-02-03", None]),  # points: no doubt
        (["1/31/2026", "02/03/2026", "2/4/2026"], ["2026-01-31", "2026-02-03", "2026-02-04"]),
        (["31/1/2026", "02/03/2026", "2/4/2026"], ["2026-01-31", "2026-03-02", "2026-04-02"]),
        (["1/2/2026", "02/03/2026", "2/4/2026"], [None] * 3),  # either might be the day
        (["1/31/2026", "31/1/2026", "2/4/2026"], [None] * 3),
        (["31.02.2026", "1.13.2026", "1.2.2026"], [None, None, "2026-02-01"]),
        (["31.12.2025", "2026-01-01", "2026-01-02"], [None, "2026-01-01", "2026-01-02"]),  # most are ISO
        (["31.12.2025", "30.12.2025", "2026-01-02"], ["2025-12-31", "2025-12-30", None]),
        (["31.12.25", "01.02.2026", "1.2.26 8:05"], ["2025-12-31", "2026-02-01", "2026-02-01"]),  # as spreadsheets do
        (["12/31/25", "1/2/26", "1/3/26"], [None] * 3),
    ],
)
def test_calendar_dates_are_read_where_the_column_says_which_is_the_day(values, days):
    seconds = to_seconds(pl.Series(values, dtype=pl.String)).seconds
    read_as = [None if one is None else dt.datetime.fromtimestamp(one, dt.UTC).date().isoformat() for one in seconds]
    assert read_as == days


def test_the_clock_of_a_calendar_date():
    seconds = to_seconds(
        pl.Series(["31.12.2025", "01.02.2026 8:05", "3.2.2026, 23:59:58 Uhr", "1.1.2026 25:00"])
    ).seconds
    clocks = [None if one is None else dt.datetime.fromtimestamp(one, dt.UTC).time().isoformat() for one in seconds]
    assert clocks == ["00:00:00", "08:05:00", "23:59:58", None]


def test_times_in_1970_are_doubted(shop):
    assert any("all times are in 1970" in note for note in validate(shop({"timestamp": [1, 2, 3]})).notes)
    assert not any("1970: are" in note for note in validate(shop({"timestamp": [1, 2, 31_536_000]})).notes)


def test_positions_are_distinct_and_should_go_with_the_times(shop):
    report = validate(shop({"position": [1, 1, 1]}))
    assert [(problem.line, problem.rule) for problem in report.problems] == [(2, "duplicate-position")]
    disagree = "positions and times disagree: 1 user; the position counts"
    assert disagree in validate(shop({"position": [1, 0, 0], "timestamp": [5, 6, 1]})).notes
    assert disagree not in validate(shop({"position": [0, 1, 0], "timestamp": [6, 6, 1]})).notes
