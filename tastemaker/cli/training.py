"""How networks are trained, on the command line: device, threads, checkpoints, learning curves."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from tastemaker import evaluate
from tastemaker.cli.output import note
from tastemaker.cli.protocol import check_device
from tastemaker.errors import ConfigError
from tastemaker.neural.training import curves
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

THREADS_OPTION = typer.Option(
    None,
    "--threads",
    metavar="N|measure",
    help="Threads that networks are trained with. measure tries which number is quickest and reports it; given "
    "that number, the result is the same bit for bit.",
)
CHECKPOINTS_OPTION = typer.Option(
    None,
    "--checkpoints",
    metavar="DIR",
    help="Keep the state of networks here after each epoch; if the command is killed, the same command goes on.",
)
CURVES_OPTION = typer.Option(
    None,
    "--curves",
    metavar="KIND:PLACE",
    help="Where learning curves go while they grow: jsonl:FILE, tensorboard:DIR or mlflow:ADDRESS; give it again "
    "for more.",
)


@dataclass(frozen=True, slots=True)
class Training:
    """What the options say.

    Attributes:
        device: where networks are trained; None for the processor.
        threads: a number, "measure", or None.
        checkpoints: folder, or None.
        sinks: where curves go.
    """

    device: str | None
    threads: str | None
    checkpoints: Path | None
    sinks: Sequence[str] | None

    def check(self) -> None:
        """Refuse what cannot be, before any data are read.

        Raises:
            ConfigError: no such device, or the threads are no number.
        """
        check_device(self.device)
        _threads(self.threads)

    @contextmanager
    def aids(self) -> Iterator[Aids]:
        """Give the aids of a training; where it is stopped, say how it goes on."""
        try:
            with curves.opened(self.sinks or ()) as on_epoch:
                threads = _threads(self.threads)
                yield Aids(folder=self.checkpoints, device=self.device or "cpu", threads=threads, on_epoch=on_epoch)
        except KeyboardInterrupt:
            if self.checkpoints is not None:
                note(f"stopped; the same command goes on from {self.checkpoints}")
            raise

    def done(self) -> None:
        """Remove the checkpoints of a training whose result is saved."""
        if self.checkpoints is not None:
            evaluate.forget_checkpoints(self.checkpoints)


def _threads(word: str | None) -> int | Literal["measure"] | None:
    """Read the number of threads.

    Raises:
        ConfigError: neither a number of at least 1 nor "measure".
    """
    if word is None:
        return None
    if word == "measure":
        return "measure"
    if not word.isdecimal() or int(word) < 1:
        raise ConfigError(f"--threads {word}: must be a number of at least 1, or measure")
    return int(word)
