"""Experiments in the service: mixed lists, explored lists, and results and replay over what the store kept of them."""

from __future__ import annotations

import json
import random

import pytest

from tastemaker.experiments.attribution import attribute
from tastemaker.experiments.replay import replay
from tastemaker.experiments.replaying import Target, logged_places
from tastemaker.experiments.results import PREFERENCE, results
from tastemaker.experiments.sources import StoreSource
from tastemaker.store.records import Event, Impression

USERS = [f"u{number:03}" for number in range(40)]


def put(client, name="it", **experiment):
    return client.put(f"/v1/experiments/{name}", json={"experiment": experiment})


def ask(client, user, **more):
    answer = client.post("/v1/recommend", json={"user_id": user, "n": 6, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def click(client, answer, user, item):
    event = {
        "event_id": f"click {answer['request_id']}",
        "user_id": user,
        "item_id": item,
        "event_type": "click",
        "request_id": answer["request_id"],
    }
    assert client.post("/v1/events", json={"events": [event]}).status_code in (200, 202)


def shown(client, store):
    client.portal.call(client.service.traces.flush)
    store.flush()
    source = StoreSource(store, "default")
    return source, {one.request_id: one for one in source.impressions(None, None)}


def test_lists_of_two_variants_are_mixed(serve, folder, store):
    client = serve(folder, store=store)
    plain = {user: ids(ask(client, user)) for user in USERS}
    popular = {user: ids(ask(client, user, strategy="popular")) for user in USERS}
    variants = [{"name": "old", "settings": {"strategy": "popular"}}, {"name": "new"}]
    assert put(client, kind="interleave", variants=variants).status_code == 200
    clicked = 0
    for user in USERS:
        answer = ask(client, user)
        teams = answer["variant"].split("|")
        assert len(teams) == len(ids(answer)) == 6
        assert len(set(ids(answer))) == 6
        for item, team in zip(ids(answer), teams, strict=True):
            assert item in {"old": popular, "new": plain}[team][user]
        mine = [item for item, team in zip(ids(answer), teams, strict=True) if team == "new"]
        click(client, answer, user, mine[0])
        clicked += 1
    source, _ = shown(client, store)
    [experiment] = source.experiments()
    found = results(experiment, attribute(source.impressions(None, None), source.events(), experiment="it"))
    assert found.of(PREFERENCE, "new").estimate.value == 1
    assert found.counts["clicked lists"] == clicked


def test_explored_lists_can_be_replayed(serve, folder, store):
    client = serve(folder, store=store)
    before = {user: ids(ask(client, user)) for user in USERS}
    explores = {"explore": {"top": 3, "epsilon": 0.9}}
    variants = [{"name": "a", "settings": explores}, {"name": "b", "settings": explores}]
    assert put(client, variants=variants).status_code == 200
    assert client.put("/v1/items/hero", json={"title": "soap"}).status_code == 200, "nobody has it"
    rules = {"rule": [{"name": "pin", "pin": {"items": ["hero"], "positions": [2]}}]}
    assert client.put("/v1/rules", json={"rules": rules}).status_code == 200
    answers = {user: ask(client, user) for user in USERS}
    assert {answer["variant"] for answer in answers.values()} == {"a", "b"}
    for user, answer in answers.items():
        assert ids(answer)[1] == "hero"  # pins stay
        if ids(answer)[0] != before[user][0]:
            click(client, answer, user, ids(answer)[0])
    source, impressions = shown(client, store)
    lists = [impressions[answer["request_id"]] for answer in answers.values()]
    assert {round(one.propensities[0], 9) for one in lists} == {0.55, 0.45}
    assert all(one.propensities[1] == 1 and one.propensities[3:] == (1, 1, 1) for one in lists)
    moved = sum(ids(answer)[0] != before[user][0] for user, answer in answers.items())
    assert 2 < moved < 38  # 18 expected; outside once in 100 million runs, as request ids are random
    targets = [Target(request_id=one.request_id, item_ids=one.item_ids) for one in lists]
    credited = attribute(lists, source.events())
    places, left_out = logged_places(lists, credited, targets)
    assert left_out == 0
    assert replay(places, resamples=20).logged.value == pytest.approx(credited.outcomes.height / len(USERS))


def test_others_see_no_experiment(serve, folder, store):
    client = serve(folder, store=store)
    variants = [{"name": "a", "settings": {"explore": {}}}, {"name": "b"}]
    assert put(client, variants=variants, traffic=[0, 1e-9]).status_code == 200
    assert ask(client, USERS[0])["variant"] is None
    assert client.post("/v1/recommend", json={"session_items": ["i001"]}).json()["variant"] is None
    _, impressions = shown(client, store)
    assert all(one.propensities is None and one.experiment is None for one in impressions.values())


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ({"variants": [{"name": "a", "settings": {"stratgy": "fast"}}, {"name": "b"}]}, "did you mean 'strategy'?"),
        ({"variants": [{"name": "a", "settings": {"strategy": "slow"}}, {"name": "b"}]}, "settings.strategy: 'slow'"),
        ({"variants": [{"name": "a", "settings": {"explore": {"top": 1}}}, {"name": "b"}]}, "settings.explore.top: 1"),
        (
            {"variants": [{"name": "a"}, {"name": "b"}], "layer": "home", "traffic": [0.4, 1]},
            "share the shoppers of layer 'home'",
        ),
    ],
)
def test_experiments_that_cannot_run_are_refused(serve, folder, store, experiment, message):
    client = serve(folder, store=store)
    variants = [{"name": "a"}, {"name": "b"}]
    assert put(client, "first", variants=variants, layer="home", traffic=[0, 0.5]).status_code == 200
    refused = put(client, "second", **experiment)
    assert refused.status_code == 400
    assert message in refused.text


