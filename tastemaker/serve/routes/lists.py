"""Lists: recommendations, similar and complementary products, the caller's candidates, reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ValidationError

from tastemaker.serve.engine.asks import Ask
from tastemaker.serve.problems import Problem, wrong_places
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import ExplainBody, Id, ItemBody, ListOut, RecommendBody, RerankBody

if TYPE_CHECKING:
    from tastemaker.serve.engine.asks import Answer
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.serve.front import Caller
    from tastemaker.serve.service import Service

router = APIRouter(tags=["lists"], responses=PROBLEMS)
UNKNOWN = "no such product"
LISTS: dict[str, Any] = {"response_model": ListOut, "dependencies": [needs("read")]}


async def recommend_now(service: Service, caller: Caller, body: bytes) -> bytes:
    """Answer `POST /v1/recommend` from bytes to bytes.

    Raises:
        Problem: 422, the body is not what it should be.
    """
    try:
        asked = RecommendBody.model_validate_json(body)
    except ValidationError as error:
        raise Problem(422, "the body does not fit", errors=wrong_places(error.errors(include_input=False))) from None
    return (await _recommend(service, caller, asked)).to_bytes()


@router.post("/v1/recommend", summary="Recommend products", **LISTS)
async def recommend(body: RecommendBody, request: Request) -> Response:
    """Recommend products to a shopper, known or not.

    The language model takes part where the model has one and "auto" finds it helpful; whatever does not answer within
    the budget is left out, and the answer says so (`degraded`).
    """
    return _json(await _recommend(service_of(request), caller_of(request), body))


@router.get("/v1/users/{user_id:path}/recommendations", summary="Recommend products, by address", **LISTS)
async def recommend_to(
    request: Request,
    user_id: Annotated[Id, Path(description="The shopper; a slash may stand as it is or as %2F.")],
    n: Annotated[int | None, Query(ge=1, le=100)] = None,
    explain: bool = False,
    budget_ms: Annotated[int | None, Query(ge=10, le=60_000)] = None,
) -> Response:
    """Recommend products to a shopper: the short form of `POST /v1/recommend`."""
    body = RecommendBody(user_id=user_id, n=n, explain=explain, budget_ms=budget_ms)
    return _json(await _recommend(service_of(request), caller_of(request), body))


@router.post("/v1/similar", summary="Products that are alike", **LISTS)
async def similar(body: ItemBody, request: Request) -> Response:
    """Return products that read like one: by their texts where there are any, else by who has them."""
    return await _around(request, body, "text")


@router.post("/v1/complementary", summary="Products that go along", **LISTS)
async def complementary(body: ItemBody, request: Request) -> Response:
    """Return products that shoppers have beside one: the retriever's answer to a history of this one product."""
    return await _around(request, body, "retriever")


@router.post("/v1/rerank", summary="Put the caller's candidates in order", **LISTS)
async def rerank(body: RerankBody, request: Request) -> Response:
    """Rank candidates of the caller's own; what nobody has an opinion on keeps the caller's order below."""
    service, caller = service_of(request), caller_of(request)
    ask = _ask(service, caller, body.budget_ms, body.n or len(body.item_ids), body.strategy)
    ask.user_id, ask.session, ask.wish, ask.explain = body.user_id, body.session_items, body.wish, body.explain
    ask.offered = body.item_ids
    return _json(await service.answer(caller.tenant, ask))


@router.post("/v1/explain", summary="Reasons for products", **LISTS)
async def explain(body: ExplainBody, request: Request) -> Response:
    """Give the reason for each product, with evidence, in the caller's order.

    Products that were hidden or taken out are left out, and `notes` names them; where no other remains it is 404.
    """
    service, caller = service_of(request), caller_of(request)
    shelf = service.shop(caller.tenant).engine.views.current().shelf
    faults = [(place, why) for place, item_id in enumerate(body.item_ids) if (why := _not_shown(shelf, item_id))]
    if len(faults) == len(body.item_ids):
        errors = [{"place": f"item_ids.{place}", "message": why} for place, why in faults]
        raise Problem(404, f"no product to explain: {faults[0][1]}", errors=errors)
    ask = _ask(service, caller, body.budget_ms, len(body.item_ids), "popular")
    ask.user_id, ask.session, ask.wish, ask.explain = body.user_id, body.session_items, body.wish, True
    ask.offered, ask.as_given = body.item_ids, True
    answer = await service.answer(caller.tenant, ask)
    answer.notes += [f"{body.item_ids[place]}: {why}" for place, why in faults if why != UNKNOWN]
    answer.missing = [body.item_ids[place] for place, why in faults if why == UNKNOWN]
    return _json(answer)


async def _recommend(service: Service, caller: Caller, body: RecommendBody) -> Answer:
    ask = _ask(service, caller, body.budget_ms, body.n, body.strategy)
    ask.user_id, ask.session, ask.context = body.user_id, body.session_items, body.context_item_id
    ask.wish, ask.filters, ask.exclude = body.wish, body.filters, body.exclude
    ask.explain, ask.diversity, ask.seen = body.explain, body.diversity, body.seen
    ask.preview, ask.place = body.preview, body.place
    return await service.answer(caller.tenant, ask, shown=not body.preview)


def _not_shown(shelf: Shelf, item_id: str) -> str | None:
    """Return why a product cannot be shown to anybody; None where it can."""
    number = shelf.number(item_id)
    if number < 0:
        return UNKNOWN
    if shelf.gone(number):
        return "this product was taken out of the catalogue"
    return "this product is hidden" if number in shelf.off else None


async def _around(request: Request, body: ItemBody, strategy: Any) -> Response:  # noqa: ANN401  # a Strategy
    service, caller = service_of(request), caller_of(request)
    engine = service.shop(caller.tenant).engine
    if engine.views.current().shelf.number(body.item_id) < 0:
        raise Problem(404, UNKNOWN)
    ask = _ask(service, caller, body.budget_ms, body.n, strategy)
    ask.context, ask.filters, ask.exclude, ask.explain = body.item_id, body.filters, body.exclude, body.explain
    return _json(await service.answer(caller.tenant, ask, shown=True))


def _ask(service: Service, caller: Caller, budget_ms: int | None, n: int | None, strategy: Any) -> Ask:  # noqa: ANN401
    settings = service.settings
    budget = min(budget_ms or settings.budget_ms, settings.most_budget_ms) / 1e3
    return Ask(caller.started, n or settings.n, budget, strategy or settings.strategy)


def _json(answer: Answer) -> Response:
    return Response(answer.to_bytes(), media_type="application/json")
