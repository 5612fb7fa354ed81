"""For those who watch a shop: the newest events, what experiments showed, what rules would do."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tastemaker.errors import ConfigError, DataError
from tastemaker.experiments.attribution import Crediting, attribute
from tastemaker.experiments.results import results
from tastemaker.experiments.sources import StoreSource
from tastemaker.rules import CatalogueColumns, RuleSet
from tastemaker.rules.check import check
from tastemaker.serve.engine.asks import as_json
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import Id
from tastemaker.serve.schemas_data import RulesBody
from tastemaker.store.records import now

router = APIRouter(tags=["operations"], responses=PROBLEMS)
RESAMPLES = 500


@router.get("/v1/events", summary="The newest events", dependencies=[needs("admin")])
async def newest_events(request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> Response:
    """Return the events that came last, the newest first."""
    shop = service_of(request).shop(caller_of(request).tenant)
    stored = shop.needs_store()
    found = await shop.engine.background.run(lambda: stored.store.newest_events(shop.tenant, limit))
    return _json({"events": [dataclasses.asdict(event) for _, event in reversed(found)]})


@router.get("/v1/experiments/{name}/results", summary="What an experiment showed", dependencies=[needs("read")])
async def experiment_results(
    name: Id,
    request: Request,
    window_days: Annotated[float, Query(gt=0, le=90, description="How long an event counts for a list.")] = 7.0,
) -> Response:
    """Compare the variants with the control: clicks, purchases, revenue, each with an interval over shoppers.

    Where no list of the experiment was shown yet, "results" is null and "note" says so.
    """
    shop = service_of(request).shop(caller_of(request).tenant)
    source = StoreSource(shop.needs_store().store, shop.tenant)

    def work() -> dict[str, Any]:
        experiment = next((one for one in source.experiments() if one.name == name), None)
        if experiment is None:
            raise Problem(404, "there is no such experiment; see GET /v1/experiments")
        crediting = Crediting(window_days=window_days)
        credited = attribute(source.impressions(None, None), source.events(), experiment=name, crediting=crediting)
        try:
            return {"results": results(experiment, credited, resamples=RESAMPLES).to_dict(), "note": None}
        except DataError as error:
            return {"results": None, "note": str(error)}

    return _json(await shop.engine.background.run(work))


@router.post("/v1/rules:check", summary="Check business rules", dependencies=[needs("read")])
async def check_rules(body: RulesBody, request: Request) -> Response:
    """Say what a document of rules would do to the catalogue as it is, and what it probably did not mean.

    Nothing is put in force. A document that cannot be read is refused with each place that is wrong.
    """
    engine = service_of(request).shop(caller_of(request).tenant).engine
    shelf = engine.views.current().shelf

    def work() -> dict[str, Any]:
        try:
            rules = RuleSet.parse(body.rules)
            return dataclasses.asdict(check(rules, CatalogueColumns(shelf.frame()), now=now()))
        except ConfigError as error:
            places = [_place(line) for line in str(error).splitlines()]
            raise Problem(422, "the rules do not fit", errors=places) from None

    return _json(await engine.background.run(work))


def _place(line: str) -> dict[str, str]:
    place, _, message = line.partition(": ")
    return {"place": place, "message": message or line}


def _json(value: Any) -> Response:  # noqa: ANN401  # any JSON value
    return Response(as_json(value), media_type="application/json")
