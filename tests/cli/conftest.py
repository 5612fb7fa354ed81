"""Run the command line in this process, as a user would call it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tastemaker.cli.main import run
from tastemaker.data.writers.canonical import write
from tastemaker.testing import tiny_shop


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def tastemaker(capsys, monkeypatch):
    """A function that runs `tastemaker WORDS` and returns exit code, stdout and stderr."""

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tastemaker", *map(str, words)])
        capsys.readouterr()
        try:
            run()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def shop(tmp_path):
    """A tiny shop as a canonical folder."""
    write(tiny_shop(users=80), tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def refused(tastemaker):
    """Run a command that the caller got wrong: exit 2 and one line on stderr; returns that line."""

    def call(*words: object) -> str:
        outcome = tastemaker(*words)
        assert outcome.code == 2, outcome
        assert "Traceback" not in outcome.err
        errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, outcome.err
        return errors[0]

    return call
