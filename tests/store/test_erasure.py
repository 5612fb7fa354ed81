"""A shopper is forgotten: in answers, in tables, in the bytes of every file; and stays forgotten."""

from __future__ import annotations

import dataclasses
import random

import pytest

from tastemaker.errors import DataError
from tastemaker.store import open_store
from tastemaker.store.databases import remains
from tastemaker.store.databases.postgresql import ERASED
from tastemaker.store.errors import StoreBusy
from tastemaker.store.records import AuditLine, Event, Impression, MadeRanking, User

VICTIM = "victim-5f1c"
WRITTEN = ("Canary sentence of a model", "canary-digest")
CANARIES = ("canary-mail@example.org", "canary-visit-77", "canary-event", "canary-café", "canary-detail", *WRITTEN)


def fill(store, *, rounds=6, seed=0):
    """Write many shoppers' rows in random order, so that pages split; the victim's among them."""
    draw = random.Random(seed)
    for turn in range(rounds):
        names = [f"user-{draw.randrange(400):04d}" for _ in range(300)]
        events = [
            Event(f"{draw.getrandbits(64):016x}", name, "item", "view", draw.randrange(10**9), session_id=name[::-1])
            for name in names
        ]
        mine = [
            Event(f"canary-event-{turn}-{n}-{VICTIM}", VICTIM, "item", "view", n, session_id="canary-visit-77")
            for n in range(5)
        ]
        events += mine
        draw.shuffle(events)
        store.append_events("shop", events)
        store.put_users(
            "shop", [User(name, {"email": f"{name}@x.org", "note": "n" * draw.randrange(300)}) for name in names]
        )
        document = {
            "email": f"canary-mail@example.org{turn}",
            "list": [{"deep": "canary-café"}],
            "note": "x" * 40 * turn,
        }
        store.put_users("shop", [User(VICTIM, document)])
        shown = [
            Impression(f"{draw.getrandbits(64):016x}", turn, name, None, None, "v", "s", ("item",))
            for name in [*names, VICTIM]
        ]
        store.submit_impressions("shop", shown)
        reason = {"text": "Canary sentence of a model.", "evidence": []}
        made = MadeRanking(VICTIM, "v", f"canary-digest-{turn}", ("item",), (1.0,), "s", {"item": reason})
        store.put_rankings("shop", [made, *(MadeRanking(n, "v", n, ("item",), (1.0,), "s") for n in set(names))])
        store.add_audit("shop", AuditLine(turn, "anna", "export", VICTIM, {"why": "canary-detail"}))
        store.flush()


