"""Ranks in a process of its own, which gives way to others.

    python -m tastemaker.serve.precomputing.worker < LINES

The first line says which model and how, each further one holds tasks; a line of results answers each. It ends with its
input, whatever it is at.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tastemaker import artifact, saved
from tastemaker.errors import ArtifactError, TastemakerError
from tastemaker.serve.precomputing.stages import Stages
from tastemaker.serve.precomputing.tasks import tasks_of, to_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.pipeline import Pipeline


def work(lines: Iterator[str], out: TextIO) -> None:
    """Answer lines until there are no more."""
    given = json.loads(next(lines))
    os.nice(given["niceness"])
    try:
        pipeline = _loaded(Path(given["folder"]), given["digest"])
        stages = Stages(pipeline, depth=given["depth"], reasons=given["reasons"])
    except TastemakerError as error:
        _say(out, json.dumps({"error": "; ".join(str(error).splitlines())}) + "\n")
        return
    _say(out, json.dumps({"ready": os.getpid()}) + "\n")
    for line in lines:
        try:
            answer = to_line(stages.ask(tasks_of(line)))
        except Exception as error:  # what is said of it must not hold what the model was asked
            answer = json.dumps({"error": type(error).__name__}) + "\n"
        _say(out, answer)


def _loaded(folder: Path, digest: str) -> Pipeline:
    """Return the pipeline of a folder.

    Raises:
        ArtifactError: there is none, or it is not the one that was meant: its numbers of products mean others.
    """
    pipeline = saved.load(folder, keep_answers=False).pipeline
    if digest and artifact.fingerprint(folder) != digest:
        raise ArtifactError(f"{folder.name}: fitted anew since the model that answers was loaded; add it as a new one")
    return pipeline


def _say(out: TextIO, line: str) -> None:
    out.write(line)
    out.flush()


def _lines() -> Iterator[str]:
    """Yield the lines of stdin; the process ends as soon as nobody holds its other end."""
    read: queue.SimpleQueue[str] = queue.SimpleQueue()

    def follow() -> None:
        for line in sys.stdin:
            read.put(line)
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    while True:
        yield read.get()


def main() -> None:
    """Work for the process at the other end of stdin and stdout; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work(_lines(), out)


if __name__ == "__main__":
    main()
