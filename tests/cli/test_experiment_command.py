"""`tastemaker experiment`, over a folder and over a store."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tastemaker.experiments import Experiment, assign
from tastemaker.experiments.exploring import explore

DOCUMENT = """
[[experiment]]
name = "home"
layer = "page"
traffic = [0, 0.6]
variants = [{ name = "old" }, { name = "new", settings = { strategy = "popular" } }]

[[experiment]]
name = "other"
layer = "page"
traffic = [0.6, 1]
variants = [{ name = "a" }, { name = "b" }]
"""
HOME = Experiment.parse(
    {"name": "home", "layer": "page", "traffic": [0, 0.6], "variants": [{"name": "old"}, {"name": "new"}]}
)


def log_of(shoppers=300):
    rng = np.random.default_rng(0)
    impressions, events, targets = [], [], []
    for number in range(shoppers):
        user, request = f"u{number}", f"r{number}"
        variant = assign(HOME, user)
        if variant is None:
            continue
        shown, chances = explore(list("pqrs"), 2, top=3, epsilon=0.5, key=request)
        impressions.append(
            {
                "request_id": request,
                "timestamp": 1_795_000_000_000 + number,
                "user_id": user,
                "experiment": "home",
                "variant": variant,
                "model_version": "m",
                "strategy": "home",
                "item_ids": shown,
                "propensities": chances,
            }
        )
        targets.append({"request_id": request, "item_ids": ["q", "p"]})
        if rng.random() < (0.2 if variant == "old" else 0.5):
            events.append(
                {
                    "event_id": f"e{number}",
                    "user_id": user,
                    "item_id": shown[0],
                    "event_type": "purchase",
                    "timestamp": 1_795_000_001_000 + number,
                    "value": 10.0,
                    "request_id": request,
                }
            )
    return impressions, events, targets


@pytest.fixture
def folder(tmp_path):
    names = ("impressions.jsonl", "events.jsonl", "targets.jsonl")
    for name, rows in zip(names, log_of(), strict=True):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "experiments.toml").write_text(DOCUMENT)
    return tmp_path


def test_list_and_assign(tastemaker, folder):
    table = tastemaker("experiment", "list", "--log", folder)
    assert table.code == 0, table.err
    assert "old 50%, new 50%" in table.out
    listed = tastemaker("experiment", "list", "--log", folder, "--json").json()
    assert [one["name"] for one in listed] == ["home", "other"]
    users = [f"u{number}" for number in range(8)]
    found = tastemaker("experiment", "assign", "home", *users, "--log", folder, "--json").json()
    assert found == {user: assign(HOME, user) for user in users}


def test_size(tastemaker, refused):
    assert tastemaker("experiment", "size", "--rate", 0.1, "--lift", 0.5).out == "1,372 shoppers\n"
    assert tastemaker("experiment", "size", "--rate", 0.1, "--lift", 0.5, "--json").json() == {"shoppers": 1372}
    assert "rate: out of range" in refused("experiment", "size", "--rate", 2, "--lift", 0.5)


def test_results(tastemaker, folder):
    found = tastemaker("experiment", "results", "home", "--log", folder, "--json").json()
    row = next(one for one in found["rows"] if (one["measure"], one["variant"]) == ("revenue a shopper", "new"))
    assert row["against_control"]["absolute"]["low"] > 0
    assert found["counts"]["lists"] == sum(one["shoppers"] for one in found["rows"][:2])
    table = tastemaker("experiment", "results", "home", "--log", folder)
    assert "home: against old" in table.out
    assert "at one look" in table.err
    later = tastemaker("experiment", "results", "home", "--log", folder, "--since", "2026-11-18T00:00Z", "--json")
    assert later.json()["counts"]["lists"] <= found["counts"]["lists"]


def test_results_of_single_shoppers_say_nothing_that_is_not_known(tastemaker, tmp_path):
    users = [next(f"u{n}" for n in range(99) if assign(HOME, f"u{n}") == name) for name in ("old", "new")]
    rows = [
        {"request_id": user, "timestamp": 1, "user_id": user, "experiment": "home", "variant": name, "item_ids": ["a"]}
        for user, name in zip(users, ("old", "new"), strict=True)
    ]
    (tmp_path / "impressions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "events.jsonl").write_text("")
    (tmp_path / "experiments.toml").write_text(DOCUMENT)
    outcome = tastemaker("experiment", "results", "home", "--log", tmp_path)
    assert outcome.code == 0
    assert "shoppers who bought" in outcome.out
    assert "nan" not in outcome.out


def test_replay(tastemaker, folder):
    words = ("experiment", "replay", "--log", folder, "--targets", folder / "targets.jsonl", "--reward", "purchase")
    found = tastemaker(*words, "--json").json()
    assert set(found["estimates"]) == {"ips", "snips", "dr"}
    assert found["logged"]["value"] > 0
    assert found["left_out"] == 0
    assert "mean weight" in tastemaker(*words, "--experiment", "home").out


def test_a_store_says_the_same_as_a_folder(tastemaker, folder):
    pytest.importorskip("sqlalchemy")
    from tastemaker.store import open_store
    from tastemaker.store.records import Event, Impression

    impressions, events, _ = log_of()
    store = folder / "shop.db"
    with open_store(store) as opened:
        opened.append_events("default", [Event(**event) for event in events])
        shown = [
            Impression(**{**one, "item_ids": tuple(one["item_ids"]), "propensities": tuple(one["propensities"])})
            for one in impressions
        ]
        assert opened.submit_impressions("default", shown)
        opened.flush()
    assert "put: home, other" in tastemaker("experiment", "put", folder / "experiments.toml", "--store", store).out
    for words in (
        ("results", "home"),
        ("list",),
        ("replay", "--targets", folder / "targets.jsonl", "--reward", "revenue"),
    ):
        ours = tastemaker("experiment", *words, "--store", store, "--json")
        assert ours.code == 0, ours.err
        assert ours.json() == tastemaker("experiment", *words, "--log", folder, "--json").json()


def test_experiments_in_a_store_must_get_along(tastemaker, refused, folder):
    pytest.importorskip("sqlalchemy")
    store = folder / "shop.db"
    tastemaker("experiment", "put", folder / "experiments.toml", "--store", store)
    clash = folder / "clash.toml"
    clash.write_text(DOCUMENT.replace('"other"', '"third"').split("[[experiment]]")[2].join(["[[experiment]]", ""]))
    assert "share the shoppers of layer 'page'" in refused("experiment", "put", clash, "--store", store)
    unknown = folder / "unknown.toml"
    unknown.write_text(DOCUMENT.replace('"popular"', '"palr"'))
    said = refused("experiment", "put", unknown, "--store", store)
    assert "variants.1.settings" in said
    assert "'palr'" in said
    assert "put: home" in tastemaker("experiment", "put", folder / "experiments.toml", "--store", store).out


def test_mistakes_are_named(refused, folder, monkeypatch):
    monkeypatch.delenv("TASTEMAKER_STORE", raising=False)
    assert "name a folder with --log DIR or a store with --store URL" in refused("experiment", "list")
    assert "did you mean 'home'?" in refused("experiment", "results", "hone", "--log", folder)
    assert "--since soon" in refused("experiment", "results", "home", "--log", folder, "--since", "soon")
    replay = ("experiment", "replay", "--log", folder, "--targets", folder / "targets.jsonl")
    assert "--reward clicks: unknown; did you mean 'click'?" in refused(*replay, "--reward", "clicks")
    (folder / "experiments.toml").write_text("[[experiment]]\nname = 'x'\nvariant = []\n[[experiment]]\nname = 3\n")
    message = refused("experiment", "list", "--log", folder)
    assert "experiment[0].variant: unknown key; did you mean 'variants'?" in message
    assert "experiment[1].name: 3: must be a name" in message
    (folder / "experiments.toml").unlink()
    assert "needs experiments.toml" in refused("experiment", "list", "--log", folder)
