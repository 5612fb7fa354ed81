"""Shoppers in words, from whatever columns a table of users has."""

from __future__ import annotations

import polars as pl
import pytest

from tastemaker.data.entities import Entities
from tastemaker.errors import ConfigError
from tastemaker.text.render import SHARED_FROM, user_texts


def users(**columns):
    size = len(next(iter(columns.values())))
    return Entities(pl.DataFrame({"id": [f"u{n}" for n in range(size)], **columns}, strict=False))


def test_columns_become_labelled_fields_and_missing_values_leave_no_trace():
    shoppers = users(
        age_band=["25-34", None, None],
        household_size=[2, 1, None],
        interests=[["garden", "garden", "tea"], [], None],
        member=[True, False, None],
    )
    assert user_texts(shoppers) == [
        "age band: 25-34; household size: 2; interests: garden, tea; member: true",
        "household size: 1; member: false",
        "",
    ]


def test_columns_that_name_a_person_are_left_out():
    many = users(
        email=[f"a{n}@shop.example" for n in range(SHARED_FROM)],
        city=["Bonn", "Ulm"] * (SHARED_FROM // 2),
    )
    assert user_texts(many)[:2] == ["city: Bonn", "city: Ulm"]
    few = users(city=["Bonn", "Ulm"])
    assert user_texts(few) == ["city: Bonn", "city: Ulm"]


def test_users_with_an_id_alone_have_no_text():
    assert user_texts(Entities.from_ids(["a", "b"])) == ["", ""]


def test_a_column_that_no_text_can_show_is_named():
    with pytest.raises(ConfigError, match="column 'home' holds Struct"):
        user_texts(users(home=[{"city": "Bonn"}, {"city": "Bonn"}]))


def test_long_texts_are_cut():
    assert len(user_texts(users(about=["word " * 100]), max_length=50)[0]) <= 50
