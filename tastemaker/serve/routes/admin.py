"""For operators: models, business rules, experiments, jobs, audit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from tastemaker import artifact
from tastemaker.errors import ArtifactError, ConfigError, DataError, MissingExtra
from tastemaker.experiments import Experiment, check_together
from tastemaker.serve.engine.asks import as_json
from tastemaker.serve.limits import media_type
from tastemaker.serve.problems import Problem
from tastemaker.serve.routes.base import PROBLEMS, caller_of, needs, service_of
from tastemaker.serve.routes.documents import RULES_BODY, rules_in
from tastemaker.serve.schemas import Id
from tastemaker.serve.schemas_data import ExperimentBody, ModelBody, PrecomputeBody
from tastemaker.serve.service import version_of
from tastemaker.serve.trials import check_settings
from tastemaker.store.folders import model_in, outline
from tastemaker.store.records import AuditLine, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tastemaker.serve.shops import Shop
    from tastemaker.store.records import Job, ModelVersion

router = APIRouter(tags=["operations"], responses=PROBLEMS)
Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end of the job.")]
Version = Annotated[Id, Path(description="As `GET /v1/models` lists it.")]


@router.get("/v1/models", summary="Versions of the model", dependencies=[needs("read")])
async def models(request: Request) -> Response:
    """Return all versions in a few words, which one answers, and which folders there are.

    `fault` says why the active version does not answer, null where it does.
    `addable` are those that hold a model which is no version yet. `GET /v1/models/{version}` says all of one.
    """
    service, shop = service_of(request), _shop(request)
    stored, view, run = shop.stored, shop.engine.views.now, shop.engine.background.run
    versions = [] if stored is None else await run(lambda: stored.store.list_models(shop.tenant))
    answering = None if view is None else {"version": view.live.version, **view.live.facts()}
    folders = await run(lambda: _folders(service.models.get(shop.tenant)))
    known = {version.digest for version in versions}
    breaker = shop.engine.language_model.breaker
    return _json(
        {
            "active": answering,
            "fault": None if shop.fault is None else str(shop.fault),
            "models": [_outlined(version) for version in versions],
            "language_model": {
                "breaker": None if breaker is None else breaker.state,
                "calls": dict(shop.engine.language_model.counts),
            },
            "folders": sorted(folders),
            "addable": sorted(name for name, digest in folders.items() if digest not in known),
        }
    )


@router.get("/v1/models/{version}", summary="A version of the model", dependencies=[needs("admin")])
async def model(version: Version, request: Request) -> Response:
    """Return all that is known of a version: its settings, what it was fitted with, and how.

    Among that are addresses of language models, and hashes of who bought what, so the key must open `admin`.
    """
    shop = _shop(request)
    found = await _version(shop, version)
    view = shop.engine.views.now
    answers = None if view is None or view.live.version != version else view.live.facts()
    fault = shop.fault.reason if shop.fault is not None and shop.fault.version == version else None
    return _json({**_outlined(found), "answers": answers, "fault": fault, "facts": found.facts})


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
    await shop.engine.background.run(lambda: stored.store.put_model(shop.tenant, model_in(folder, version)))
    _audit(request, "model.add", version)
    return _json({"version": version})


@router.post("/v1/models/{version}:activate", summary="Let a version answer", dependencies=[needs("admin")])
async def activate(version: Version, request: Request, wait_seconds: Wait = 30.0) -> Response:
    """Load a version beside the one that answers, then exchange them between two answers."""
    shop = _shop(request)
    await _version(shop, version)

    async def work() -> dict[str, str]:
        await shop.activate(version)
        return {"version": version}

    job = await _begin(request, "activate", work, wait_seconds)
    _audit(request, "model.activate", version)
    return _job(job)


@router.post("/v1/models:rollback", summary="Let the version before answer again", dependencies=[needs("admin")])
async def rollback(request: Request, wait_seconds: Wait = 30.0) -> Response:
    """Go back to the version that answered before the active one."""
    shop = _shop(request)
    shop.needs_store()

    async def work() -> dict[str, str]:
        return {"version": await shop.roll_back()}

    job = await _begin(request, "rollback", work, wait_seconds)
    _audit(request, "model.rollback", "model")
    return _job(job)


@router.get("/v1/jobs/{job_id}", summary="A job", dependencies=[needs("read")])
async def job(job_id: Id, request: Request) -> Response:
    """Return how a job goes."""
    found = await service_of(request).jobs.get(caller_of(request).tenant, job_id)
    if found is None:
        raise Problem(404, "no such job")
    return _job(found)


@router.post("/v1/precompute", summary="Make rankings ahead", dependencies=[needs("admin")])
async def precompute(body: PrecomputeBody, request: Request, wait_seconds: Wait = 0.0) -> Response:
    """Have every stage rank for some shoppers beside the requests; the next answers need not ask a language model."""
    service, shop = service_of(request), _shop(request)
    stored = shop.needs_store()
    _ = shop.engine.views.current()

    async def work() -> dict[str, int]:
        with shop.occupied():
            users = body.user_ids
            if users is None:
                users = await shop.engine.background.run(lambda: stored.store.recent_users(shop.tenant, body.recent))
            return dict(await service.ahead.make(shop.tenant, users, again=body.again))

    job = await service.jobs.begin(shop.tenant, "precompute", work, wait=wait_seconds)
    _audit(request, "precompute", job.job_id)
    return _job(job)


@router.get("/v1/rules", summary="Business rules", dependencies=[needs("read")])
async def get_rules(request: Request) -> Response:
    """Return the rules in force."""
    shop = _shop(request)
    stored = shop.needs_store()
    version, document = await shop.engine.background.run(lambda: stored.store.get_rules(shop.tenant))
    return _json({"version": version, "rules": document})


@router.put("/v1/rules", summary="Put business rules", dependencies=[needs("admin")], openapi_extra=RULES_BODY)
async def put_rules(request: Request) -> Response:
    """Check a document of rules as a whole and put it in force; earlier versions stay in the store.

    The body is the document, as TOML or JSON, or `{"rules": DOCUMENT}`; `{"rules": {}}` takes all rules away.
    """
    shop = _shop(request)
    stored, actor = shop.needs_store(), caller_of(request).actor
    body, kind = await request.body(), media_type(request.headers.get("content-type", "").encode())
    document = await shop.engine.background.run(lambda: rules_in(body, kind))
    version = await shop.engine.background.run(lambda: stored.store.put_rules(shop.tenant, document, actor))
    _audit(request, "rules.put", str(version))
    await shop.follow("rules")
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
    await shop.follow("experiments")
    return _json({"name": name})


@router.get("/v1/audit", summary="Who did what", dependencies=[needs("admin")])
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    kind: Annotated[Literal["admin", "rules"], Query(description="People and keys, or business rules.")] = "admin",
    request_id: Annotated[Id | None, Query(description="With kind=rules: of this list alone.")] = None,
    item_id: Annotated[Id | None, Query(description="With kind=rules: on this product alone.")] = None,
) -> Response:
    """Return the newest lines of a log, the newest first.

    What people and keys did is kept for good. What business rules did to each list, a line for each product that was
    suppressed, moved, boosted or added, is kept for the newest lists (`rule_lists` in the settings).
    """
    shop = _shop(request)
    stored = shop.needs_store()
    store, tenant, run = stored.store, shop.tenant, shop.engine.background.run
    if kind == "admin":
        return _json({"lines": [dataclasses.asdict(line) for line in await run(lambda: store.audit(tenant, limit))]})
    found = await run(lambda: store.arrangements(tenant, limit, request_id=request_id, item_id=item_id))
    lines = [
        AuditLine(one.timestamp, "rules", "arrange", one.request_id, {"lines": [dict(line) for line in one.lines]})
        for one in found
    ]
    return _json({"lines": [dataclasses.asdict(line) for line in lines]})


def _shop(request: Request) -> Shop:
    return service_of(request).shop(caller_of(request).tenant)


async def _version(shop: Shop, version: str) -> ModelVersion:
    """Return a version that is listed.

    Raises:
        Problem: 404, there is none; 409, nothing is stored.
    """
    stored = shop.needs_store()
    for one in await shop.engine.background.run(lambda: stored.store.list_models(shop.tenant)):
        if one.version == version:
            return one
    raise Problem(404, "there is no such version; see GET /v1/models")


async def _begin(request: Request, kind: str, work: Callable[[], Awaitable[dict[str, str]]], wait: float) -> Job:
    """Begin a job that changes which model answers.

    Raises:
        Problem: 409, the model cannot be had; what answered before still does.
    """
    try:
        return await service_of(request).jobs.begin(caller_of(request).tenant, kind, work, wait=wait)
    except (ArtifactError, ConfigError, DataError, MissingExtra) as error:
        raise Problem(409, str(error)) from error


def _outlined(version: ModelVersion) -> dict[str, Any]:
    own = {name: getattr(version, name) for name in ("version", "state", "created_at", "digest")}
    return {**own, **outline(version)}


def _folders(models: Any) -> dict[str, str]:  # noqa: ANN401  # a path
    """Return the saved models in a folder: name and digest of each."""
    if models is None:
        return {}
    return {path.name: artifact.fingerprint(path) for path in models.iterdir() if (path / artifact.MANIFEST).is_file()}


def _audit(request: Request, action: str, subject: str) -> None:
    traces, caller = service_of(request).traces, caller_of(request)
    if traces is not None:
        traces.audit(caller.tenant, AuditLine(now(), caller.actor, action, subject))


def _job(job: Job) -> Response:
    status = 202 if job.state in ("queued", "running") else 200
    return Response(as_json(dataclasses.asdict(job)), status, media_type="application/json")


def _json(value: Any) -> Response:  # noqa: ANN401  # any JSON value
    return Response(as_json(value), media_type="application/json")
