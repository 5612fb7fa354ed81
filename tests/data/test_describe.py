from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Dataset
from tastemaker.data.describe import describe, gini


def test_a_hand_worked_shop():
    rows = {"user_id": ["u", "u", "u", "v"], "item_id": ["a", "a", "b", "a"], "timestamp": [0, 60, 120, None]}
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["A", " ", None],
            "categories": [["x"], [], None],
            "price": [1.0, 2.0, None],
        }
    )
    users = pl.DataFrame({"user_id": ["u", "v", "w"], "age": ["1", "2", "3"]})
    found = describe(Dataset.from_frames(pl.DataFrame({**rows, "value": [1, 5, 3, 2]}), items, users))
    assert json.loads(json.dumps(found)) == found
    assert (found["users"], found["items"], found["interactions"]) == (3, 3, 4)
    assert (found["density"], found["repeats"]) == (pytest.approx(3 / 9), 0.25)
    assert found["history_length"] == {"min": 1, "p25": 1, "median": 1, "p75": 1, "p95": 1, "max": 3, "mean": 2}
    assert (found["users_without_interactions"], found["cold_items"]) == (1, 1)
    assert found["popularity"] == {"top_1_percent": 0.75, "gini": pytest.approx(0.5)}
    assert found["activity"] == {"top_1_percent": 0.75}
    assert all(isinstance(found["history_length"][name], int) for name in ("min", "median", "max"))
    share = {name: round(value, 3) for name, value in found["items_with"].items()}
    assert share == {"title": 0.333, "brand": 0, "categories": 0.333, "description": 0, "price": 0.667}
    assert (found["timestamps"], found["values"]) == (0.75, 1.0)
    assert (found["first_time"], found["last_time"]) == ("1970-01-01T00:00:00+00:00", "1970-01-01T00:02:00+00:00")
    assert (found["smallest_value"], found["largest_value"]) == (1.0, 5.0)
    assert (found["user_columns"], found["log_columns"]) == (["age"], ["timestamp", "value"])


def test_an_empty_log_is_described_too():
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["u"], "item_id": ["a"]}))
    found = describe(data.with_log(data.log.clear()))
    assert (found["interactions"], found["density"], found["history_length"], found["first_time"]) == (0, 0, {}, None)
    assert found["popularity"] == {"top_1_percent": 0, "gini": 0}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_gini_is_half_the_relative_mean_absolute_difference(counts):
    mean = sum(counts) / len(counts)
    differences = sum(abs(a - b) for a in counts for b in counts) / len(counts) ** 2
    expected = differences / (2 * mean) if mean else 0
    assert gini(np.array(counts, dtype=np.float32)) == pytest.approx(expected, abs=1e-9)
