from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Entities
from tastemaker.errors import DataError


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), unique=True, max_size=20))
def test_numbers_and_ids_are_each_other_s_reverse(ids):
    entities = Entities.from_ids(ids)
    assert entities.numbers(ids).tolist() == list(range(len(ids)))
    assert entities.ids(list(range(len(ids)))) == ids
    assert entities.ids(entities.numbers(ids[::-1])) == ids[::-1]


def test_look_alike_ids_stay_apart():
    ids = ["1", "01", "1.0", "1 ", "A", "a", "null", "NA"]
    assert Entities.from_ids(ids).numbers(ids).tolist() == list(range(8))


def test_unknown_ids_are_refused_or_marked():
    entities = Entities.from_ids(["a", "b"])
    with pytest.raises(DataError, match="unknown id 'x'; it is not among the 2 known ones"):
        entities.numbers(["a", "x"])
    numbers = entities.numbers(["x", "b"], unknown="mark")
    assert (numbers.tolist(), numbers.dtype.name) == ([-1, 1], "int32")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"title": ["x"]}, "need a column 'id'; found: title"),
        ({"id": ["a", None]}, "row 1 has an empty id"),
        ({"id": ["", "a"]}, "row 0 has an empty id"),
        ({"id": ["a", "b", "a"]}, "id 'a' occurs more than once"),
    ],
)
def test_bad_frames_are_refused(frame, message):
    with pytest.raises(DataError, match=message):
        Entities(pl.DataFrame(frame))


def test_extending_keeps_old_numbers_and_fills_missing_columns():
    old = Entities(pl.DataFrame({"id": ["a", "b"], "title": ["A", "B"]}))
    new = old.extend(pl.DataFrame({"id": ["c"], "price": [1.0]}))
    assert new.frame.rows() == [("a", "A", None), ("b", "B", None), ("c", None, 1.0)]
    assert len(old) == 2
    with pytest.raises(DataError, match="id 'a' occurs more than once"):
        old.extend(pl.DataFrame({"id": ["a"]}))


def test_the_digest_tells_ids_and_order_only():
    digest = Entities.from_ids(["ab", "c"]).digest
    assert Entities(pl.DataFrame({"title": ["x", "y"], "id": ["ab", "c"]})).digest == digest
    assert len({digest, Entities.from_ids(["a", "bc"]).digest, Entities.from_ids(["c", "ab"]).digest}) == 3


def test_entities_compare_by_content():
    assert Entities.from_ids(["a"]) == Entities.from_ids(["a"])
    assert Entities.from_ids(["a"]) != Entities(pl.DataFrame({"id": ["a"], "title": ["A"]}))


def test_many_ids_are_numbered_as_one_by_one(monkeypatch):
    entities = Entities.from_ids([f"{n}" for n in range(50)])
    asked = pl.Series(["7", None, "49", "x", "07", "7"])
    slow = entities.numbers(asked, unknown="mark")
    monkeypatch.setattr("tastemaker.data.entities.MANY", 0)
    fast = entities.numbers(asked, unknown="mark")
    assert fast.tolist() == slow.tolist() == [7, -1, 49, -1, -1, 7]
    assert fast.dtype == slow.dtype
    with pytest.raises(DataError, match="unknown id None; it is not among the 50 known ones"):
        entities.numbers(asked)
