"""Products: put, get, change, take out; those that were put can be listed, by their texts, soon after."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from tastemaker.serve.backing import item_of
from tastemaker.serve.engine.asks import as_json
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import Id
from tastemaker.serve.schemas_data import ItemFields, ItemsBody

if TYPE_CHECKING:
    from tastemaker.serve.shops import Shop
    from tastemaker.store.records import Item

router = APIRouter(tags=["items"], responses=PROBLEMS)
ItemId = Annotated[Id, Path(description="The product; a slash may stand as it is or as %2F.")]


@router.post("/v1/items:batch", summary="Put products", dependencies=[needs("write")])
async def put_items(body: ItemsBody, request: Request) -> dict[str, Any]:
    """Put products, whole: one that is there is replaced."""
    shop = _shop(request)
    revision = await shop.put_items([row.item(row.item_id) for row in body.items])
    return {"stored": len({row.item_id for row in body.items}), "revision": revision}


@router.put("/v1/items/{item_id:path}", summary="Put a product", dependencies=[needs("write")])
async def put_item(item_id: ItemId, body: ItemFields, request: Request) -> dict[str, Any]:
    """Put a product, whole: if it is there it is replaced."""
    return {"stored": 1, "revision": await _shop(request).put_items([body.item(item_id)])}


@router.get("/v1/items/{item_id:path}", summary="A product", dependencies=[needs("read")])
async def get_item(item_id: ItemId, request: Request) -> Response:
    """Return what is known of a product."""
    return _json(await _known(_shop(request), item_id))


@router.patch("/v1/items/{item_id:path}", summary="Change a product", dependencies=[needs("write")])
async def patch_item(item_id: ItemId, body: ItemFields, request: Request) -> Response:
    """Change the fields that the body names; in "attributes" null removes one."""
    shop, changes = _shop(request), _changes(body)
    stored = shop.needs_store()
    await _make_known(shop, item_id)
    item = await shop.engine.background.run(lambda: stored.store.patch_item(shop.tenant, item_id, changes))
    if item is None:
        raise Problem(404, "no such product")
    await shop.follow("items")
    return _json(item)


@router.delete("/v1/items/{item_id:path}", summary="Take a product out", dependencies=[needs("write")])
async def delete_item(item_id: ItemId, request: Request) -> dict[str, bool]:
    """Take a product out of the catalogue: it is not listed any more."""
    shop = _shop(request)
    stored = shop.needs_store()
    await _make_known(shop, item_id)
    gone = await shop.engine.background.run(lambda: stored.store.delete_item(shop.tenant, item_id))
    if not gone:
        raise Problem(404, "no such product")
    await shop.follow("items")
    return {"deleted": True}


def _shop(request: Request) -> Shop:
    return service_of(request).shop(caller_of(request).tenant)


async def _known(shop: Shop, item_id: str) -> Item:
    """Return a product of the store, or else of the model.

    Raises:
        Problem: 404, neither has it.
    """
    stored, view = shop.stored, shop.engine.views.now
    if stored is not None:
        item = await shop.engine.background.run(lambda: stored.store.get_item(shop.tenant, item_id))
        if item is not None:
            return item
    number = -1 if view is None else view.live.names.number(item_id)
    if view is None or number < 0 or view.shelf.gone(number):
        raise Problem(404, "no such product")
    return item_of(item_id, view.live.pipeline.items.frame.row(number, named=True))


async def _make_known(shop: Shop, item_id: str) -> None:
    """Put a product into the store that so far only the model knows, so that it can be changed there."""
    stored = shop.needs_store()
    run = shop.engine.background.run
    if await run(lambda: stored.store.get_item(shop.tenant, item_id)) is None:
        item = await _known(shop, item_id)
        await run(lambda: stored.store.put_items(shop.tenant, [item]))


def _changes(body: ItemFields) -> dict[str, Any]:
    """Return the fields that a body names."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if "categories" in changes:
        changes["categories"] = tuple(changes["categories"])
    return changes


def _json(item: Item) -> Response:
    return Response(as_json(dataclasses.asdict(item)), media_type="application/json")
