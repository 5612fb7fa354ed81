"""Shoppers: what the shop says about them, all that is stored of them, and their erasure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from tastemaker.serve.engine.asks import as_json
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import Id
from tastemaker.serve.schemas_data import UserFields, UsersBody
from tastemaker.store.records import User

if TYPE_CHECKING:
    from tastemaker.serve.backing import StoredShop
    from tastemaker.serve.shops import Shop

router = APIRouter(tags=["users"], responses=PROBLEMS)
UserId = Annotated[Id, Path(description="The shopper; a slash may stand as it is or as %2F.")]


@router.get("/v1/users/{user_id:path}/export", summary="All that is stored of a shopper", dependencies=[needs("admin")])
async def export(user_id: UserId, request: Request) -> Response:
    """Return attributes, events, what was ranked ahead, lists shown and audit lines, one JSON value a line."""
    shop, stored = _of(request)

    def read() -> bytes:
        rows = [as_json(row) for row in stored.store.export_user(shop.tenant, user_id)]
        return b"".join(row + b"\n" for row in rows)

    return Response(await shop.engine.background.run(read), media_type="application/jsonl")


@router.post("/v1/users:batch", summary="Put shoppers", dependencies=[needs("write")])
async def put_users(body: UsersBody, request: Request) -> dict[str, Any]:
    """Put shoppers, whole; one who was erased stays away."""
    shop, stored = _of(request)
    users = [User(row.user_id, row.attributes) for row in {row.user_id: row for row in body.users}.values()]
    statuses = await shop.engine.background.run(lambda: stored.store.put_users(shop.tenant, users))
    for user in users:
        shop.engine.shoppers.forget(user.user_id)
    return {"results": [{"user_id": user.user_id, "status": s} for user, s in zip(users, statuses, strict=True)]}


@router.put("/v1/users/{user_id:path}", summary="Put a shopper", dependencies=[needs("write")])
async def put_user(user_id: UserId, body: UserFields, request: Request) -> dict[str, str]:
    """Say what the shop knows about a shopper; business rules read it."""
    shop, stored = _of(request)
    user = User(user_id, body.attributes)
    [status] = await shop.engine.background.run(lambda: stored.store.put_users(shop.tenant, [user]))
    if status == "erased":
        raise Problem(409, "this shopper was erased")
    shop.engine.shoppers.forget(user_id)
    return {"status": status}


@router.get("/v1/users/{user_id:path}", summary="A shopper", dependencies=[needs("read")])
async def get_user(user_id: UserId, request: Request) -> Response:
    """Return what the shop said about a shopper."""
    shop, stored = _of(request)
    user = await shop.engine.background.run(lambda: stored.store.get_user(shop.tenant, user_id))
    if user is None:
        raise Problem(404, "no such shopper")
    return Response(as_json(dataclasses.asdict(user)), media_type="application/json")


@router.patch("/v1/users/{user_id:path}", summary="Change a shopper", dependencies=[needs("write")])
async def patch_user(user_id: UserId, body: UserFields, request: Request) -> Response:
    """Change attributes of a shopper; null removes one."""
    shop, stored = _of(request)
    changes = {"attributes": body.attributes}
    user = await shop.engine.background.run(lambda: stored.store.patch_user(shop.tenant, user_id, changes))
    if user is None:
        raise Problem(404, "no such shopper")
    shop.engine.shoppers.forget(user_id)
    return Response(as_json(dataclasses.asdict(user)), media_type="application/json")


@router.delete("/v1/users/{user_id:path}", summary="Erase a shopper", dependencies=[needs("admin")])
async def erase(user_id: UserId, request: Request) -> Response:
    """Erase a shopper: rows, pages on disk and memory. The next answer knows nothing; later events are refused.

    What a model learnt from the shopper's purchases stays in its numbers until it is fitted again.
    """
    shop, stored = _of(request)
    try:
        receipt = await shop.engine.background.run(lambda: stored.store.erase_user(shop.tenant, user_id))
    finally:  # rows may be gone though pages on disk could not be overwritten yet
        shop.engine.shoppers.forget(user_id)
        service_of(request).ahead.forget(shop.tenant, user_id)
    return Response(as_json(dataclasses.asdict(receipt)), media_type="application/json")


def _of(request: Request) -> tuple[Shop, StoredShop]:
    shop = service_of(request).shop(caller_of(request).tenant)
    return shop, shop.needs_store()
