"""A whole tenant as JSON lines, a backup and its restoring: all of it, between both databases, again without harm."""

from __future__ import annotations

import json
import shutil

import pytest

from tastemaker.errors import DataError
from tastemaker.store import open_store, restore_backup
from tastemaker.store.errors import StoreBusy, StoreCorrupt, StoreError
from tastemaker.store.reading import parsed
from tastemaker.store.records import AuditLine, Event, Impression, Item, Job, ModelVersion, User


@pytest.fixture
def filled(store):
    """A tenant with rows of every kind; returns the store and a key's secret."""
    store.append_events(
        "shop", [Event(f"e{n}", f"user-{n % 3}", "ö", "view", n, 0.5, request_id="r") for n in range(2500)]
    )
    store.put_items("shop", [Item(f"i{n}", title=f"t{n}", categories=("a",), attributes={"n": n}) for n in range(20)])
    store.delete_item("shop", "i3")
    store.put_users("shop", [User("user-1", {"region": "DE"}), User("user-2", {})])
    store.erase_user("shop", "user-2")
    secret, _ = store.create_key("shop", "web", ["read"])
    for version in ("v1", "v2"):
        store.put_model("shop", ModelVersion(version, f"/{version}", facts={"a": [1]}))
        store.activate_model("shop", version)
    store.put_rules("shop", {"rules": []}, "anna")
    store.put_rules("shop", {"rules": [1]}, "anna")
    store.put_job("shop", Job("j", "import", "done", result={"rows": 3}))
    store.put_experiment("shop", "x", {"weights": [1, 1]})
    store.submit_impressions("shop", [Impression("r", 1, "user-1", "x", "A", "v2", "s", ("i1", "i2"), (0.5, 0.5))])
    store.add_audit("shop", AuditLine(1, "anna", "hide", "i1", {"why": "x"}))
    store.append_events("neighbour", [Event("e", "u", "i", "view", 1)])
    store.flush()
    return store, secret


def lines(store, tenant="shop"):
    """Export, through text and back, as a file would hold it."""
    text = [json.dumps(line, ensure_ascii=False) for line in store.export_tenant(tenant)]
    return list(parsed(text, "file"))


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_a_tenant_moves_whole_between_databases_and_again_without_harm(filled, target, tmp_path, request):
    store, secret = filled
    out = lines(store)
    address = tmp_path / "other.db" if target == "sqlite" else request.getfixturevalue("postgresql_url")
    with open_store(address) as other:
        counts = other.import_tenant("moved", out)
        assert counts == {
            "tenant": 1,
            "tombstone": 1,
            "key": 1,
            "model": 2,
            "job": 1,
            "rules": 2,
            "experiment": 1,
            "item": 19,
            "user": 1,
            "event": 1667,
            "impression": 1,
            "audit": 1,
        }
        again = lines(other, "moved")
        strip = [{**value, "tenant": None} for _, value in out]
        assert [{**value, "tenant": None} for _, value in again] == strip
        assert other.find_key(secret)[0] == "moved"
        assert other.append_events("moved", [Event("late", "user-2", "i", "view", 1)]) == ["erased"]
        assert other.rollback_model("moved") == "v1"
        assert other.put_rules("moved", {}, "ben") == 3
        repeated = other.import_tenant("moved", out)
        assert {kind: count for kind, count in repeated.items() if count} == {"tenant": 1, "item": 19, "user": 1}
        assert len(other.audit("moved")) == 1
        assert other.tenants() == ["moved"]


def test_an_unknown_tenant_has_no_lines(store):
    assert list(store.export_tenant("nobody")) == []


def test_models_of_a_release_that_kept_no_digest_come_in(store):
    line = {"kind": "model", "version": "v", "folder": "/v", "state": "active", "activation": 1, "created_at": 1}
    assert store.import_tenant("t", [("file:1", {**line, "facts": {}})]) == {"model": 1}
    assert store.active_model("t") == ModelVersion("v", "/v", "active", 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"kind": "evnt"}, "file:2: kind 'evnt' is unknown; known: tenant, tombstone"),
        ({"kind": None}, "kind None is unknown"),
        ({"kind": "event", "event_id": "e"}, "file:2: user_id is missing"),
        ({"kind": "event", "user": "e"}, r"file:2: user: unknown field; did you mean 'user_id'\?"),
        ({"kind": "item", "item_id": "i", "price": -1}, "file:2.price: -1 is negative"),
        ({"kind": "rules", "version": 1}, "exactly the fields of the table"),
        ({"kind": "tenant", "format": 9}, "format 9; this release reads 1"),
        ({"kind": "tenant", "format": 1, "salt": "zz" * 16}, "salt"),
    ],
)
def test_a_line_that_cannot_be_stored_is_named(store, line, message):
    good = {"kind": "user", "user_id": "u"}
    with pytest.raises(DataError, match=message):
        store.import_tenant("shop", [("file:1", good), ("file:2", line)])


