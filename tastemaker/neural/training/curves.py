"""Learning curves while they grow: as JSON lines, in TensorBoard, or in MLflow.

Each sink is called after every epoch with the name of the part that is trained and its newest entry, as
`Aids.on_epoch` wants it, and is to be closed at the end.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from tastemaker.errors import ConfigError, DataError, MissingExtra, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

EXTRA = "tracking"
"""Optional dependency group of TensorBoard and MLflow."""


class Sink(Protocol):
    """Where learning curves go."""

    def __call__(self, part: str, entry: Mapping[str, float]) -> None:
        """Take in one epoch of one part."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class JsonLines:
    """One JSON object a line and epoch, with the part's name; written out at once, so that it can be followed.

    An existing file is added to, so that a training that is gone on with ends in one curve.

    Raises:
        DataError: the file cannot be written.
    """

    def __init__(self, place: str) -> None:
        try:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = open(place, "a", encoding="utf-8")  # noqa: SIM115  # closed by close
        except OSError as error:
            raise DataError(f"{place}: cannot be written: {error.strerror}; choose another file") from error

    def __call__(self, part: str, entry: Mapping[str, float]) -> None:
        """Add a line."""
        self._file.write(json.dumps({"part": part, **entry}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Event files that `tensorboard --logdir FOLDER` shows; one scalar a part and key.

    Raises:
        MissingExtra: the package tensorboard is not installed.
    """

    def __init__(self, place: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra("--curves tensorboard", "tensorboard", EXTRA) from error
        self._writer: Any = SummaryWriter(place)

    def __call__(self, part: str, entry: Mapping[str, float]) -> None:
        """Add the epoch's values."""
        for key, value in entry.items():
            if key != "epoch":
                self._writer.add_scalar(f"{part}/{key}", value, int(entry["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the event files."""
        self._writer.close()


class MLflow:
    """A run in MLflow's experiment "tastemaker"; one metric a part and key.

    Args:
        place: address of a tracking server or a database, e.g. https://mlflow.shop or sqlite:///mlflow.db.

    Raises:
        MissingExtra: the package mlflow is not installed.
        ConfigError: MLflow cannot use the address.
    """

    def __init__(self, place: str) -> None:
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingExtra("--curves mlflow", "mlflow", EXTRA) from error
        try:
            self._client: Any = MlflowClient(tracking_uri=place)
            known = self._client.get_experiment_by_name("tastemaker")
            number = known.experiment_id if known else self._client.create_experiment("tastemaker")
            self._run: str = self._client.create_run(number).info.run_id
        except MlflowException as error:
            raise ConfigError(
                f"--curves mlflow:{place}: MLflow cannot use it; give the address of a server or a database, "
                f"e.g. sqlite:///mlflow.db ({error})"
            ) from error

    def __call__(self, part: str, entry: Mapping[str, float]) -> None:
        """Add the epoch's values; "@", which MLflow does not take in names, becomes "_at_"."""
        for key, value in entry.items():
            if key != "epoch":
                name = f"{part}/{key}".replace("@", "_at_")
                self._client.log_metric(self._run, name, value, step=int(entry["epoch"]))

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run)


SINKS: dict[str, Callable[[str], Sink]] = {"jsonl": JsonLines, "tensorboard": TensorBoard, "mlflow": MLflow}
"""Sinks by the word that stands for them."""


@contextmanager
def opened(descriptions: Sequence[str]) -> Iterator[Callable[[str, Mapping[str, float]], None] | None]:
    """Open sinks and yield what feeds all of them, or None where there is none; they are closed at the end.

    Args:
        descriptions: each "KIND:PLACE": jsonl:FILE, tensorboard:FOLDER, mlflow:ADDRESS.

    Raises:
        ConfigError: an unknown kind, or no place.
        MissingExtra: a kind needs a package that is not installed.
    """
    sinks: list[Sink] = []
    try:
        for text in descriptions:
            kind, _, place = text.partition(":")
            if kind not in SINKS:
                raise ConfigError(f"--curves {text}: unknown kind of learning curve{did_you_mean(kind, SINKS)}")
            if not place:
                raise ConfigError(f"--curves {text}: says no place; write {kind}:PLACE")
            sinks.append(SINKS[kind](place))

        def feed(part: str, entry: Mapping[str, float]) -> None:
            for sink in sinks:
                sink(part, entry)

        yield feed if sinks else None
    finally:
        for sink in sinks:
            sink.close()
