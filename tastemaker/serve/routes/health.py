"""Whether the service lives and is ready, what it counts, and which version it is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

import tastemaker
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas_data import ReadyOut, StoreOut

router = APIRouter(tags=["service"])


@router.get("/health/live", summary="Whether the process answers")
async def live() -> dict[str, str]:
    """Say so; nothing else is looked at."""
    return {"status": "live"}


@router.get(
    "/health/ready",
    summary="Whether requests should come here",
    response_model=ReadyOut,
    responses={503: PROBLEMS[503]},
)
async def ready(request: Request) -> ReadyOut:
    """Say whether a model is active with its indexes, the service is not about to stop, and what the store can do.

    Lists are answered from memory, so the service stays ready where its store takes no writes.
    """
    service = service_of(request)
    if not service.ready:
        raise Problem(503, service.why_not_ready, retry_after=1)
    found = await service.condition()
    store = None if found is None else StoreOut(state=found.state, since=found.since)
    return ReadyOut(status="ready", store=store, model_faults=service.model_faults)


@router.get(
    "/metrics", summary="Counts and times for Prometheus", dependencies=[needs("read")], response_class=Response
)
async def metrics(request: Request) -> Response:
    """Return them in Prometheus' text format; of shops, those of the key's own."""
    service, tenant = service_of(request), caller_of(request).tenant
    if service.store is not None and service.traces is not None:
        service.metrics.store(service.store.condition, service.store.lost + service.traces.dropped)
    page = service.metrics.page(service.shops, tenant, waiting=service.ahead.waiting.count(tenant))
    return Response(page, media_type=CONTENT_TYPE_LATEST)


@router.get("/version", summary="Versions", dependencies=[needs("read")], responses=PROBLEMS)
async def version(request: Request) -> dict[str, Any]:
    """Return the version of the service and of the model that answers for this shop."""
    service = service_of(request)
    view = service.shop(caller_of(request).tenant).engine.views.now
    now = None if view is None else view.live
    return {"version": tastemaker.__version__, "model_version": None if now is None else now.version}
