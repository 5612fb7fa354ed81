"""The study on disk: one SQLite file that survives kill -9, held by one search at a time, for one question only."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tastemaker.data.readers import refuse_among_data
from tastemaker.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from optuna.storages import RDBStorage
    from optuna.study import Study

FILE, LOCK = "study.sqlite", ".search.lock"
NAME = "search"
WARM_TRIALS, WARM_EPOCHS = 5, 3
"""No trial is ended early before so many have run to their end, nor in its first epochs."""
WORDS = {
    "data": "data",
    "protocol": "questions",
    "settings": "configuration",
    "space": "settings to try",
    "measure": "measure",
    "seed": "seed",
    "prunes": "choice about pruning",
}
"""Part of a study's identity -> how a message calls it, after "with other"."""


def require_optuna() -> None:
    """Load optuna and keep it quiet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtra("a search", error.name or "optuna", "search") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextmanager
def opened(folder: Path, identity: Mapping[str, Any], *, prunes: bool) -> Iterator[Study]:
    """Open the study in `folder`, or make one; nobody else can while it is open.

    A trial that a killed search left running is ended without a result, so that it is done again.

    Args:
        folder: made where it is missing.
        identity: all that decides what a trial finds, as JSON values; a study of another one is refused.
        prunes: whether poor trials may be ended early.

    Raises:
        DataError: the folder cannot be written to, is in use, or holds something else.
        MissingExtra: optuna is not installed.
    """
    require_optuna()
    import optuna

    refuse_among_data(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; choose another folder") from error
    pruners, states = optuna.pruners, optuna.trial.TrialState
    with _held(folder), _storage(folder / FILE) as storage:
        study = optuna.create_study(
            storage=storage,
            study_name=NAME,
            direction="maximize",
            pruner=pruners.MedianPruner(WARM_TRIALS, WARM_EPOCHS) if prunes else pruners.NopPruner(),
            load_if_exists=True,
        )
        _identify(study, identity, folder)
        for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            study.tell(trial.number, state=states.FAIL)
        yield study


@contextmanager
def _storage(file: Path) -> Iterator[RDBStorage]:
    """Open the file, or make it.

    Raises:
        DataError: it is no study, or one of another release of optuna.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy import event
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = RDBStorage(f"sqlite:///{file.absolute()}")
        event.listen(storage.engine, "connect", _log_ahead)
        storage.engine.dispose()  # connections from here on are such
    except (SQLAlchemyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be used as a study ({reason}); remove it or choose another folder") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go of it when the process ends, however it ends."""
    try:
        lock = sqlite3.connect(folder / LOCK, isolation_level=None, timeout=0)
    except sqlite3.Error as error:
        raise DataError(f"{folder}: cannot be written: {error}; choose another folder") from error
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if "locked" in str(error):
            raise DataError(
                f"{folder}: another search is running there; wait for it or choose another --out"
            ) from error
        raise DataError(f"{folder}: cannot be written: {error}; choose another folder") from error
    try:
        yield
    finally:
        lock.close()


def _log_ahead(connection: sqlite3.Connection, _: object) -> None:
    """Write ahead to a log: kill -9 loses nothing, a power cut the newest trials at most, and no disk is waited for."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _identify(study: Study, identity: Mapping[str, Any], folder: Path) -> None:
    """Refuse a study that asks something else.

    Raises:
        DataError: it does.
    """
    asked = json.loads(json.dumps(identity))
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", asked)
    elif known != asked:
        others = [WORDS.get(part, part) for part in asked if known.get(part) != asked[part]]
        words = " and ".join(others)
        raise DataError(
            f"{folder}: holds a study with other {words}; choose another --out, or remove {folder / FILE} to begin anew"
        )
