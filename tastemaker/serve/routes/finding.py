"""Finding products and shoppers, for pages and people: by words, by the start of an id, and what a shopper did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from tastemaker.serve.engine.names import nfc
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import FoundItems, FoundUsers, HistoryOut, Id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.serve.engine.shelf import Shelf

router = APIRouter(tags=["finding"], responses=PROBLEMS)
Number = Annotated[int, Query(ge=1, le=100)]


@router.get("/v1/items", summary="Find products by words", response_model=FoundItems, dependencies=[needs("read")])
async def find_items(
    request: Request,
    query: Annotated[str, Query(max_length=200, description="Words; none finds what is popular.")] = "",
    n: Number = 20,
) -> Response:
    """Find products whose title, brand or categories hold every word, the best match first.

    What is hidden or taken out is not found; a product that was put is, as soon as it can be recommended.
    """
    engine = service_of(request).shop(caller_of(request).tenant).engine
    view = engine.views.current()
    live, shelf = view.live, view.shelf
    numbers, total = await engine.background.run(lambda: live.finder.find(shelf, query, n))
    return _json({"total": total, "items": _items(shelf, numbers)})


@router.get("/v1/users", summary="Find shoppers by id", response_model=FoundUsers, dependencies=[needs("admin")])
async def find_users(
    request: Request,
    prefix: Annotated[str, Query(max_length=256, description="Start of the id; none finds all.")] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    n: Number = 20,
) -> Response:
    """List shoppers whom the active model knows, in the order in which it counts them, with the size of their history.

    Needs the scope "admin", as nobody else should learn who buys here. Erased shoppers are counted, but not named.
    """
    shop = service_of(request).shop(caller_of(request).tenant)
    model = shop.engine.views.current().live.model
    ids = model.users.frame["id"]
    rows = ids.str.starts_with(prefix).arg_true().to_list() if prefix else range(len(ids))
    listed = list(rows[offset : offset + n])
    stored, erased = shop.stored, set[str]()
    if stored is not None:
        asked = [nfc(ids[row]) for row in listed]
        erased = await shop.engine.background.run(lambda: stored.store.erased_of(shop.tenant, asked))
    shown = [
        {"user_id": ids[row], "products": len(model.histories.history(row))}
        for row in listed
        if nfc(ids[row]) not in erased
    ]
    return _json({"total": len(rows), "users": shown})


@router.get(
    "/v1/users/{user_id:path}/history",
    summary="What a shopper did",
    response_model=HistoryOut,
    dependencies=[needs("read")],
)
async def history(
    request: Request,
    user_id: Annotated[Id, Path(description="The shopper; a slash may stand as it is or as %2F.")],
    n: Number = 50,
) -> Response:
    """Return what recommendations for a shopper rest on: the newest products last, and those that are not wanted."""
    engine = service_of(request).shop(caller_of(request).tenant).engine
    view = engine.views.current()
    live, shelf = view.live, view.shelf
    shopper = await engine.shoppers.get(user_id)
    opinions = shopper.opinions()
    own = shelf.numbers([*opinions.had, *opinions.liked])[0].tolist()
    unwanted = shelf.numbers(sorted(opinions.disliked))[0].tolist()
    row = -1 if shopper.erased else live.users.number(user_id)
    fitted = live.model.histories.history(row).tolist() if row >= 0 else []
    told = {*own, *unwanted}
    numbers = [*dict.fromkeys(number for number in fitted if number not in told), *own][-n:]
    items = [item | {"known_from": "model"} for item in _items(shelf, numbers)]
    for place, number in enumerate(numbers):
        if number in told:
            items[place]["known_from"] = "events"
    return _json({"user_id": user_id, "items": items, "not_wanted": _items(shelf, unwanted)})


def _items(shelf: Shelf, numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [json.loads(shelf.fragment(number) + b"}") for number in numbers]


def _json(value: dict[str, Any]) -> Response:
    return Response(json.dumps(value).encode(), media_type="application/json")
