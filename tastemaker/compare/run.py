"""Running a comparison: one process a job, finished jobs kept, and everything put together at the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.numpy import save_file

from tastemaker import guards
from tastemaker.compare import maps, shared, store
from tastemaker.compare.plan import REFUSED
from tastemaker.compare.result import Results, together
from tastemaker.data import readers
from tastemaker.evaluate import measures
from tastemaker.evaluate.vectors import text_vectors
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from tastemaker.compare.plan import Job, Plan

ENOUGH_SEEDS = 2
"""A model whose lists are the same for so many seeds is not random; it is not fitted again for further ones."""


def compare(plan: Plan, folder: Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Run the jobs that are missing in `folder` and return the comparison as JSON values.

    Args:
        plan: models, data and protocol.
        folder: where finished jobs are kept; an earlier, interrupted run of the same plan is gone on with.
        progress: shown over the jobs.

    Raises:
        DataError: the data cannot be read or split as the plan wants.
        LeakError: something of the test part is known before it may be.
    """
    data, _ = readers.read(plan.data.path, format=plan.data.format, max_bad=plan.data.max_bad, progress=progress)
    fingerprints = [data.fingerprint]
    if plan.learn_from is not None:
        other = plan.learn_from
        fingerprints.append(readers.read(other.path, format=other.format, max_bad=other.max_bad)[0].fingerprint)
    jobs = plan.jobs()
    shops: dict[str, shared.Shop] = {}
    for job in jobs:
        if job.ties not in shops:
            shops[job.ties] = shared.Shop(data, shared.split(data, job.to_dict(fingerprints=fingerprints)))
            _check(shops[job.ties], plan)
    vectors = text_vectors(data.items)
    results = Results(plan, data, fingerprints, shops, maps.points(data, vectors))
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch) / "vectors.safetensors"
        if vectors is not None:
            save_file({"vectors": vectors}, kept)
        for job in progress(jobs, label="comparing", total=len(jobs)):
            place = folder / "runs" / job.key(fingerprints=fingerprints)
            same = results.settled(job, enough=ENOUGH_SEEDS)
            if same:
                continue
            finished = store.read(place)
            if finished is None:
                description = {
                    "label": job.label,
                    "data": asdict(plan.data),
                    "learn_from": _other_shop(job),
                    "vectors": str(kept) if vectors is not None else None,
                    "folder": str(place.absolute()),
                    "decides": job.to_dict(fingerprints=fingerprints),
                }
                error = _do(description, Path(scratch) / "job.json")
                finished = store.read(place)
                if finished is None:
                    results.failed(job, error or "the process ended without a result")
                    continue
            results.add(job, finished)
    return together(results)


def _check(shop: shared.Shop, plan: Plan) -> None:
    """Refuse leaks and unknown groups before anything is fitted."""
    guards.check_all(None, shop.split)
    measures.groupings(shop.split.test, shop.split, shop.catalogue(None), plan.options)


def _other_shop(job: Job) -> dict[str, Any] | None:
    """Return what a job learns from, where that is another shop; the floor always learns from the shop itself."""
    source = job.plan.learn_from
    return None if source is None or job.entry.floor else asdict(source)


def _do(description: dict[str, Any], file: Path) -> str | None:
    """Do one job in its own process; return why it failed, or None."""
    file.write_text(json.dumps(description), encoding="utf-8")
    command = [sys.executable, "-m", "tastemaker.compare.worker", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
    try:
        said, _ = process.communicate()
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
