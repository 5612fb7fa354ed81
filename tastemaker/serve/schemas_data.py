"""Bodies about data: events, products, shoppers, models, rules, experiments, jobs."""

from __future__ import annotations

import json
import time
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, JsonValue, field_validator

from tastemaker.serve.schemas import Body, Id
from tastemaker.store.fields import SECONDS_BELOW
from tastemaker.store.records import Event, Item

EVENTS = 1000
ROWS = 1000
DOCUMENT = 200_000
"""Characters of one row's JSON."""
LATEST = 253_402_300_799_999


def sound(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return attributes that can be stored.

    Raises:
        ValueError: endless numbers, half characters, or too much.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise ValueError("must be JSON values, numbers finite, texts valid Unicode") from error
    if len(text) > DOCUMENT:
        raise ValueError(f"must have at most {DOCUMENT:,} characters as JSON")
    return value


def _writable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return value


Attributes = Annotated[dict[str, JsonValue], AfterValidator(sound)]
Time = Annotated[int, Field(ge=0, le=LATEST, description="milliseconds since 1970 (UTC)")]


Short = Annotated[str, Field(max_length=1000), AfterValidator(_writable)]
Long = Annotated[str, Field(max_length=20_000), AfterValidator(_writable)]
Link = Annotated[str, Field(max_length=2000), AfterValidator(_writable)]


def _milliseconds(value: int) -> int:
    if value < SECONDS_BELOW:
        raise ValueError("looks like seconds; write milliseconds since 1970 (UTC)")
    return value


EventTime = Annotated[Time, AfterValidator(_milliseconds)]


class EventBody(Body):
    """Something a shopper did.

    Attributes:
        event_id: the caller's own: the same one again changes nothing; made up where it is not given.
        user_id: the shopper.
        item_id: the product; it need not be in the catalogue.
        event_type: such as "view", "cart", "purchase", "like", "dislike".
        timestamp: milliseconds since 1970 (UTC); now where it is not given.
        value: such as a rating or a price paid.
        session_id: groups events of a visit.
        request_id: of the list that led to it, for attribution.
        position: place in that list, from 0.
    """

    event_id: Id | None = None
    user_id: Id
    item_id: Id
    event_type: Id
    timestamp: EventTime | None = None
    value: Annotated[float, Field(ge=-1e15, le=1e15)] | None = None
    session_id: Id | None = None
    request_id: Id | None = None
    position: Annotated[int, Field(ge=0, le=1_000_000)] | None = None

    def event(self, made_up: str) -> Event:
        """Return the event for the store; `made_up` is its id where it has none."""
        now = time.time_ns() // 1_000_000 if self.timestamp is None else self.timestamp
        return Event(
            self.event_id or made_up,
            self.user_id,
            self.item_id,
            self.event_type,
            now,
            self.value,
            self.session_id,
            self.request_id,
            self.position,
        )


class EventsBody(Body):
    """Events, in the order they happened.

    Attributes:
        events: one to a thousand.
        validate_only: say what would become of them, and store nothing.
    """

    events: Annotated[list[EventBody], Field(min_length=1, max_length=EVENTS)]
    validate_only: bool = False


class EventOut(BaseModel):
    """What became of one event."""

    event_id: str | None
    status: Literal["accepted", "duplicate", "erased", "invalid", "valid"]
    error: str | None = None


class EventsOut(BaseModel):
    """What became of each event, in the order given, and which products of theirs the catalogue does not have."""

    request_id: str
    accepted: int
    missing_ids: list[str]
    results: list[EventOut]


class ItemFields(Body):
    """What is known of a product; what is not given stays empty.

    Attributes:
        title, description, brand: in words.
        categories: from general to special.
        price: in `currency`.
        currency: such as "EUR".
        availability: such as "in_stock".
        image_link: address of a picture; the service never fetches it.
        group_id: shared by variants of one product.
        created_at: when it came into the shop, in milliseconds since 1970 (UTC).
        hidden: never to be listed.
        attributes: anything else, for business rules.
    """

    title: Short = ""
    description: Long = ""
    brand: Short = ""
    categories: Annotated[list[Short], Field(max_length=50)] = Field(default=[])
    price: Annotated[float, Field(ge=0, le=1e12)] | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    availability: Short | None = None
    image_link: Link | None = None
    group_id: Id | None = None
    created_at: Time | None = None
    hidden: bool = False
    attributes: Attributes = Field(default={})

    @field_validator("image_link")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://", "/")):
            raise ValueError("must begin with https://, http:// or /")
        return value

    def item(self, item_id: str) -> Item:
        """Return the product for the store."""
        values = {name: getattr(self, name) for name in ItemFields.model_fields if name != "categories"}
        return Item(item_id, categories=tuple(self.categories), **values)


class ItemRow(ItemFields):
    """A product with its id."""

    item_id: Id


class ItemsBody(Body):
    """Products in numbers."""

    items: Annotated[list[ItemRow], Field(min_length=1, max_length=ROWS)]


class UserFields(Body):
    """What the shop says about a shopper, such as {"region": "DE", "age": 34}."""

    attributes: Attributes = Field(default={})


class UserRow(UserFields):
    """A shopper with their id."""

    user_id: Id


class UsersBody(Body):
    """Shoppers in numbers."""

    users: Annotated[list[UserRow], Field(min_length=1, max_length=ROWS)]


class ExperimentBody(Body):
    """An experiment, as `tastemaker.experiments` reads it; its name stands in the address."""

    experiment: Attributes


class RulesBody(Body):
    """A document of business rules, as `docs/rules.md` describes it; an empty one takes all rules away."""

    rules: Attributes


class RulesDocument(Body):
    """A document of business rules itself."""

    rule: list[Attributes]
    timezone: str = "UTC"


class StoreOut(BaseModel):
    """What the store can do, from how its last write and its last read went.

    Attributes:
        state: "ok"; "full" and "read_only", events are refused and lists go on; "unreachable"; or "damaged", see
            `tastemaker db check`.
        since: when that began, in milliseconds since 1970 (UTC).
    """

    state: Literal["ok", "full", "read_only", "unreachable", "damaged"]
    since: int | None


class ReadyOut(BaseModel):
    """That requests should come here.

    Attributes:
        status: that they should.
        store: null where nothing is stored.
        model_faults: open shops whose active model cannot be loaded: the one before it answers, or none. Of its own
            shop a key learns the cause from `GET /v1/models`.
    """

    status: Literal["ready"]
    store: StoreOut | None
    model_faults: int


class PrecomputeBody(Body):
    """For whom to make rankings ahead: for those who are named, or for those who came last.

    Attributes:
        user_ids: the shoppers; None for those who came last.
        recent: how many of these.
        again: also where the ranking that is there holds.
    """

    user_ids: Annotated[list[Id], Field(min_length=1, max_length=ROWS)] | None = None
    recent: Annotated[int, Field(ge=1, le=100_000)] = 1000
    again: bool = False


class ModelBody(Body):
    """A saved model that lies beside the first one, by the name of its folder."""

    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
