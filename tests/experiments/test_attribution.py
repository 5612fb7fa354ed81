"""Attribution: hand-worked, every cause for which an event does not count, and a slow version on random logs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tastemaker.errors import DataError
from tastemaker.experiments.attribution import DAY, Crediting, attribute
from tastemaker.experiments.records import Event, Impression
from tastemaker.experiments.sources import FolderSource


def shown(request, items, *, at=0, user="u", variant="a", experiment="x"):
    return Impression(
        request_id=request, timestamp=at, user_id=user, item_ids=items, variant=variant, experiment=experiment
    )


_ids = iter(range(10**6))


def did(item, kind="click", *, at=1, user="u", request="r", value=None, event_id=None):
    return Event(
        event_id=event_id or f"e{next(_ids)}",
        user_id=user,
        item_id=item,
        event_type=kind,
        timestamp=at,
        value=value,
        request_id=request,
    )


def credited(found):
    return found.outcomes.select("request_id", "item_id", "place", "kind", "carried").rows()


def test_events_are_credited_to_the_list_they_name():
    lists = [shown("r", ["p", "q"]), shown("s", ["q", "p"], at=5)]
    events = [did("q"), did("p", "Purchase", request="s", at=9, value=3.5)]
    found = attribute(lists, events)
    assert credited(found) == [("r", "q", 1, "click", False), ("s", "p", 1, "purchase", False)]
    assert found.counts["credited"] == 2


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (did("p", request="nowhere"), "of lists that are not known or not part of this"),
        (did("z"), "of products that the list did not show"),
        (did("p", user="v"), "of another shopper than the list's"),
        (did("p", at=99), "before the list"),
        (did("p", at=100 + 7 * DAY + 1), "after the window"),
    ],
)
def test_what_does_not_fit_is_counted_by_cause(event, cause):
    found = attribute([shown("r", ["p", "q"], at=100)], [event])
    assert credited(found) == []
    assert found.counts[f"not credited: {cause}"] == 1


def test_the_window_is_closed_on_both_sides():
    events = [did("p", at=100), did("p", at=100 + 7 * DAY)]
    assert len(credited(attribute([shown("r", ["p"], at=100)], events))) == 2
    assert len(credited(attribute([shown("r", ["p"], at=100)], events, crediting=Crediting(window_days=1)))) == 1


def test_a_purchase_without_a_request_is_carried_by_the_click():
    lists = [shown("r", ["p", "q"]), shown("s", ["p"], at=10)]
    events = [
        did("p", at=1),
        did("p", at=11, request="s"),
        did("p", "purchase", at=20, request=None, value=2.0),  # the newest click is of list s
        did("q", "purchase", at=20, request=None),  # never clicked
        did("p", "purchase", at=20, request=None, user="v"),  # another shopper
        did("p", "purchase", at=12 + 7 * DAY, request=None),  # too late after the click
        did("p", "purchase", at=0, request=None),  # before the click
    ]
    found = attribute(lists, events)
    assert credited(found)[2:] == [("s", "p", 0, "purchase", True)]
    assert found.counts["credited by the shopper's click"] == 1
    assert found.purchases.height == 5


def test_repeats_count_once():
    lists = [shown("r", ["p"]), shown("r", ["q"])]
    events = [did("p", event_id="e"), did("p", event_id="e"), did("q", event_id="f")]
    found = attribute(lists, events)
    assert credited(found) == [("r", "p", 0, "click", False)]


def test_only_lists_of_the_experiment_and_the_time():
    lists = [shown("r", ["p"], at=5), shown("s", ["p"], at=6, experiment=None), shown("t", ["p"], at=7)]
    assert attribute(lists, [], experiment="x").lists["request_id"].to_list() == ["r", "t"]
    assert attribute(lists, [], since=6).lists["request_id"].to_list() == ["s", "t"]
    assert attribute(lists, [], since=5, until=7).lists["request_id"].to_list() == ["r", "s"]
    assert attribute([], []).outcomes.height == 0


def test_names_of_event_types_may_vary():
    lists = [shown("r", ["p"])]
    found = attribute(lists, [did("p", kind) for kind in ("Select_Item", "select-item", "select item", "scroll")])
    assert found.counts["events"] == 3


def test_a_product_shown_twice_has_its_first_place():
    assert credited(attribute([shown("r", ["q", "p", "p"])], [did("p")])) == [("r", "p", 1, "click", False)]


def _slow(lists, events, window):
    """Go through the events one by one."""
    by_request = {one.request_id: one for one in reversed(lists)}
    found, clicks, seen = [], [], set()
    for one in events:
        if one.event_id in seen:
            continue
        seen.add(one.event_id)
        of = by_request.get(one.request_id)
        if of is None or one.item_id not in of.item_ids or of.user_id not in (None, one.user_id):
            continue
        if of.timestamp <= one.timestamp <= of.timestamp + window:
            found.append((one.event_id, of.request_id, of.item_ids.index(one.item_id), False))
            if one.event_type == "click":
                clicks.append(one)
    for one in events:
        if one.event_type == "purchase" and one.request_id is None:
            own = [
                click
                for click in clicks
                if (click.user_id, click.item_id) == (one.user_id, one.item_id)
                and click.timestamp <= one.timestamp <= click.timestamp + window
            ]
            if own:
                newest = max(own, key=lambda click: click.timestamp)
                of = by_request[newest.request_id]
                found.append((one.event_id, of.request_id, of.item_ids.index(one.item_id), True))
    return sorted(found)


def test_random_logs_are_credited_as_the_slow_version_does():
    rng = np.random.default_rng(5)
    for _ in range(30):
        lists = [
            shown(
                f"r{number}",
                [f"i{item}" for item in rng.permutation(8)[:4]],
                at=int(rng.integers(0, 50)),
                user=[None, "u0", "u1", "u2"][rng.integers(4)],
            )
            for number in range(15)
        ]
        times = rng.permutation(500)[:120] // 3 * 3 + rng.integers(0, 3, 120)  # mostly distinct
        events = [
            did(
                f"i{rng.integers(8)}",
                ["click", "purchase"][rng.integers(2)],
                at=int(at),
                user=f"u{rng.integers(3)}",
                request=None if rng.random() < 0.4 else f"r{rng.integers(17)}",
                event_id=f"x{number}",
            )
            for number, at in enumerate(np.unique(times))
        ]
        found = attribute(lists, events, crediting=Crediting(window_days=60 / DAY))
        rows = found.outcomes.select("event_id", "request_id", "place", "carried").rows()
        assert sorted(rows) == _slow(lists, events, 60)


def test_json_lines(tmp_path):
    impression = {"request_id": "r", "timestamp": 1, "user_id": "u", "item_ids": ["p"], "more": [1], "variant": "a"}
    (tmp_path / "impressions.jsonl").write_text(json.dumps(impression) + "\n\n")
    event = {"event_id": "e", "user_id": "u", "item_id": "p", "event_type": "click", "timestamp": 2, "request_id": "r"}
    (tmp_path / "events.jsonl").write_text(json.dumps(event))
    log = FolderSource(tmp_path)
    assert credited(attribute(log.impressions(None, None), log.events())) == [("r", "p", 0, "click", False)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"request_id": "r"}', r"impressions.jsonl:2: timestamp: Field required"),
        ("{", r"impressions.jsonl:2: Invalid JSON"),
        ('{"request_id": "r", "timestamp": 1.5, "item_ids": []}', r"impressions.jsonl:2: timestamp: "),
    ],
)
def test_bad_lines_have_a_place(tmp_path, line, message):
    good = json.dumps({"request_id": "q", "timestamp": 1, "item_ids": []})
    (tmp_path / "impressions.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(DataError, match=message):
        list(FolderSource(tmp_path).impressions(None, None))


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"events.jsonl: cannot be read: No such file"):
        list(FolderSource(tmp_path).events())
