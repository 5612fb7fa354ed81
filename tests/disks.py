"""Disks that fail for real: small ones that fill up, ones that cannot be written, and pages that are damaged."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager

import pytest

from tastemaker.store import open_store


@contextmanager
def mounted(*words):
    """Mount for one block, or skip where this user may not."""
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(words[-1])], check=True)


def damage(path, table):
    """Overwrite the first page of a table."""
    with open_store(path, read_only=True) as store, store._database.read() as connection:
        page = connection.exec_driver_sql(f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'").scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xab" * size)