@pytest.mark.parametrize(
    ("line", "message"),
    [(b"{", "no JSON"), (b"[1]", "list, not a JSON object"), (b"\xff", "no JSON"), (b"[" * 99999, "no JSON")],
)
def test_a_line_that_is_no_object_is_named(line, message):
    with pytest.raises(DataError, match=f"file:3: {message}"):
        list(parsed([b"{}", b" \n", line], "file"))


def test_a_tenant_with_other_hashes_takes_no_others(store):
    store.append_events("one", [Event("e", "u", "i", "view", 1)])
    store.append_events("two", [Event("e", "u", "i", "view", 1)])
    with pytest.raises(DataError, match="'two' is there already, with hashes of its own"):
        store.import_tenant("two", lines(store, "one"))


def test_a_backup_can_be_restored_to_what_it_was(filled, tmp_path, request):
    store, secret = filled
    kind = "sqlite" if store.place.endswith(".db") else "postgresql"
    address = str(tmp_path / "restored.db") if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    before = lines(store)
    store.backup(tmp_path / "copy")
    with pytest.raises(StoreError, match="exists; name a new file"):
        store.backup(tmp_path / "copy")
    store.append_events("shop", [Event("later", "u", "i", "view", 1)])
    assert restore_backup(tmp_path / "copy", address) is None
    with open_store(address) as restored:
        assert lines(restored) == before
        assert restored.last_sequence("shop") == 2500
        assert restored.find_key(secret)[0] == "shop"
        assert not [problem for problem in restored.check(deep=True) if problem.severity == "fault"]
    with pytest.raises(StoreError):
        restore_backup(tmp_path / "copy", address)


def test_restoring_sets_aside_what_was_there_and_never_mixes_a_wal_into_it(sqlite_path, tmp_path):
    with open_store(sqlite_path) as store:
        store.append_events("t", [Event("old", "u", "i", "view", 1)])
        store.backup(tmp_path / "copy.db")
        store.append_events("t", [Event("new", "u", "i", "view", 2)])
        with pytest.raises(StoreError, match="--replace sets it aside"):
            restore_backup(tmp_path / "copy.db", str(sqlite_path))
        with pytest.raises(StoreBusy, match="writes to it"):
            restore_backup(tmp_path / "copy.db", str(sqlite_path), replace=True)
        for end in ("", "-wal"):  # as a crash would leave them
            shutil.copy(f"{sqlite_path}{end}", f"{tmp_path / 'crashed.db'}{end}")
    crashed = tmp_path / "crashed.db"
    aside = restore_backup(tmp_path / "copy.db", str(crashed), replace=True)
    assert aside == tmp_path / "crashed.db.before-restore"
    with open_store(crashed) as store:
        assert [event.event_id for _, event in store.events_after("t", 0)] == ["old"]
    with open_store(aside) as store:
        assert [event.event_id for _, event in store.events_after("t", 0)] == ["old", "new"]
    with pytest.raises(StoreError, match="exists since an earlier restore"):
        restore_backup(tmp_path / "copy.db", str(crashed), replace=True)


def test_what_is_no_backup_is_refused(tmp_path, sqlite_path, postgresql_url):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(StoreError, match="no backup of an SQLite store"):
        restore_backup(tmp_path / "text", str(tmp_path / "new.db"))
    with pytest.raises(StoreError, match="not of pg_dump's custom format"):
        restore_backup(tmp_path / "text", postgresql_url)
    with pytest.raises(StoreError, match="cannot be read"):
        restore_backup(tmp_path / "missing", str(tmp_path / "new.db"))
    content = bytearray(sqlite_path.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xee" * 8192
    (tmp_path / "damaged.db").write_bytes(content)
    with pytest.raises(StoreCorrupt, match="damaged"):
        restore_backup(tmp_path / "damaged.db", str(tmp_path / "new.db"))
    assert not (tmp_path / "new.db").exists()
