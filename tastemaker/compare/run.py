"""Running a comparison: one process a job, finished jobs kept, and everything put together at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tastemaker import guards
from tastemaker.compare import maps, shared, store
from tastemaker.compare.plan import REFUSED
from tastemaker.compare.result import Results, together
from tastemaker.evaluate import measures
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tastemaker.compare.plan import Plan

ENOUGH_SEEDS = 2
"""A model whose lists are the same for so many seeds is not random; it is not fitted again for further ones."""


def compare(plan: Plan, folder: Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Run the jobs that are missing in `folder` and return the comparison as JSON values.

    Args:
        plan: models, data and protocol.
        folder: where finished jobs are kept; an earlier, interrupted run of the same plan is gone on with.
        progress: shown over the jobs.

    Raises:
        DataError: the data cannot be read or split as the plan wants, or `folder` cannot be written to.
        LeakError: something of the test part is known before it may be.
    """
    sources = [asdict(source) for source in (plan.data, plan.learn_from) if source is not None]
    readings = [shared.read(source, progress=progress) for source in sources]
    jobs = plan.jobs()
    shops: dict[str, list[shared.Shop]] = {}
    for job in jobs:
        if job.ties not in shops:
            shops[job.ties] = shared.shops([one.data for one in readings], job.to_dict(shops=()))
    results = Results(plan, readings, {ties: first for ties, (first, *_) in shops.items()})
    waiting = []
    for job in jobs:
        place = folder / store.RUNS / job.key(shops=[shop.digest for shop in shops[job.ties]])
        if results.settled(job, enough=ENOUGH_SEEDS):
            continue
        finished = store.read(place)
        if finished is None:
            waiting.append((job, place))
        else:
            results.add(job, finished)
    if waiting:  # finished runs have passed these tests: code and data are part of their key
        for asked, *others in shops.values():
            _check(asked, others, plan)
    store.make_ready(folder)
    products = maps.kept(folder, readings[0].data)
    for job, place in progress(waiting, label="comparing", total=len(waiting)):
        if results.settled(job, enough=ENOUGH_SEEDS):
            continue
        error = None
        finished = store.read(place)  # two labels of the same settings share one run
        if finished is None:
            store.clear(place)
            mine = shops[job.ties][:1] if job.entry.floor else shops[job.ties]
            description = {
                "label": job.label,
                "parent": os.getpid(),
                "sources": sources[: len(mine)],
                "products": str(products.place.absolute()),
                "folder": str(place.absolute()),
                "decides": job.to_dict(shops=[shop.digest for shop in mine]),
            }
            error = _do(description)
            finished = store.read(place)
        if finished is None:
            results.fail(job, error or "the process ended without a result")
        else:
            results.add(job, finished)
    return together(results, points=products.points)


def _check(shop: shared.Shop, others: Sequence[shared.Shop], plan: Plan) -> None:
    """Refuse leaks and unknown groups before anything is fitted."""
    guards.check_all(None, shop.split)
    for other in others:
        guards.check_other_shop(other.split, shop.split)
    measures.groupings(shop.split.test, shop.split, shop.catalogue(None), plan.options)


def _do(description: dict[str, Any]) -> str | None:
    """Do one job in its own process; return why it failed, or None."""
    command = [sys.executable, "-P", "-m", "tastemaker.compare.worker"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    )
    try:
        said, _ = process.communicate(json.dumps(description))
    except BaseException:  # also Ctrl-C: nothing stays behind
        process.kill()
        process.wait()
        raise
    if process.returncode == REFUSED:
        return said.strip().splitlines()[-1] if said.strip() else "refused without a reason"
    if process.returncode == -signal.SIGKILL:
        return "the process was killed; perhaps memory ran out"
    if process.returncode:
        return f"the process ended with status {process.returncode}; its traceback stands above"
    return None
