"""What a model would have shown: histories as they were at the moment, and a warning where it knows the future."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tastemaker import saved
from tastemaker.data.dataset import Dataset
from tastemaker.errors import DataError
from tastemaker.experiments.attribution import attribute
from tastemaker.experiments.exploring import explore
from tastemaker.experiments.records import Event, Impression
from tastemaker.experiments.replay import replay
from tastemaker.experiments.replaying import logged_places
from tastemaker.experiments.targets import targets_of
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.pipeline import Pipeline, Stage

CHAIN = 12
"""Whoever has product c wants product c + 1."""


@pytest.fixture(scope="module")
def model():
    rows = [(f"old{user}", f"i{(user + step) % CHAIN}") for user in range(CHAIN) for step in range(4)]
    shop = Dataset.from_frames(
        pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row"),
        pl.DataFrame({"item_id": [f"i{number}" for number in range(CHAIN)]}),
    )
    pipeline = Pipeline([Stage(Transitions(window=1))]).fit(shop)
    return saved.SavedModel(pipeline, shop.users, shop.queries())


def shown(request, user, items, *, at, propensities=True):
    return Impression(
        request_id=request,
        timestamp=at,
        user_id=user,
        item_ids=items,
        propensities=(0.5,) * len(items) if propensities else None,
    )


def met(event_id, user, item, *, at, kind="view"):
    return Event(event_id=event_id, user_id=user, item_id=item, event_type=kind, timestamp=at)


def test_the_history_is_that_of_the_moment(model):
    lists = [
        shown("r0", "new", ("i1", "i2"), at=0),
        shown("r1", "new", ("i1", "i2"), at=10),
        shown("r2", "new", ("i1",), at=20),
        shown("r3", None, ("i1",), at=20),
        shown("r4", "new", ("i1",), at=20, propensities=False),
    ]
    events = [
        met("e3", "new", "i7", at=15),
        met("e1", "new", "i3", at=5),
        met("e2", "new", "i9", at=6, kind="Thumbs_Down"),
        met("e4", "new", "i5", at=20),  # not before the list of that moment
        met("e5", "new", "unknown", at=7),
    ]
    found = targets_of(model, lists, events)
    assert [one.request_id for one in found.targets] == ["r0", "r1", "r2", "r3"]
    assert [one.item_ids[:1] for one in found.targets[1:3]] == [("i4",), ("i8",)]
    assert [len(one.item_ids) for one in found.targets] == [0, 2, 1, 0]  # without a history it has no opinion
    assert found.left_out == 1
    assert found.knows_the_future == 0


def test_saved_histories_come_first(model):
    found = targets_of(model, [shown("r", "old0", ("i1",), at=0)], [])
    assert found.targets[0].item_ids == ("i4",)  # old0 has i0 to i3
    again = targets_of(model, [shown("r", "old0", ("i1",), at=9)], [met("e", "old0", "i1", at=1)])
    assert again.targets[0].item_ids != ("i2",)  # i2 is in the history


def test_a_model_that_knows_the_future_is_told(model):
    lists = [shown("r", "old0", ("i1",), at=5), shown("s", "old1", ("i1",), at=5)]
    events = [met("e", "old0", "i2", at=6), met("f", "old1", "i2", at=1), met("g", "old1", "i2", at=9)]
    assert targets_of(model, lists, events).knows_the_future == 1


def test_without_propensities_there_is_nothing_to_do(model):
    with pytest.raises(DataError, match="no list has propensities"):
        targets_of(model, [shown("r", "new", ("i1",), at=0, propensities=False)], [])


def logs(shoppers):
    """Shoppers meet one product and click its successor wherever they see it."""
    rng = np.random.default_rng(0)
    lists, events = [], []
    for number in range(shoppers):
        user, request, start = f"n{number}", f"r{number}", int(rng.integers(CHAIN))
        events.append(met(f"v{number}", user, f"i{start}", at=1))
        ranked = [f"i{item}" for item in range(CHAIN) if item != start]
        items, chances = explore(ranked, 2, top=len(ranked), epsilon=1.0, key=request)
        lists.append(
            Impression(
                request_id=request, timestamp=2, user_id=user, item_ids=tuple(items), propensities=tuple(chances)
            )
        )
        if f"i{(start + 1) % CHAIN}" in items:
            click = {"event_type": "click", "timestamp": 3, "request_id": request}
            events.append(Event(event_id=f"c{number}", user_id=user, item_id=f"i{(start + 1) % CHAIN}", **click))
    return lists, events


def test_the_right_model_is_worth_what_it_is(model):
    """It puts the one product that is clicked first: one click a list, though random lists earn two in eleven."""
    lists, events = logs(1500)
    targets = targets_of(model, lists, events).targets
    places, _ = logged_places(lists, attribute(lists, events), targets)
    found = replay(places, resamples=200)
    assert found.logged.value == pytest.approx(2 / 11, abs=0.04)
    for name in ("ips", "snips", "dr"):
        assert found.estimates[name].low <= 1 <= found.estimates[name].high + 1e-9
        assert found.gains[name].low > 0.5


def test_from_the_command_line(model, tmp_path, capsys, monkeypatch):
    import sys

    from tastemaker.cli.main import run

    lists, events = logs(60)
    saved.save(tmp_path / "model", model)
    for name, rows in (("impressions", lists), ("events", events)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{row.model_dump_json()}\n" for row in rows))
    out = tmp_path / "targets.jsonl"
    words = ["experiment", "targets", str(tmp_path / "model"), "--log", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["tastemaker", *words])
    run_quietly(run)
    assert "60 lists" in capsys.readouterr().err
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written == [
        {"request_id": one.request_id, "item_ids": list(one.item_ids)}
        for one in targets_of(model, lists, events).targets
    ]


def run_quietly(run):
    try:
        run()
    except SystemExit as stop:
        assert not stop.code
