"""Whether the service lives and is ready, what it counts, and which version it is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

import tastemaker
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of

router = APIRouter(tags=["service"])


@router.get("/health/live", summary="Whether the process answers")
async def live() -> dict[str, str]:
    """Say so; nothing else is looked at."""
    return {"status": "live"}


@router.get("/health/ready", summary="Whether requests should come here", responses={503: PROBLEMS[503]})
async def ready(request: Request) -> dict[str, str]:
    """Say whether a model is active and the service is not about to stop."""
    if not service_of(request).ready:
        raise Problem(503, "not ready", retry_after=1)
    return {"status": "ready"}


@router.get(
    "/metrics", summary="Counts and times for Prometheus", dependencies=[needs("read")], response_class=Response
)
async def metrics(request: Request) -> Response:
    """Return them in Prometheus' text format; of shops, those of the key's own."""
    service = service_of(request)
    page = service.metrics.page(service.shops, caller_of(request).tenant)
    return Response(page, media_type=CONTENT_TYPE_LATEST)


@router.get("/version", summary="Versions", dependencies=[needs("read")], responses=PROBLEMS)
async def version(request: Request) -> dict[str, Any]:
    """Return the version of the service and of the model that answers for this shop."""
    service = service_of(request)
    view = service.shop(caller_of(request).tenant).engine.views.now
    now = None if view is None else view.live
    return {"version": tastemaker.__version__, "model_version": None if now is None else now.version}
