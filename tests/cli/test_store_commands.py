"""The verbs that work on a store: events, user, item, key, model, db."""

from __future__ import annotations

import json

import pytest

from tastemaker.store import open_store
from tastemaker.store.records import Event, Item, ModelVersion, User
from tastemaker.store.schema import REVISION


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Path of a store that is not there yet, named by the environment."""
    path = tmp_path / "kept" / "shop.db"
    monkeypatch.setenv("TASTEMAKER_STORE", str(path))
    return path


@pytest.fixture
def filled(place):
    with open_store(place) as store:
        store.append_events(
            "default", [Event(f"e{n}", f"anna{n % 2}", f"i{n}", "view", 1000 * n, request_id="r") for n in range(5)]
        )
        store.put_items("default", [Item("i1", "Soap"), Item("i2", "Towel")])
        store.put_users("default", [User("anna1", {"region": "canary-region"})])
    return place


def test_events_from_a_file_may_be_sent_again(tastemaker, place, tmp_path):
    file = tmp_path / "events.jsonl"
    rows = [{"user_id": "u", "item_id": f"i{n}", "event_type": "view", "timestamp": n} for n in range(3)]
    rows.append({**rows[0], "event_id": "mine", "value": None})
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert tastemaker("events", "add", file, "--json").json() == {"accepted": 4, "duplicate": 0, "erased": 0}
    assert tastemaker("events", "add", file, "--json").json() == {"accepted": 0, "duplicate": 4, "erased": 0}
    one = ["events", "add", "--user", "u", "--item", "x", "--type", "purchase", "--value", "2.5", "--time", "9"]
    assert "1" in tastemaker(*one).out
    shown = tastemaker("events", "tail", "-n", 2, "--json").lines()
    assert [event["item_id"] for event in shown] == ["i0", "x"]
    assert (shown[1]["value"], shown[1]["event_type"], shown[1]["timestamp"]) == (2.5, "purchase", 9)
    assert "1970-01-01 00:00:00.009" in tastemaker("events", "tail").out
    assert "no events" in tastemaker("events", "tail", "--tenant", "other").err


def test_a_bad_line_is_named(tastemaker, refused, place, tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text('{"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": 1}\n{"user": "u"}\n')
    assert f"{file}:2: user: unknown field; did you mean 'user_id'?" in refused("events", "add", file)
    file.write_text('{"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": 1.5}\n')
    assert f"{file}:1.timestamp: 1.5 is no whole number" in refused("events", "add", file)
    good = {"user_id": "u", "item_id": "i", "event_type": "view"}
    rows = [*({**good, "timestamp": n} for n in range(1500)), {**good, "timestamp": 1, "item_id": "a\x00"}]
    file.write_text("\n\n".join(json.dumps(row) for row in rows))
    said = refused("events", "add", file)
    assert f"{file}:3001.item_id: 'a\\x00': an id must not have control characters" in said
    assert "; 1,000 events of the lines before are stored" in said
    assert "look like seconds; write milliseconds" in tastemaker("events", "add", file).err
    assert "event.user_id: 'u\\x00': an id must not" in refused("events", "add", "--user", "u\0", "--item", "i")
    place.unlink()
    assert "cannot be read" in refused("events", "add", tmp_path / "missing")
    file.write_text("{}")
    assert ":1: user_id is missing" in refused("events", "add", file)
    assert not place.exists(), "a file that cannot be read makes no store"
    assert "give a FILE of JSON lines, or --user and --item" in refused("events", "add", "--user", "u")


def test_events_are_copied_to_another_store(tastemaker, filled, tmp_path):
    words = ["events", "replay", "--to", tmp_path / "other.db", "--json"]
    assert tastemaker(*words).json() == {"accepted": 5, "duplicate": 0, "erased": 0, "last_sequence": 5}
    assert tastemaker(*words).json()["duplicate"] == 5
    assert tastemaker(*words, "--after", 3).json()["duplicate"] == 2
    with open_store(filled) as store, open_store(tmp_path / "other.db") as other:
        assert store.events_after("default", 0) == other.events_after("default", 0)


def test_a_shopper_is_exported_and_erased(tastemaker, filled, tmp_path):
    rows = tastemaker("user", "export", "anna1").lines()
    assert [row["kind"] for row in rows] == ["user", "event", "event"]
    tastemaker("user", "export", "anna1", "--out", tmp_path / "anna.jsonl")
    assert len((tmp_path / "anna.jsonl").read_text().splitlines()) == 3
    outcome = tastemaker("user", "delete", "anna1", "--json")
    assert outcome.json()["counts"] == {"events": 2, "users": 1, "rankings": 0, "impressions": 0, "audit": 0}
    assert "anna1" not in outcome.out + outcome.err
    assert tastemaker("user", "export", "anna1").lines() == []
    everything = b"".join(path.read_bytes() for path in filled.parent.iterdir())
    assert b"anna1" not in everything
    assert b"canary" not in everything
    assert b"anna0" in everything
    shown = tastemaker("user", "delete", "anna0")
    assert "receipt " in shown.err
    assert "nothing was stored" not in shown.err
    unknown = tastemaker("user", "delete", "anna77")
    assert "nothing was stored of this id" in unknown.err
    assert "anna77" not in unknown.out + unknown.err


def test_products_are_hidden_and_shown(tastemaker, refused, filled):
    assert tastemaker("item", "hide", "i1", "i2", "--json").json() == [
        {"item_id": "i1", "title": "Soap", "hidden": True},
        {"item_id": "i2", "title": "Towel", "hidden": True},
    ]
    assert "Soap" in tastemaker("item", "show", "i1").out
    with open_store(filled, read_only=True) as store:
        assert [store.get_item("default", item).hidden for item in ("i1", "i2")] == [False, True]
    assert "item 'i9': not in the catalogue of tenant 'default'; nothing was changed" in refused(
        "item", "hide", "i2", "i9"
    )


def test_keys(tastemaker, refused, place):
    outcome = tastemaker("key", "create", "web-shop", "--scope", "read", "--scope", "write")
    secret = outcome.out.strip()
    made = tastemaker("key", "create", "ops", "--scope", "admin", "--tenant", "b", "--json").json()
    with open_store(place, read_only=True) as store:
        tenant, key = store.find_key(secret)
        assert (tenant, key.scopes) == ("default", {"read", "write"})
        assert store.find_key(made["secret"])[0] == made["tenant"] == "b"
    assert secret not in tastemaker("key", "list").out
    assert [one["name"] for one in tastemaker("key", "list", "--json").json()] == ["web-shop"]
    tastemaker("key", "revoke", key.key_id)
    assert "no such key" in refused("key", "revoke", key.key_id)
    assert "did you mean 'read'" in refused("key", "create", "x", "--scope", "raed")
    assert "name: 'a\\x1b': an id must not have control characters" in refused("key", "create", "a\x1b")
    with open_store(place, read_only=True) as store:
        assert store.find_key(secret) is None


def test_models_are_promoted_and_rolled_back(tastemaker, refused, filled, shop, tmp_path):
    for name in ("first", "second"):
        tastemaker("fit", "popular", "--data", shop, "--out", tmp_path / name)
    assert "first answers now" in tastemaker("model", "promote", tmp_path / "first").err
    assert (
        "autumn answers now; before it first"
        in tastemaker("model", "promote", tmp_path / "second", "--version", "autumn").err
    )
    listed = tastemaker("model", "list", "--json").json()
    assert [(one["version"], one["state"]) for one in listed] == [("first", "retired"), ("autumn", "active")]
    assert listed[0]["folder"] == str((tmp_path / "first").resolve())
    assert "first answers again" in tastemaker("model", "rollback").err
    assert "autumn answers now" in tastemaker("model", "promote", "autumn").err
    assert "autumn answers already" in tastemaker("model", "promote", "autumn").err
    shown = tastemaker("model", "list").out
    assert "active" in shown
    assert "popular, 40 products" in shown
    assert "not a saved model" in refused("model", "promote", tmp_path)
    assert "model 'unknown' is unknown" in refused("model", "promote", "unknown")
    with open_store(filled, read_only=True) as store:
        assert isinstance(store.active_model("default"), ModelVersion)


def test_a_model_that_was_fitted_anew_needs_a_name_of_its_own(tastemaker, refused, place, shop, tmp_path):
    for name in ("first", "second"):
        tastemaker("fit", "popular", "--data", shop, "--out", tmp_path / name)
        tastemaker("model", "promote", tmp_path / name)
    tastemaker("fit", "transitions", "--data", shop, "--out", tmp_path / "first")
    for words in (["promote", tmp_path / "first"], ["promote", "first"], ["rollback"]):
        said = refused("model", *words)
        assert f"model 'first': {tmp_path / 'first'} was fitted anew since it got this name" in said
        assert "--version" in said
    with open_store(place, read_only=True) as store:
        assert store.active_model("default").version == "second"
    assert "spring answers now" in tastemaker("model", "promote", tmp_path / "first", "--version", "spring").err
    tastemaker("fit", "transitions", "--data", shop, "--out", tmp_path / "first")
    assert "spring answers already" in tastemaker("model", "promote", "spring").err, "the same model again is the same"


def test_a_store_is_checked_backed_up_restored_and_compacted(tastemaker, refused, filled, tmp_path):
    problems = tastemaker("db", "check", "--deep", "--json").json()
    assert {problem["severity"] for problem in problems} == {"note"}
    assert "WAL-reset fault" in tastemaker("db", "check").out
    assert "bytes" in tastemaker("db", "backup", tmp_path / "copy.db").err
    assert "exists" in refused("db", "backup", tmp_path / "copy.db")
    tastemaker("events", "add", "--user", "late", "--item", "x")
    assert "--replace sets it aside" in refused("db", "restore", tmp_path / "copy.db")
    assert "what was there is now" in tastemaker("db", "restore", tmp_path / "copy.db", "--replace").err
    assert len(tastemaker("events", "tail", "--json").lines()) == 5
    assert tastemaker("db", "compact").code == 0
    with filled.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xee" * 4096 * 3)
    outcome = tastemaker("db", "check")
    assert outcome.code == 1
    assert "fault" in outcome.out


def test_the_schema_goes_down_and_up(tastemaker, refused, place):
    assert f"schema {REVISION}" in tastemaker("db", "upgrade").err
    assert f"schema None, was {REVISION}" in tastemaker("db", "upgrade", "--to", "base").err
    assert "there is no store" in refused("events", "tail")
    assert f"schema {REVISION}" in tastemaker("db", "upgrade").err
    assert "'7' is unknown" in refused("db", "upgrade", "--to", "7")


def test_a_tenant_goes_out_and_in_as_json_lines(tastemaker, refused, filled, tmp_path):
    lines = tastemaker("db", "export").lines()
    assert lines[0]["kind"] == "tenant"
    assert f": {len(lines)} lines" in tastemaker("db", "export", tmp_path / "out.jsonl").err
    assert (tmp_path / "out.jsonl").read_text() == "".join(
        json.dumps(line, ensure_ascii=False) + "\n" for line in lines
    )
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0
    assert "cannot be written" in refused("db", "export", tmp_path / "out.jsonl")
    other = ("--store", tmp_path / "other.db", "--tenant", "moved")
    assert tastemaker("db", "import", tmp_path / "out.jsonl", *other, "--json").json()["event"] == 5
    assert "item" in tastemaker("db", "import", tmp_path / "out.jsonl", *other).out
    assert len(tastemaker("events", "tail", "--json", *other).lines()) == 5


def test_a_store_that_another_process_writes_to_can_be_read_but_not_written(tastemaker, refused, filled):
    with open_store(filled):
        assert "writes to it; SQLite stores take one writing process" in refused("item", "hide", "i1")
        assert len(tastemaker("events", "tail", "--json").lines()) == 5
        assert tastemaker("db", "check").code == 0


def test_no_store_is_made_by_looking(refused, place, monkeypatch):
    for words in (["events", "tail"], ["key", "list"], ["db", "check"], ["user", "export", "u"], ["item", "hide", "i"]):
        assert "there is no such store" in refused(*words)
    assert not place.parent.exists()
    place.parent.mkdir()
    place.write_text("not a store, a mistyped path")
    for words in (["events", "tail"], ["events", "add", "--user", "u", "--item", "i"]):
        assert "no SQLite database, so no store; name another file" in refused(*words)
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    monkeypatch.delenv("TASTEMAKER_STORE")
    assert "which store? --store shop.db, or set TASTEMAKER_STORE" in refused("events", "tail")


def test_doctor_says_the_version_of_sqlite_and_why_it_is_safe_or_not(tastemaker):
    [check] = [check for check in tastemaker("doctor", "--json").json() if check["check"] == "sqlite"]
    assert "WAL-reset fault" in check["found"]
