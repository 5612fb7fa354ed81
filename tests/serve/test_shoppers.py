"""What shoppers did stays known however long ago it was, within bounds that are stated."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import random
import time
import tracemalloc

import numpy as np
import polars as pl
import pytest

from tastemaker.data.entities import Entities
from tastemaker.data.event_types import AGAINST, LOOKS, NEUTRAL, plain
from tastemaker.serve.engine.retrieval import Question
from tastemaker.serve.engine.room import EACH, Room
from tastemaker.serve.engine.shelf import Change, Shelf
from tastemaker.serve.engine.shoppers import LONGEST, MOST, MOST_LOOKS, Record, Shopper, Shoppers
from tastemaker.serve.engine.workers import Workers
from tastemaker.store.records import Event

NUMBERS = itertools.count()


def events(*rows, user="u001", start=1000):
    """Events of (item, kind), one a millisecond."""
    return [Event(f"e{next(NUMBERS)}", user, item, kind, start + at) for at, (item, kind) in enumerate(rows)]


def listed(client, **body):
    answer = client.post("/v1/recommend", json={"n": 40, "budget_ms": 5000, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.parametrize("kind", ["purchase", "dislike"])
@pytest.mark.parametrize("strategy", ["fast", "popular"])
def test_what_was_bought_or_disliked_long_ago_is_not_listed(serve, folder, store, kind, strategy):
    client = serve(folder, store=store)
    [first, *_] = listed(client, user_id="somebody", strategy=strategy)
    since = [(f"other-{number}", "purchase") for number in range(2 * LONGEST)]
    store.append_events("default", events((first, kind), *since, user="somebody"))
    client.service.shops["default"].engine.shoppers.forget("somebody")
    assert first not in listed(client, user_id="somebody", strategy=strategy)
    assert (first in listed(client, user_id="somebody", strategy=strategy, seen=True)) == (kind == "purchase")


def test_it_stays_so_while_events_come_in(serve, folder, store):
    client = serve(folder, store=store)
    [first, second, *_] = listed(client, user_id="somebody")
    rows = [(first, "purchase"), (second, "return"), *((f"other-{number}", "purchase") for number in range(300))]
    for chunk in range(0, len(rows), 100):
        body = [
            {"user_id": "somebody", "item_id": item, "event_type": kind} for item, kind in rows[chunk : chunk + 100]
        ]
        assert client.post("/v1/events", json={"events": body}).json()["accepted"] == len(body)
        assert not {first, second} & {*listed(client, user_id="somebody")}


def test_a_look_long_ago_is_forgotten_and_rules_still_know_of_purchases(serve, folder, store):
    client = serve(folder, store=store)
    [first, second, *_] = listed(client, user_id="somebody")
    since = [(f"other-{number}", "view") for number in range(2 * LONGEST)]
    store.append_events("default", events((first, "view"), (second, "purchase"), *since, user="somebody"))
    client.service.shops["default"].engine.shoppers.forget("somebody")
    shown = listed(client, user_id="somebody")
    assert first in shown
    assert second not in shown
    rule = {"name": "had", "already_bought": {}}
    assert client.put("/v1/rules", json={"rules": {"rule": [rule]}}).status_code == 200, "a rule on what was bought"
    assert second not in listed(client, user_id="somebody", seen=True)
    assert first in listed(client, user_id="somebody", seen=True)


def test_the_whole_history_of_the_fit_is_kept_out(serve, folder, store):
    client = serve(folder, store=store)
    live = client.service.shops["default"].engine.views.now.live
    *had, first, second = listed(client, user_id="nobody")
    had, padding = live.names.numbers(had), live.names.numbers([had[-1]] * LONGEST)

    class Long:
        """A shopper whose fitted history is longer than what a model reads."""

        def history(self, row):
            return np.array([*had, *padding], dtype=np.int32)

    live.model = dataclasses.replace(live.model, histories=Long())
    shown = listed(client, user_id="u001")
    assert {first, second} <= {*shown}
    assert not {*live.pipeline.items.ids(had)} & {*shown}


def slow(rows):
    """What the newest event that says something says of each product, in the order of the newest of its events."""
    state, order = {}, {}
    for place, (item, kind) in enumerate(rows):
        kind = plain(kind)
        before = state.get(item)
        if kind in AGAINST:
            state[item] = "disliked"
            order.pop(item, None)
        elif kind in LOOKS:
            if before != "disliked":
                state[item] = before or "looked"
                order[item] = place
        elif kind not in NEUTRAL:
            state[item] = "liked"
            order[item] = place
    liked = sorted(order, key=order.get)
    return (
        liked[-LONGEST:],
        [item for item in liked[:-LONGEST] if state[item] == "liked"],
        {item for item, word in state.items() if word == "disliked"},
    )


@pytest.mark.parametrize("seed", range(4))
def test_opinions_are_those_of_the_whole_log_in_memory_and_from_the_store(store, seed):
    rng = random.Random(seed)
    kinds = ["purchase", "view", "Add-To-Cart", "impression", "dislike", "return", "detail-page-view", "like"]
    rows = [(f"i{rng.randrange(400)}", rng.choices(kinds, [5, 9, 3, 5, 1, 1, 4, 2])[0]) for _ in range(1500)]
    shopper = Shopper()
    for at, (item, kind) in enumerate(rows):
        shopper.add(item, kind, 1000 + at)
    store.append_events("default", events(*rows))
    read = Shopper()
    for interaction in store.interactions("default", "u001"):
        read.add(*interaction)
    expected = slow(rows)
    for one in (shopper, read):
        found = one.opinions()
        assert (found.liked, found.had, set(found.disliked)) == expected
    assert shopper.interactions() == read.interactions()


def test_a_program_that_never_stops_takes_bounded_memory_and_time(store):
    shopper = Shopper()
    began = time.process_time()
    for number in range(100_000):
        shopper.add(f"i{number}", "purchase" if number % 2 else "view", number)
    assert time.process_time() - began < 5  # with a list it was quadratic: minutes
    assert (len(shopper.did), len(shopper.minor)) == (MOST, MOST_LOOKS)
    assert ("i99999", "purchase") in shopper.did
    rows = [(f"i{number}", "purchase" if number < 5 else "impression") for number in range(500)]
    store.append_events("default", events(*rows))
    minor = sorted(NEUTRAL | LOOKS)
    kept = store.interactions("default", "u001", minor=minor, limit=10)
    assert [kind for _, kind, _ in kept] == ["purchase"] * 5 + ["impression"] * 5
    newest = store.interactions("default", "u001", minor=minor, events=20)
    assert [item for item, _, _ in newest] == [f"i{number}" for number in range(480, 500)]


def test_all_shoppers_together_take_bounded_memory():
    class Past:
        def record_of(self, user_id):
            return Record([(f"{user_id}-{number}", "purchase", number) for number in range(EACH * 4)])

    async def ask():
        workers = Workers(1, waiting=10, name="history")
        shoppers = Shoppers(Past(), workers, Room(10))
        for number in range(20):
            await shoppers.get(f"u{number}")
        held = [number for number in range(20) if shoppers.here(f"u{number}") is not None]
        shoppers.happened("u19", [(f"x{number}", "purchase", number) for number in range(EACH * 3)])
        later = [number for number in range(20) if shoppers.here(f"u{number}") is not None]
        shoppers.forget_all()
        assert shoppers.weight == 0
        await asyncio.to_thread(workers.close, within=1)
        return held, later

    held, later = asyncio.run(ask())
    assert held == [18, 19]
    assert later == [19]


@pytest.mark.parametrize("told", [{"note": "x" * 20_000}, {"deep": [[]] * 6000}, {"many": [1.5] * 4000}])
def test_what_the_shop_says_of_shoppers_takes_memory_as_well(told):
    class Past:
        def record_of(self, user_id):
            return Record(attributes=json.loads(json.dumps(told)))

    async def ask():
        workers, room = Workers(1, waiting=10, name="history"), Room(100)
        shoppers = Shoppers(Past(), workers, room)
        tracemalloc.start()
        try:
            for number in range(12):
                await shoppers.get(f"u{number}")
            return tracemalloc.get_traced_memory()[0], shoppers.count, room.weight
        finally:
            tracemalloc.stop()
            await asyncio.to_thread(workers.close, within=1)

    taken, count, weight = asyncio.run(ask())
    assert 1 < count < 10, "most gave way"
    assert weight <= 100 * EACH
    assert taken < 1.5 * 100 * EACH * 250


def test_the_vector_that_is_kept_of_a_shopper_holds_no_memory_of_those_who_asked_beside(serve, text_folder):
    retriever = serve(text_folder).service.shops["default"].engine.views.current().live.retriever
    together = retriever.vectors([Question(np.array([number], dtype=np.int32), 5) for number in range(8)])
    for number, vector in enumerate(together):
        [alone] = retriever.vectors([Question(np.array([number], dtype=np.int32), 5)])
        np.testing.assert_array_equal(vector.values, alone.values)
        assert vector.known
        assert vector.values.base is None


class Everybody:
    """Whoever is asked for did as many things as the name says, such as "x-20"."""

    def record_of(self, user_id):
        return Record([(f"i{number}", "purchase", number) for number in range(int(user_id.rpartition("-")[2]))])


def test_shops_share_one_room_and_the_largest_gives_first():
    async def fill():
        workers, room = Workers(1, waiting=10, name="history"), Room(12)
        large, small, third = (Shoppers(Everybody(), workers, room) for _ in range(3))
        for number in range(20):
            await large.get(f"u{number}-1")
        assert (large.count, room.shoppers, room.weight) == (12, 12, 12), "all of it while nobody else needs it"
        await small.get("rare-1")
        for number in range(30):
            await large.get(f"v{number}-1")
        assert (large.count, small.count) == (11, 1), "one busy shop does not push another out"
        for number in range(30):
            await third.get(f"w{number}-1")
            assert room.shoppers <= 12
        assert small.here("rare-1") is not None
        assert abs(large.count - third.count) <= 1
        assert large.here("v29-1") is not None, "those who asked last stay"
        assert large.here("v20-1") is None
        large.close()
        large.close()
        assert (await large.get("late-1")).did, "whoever was under way is still answered"
        assert (large.count, room.shoppers) == (0, small.count + third.count)
        for number in range(30):
            await third.get(f"x{number}-1")
        assert (small.count, third.count, room.shoppers) == (1, 11, 12)
        await asyncio.to_thread(workers.close, within=1)

    asyncio.run(fill())


def test_sixty_four_shops_at_random_stay_within_the_room():
    async def play():
        rng, workers, room = random.Random(1), Workers(1, waiting=10, name="history"), Room(40)
        shops = [Shoppers(Everybody(), workers, room) for _ in range(64)]
        biggest = 0
        for step in range(1500):
            shop = shops[rng.randrange(64) if rng.random() < 0.5 else 0]
            user = f"u{rng.randrange(50)}-{rng.choice((0, 3, 60, 400))}"
            act = rng.random()
            if act < 0.7:
                await shop.get(user)
            elif act < 0.9:
                shop.happened(user, [(f"n{step}", "purchase", step)] * 3)
            elif act < 0.99:
                shop.forget(user)
            else:
                shop.forget_all()
            held = [one._known for one in shops]
            assert room.shoppers == sum(map(len, held)) <= 40
            real = sum(shopper.weight for own in held for shopper in own.values())
            assert room.weight == real == sum(one.weight for one in shops)
            biggest = max(biggest, real)
            assert real <= EACH * 40 or max(map(len, held)) == 1
        assert biggest > EACH * 40 * 0.8, "it was full at times"
        await asyncio.to_thread(workers.close, within=1)

    asyncio.run(play())


def test_products_taken_out_leave_nothing_behind_and_numbers_stay_dense():
    items = Entities(pl.DataFrame({"id": ["a", "b"], "title": ["A", "B"]}))
    shelf, rng, expected = Shelf(items), random.Random(0), {}
    for step in range(400):
        name = f"n{rng.randrange(12)}"
        if rng.random() < 0.45:
            shelf, _ = shelf.with_changes([Change(name, None)]), expected.pop(name, None)
        else:
            hidden = rng.random() < 0.3
            expected[name] = (str(step), hidden)
            shelf = shelf.with_changes([Change(name, {"title": str(step)}, hidden)])
        if rng.random() < 0.5 and shelf.new:
            shelf.fragment(shelf.number(rng.choice(shelf.new)))
        assert sorted(shelf.new) == sorted(expected)
        assert len(shelf) == 2 + len(expected) == 2 + len(shelf._new_numbers)
        for item, (title, hidden) in expected.items():
            number = shelf.number(item)
            assert shelf.id_of(number) == item
            assert shelf.columns(number)["title"] == title
            assert (number in shelf.off) == hidden
            assert f'"title": "{title}"'.encode() in shelf.fragment(number)
        assert len(shelf._changed) == len(expected)
        assert set(shelf._fragments) <= set(range(len(shelf)))
        assert shelf.frame()["title"].to_list()[2:] == [expected[item][0] for item in shelf.new]
    gone = shelf.with_changes([Change("a", {"title": "changed"}), Change("a", None)])
    assert gone.gone(0)
    assert 0 not in gone.changed
