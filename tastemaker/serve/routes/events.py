"""Events: what shoppers did, durable when acknowledged and part of the very next answer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from tastemaker.serve.engine.asks import as_json
from tastemaker.serve.problems import Problem, wrong_places
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import Id
from tastemaker.serve.schemas_data import EVENTS, EventBody, EventsBody, EventsOut

if TYPE_CHECKING:
    from tastemaker.serve.front import Caller
    from tastemaker.serve.service import Service
    from tastemaker.serve.shops import Shop
    from tastemaker.store.records import Event

router = APIRouter(tags=["events"], responses=PROBLEMS)
HEARD = ("accepted", "valid")
_WHOLE = TypeAdapter(EventsBody)
_ID: TypeAdapter[str | None] = TypeAdapter(Id | None)


@router.post(
    "/v1/events",
    summary="Say what shoppers did",
    status_code=202,
    response_model=EventsOut,
    dependencies=[needs("write")],
)
async def events(body: EventsBody, request: Request) -> Response:
    """Store events.

    When the answer comes they are on disk, and the next list of their shoppers knows of them. `event_id` makes sending
    again safe. An event that does not fit is "invalid" in its place, and the others are stored. `missing_ids` names the
    products that the catalogue does not have: such events are stored, and count once the product is there.
    """
    content = await _store(service_of(request), caller_of(request), list(body.events), body.validate_only)
    return Response(content, 202, media_type="application/json")


async def events_now(service: Service, caller: Caller, body: bytes) -> bytes:
    """Answer `POST /v1/events` from bytes to bytes.

    Raises:
        Problem: 422, nothing in the body fits.
    """
    try:
        whole = _WHOLE.validate_json(body)
    except ValidationError as error:
        rows, validate_only = _row_by_row(body, error)
        return await _store(service, caller, rows, validate_only)
    return await _store(service, caller, list(whole.events), whole.validate_only)


@dataclass(frozen=True, slots=True)
class Unfit:
    """An event that does not fit: its id, where that could be read, and what is wrong with it."""

    event_id: str | None
    error: str


def _row_by_row(body: bytes, error: ValidationError) -> tuple[list[EventBody | Unfit], bool]:
    """Return each event that fits, and what is wrong with each that does not.

    Raises:
        Problem: 422, it is no list of events, or none fits.
    """
    refusal = Problem(422, "the body does not fit", errors=wrong_places(error.errors(include_input=False)))
    try:
        value: Any = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise refusal from None
    given = value.get("events") if isinstance(value, dict) else None
    only = value.get("validate_only", False) if isinstance(value, dict) else False
    if not isinstance(given, list) or not 0 < len(given) <= EVENTS or not isinstance(only, bool):
        raise refusal
    if set(value) - {"events", "validate_only"}:
        raise refusal
    rows: list[EventBody | Unfit] = []
    for one in given:
        try:
            rows.append(EventBody.model_validate(one))
        except ValidationError as fault:
            places = wrong_places(fault.errors(include_input=False))
            words = "; ".join(f"{place['place']}: {place['message']}" for place in places)
            rows.append(Unfit(_id_of(one), words))
    if all(isinstance(row, Unfit) for row in rows):
        raise refusal
    return rows, only


def _id_of(given: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """Return the id of an event as it was given, None where it is none that the answer can repeat."""
    try:
        return _ID.validate_python(given["event_id"]) if isinstance(given, dict) and "event_id" in given else None
    except ValidationError:
        return None


async def _store(
    service: Service, caller: Caller, rows: list[EventBody | Unfit] | list[EventBody], only: bool
) -> bytes:
    shop = service.shop(caller.tenant)
    shop.needs_store()
    kept: list[Event] = [row.event(uuid.uuid4().hex) for row in rows if isinstance(row, EventBody)]
    statuses: list[str] = ["valid"] * len(kept)
    if not only and shop.events is not None:
        statuses = list(await shop.events.put(kept))
    missing = _missing(shop, [event for event, status in zip(kept, statuses, strict=True) if status in HEARD])
    service.metrics.events(statuses, missing=len(missing))
    told = iter(zip(kept, statuses, strict=True))
    results: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row, EventBody):
            event, status = next(told)
            results.append({"event_id": event.event_id, "status": status})
        else:
            results.append({"event_id": row.event_id, "status": "invalid", "error": row.error})
    accepted = statuses.count("accepted")
    ids = list(dict.fromkeys(missing))
    return as_json({"request_id": caller.request_id, "accepted": accepted, "missing_ids": ids, "results": results})


def _missing(shop: Shop, events: list[Event]) -> list[str]:
    """Return the product of each event whose product the catalogue does not have now."""
    view = shop.engine.views.now
    return [] if view is None else view.shelf.numbers([event.item_id for event in events])[1]
