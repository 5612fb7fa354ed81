"""For operators: models, business rules, experiments, jobs, audit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from tastemaker.experiments import Experiment, check_together
from tastemaker.rules import RuleSet
from tastemaker.serve.engine.asks import as_json
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.schemas import Id
from tastemaker.serve.schemas_data import ExperimentBody, ModelBody, RulesBody
from tastemaker.serve.service import version_of
from tastemaker.serve.trials import check_settings
from tastemaker.store.records import AuditLine, Job, ModelVersion, now

if TYPE_CHECKING:
    from tastemaker.serve.shops import Shop

router = APIRouter(tags=["operations"], responses=PROBLEMS)
Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end of the job.")]
Version = Annotated[Id, Path(description="As `GET /v1/models` lists it.")]


@router.get("/v1/models", summary="Versions of the model", dependencies=[needs("read")])
async def models(request: Request) -> Response:
    """Return all versions, which one answers, and which folders could be added."""
    service, shop = service_of(request), _shop(request)
    stored, view = shop.stored, shop.engine.views.now
    known: list[dict[str, Any]] = []
    if stored is not None:
        versions = await shop.engine.background.run(lambda: stored.store.list_models(shop.tenant))
        known = [{key: value for key, value in dataclasses.asdict(one).items() if key != "folder"} for one in versions]
    answering = None if view is None else {"version": view.live.version, **view.live.facts()}
    breaker = shop.engine.language_model.breaker
    return _json(
        {
            "active": answering,
            "models": known,
            "language_model": {
                "breaker": None if breaker is None else breaker.state,
                "calls": dict(shop.engine.language_model.counts),
            },
            "folders": _folders(service.models.get(shop.tenant)),
        }
    )


@router.post("/v1/models", summary="Make a saved model known", dependencies=[needs("admin")])
async def add_model(body: ModelBody, request: Request) -> Response:
    """Make a saved model known that lies in the folder of the first one; it does not answer until it is activated."""
    service, shop = service_of(request), _shop(request)
    stored = shop.needs_store()
    place = service.models.get(shop.tenant)
    if place is None or body.folder not in _folders(place):
        raise Problem(404, "there is no saved model of this name beside the first one")
    folder = place / body.folder
    version = await shop.engine.background.run(lambda: version_of(folder))
    model = ModelVersion(version, str(folder))
    await shop.engine.background.run(lambda: stored.store.put_model(shop.tenant, model))
    _audit(request, "model.add", version)
    return _json({"version": version})


@router.post("/v1/models/{version}:activate", summary="Let a version answer", dependencies=[needs("admin")])
async def activate(version: Version, request: Request, wait_seconds: Wait = 30.0) -> Response:
    """Load a version beside the one that answers, then exchange them between two answers."""
    shop = _shop(request)
    stored = shop.needs_store()
    versions = await shop.engine.background.run(lambda: stored.store.list_models(shop.tenant))
    if version not in {one.version for one in versions}:
        raise Problem(404, "there is no such version; see GET /v1/models")

    async def work() -> dict[str, str]:
        await shop.activate(version)
        return {"version": version}

    job = await service_of(request).jobs.begin(shop.tenant, "activate", work, wait=wait_seconds)
    _audit(request, "model.activate", version)
    return _job(job)


@router.post("/v1/models:rollback", summary="Let the version before answer again", dependencies=[needs("admin")])
async def rollback(request: Request, wait_seconds: Wait = 30.0) -> Response:
    """Go back to the version that answered before the active one."""
    shop = _shop(request)

    async def work() -> dict[str, str]:
        return {"version": await shop.roll_back()}

    job = await service_of(request).jobs.begin(shop.tenant, "rollback", work, wait=wait_seconds)
    _audit(request, "model.rollback", "model")
    return _job(job)


@router.get("/v1/jobs/{job_id}", summary="A job", dependencies=[needs("read")])
async def job(job_id: Id, request: Request) -> Response:
    """Return how a job goes."""
    found = await service_of(request).jobs.get(caller_of(request).tenant, job_id)
    if found is None:
        raise Problem(404, "no such job")
    return _job(found)


@router.get("/v1/rules", summary="Business rules", dependencies=[needs("read")])
async def get_rules(request: Request) -> Response:
    """Return the rules in force."""
    shop = _shop(request)
    stored = shop.needs_store()
    version, document = await shop.engine.background.run(lambda: stored.store.get_rules(shop.tenant))
    return _json({"version": version, "rules": document})


@router.put("/v1/rules", summary="Put business rules", dependencies=[needs("admin")])
async def put_rules(body: RulesBody, request: Request) -> Response:
    """Check a document of rules as a whole and put it in force; earlier versions stay in the store."""
    shop = _shop(request)
    stored, actor = shop.needs_store(), caller_of(request).actor
    RuleSet.parse(body.rules)
    version = await shop.engine.background.run(lambda: stored.store.put_rules(shop.tenant, body.rules, actor))
    _audit(request, "rules.put", str(version))
    await shop.follow()
    return _json({"version": version})


@router.get("/v1/experiments", summary="Experiments", dependencies=[needs("read")])
async def experiments(request: Request) -> Response:
    """Return all experiments."""
    shop = _shop(request)
    stored = shop.needs_store()
    return _json({"experiments": await shop.engine.background.run(lambda: stored.store.list_experiments(shop.tenant))})


@router.put("/v1/experiments/{name}", summary="Put an experiment", dependencies=[needs("admin")])
async def put_experiment(name: Id, body: ExperimentBody, request: Request) -> Response:
    """Put an experiment; `settings` of a variant may name a strategy, a diversity, and how to explore."""
    shop = _shop(request)
    stored = shop.needs_store()
    document = {**body.experiment, "name": name}
    experiment = Experiment.parse(document)
    check_settings(experiment)
    check_together([*(one for one in shop.experiments if one.name != name), experiment])
    await shop.engine.background.run(lambda: stored.store.put_experiment(shop.tenant, name, document))
    _audit(request, "experiment.put", name)
    await shop.follow()
    return _json({"name": name})


@router.get("/v1/audit", summary="Who did what", dependencies=[needs("admin")])
async def audit(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
    """Return the newest lines of the audit log, those of business rules too."""
    shop = _shop(request)
    stored = shop.needs_store()
    lines = await shop.engine.background.run(lambda: stored.store.audit(shop.tenant, limit))
    return _json({"lines": [dataclasses.asdict(line) for line in lines]})


def _shop(request: Request) -> Shop:
    return service_of(request).shop(caller_of(request).tenant)


def _folders(models: Any) -> list[str]:  # noqa: ANN401  # a path
    """Return the names of the saved models in a folder."""
    from tastemaker import artifact

    if models is None:
        return []
    return sorted(path.name for path in models.iterdir() if (path / artifact.MANIFEST).is_file())


def _audit(request: Request, action: str, subject: str) -> None:
    traces, caller = service_of(request).traces, caller_of(request)
    if traces is not None:
        traces.audit(caller.tenant, AuditLine(now(), caller.actor, action, subject))


def _job(job: Job) -> Response:
    status = 202 if job.state in ("queued", "running") else 200
    return Response(as_json(dataclasses.asdict(job)), status, media_type="application/json")


def _json(value: Any) -> Response:  # noqa: ANN401  # any JSON value
    return Response(as_json(value), media_type="application/json")