class Counting(Impression):
    """An impression that says how many of its kind there are."""

    alive = most = 0

    def __init__(self, *values):
        super().__init__(*values)
        Counting.alive += 1
        Counting.most = max(Counting.most, Counting.alive)

    def __del__(self):
        Counting.alive -= 1


def test_results_are_read_page_by_page_and_are_those_of_all_rows_at_once(serve, folder, store, monkeypatch):
    rng = random.Random(0)
    variants = [{"name": "a"}, {"name": "b"}]
    store.put_experiment("default", "x", {"variants": variants})
    rows = [
        Impression(
            f"r{n}", rng.randrange(500), f"u{n % 90}", rng.choice(["x", "y"]), "ab"[n % 90 % 2], "m", "fast", ("p", "q")
        )
        for n in range(700)
    ]
    store.submit_impressions("default", rows)
    kinds = ["click", "purchase", "view", "impression"]
    store.append_events(
        "default",
        [
            Event(
                f"e{n}",
                f"u{n % 90}",
                rng.choice("pq"),
                rng.choice(kinds),
                500 + n,
                2.5,
                request_id=f"r{n % 90 + 90 * rng.randrange(9)}",
            )
            for n in range(400)
        ],
    )
    store.flush()
    [experiment] = StoreSource(store, "default").experiments()
    everything = [event for _, event in store.events_after("default", 0, 10**6)]
    at_once = attribute(store.impressions_between("default", 0, 2**62), everything, experiment="x")
    expected = results(experiment, at_once, resamples=500).to_dict()
    assert at_once.outcomes.height > 20
    monkeypatch.setattr("tastemaker.experiments.sources.PAGE", 7)
    monkeypatch.setattr("tastemaker.experiments.attribution.BLOCK", 5)
    monkeypatch.setattr(store, "impressions_between", None)
    real = store.impressions_after

    def counted(*asked):
        return [Counting(*(getattr(one, name) for name in Counting.__dataclass_fields__)) for one in real(*asked)]

    monkeypatch.setattr(store, "impressions_after", counted)
    client = serve(folder, store=store)
    found = client.get("/v1/experiments/x/results")
    assert found.json() == {"results": json.loads(json.dumps(expected)), "note": None}
    assert Counting.most <= 3 * 7, "a page, the one before it, and what is read of the next"