def everywhere(folder):
    """Return the bytes of every file below a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_everything_about_a_shopper_is_exported_then_erased_and_stays_so(store):
    fill(store, rounds=2)
    rows = list(store.export_user("shop", VICTIM))
    assert [row["kind"] for row in rows] == ["user"] + ["event"] * 10 + ["ranking"] + ["impression"] * 2 + ["audit"] * 2
    assert all(VICTIM in row.values() for row in rows)
    assert rows[0]["attributes"]["list"] == [{"deep": "canary-café"}]
    others = len(store.events_after("shop", 0, limit=10_000)) - 10

    receipt = store.erase_user("shop", VICTIM)
    assert receipt.counts == {"events": 10, "users": 1, "rankings": 1, "impressions": 2, "audit": 2}
    assert VICTIM not in str(receipt)
    assert len(receipt.digest) == 64

    assert list(store.export_user("shop", VICTIM)) == []
    assert store.get_user("shop", VICTIM) is None
    assert store.history("shop", VICTIM) == []
    assert store.get_ranking("shop", VICTIM) is None
    assert len(store.events_after("shop", 0, limit=10_000)) == others
    assert len(store.impressions_between("shop", 0, 10)) == 602, "anonymous, so that counts of lists stay right"
    assert {line.subject for line in store.audit("shop")} == {"(erased)"}

    assert store.is_erased("shop", VICTIM)
    late = Event("late", VICTIM, "item", "view", 1)
    other = Event("other", "user-0001", "item", "view", 1)
    assert store.append_events("shop", [late, other, late]) == ["erased", "accepted", "erased"]
    assert store.put_users("shop", [User(VICTIM), User("user-0001")]) == ["erased", "stored"]
    mine, others_ranking = (MadeRanking(name, "v", "d", ("i",), (1.0,), "s") for name in (VICTIM, "user-0001"))
    assert store.put_rankings("shop", [mine, others_ranking]) == ["erased", "stored"]
    store.submit_impressions("shop", [Impression("late", 9, VICTIM, None, None, "v", "s", ())])
    store.add_audit("shop", AuditLine(9, "anna", "erase", VICTIM, {"who": VICTIM}))
    store.flush()
    assert store.audit("shop", 1) == [AuditLine(9, "anna", "erase", "(erased)")]
    assert store.impressions_between("shop", 9, 10)[0].user_id is None
    assert store.append_events("another", [late]) == ["accepted"], "the tombstone is the tenant's"
    assert not store.is_erased("another", VICTIM)

    again = store.erase_user("shop", VICTIM)
    assert set(again.counts.values()) == {0}
    assert again.user_hash == receipt.user_hash

    assert store.readmit_user("shop", VICTIM)
    assert not store.readmit_user("shop", VICTIM)
    assert store.append_events("shop", [late]) == ["accepted"]
    with pytest.raises(DataError, match="must not be empty"):
        store.erase_user("shop", "")


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_of_a_shopper_is_left_in_any_file(sqlite_path, seed, monkeypatch):
    from tastemaker.store.databases import sqlite

    monkeypatch.setattr(sqlite, "SEARCHED", 7)
    with open_store(sqlite_path) as store:
        fill(store, seed=seed)
        before = everywhere(sqlite_path.parent)
        assert all(canary.encode() in before for canary in (VICTIM, *CANARIES))
        store.erase_user("shop", VICTIM)
        after = everywhere(sqlite_path.parent)
        assert [word for word in (VICTIM, *CANARIES) if word.encode() in after] == []
        assert b"user-00" in after
        store.append_events("shop", [Event("late", VICTIM, "item", "view", 1)])
        store.backup(sqlite_path.with_name("copy.db"))
    assert [word for word in (VICTIM, *CANARIES) if word.encode() in everywhere(sqlite_path.parent)] == []


def test_old_copies_in_gaps_of_pages_are_found_and_have_all_pages_written_anew(sqlite_path, monkeypatch):
    """Without the search a split page keeps a copy: the search is what makes the difference."""
    left = set()
    for seed in range(40):
        with open_store(sqlite_path) as store:
            for name in ("events", "users"):
                with store._database.write() as connection:
                    connection.exec_driver_sql(f"DELETE FROM {name}")
            fill(store, rounds=2, seed=seed)
            with store._database.read() as connection:
                users = connection.exec_driver_sql("SELECT DISTINCT user_id FROM events").scalars().all()
            store._database._empty_wal()
            gaps = b"\n".join(remains.unused(store._database._file, range(10**6)))
            left = {user for user in users if user.encode() in gaps}
            if left:
                user = min(left)
                with monkeypatch.context() as without:
                    without.setattr(remains, "found", lambda file, words, pages: False)
                    assert "in place" in store.erase_user("shop", user).pages
                assert user.encode() in everywhere(sqlite_path.parent)
                assert "anew" in store.erase_user("shop", user).pages
                assert user.encode() not in everywhere(sqlite_path.parent)
                assert "in place" in store.erase_user("shop", f"{user}-unknown").pages
                return
    pytest.fail("no page kept an old copy in 40 tries: the test no longer makes what it looks for")


def test_a_short_id_has_all_pages_written_anew(sqlite_store):
    sqlite_store.append_events("shop", [Event("e", "7", "i", "view", 1)])
    assert "anew" in sqlite_store.erase_user("shop", "7").pages


def test_a_reader_that_keeps_old_pages_alive_is_named_and_asking_again_ends_the_work(sqlite_path, monkeypatch):
    from tastemaker.store.databases import sqlite

    monkeypatch.setattr(sqlite, "PATIENCE", 0.2)
    with open_store(sqlite_path) as store, open_store(sqlite_path, read_only=True) as reader:
        fill(store, rounds=1)
        export = reader.export_user("shop", VICTIM)
        next(export)
        with pytest.raises(StoreBusy, match="a reader keeps old rows alive"):
            store.erase_user("shop", VICTIM)
        assert store.history("shop", VICTIM) == [], "erased all the same"
        export.close()
        store.erase_user("shop", VICTIM)
        assert VICTIM.encode() not in everywhere(sqlite_path.parent)


def test_postgresql_forgets_in_its_tables_once_they_are_compacted(postgresql_store, postgresql_data):
    fill(postgresql_store, rounds=2)
    postgresql_store.erase_user("shop", VICTIM)
    postgresql_store.compact()
    with postgresql_store._database.writing.connect() as connection:
        connection.exec_driver_sql("CHECKPOINT")
    assert b"user-00" in everywhere(postgresql_data / "base")
    assert VICTIM.encode() not in everywhere(postgresql_data / "base")


def test_receipts_cover_what_they_say(store):
    import hashlib
    import json

    receipt = store.erase_user("shop", "nobody-knows")
    facts = {key: value for key, value in dataclasses.asdict(receipt).items() if key != "digest"}
    assert receipt.digest == hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def test_others_write_between_two_parts_of_the_search(sqlite_store, monkeypatch):
    from tastemaker.store.databases import sqlite

    search, futures, written = remains.found, [], []

    def found(file, words, pages):
        written.append(all(future.done() for future in futures))
        event = Event(f"between-{len(futures)}", "somebody", "item", "view", 1)
        futures.append(sqlite_store.submit_events("shop", [event]))
        return search(file, words, pages)

    fill(sqlite_store, rounds=2)
    monkeypatch.setattr(sqlite, "SEARCHED", 10)
    monkeypatch.setattr(remains, "found", found)
    sqlite_store.erase_user("shop", "unknown-shopper")
    assert len(written) > 3
    assert all(written)


def test_postgresql_vacuums_every_table_that_an_erasure_takes_rows_of(store):
    assert set(store.erase_user("shop", VICTIM).counts) == set(ERASED)
