"""The application: routes behind the front."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import tastemaker
from tastemaker.errors import TastemakerError
from tastemaker.serve.front import Front, Hot
from tastemaker.serve.page.site import page_routes
from tastemaker.serve.problems import MEDIA_TYPE, Problem, failure, wrong_places
from tastemaker.serve.routes import admin, events, finding, health, items, lists, users, watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tastemaker.serve.service import Service

DESCRIPTION = (
    "Recommendations with reasons for online shops. Every answer comes within its budget, or says what is missing."
)
HOT = {
    ("POST", "/v1/recommend"): Hot("read", 200, lists.recommend_now),
    ("POST", "/v1/events"): Hot("write", 202, events.events_now),
}


def create_app(service: Service) -> FastAPI:
    """Return the application of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await service.start()
        except TastemakerError as error:
            service.fault = error
            raise
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="tastemaker",
        version=tastemaker.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    for part in (finding, watching, lists, events, users, items, admin, health):
        app.include_router(part.router)
    if service.settings.page:
        app.include_router(page_routes(service.settings.image_sources))
    app.add_middleware(Front, service=service, hot=HOT)

    async def problem(request: Request, error: Exception) -> Response:
        return _response(request, _problem_of(service, error))

    for kind in (Problem, RequestValidationError, HTTPException, TastemakerError, Exception):
        app.add_exception_handler(kind, problem)
    return app


def _problem_of(service: Service, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(422, "the request does not fit", errors=wrong_places(error.errors()))
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail))
    if isinstance(error, TastemakerError):
        return service.problem_of(error)
    return failure()


def _response(request: Request, problem: Problem) -> Response:
    return Response(
        problem.body(request.state.caller.request_id),
        problem.status,
        headers=problem.headers(),
        media_type=MEDIA_TYPE,
    )
