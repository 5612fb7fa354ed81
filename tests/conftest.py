"""Shared fixtures: where the real data are, and whether the packaged weights are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One thread a process and no network: set before numpy or torch start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; a missing one skips, and fails where TASTEMAKER_REQUIRE_DATA is set."""
    folder = Path(os.environ.get("TASTEMAKER_DATA", ""))
    if os.environ.get("TASTEMAKER_DATA") and folder.is_dir():
        return folder
    reason = "set TASTEMAKER_DATA to the folder of real data sets"
    if os.environ.get("TASTEMAKER_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)
