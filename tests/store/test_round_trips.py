"""Any ids, texts and orders: what is stored comes back the same, sent again it changes nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.errors import DataError
from tastemaker.store import fields
from tastemaker.store.records import Event, Item, User

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64).map(
    lambda text: unicodedata.normalize("NFC", text)
).filter(lambda text: 0 < len(text.encode()) <= 256) | st.sampled_from(
    ["NULL", "null", "a/b", "a%2Fb", "'; DROP TABLE events;--", '"', "\\", " ", "0", "01", "1.0", "🛒", "{}"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OPTIONAL_IDS = st.none() | IDS
EVENTS = st.builds(
    Event,
    event_id=IDS,
    user_id=IDS,
    item_id=IDS,
    event_type=IDS,
    timestamp=st.integers(0, fields.LATEST),
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    session_id=OPTIONAL_IDS,
    request_id=OPTIONAL_IDS,
    position=st.none() | st.integers(0, 2**31 - 1),
)
ITEMS = st.builds(
    Item,
    item_id=IDS,
    title=TEXTS,
    description=TEXTS,
    brand=TEXTS,
    categories=st.lists(TEXTS, max_size=3).map(tuple),
    price=st.none() | st.floats(0, 1e12),
    currency=st.none() | TEXTS,
    availability=st.none() | TEXTS,
    image_link=st.none() | TEXTS,
    group_id=OPTIONAL_IDS,
    created_at=st.none() | st.integers(0, fields.LATEST),
    hidden=st.booleans(),
    attributes=st.dictionaries(TEXTS, JSON, max_size=3),
    updated_at=st.integers(1, fields.LATEST),
)
TENANTS = iter(range(10**9))


@pytest.fixture
def tenant():
    """A function that names a tenant nobody used."""
    return lambda: f"tenant {next(TENANTS)}"


@SETTINGS
@given(batches=st.lists(st.lists(EVENTS, max_size=6), max_size=4))
def test_events_are_stored_once_in_order_whatever_they_are_called(store, tenant, batches):
    """Against a dict of events by id, the slow obvious store."""
    mine, known = tenant(), {}
    for batch in batches:
        expected = []
        for event in batch:
            expected.append("duplicate" if event.event_id in known else "accepted")
            known.setdefault(event.event_id, event)
        assert store.append_events(mine, batch) == expected
        assert set(store.append_events(mine, batch)) <= {"duplicate"}
    stored = [event for _, event in store.events_after(mine, 0)]
    assert stored == list(known.values())
    for user in {event.user_id for event in stored}:
        asked = sorted((event for event in stored if event.user_id == user), key=lambda event: event.timestamp)
        assert store.history(mine, user) == asked


@SETTINGS
@given(changes=st.lists(ITEMS | IDS, max_size=8))
def test_a_follower_of_the_catalogue_holds_what_the_catalogue_holds(store, tenant, changes):
    """Put items and delete ids at random; one who follows the revisions ends with the same products."""
    mine, known, followed, revision = tenant(), {}, {}, 0
    for change in changes:
        if isinstance(change, str):
            assert store.delete_item(mine, change) == (known.pop(change, None) is not None)
        else:
            known[change.item_id] = change
            store.put_items(mine, [change])
        for revision, item in store.items_after(mine, revision):  # noqa: B007, B020  # the last revision seen
            followed.pop(item.item_id, None)
            if isinstance(item, Item):
                followed[item.item_id] = item
        assert followed == known
    assert {item_id: store.get_item(mine, item_id) for item_id in known} == known
    assert store.get_items(mine, [*known, "none of these"]) == known


@SETTINGS
@given(user_id=IDS, attributes=st.dictionaries(TEXTS, JSON, max_size=4), actor=TEXTS)
def test_documents_come_back_the_same(store, tenant, user_id, attributes, actor):
    mine = tenant()
    store.put_users(mine, [User(user_id, attributes, 1)])
    assert store.get_user(mine, user_id) == User(user_id, attributes, 1)
    assert store.put_rules(mine, attributes, actor) == 1
    assert store.get_rules(mine) == (1, attributes)
    [row] = store.export_user(mine, user_id)
    assert (row["user_id"], row["attributes"]) == (user_id, attributes)
    store.erase_user(mine, user_id) if len(user_id.encode()) > 3 else store.delete_user(mine, user_id)
    assert store.get_user(mine, user_id) is None


@settings(max_examples=500, deadline=None, derandomize=True)
@given(value=st.text(st.characters(), max_size=300) | st.integers() | st.none() | st.binary())
def test_an_id_is_either_storable_or_refused(value):
    try:
        accepted = fields.check_id(value, "place")
    except DataError as error:
        assert str(error).startswith("place: ")
        assert not isinstance(value, str) or (
            not value
            or not value.isprintable()
            or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)
            or unicodedata.normalize("NFC", value) != value
            or len(value.encode("utf-8", "replace")) > 256
        )
    else:
        assert accepted is value
        assert 0 < len(value.encode()) <= 256
        assert unicodedata.normalize("NFC", value) == value
        assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)
