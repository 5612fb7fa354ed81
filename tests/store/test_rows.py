"""What goes in comes out, once, for its tenant only: the same over SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tastemaker import artifact
from tastemaker.errors import ArtifactError, DataError
from tastemaker.store.folders import model_in, outline
from tastemaker.store.parts import traces
from tastemaker.store.records import (
    Arrangement,
    AuditLine,
    Deleted,
    Event,
    Impression,
    Item,
    Job,
    ModelVersion,
    User,
)

FULL = Event("e1", "anna/ö", "Ü 7", "purchase", 1_700_000_000_123, 3.25, "visit", "request", 4)
ITEM = Item(
    "i1",
    title="Sópa <b>",
    description="d",
    brand="b",
    categories=("home", "bath"),
    price=2.5,
    currency="EUR",
    availability="in stock",
    image_link="https://example.org/a.png",
    group_id="g",
    created_at=5,
    hidden=False,
    attributes={"size": 3, "tags": ["a", None, {"deep": True}]},
    updated_at=7,
)


def event(number, **changes):
    return dataclasses.replace(Event(f"e{number}", "u", f"i{number}", "view", 1000 + number), **changes)


def test_an_event_comes_back_whole(store):
    assert store.append_events("t", [FULL]) == ["accepted"]
    assert store.history("t", FULL.user_id) == [FULL]
    assert store.events_after("t", 0) == [(1, FULL)]


def test_an_event_sent_again_changes_nothing(store):
    assert store.append_events("t", [event(1), event(1), event(2)]) == ["accepted", "duplicate", "accepted"]
    assert store.append_events("t", [event(2, item_id="other"), event(3)]) == ["duplicate", "accepted"]
    assert [one.item_id for one in store.history("t", "u")] == ["i1", "i2", "i3"]


def test_history_is_the_newest_by_time_oldest_first_and_ties_in_order_of_arrival(store):
    late, early, tie = event(1, timestamp=50), event(2, timestamp=10), event(3, timestamp=50)
    store.append_events("t", [late, early, tie, event(4, user_id="other")])
    assert store.history("t", "u") == [early, late, tie]
    assert store.history("t", "u", limit=2) == [late, tie]
    assert store.history("t", "nobody") == []


def test_events_can_be_followed_without_a_gap(store):
    assert (store.last_sequence("t"), store.events_after("t", 0)) == (0, [])
    store.append_events("t", [event(number) for number in range(5)])
    seen, last = [], 0
    while page := store.events_after("t", last, limit=2):
        seen += [one.event_id for _, one in page]
        assert all(number > last for number, _ in page)
        last = page[-1][0]
    assert seen == [f"e{number}" for number in range(5)]
    assert last == store.last_sequence("t")


def test_tenants_never_meet(store):
    store.append_events("one", [event(1)])
    assert store.append_events("two", [event(1, item_id="x")]) == ["accepted"]
    assert [one.item_id for one in store.history("two", "u")] == ["x"]
    store.put_items("one", [ITEM])
    store.put_users("one", [User("u", {"a": 1})])
    secret, key = store.create_key("one", "k", ["read"])
    store.put_rules("one", {"a": 1}, "me")
    store.put_job("one", Job("j", "import", "done"))
    store.put_experiment("one", "x", {"a": 1})
    store.put_model("one", ModelVersion("v", "/m"))
    assert store.find_key(secret) == ("one", key)
    assert store.get_item("two", "i1") is store.get_user("two", "u") is store.get_job("two", "j") is None
    assert store.list_keys("two") == store.list_models("two") == store.items_after("two", 0) == []
    assert (store.get_rules("two"), store.list_experiments("two")) == ((0, {}), {})
    assert not store.revoke_key("two", key.key_id)
    assert not store.delete_item("two", "i1")
    assert not store.delete_user("two", "u")
    with pytest.raises(DataError, match="unknown"):
        store.activate_model("two", "v")
    store.erase_user("two", "u")
    assert [one.event_id for one in store.history("one", "u")] == ["e1"]
    assert store.tenants() == ["one", "two"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event_id": ""}, r"events\[1\].event_id: '': an id must not be empty"),
        ({"user_id": "a\nb"}, "control"),
        ({"user_id": "a\x00"}, "control"),
        ({"user_id": "\ud800"}, "half characters"),
        ({"item_id": "e\u0301"}, "normal form C"),
        ({"item_id": "ö" * 129}, "at most 256 bytes of UTF-8, this one has 258"),
        ({"item_id": 7}, "give ids as strings"),
        ({"event_type": ""}, "event_type"),
        ({"timestamp": 1.5}, "milliseconds"),
        ({"timestamp": True}, "milliseconds"),
        ({"timestamp": -1}, "1970"),
        ({"timestamp": 2**63}, "1970 to 9999"),
        ({"value": float("nan")}, "not finite"),
        ({"value": 10**400}, "not finite"),
        ({"value": "3"}, "no number"),
        ({"position": -1}, "position"),
        ({"position": 2**31}, "position"),
        ({"session_id": "\x7f"}, "session_id"),
    ],
)
def test_an_event_that_cannot_be_stored_is_refused_with_its_place_and_none_is_stored(store, changes, message):
    with pytest.raises(DataError, match=message):
        store.append_events("t", [event(1), event(2, **changes)])
    assert store.events_after("t", 0) == []


def test_catalogue(store):
    assert store.get_item("t", "i1") is None
    assert store.put_items("t", [ITEM, dataclasses.replace(ITEM, item_id="i2")]) == 2
    assert store.get_item("t", "i1") == ITEM
    assert store.get_items("t", ["i2", "i9"]) == {"i2": dataclasses.replace(ITEM, item_id="i2")}
    assert store.put_items("t", [dataclasses.replace(ITEM, title="new")]) == 3
    patched = store.patch_item("t", "i1", {"price": 1.0, "attributes": {"size": None, "tags": 2}})
    assert (patched.title, patched.price, patched.attributes) == ("new", 1.0, {"tags": 2})
    assert patched == store.get_item("t", "i1")
    assert patched.updated_at > 7
    assert store.delete_item("t", "i2")
    assert not store.delete_item("t", "i2")
    assert store.get_item("t", "i2") is None
    assert store.patch_item("t", "i2", {"price": 1.0}) is None
    assert store.items_after("t", 0) == [(4, patched), (5, Deleted("i2"))]
    assert store.items_after("t", 4) == [(5, Deleted("i2"))]
    assert store.catalogue_revision("t") == 5
    store.put_items("t", [ITEM, dataclasses.replace(ITEM, title="the last of one batch wins")])
    assert store.get_item("t", "i1").title == "the last of one batch wins"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "\udc00"}, "title: .*half a character"),
        ({"price": -1.0}, "negative"),
        ({"price": float("inf")}, "not finite"),
        ({"categories": "home"}, "no list of texts"),
        ({"categories": ["a", 3]}, r"categories\[1\]"),
        ({"attributes": {"a": float("nan")}}, "JSON"),
        ({"attributes": {"a": "\ud800"}}, "half a character"),
        ({"attributes": {"a": {1, 2}}}, "JSON"),
        ({"attributes": {"a": "x" * 300_000}}, "more than 262,144 bytes"),
        ({"attributes": 3}, "no mapping"),
        ({"hidden": "yes"}, "neither true nor false"),
        ({"titel": "x"}, "did you mean 'title'"),
        ({"item_id": "other"}, "no field that can be changed"),
    ],
)
def test_a_change_of_a_product_that_cannot_be_stored_is_refused(store, changes, message):
    store.put_items("t", [ITEM])
    with pytest.raises(DataError, match=message):
        store.patch_item("t", "i1", changes)
    assert store.get_item("t", "i1") == ITEM


def test_shoppers(store):
    assert store.put_users("t", [User("u", {"region": "DE"}, 5)]) == ["stored"]
    assert store.get_user("t", "u") == User("u", {"region": "DE"}, 5)
    assert store.patch_user("t", "u", {"attributes": {"age": 30, "region": None}}).attributes == {"age": 30}
    assert store.patch_user("t", "nobody", {"attributes": {}}) is None
    with pytest.raises(DataError, match="only 'attributes'"):
        store.patch_user("t", "u", {"name": "x"})
    assert store.delete_user("t", "u")
    assert not store.delete_user("t", "u")
    assert store.get_user("t", "u") is None


def test_keys(store):
    secret, key = store.create_key("t", "shop", ["read", "write"])
    assert key.scopes == {"read", "write"}
    assert store.find_key(secret) == ("t", key)
    for wrong in ("", "x", secret[:-1], secret + "x", secret.upper(), f"tm_{key.key_id}_", "tm__x", "\ud800", "tm_ü_x"):
        assert store.find_key(wrong) is None
    assert store.list_keys("t") == [key]
    assert store.revoke_key("t", key.key_id)
    assert not store.revoke_key("t", key.key_id)
    assert store.find_key(secret) is None
    assert store.list_keys("t")[0].revoked_at >= key.created_at
    with pytest.raises(DataError, match="did you mean 'write'"):
        store.create_key("t", "shop", ["wirte"])
    with pytest.raises(DataError, match="at least one scope"):
        store.create_key("t", "shop", [])


def test_rolling_back_leads_to_the_model_that_answered_before_and_never_to_a_bad_one(store):
    for version in ("v1", "v2", "v3"):
        store.put_model("t", ModelVersion(version, f"/{version}", created_at=int(version[1]), facts={"ndcg": 0.5}))
    assert store.active_model("t") is None
    assert store.activate_model("t", "v1") is None
    assert store.activate_model("t", "v2") == "v1"
    assert store.activate_model("t", "v2") == "v2"
    assert store.rollback_model("t") == "v1"
    assert store.activate_model("t", "v3") == "v1"
    assert store.rollback_model("t") == "v1", "not v2, which was rolled back"
    assert [(one.version, one.state) for one in store.list_models("t")] == [
        ("v1", "active"),
        ("v2", "retired"),
        ("v3", "retired"),
    ]
    assert store.active_model("t") == ModelVersion("v1", "/v1", "active", 1, {"ndcg": 0.5})
    with pytest.raises(DataError, match="no model to roll back to"):
        store.rollback_model("t")
    store.put_model("t", ModelVersion("v1", "/v1"))
    assert store.active_model("t").version == "v1", "put again, it still answers"
    with pytest.raises(DataError, match="another version"):
        store.put_model("t", ModelVersion("v1", "/elsewhere"))


def test_a_version_stands_for_what_its_folder_held_when_it_was_put(store, tmp_path):
    for name in ("a", "b"):
        artifact.write(tmp_path / name, {"model": {"stage": [{"model": "popular"}]}}, {"x": np.zeros(1)})
        store.put_model("t", ModelVersion(name, str(tmp_path / name)))
        store.activate_model("t", name)
    a, b = model_in(tmp_path / "a", "a"), model_in(tmp_path / "b", "b")
    store.put_model("t", a)
    store.put_model("t", b)
    assert [one.digest for one in store.list_models("t")] == [a.digest, b.digest], "taken over by a row without one"
    assert outline(a)["stages"] == ["popular"]
    artifact.write(tmp_path / "a", {"model": "another"}, {"x": np.ones(1)})
    with pytest.raises(DataError, match=f"model 'a': .*fitted anew .*manifest .*, was {a.digest[:10]}.*--version"):
        store.put_model("t", model_in(tmp_path / "a", "a"))
    for change in (lambda: store.activate_model("t", "a"), lambda: store.rollback_model("t")):
        with pytest.raises(ArtifactError, match="register it as a new version"):
            change()
        assert store.active_model("t").version == "b"
    artifact.write(tmp_path / "a", {"model": {"stage": [{"model": "popular"}]}}, {"x": np.zeros(1)})
    assert store.rollback_model("t") == "a"


def test_rules_keep_every_version(store):
    assert store.get_rules("t") == (0, {})
    assert store.put_rules("t", {"rules": []}, "anna") == 1
    assert store.put_rules("t", {"rules": [{"name": "x"}]}, "ben") == 2
    assert store.get_rules("t") == (2, {"rules": [{"name": "x"}]})


def test_jobs_and_experiments(store):
    store.put_job("t", Job("j", "import", "running", 0.5, created_at=10, updated_at=10))
    store.put_job("t", Job("j", "import", "done", 1.0, {"rows": 3}, created_at=99, updated_at=20))
    assert store.get_job("t", "j") == Job("j", "import", "done", 1.0, {"rows": 3}, None, 10, 20)
    store.put_experiment("t", "b", {"weights": [1, 1]})
    store.put_experiment("t", "a", {})
    store.put_experiment("t", "a", {"x": 1})
    assert store.list_experiments("t") == {"a": {"x": 1}, "b": {"weights": [1, 1]}}


def test_traces(store):
    shown = Impression("r1", 10, "u", "exp", "B", "v1", "hybrid", ("i1", "i2"), (0.5, 0.25), True)
    bare = Impression("r2", 20, None, None, None, "v1", "popular", ())
    assert store.submit_impressions("t", [shown, bare])
    assert store.submit_impressions("t", [dataclasses.replace(shown, strategy="other")])
    assert store.add_audit("t", AuditLine(1, "anna", "activate", "v1", {"from": "v0"}))
    assert store.add_audit("t", AuditLine(2, "anna", "hide", "i1"))
    store.flush()
    assert store.impressions_between("t", 10, 21) == [shown, bare]
    assert store.impressions_between("t", 11, 20) == []
    assert [line.action for line in store.audit("t")] == ["hide", "activate"]
    assert store.audit("t", limit=5)[1] == AuditLine(1, "anna", "activate", "v1", {"from": "v0"})
    assert store.lost == 0


def test_lines_on_a_product_are_all_found_whatever_else_is_called_like_it(store, monkeypatch):
    monkeypatch.setattr(traces, "LOOKED_THROUGH", 7)

    def line(item_id, rule="r"):
        return {"rule": rule, "action": "pin", "item_id": item_id, "before": None, "after": 1}

    on_it = [Arrangement(f"a{number}", number, (line("Tea"), line("x"))) for number in range(5)]
    alike = [
        Arrangement(f"b{number}", 100 + number, (line("x", rule="Tea"), line("tea"), line("Tea-2")))
        for number in range(60)
    ]
    store.add_arrangements("t", [*on_it[:3], *alike[:30], on_it[3], *alike[30:], on_it[4]], keep=1000)
    store.add_arrangements("other", [Arrangement("c", 1, (line("Tea"),))], keep=1000)
    store.flush()
    only = [(one.request_id, one.timestamp, one.lines) for one in store.arrangements("t", item_id="Tea")]
    assert only == [(f"a{number}", number, (line("Tea"),)) for number in (4, 3, 2, 1, 0)]
    for limit in (1, 2, 4, 5, 6):
        found = store.arrangements("t", limit, item_id="Tea")
        assert [one.request_id for one in found] == ["a4", "a3", "a2", "a1", "a0"][:limit]
    assert [one.request_id for one in store.arrangements("t", 2)] == ["a4", "b59"]
    assert len(store.arrangements("t", 1000)) == 65
    assert store.arrangements("t", item_id="pin") == []


def test_many_threads_write_at_once_and_each_is_told_the_truth(store):
    """Eight threads send overlapping events: each id is accepted exactly once, and each is seen after its answer."""

    def send(thread):
        told = []
        for number in range(20):
            [status] = store.append_events(
                f"t{number % 2}", [Event(f"e{(thread + number) % 25}", f"u{thread}", "i", "view", number)]
            )
            if status == "accepted":
                told.append((f"t{number % 2}", f"e{(thread + number) % 25}"))
                seen = store.history(f"t{number % 2}", f"u{thread}")
                assert f"e{(thread + number) % 25}" in [one.event_id for one in seen]
        return told

    with ThreadPoolExecutor(8) as pool:
        accepted = [one for told in pool.map(send, range(8)) for one in told]
    assert len(accepted) == len(set(accepted))
    stored = {(tenant, one.event_id) for tenant in ("t0", "t1") for _, one in store.events_after(tenant, 0)}
    assert stored == set(accepted)
