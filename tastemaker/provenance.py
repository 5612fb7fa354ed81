"""What made a figure, beside data and settings: the versions of the packages that can move it, and our own code."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import tastemaker

RECORDED = (
    *("numpy", "scipy", "polars", "scikit-learn", "safetensors", "torch", "transformers", "tokenizers", "gguf"),
    *("sentence-transformers", "implicit", "faiss-cpu", "faiss-gpu", "httpx2"),
)
"""Packages whose versions can move a figure."""
SHOWING = ("cli", "published", "report", "templates", "experiments", "rules", "serve", "store", "__pycache__")
"""Folders of the package that only show or serve what models give."""


def versions() -> dict[str, str]:
    """Return the versions of tastemaker, Python and those `RECORDED` packages that are installed; imports nothing."""
    found = {"tastemaker": tastemaker.__version__, "python": platform.python_version()}
    for name in RECORDED:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@cache
def code_digest() -> str:
    """Return the SHA-256 of every source file of the package, but for those that only show figures."""
    root = Path(tastemaker.__file__).parent
    state = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in SHOWING:
            state.update(f"{name.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return state.hexdigest()
