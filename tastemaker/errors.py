"""Every exception that tastemaker raises on purpose.

A `TastemakerError` means "the caller can mend this": the command line prints it as one line and exits with 2, an HTTP
service answers 4xx. Any other exception that leaves the package is a bug and keeps its traceback.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class TastemakerError(Exception):
    """Base of all errors that the caller can mend."""


class DataError(TastemakerError):
    """The data break a rule: the message names place, value and cure."""


class LeakError(DataError):
    """Something that is held out is known before it may be.

    Args:
        what: what leaks where.
        rows: every row that leaks, in words; the first five are shown.
        cure: what to do about it.
    """

    def __init__(self, what: str, rows: Sequence[str], cure: str) -> None:
        shown = "; ".join(rows[:5]) + ("; ..." if len(rows) > 5 else "")
        counted = f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}"
        super().__init__(f"leak: {what}: {counted} ({shown}). {cure}")
        self.rows = tuple(rows)


class ConfigError(TastemakerError):
    """A setting is unknown, missing or out of range."""


class ArtifactError(TastemakerError):
    """A saved model is incomplete, altered, or of another format."""


class NotFitted(TastemakerError):
    """A model was asked before `fit` or `restore`."""


class MissingExtra(TastemakerError):
    """An optional package is not installed; the message says which extra brings it."""

    def __init__(self, what: str, module: str, extra: str) -> None:
        super().__init__(f"{what} needs {module}: pip install 'tastemaker[{extra}]'")


class TrainingFailed(TastemakerError):
    """Training went astray, or its checkpoint cannot be used."""


class LanguageModelError(TastemakerError):
    """A language model could not be loaded or reached, or gave no answer."""


class BudgetExceeded(LanguageModelError):
    """The call or token budget of a language model is used up."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known word, or the list of known words."""
    known = sorted(known)
    close = get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
