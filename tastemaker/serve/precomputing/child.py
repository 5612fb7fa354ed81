"""The process that ranks ahead, as the one that started it sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from tastemaker.errors import TastemakerError
from tastemaker.serve.precomputing.tasks import Result, Task, results_of, to_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NICENESS = 10
"""How far the process gives way: on a busy core it gets about a tenth of what one that answers requests gets."""
PATIENCE = 600.0
"""Seconds for one line of tasks."""


class WorkerError(TastemakerError):
    """The process that ranks ahead cannot work."""


class Child:
    """A process that holds a copy of a model; it is started by the first question, and again after it ended.

    Args:
        folder: of the saved model.
        depth: products of a ranking.
        reasons: for how many of these the language model phrases the reason.
        digest: fingerprint that the folder must have, so that numbers of products mean the same; "" for any.
        threads: of numerical libraries.
        patience: seconds after which a process that does not answer is ended.
    """

    def __init__(
        self,
        folder: Path,
        *,
        depth: int,
        reasons: int,
        digest: str = "",
        threads: int = 1,
        patience: float = PATIENCE,
    ) -> None:
        self._first = {
            "folder": str(folder),
            "depth": depth,
            "reasons": reasons,
            "digest": digest,
            "niceness": NICENESS,
        }
        self._threads, self._patience = threads, patience
        self._process: subprocess.Popen[str] | None = None

    def ask(self, tasks: Sequence[Task]) -> list[Result]:
        """Return a result for each task; may take as long as `patience`, and the first time to load the model too.

        Raises:
            WorkerError: the model cannot be loaded there, or the process ended or failed.
        """
        process = self._process or self._start()
        found = self._exchange(process, to_line(tasks))
        if isinstance(found, dict):
            raise WorkerError(f"ranking ahead failed: {found.get('error', 'no answer')}")
        return results_of(json.dumps(found))

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # it owns nothing that a kill could harm
        process.wait()
        for end in (process.stdin, process.stdout):
            if end is not None:
                end.close()

    def _start(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tastemaker.serve.precomputing.worker"]
        process = self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **dict.fromkeys(THREADS, str(self._threads)), "TOKENIZERS_PARALLELISM": "false"},
        )
        found = self._exchange(process, json.dumps(self._first) + "\n")
        if not isinstance(found, dict) or "ready" not in found:
            self.close()
            raise WorkerError(f"ranking ahead cannot begin: {found['error'] if isinstance(found, dict) else 'failed'}")
        return process

    def _exchange(self, process: subprocess.Popen[str], line: str) -> Any:  # noqa: ANN401  # JSON
        """Send a line and return what comes back.

        Raises:
            WorkerError: the process ended.
        """
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        watch = threading.Timer(self._patience, process.kill)
        watch.daemon = True
        watch.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):  # it ended, or was closed meanwhile
            answer = ""
        finally:
            watch.cancel()
        if not answer.endswith("\n"):
            self.close()
            raise WorkerError("ranking ahead: the process ended in the middle; see its messages on stderr")
        return json.loads(answer)
