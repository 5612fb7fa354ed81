"""Rankings made ahead: one a shopper, the newest; those of another shop and of the erased out of reach."""

from __future__ import annotations

import dataclasses

import pytest

from tastemaker.errors import DataError
from tastemaker.store import open_store
from tastemaker.store.records import Event, MadeRanking

REASON = {"text": 'You bought "Tea" before.', "phrased_by": "m", "evidence": [{"kind": "history", "weight": 1 / 3}]}


def ranking(user="anna", digest="d1", **more):
    given = {"item_ids": ("tea", "ö"), "scores": (0.1 + 0.2, -1.0), "source": "listwise", "computed_at": 5}
    return MadeRanking(user, "v1", digest, **{**given, **more})


def test_the_newest_of_a_shopper_stands_as_it_was_put(store):
    first = ranking(reasons={"tea": REASON}, wanted_reasons=1, catalogue=7, rules=3)
    assert store.put_rankings("shop", [first, ranking("ben")]) == ["stored", "stored"]
    assert store.get_ranking("shop", "anna") == first
    second = ranking(digest="d2", item_ids=(), scores=())
    assert store.put_rankings("shop", [second]) == ["stored"]
    assert store.get_ranking("shop", "anna") == second
    assert store.get_ranking("shop", "ben").digest == "d1"
    assert store.get_ranking("shop", "nobody") is None
    assert store.put_rankings("shop", []) == []


def test_who_follows_sees_each_shopper_once_at_the_newest_place(store):
    store.put_rankings("shop", [ranking("anna"), ranking("ben")])
    store.put_rankings("shop", [ranking("anna", "d2")])
    assert store.rankings_after("shop", 0) == [(2, "ben"), (3, "anna")]
    assert store.rankings_after("shop", 2) == [(3, "anna")]
    assert store.rankings_after("shop", 0, limit=1) == [(2, "ben")]
    assert store.last_ranking("shop") == 3
    assert store.last_ranking("other") == 0


def test_two_shops_do_not_see_each_other(store):
    store.put_rankings("shop", [ranking()])
    assert store.get_ranking("other", "anna") is None
    assert store.rankings_after("other", 0) == []
    store.put_rankings("other", [ranking(digest="theirs")])
    store.erase_user("other", "anna")
    assert store.get_ranking("shop", "anna").digest == "d1"
    assert [row["kind"] for row in store.export_user("shop", "anna")] == ["ranking"]
    assert list(store.export_user("other", "anna")) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"scores": (1.0,)}, r"rankings\[0\].scores: 1 for 2 products"),
        ({"scores": (float("nan"), 0.0)}, "not finite"),
        ({"item_ids": ("", "x")}, "item_ids"),
        ({"computed_at": -1}, "outside 1970"),
        ({"reasons": {"tea": {"text": "half \ud800"}}}, "half a character"),
    ],
)
def test_what_cannot_be_stored_is_refused_as_a_whole(store, change, fault):
    with pytest.raises(DataError, match=fault):
        store.put_rankings("shop", [dataclasses.replace(ranking(), **change), ranking("ben")])
    assert store.get_ranking("shop", "ben") is None


def test_a_tenant_leaves_them_behind_and_a_store_keeps_them(sqlite_path):
    with open_store(sqlite_path) as store:
        store.put_rankings("shop", [ranking()])
        assert {line["kind"] for line in store.export_tenant("shop")} == {"tenant"}
    with open_store(sqlite_path, read_only=True) as store:
        assert store.get_ranking("shop", "anna") == ranking()


def test_the_shoppers_who_came_last_come_first(store):
    rows = [("anna", 30), ("ben", 10), ("cleo", 20), ("ben", 5)]
    store.append_events("shop", [Event(f"e{n}", user, "i", "view", at) for n, (user, at) in enumerate(rows)])
    assert store.recent_users("shop", 9) == ["ben", "cleo", "anna"]
    assert store.recent_users("shop", 2) == ["ben", "cleo"]
    assert store.recent_users("shop", 9, since=20) == ["cleo", "anna"]
    assert store.recent_users("other", 9) == []


def test_a_process_claims_what_no_other_has_claimed(store):
    claim = store.claim_rankings("shop", ["anna", "ben", "anna"])
    assert claim.names == {"anna", "ben"}
    claim.release()
    claim.release()
    assert store.claim_rankings("shop", []).names == frozenset()


def test_over_postgresql_a_claim_holds_until_it_is_released_or_its_process_ends(postgresql_store, postgresql_server):
    import psycopg

    with open_store(postgresql_store._database.url.render_as_string(hide_password=False)) as other:
        claim = postgresql_store.claim_rankings("shop", ["anna", "ben"])
        assert claim.names == {"anna", "ben"}
        theirs = other.claim_rankings("shop", ["ben", "cleo"])
        assert theirs.names == {"cleo"}
        assert other.claim_rankings("elsewhere", ["anna"]).names == {"anna"}, "of another shop"
        assert postgresql_store.claim_rankings("shop", ["anna"]).names == frozenset(), "nor by the same process"
        claim.release()
        again = other.claim_rankings("shop", ["anna", "ben"])
        assert again.names == {"anna", "ben"}
        with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as server:  # as if the process died
            holds = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            for (pid,) in server.execute(holds).fetchall():
                server.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert postgresql_store.claim_rankings("shop", ["anna", "cleo"]).names == {"anna", "cleo"}
        again.release()
        theirs.release()
