"""The list of fetched files that stands beside fetched data sets, `fetched.json`: what came, and its SHA-256."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tastemaker.data.fetching.download import only_one
from tastemaker.drafts import PREFIX
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LEDGER, LOCK = "fetched.json", ".fetched.lock"
Sum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
COUNTED = {"users", "items", "interactions"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Download(_Strict):
    """A file as it came.

    Attributes:
        url: its address.
        bytes: its length.
        sha256: its SHA-256.
        compared_with: what that was compared with, in words.
    """

    url: str
    bytes: int = Field(ge=0)
    sha256: Sum
    compared_with: str


class Entry(_Strict):
    """What is known of one data set.

    Attributes:
        files: the downloaded files, by name.
        folder: SHA-256 of each file that was written into the canonical folder; empty before that is done.
        counts: users, items and interactions in it; empty before that is done.
        kept: whether the downloaded files were kept.
        unfinished: whether the folder was being written.
    """

    files: dict[str, Download] = {}
    folder: dict[str, Sum] = {}
    counts: dict[str, int] = {}
    kept: bool = False
    unfinished: bool = False

    @model_validator(mode="after")
    def _counts_of_the_folder(self) -> Self:
        if self.counts.keys() != (COUNTED if self.folder else set()):
            raise ValueError("folder and counts do not fit together")
        return self


class _Ledger(_Strict):
    format: Literal[1] = 1
    sets: dict[str, Entry] = {}


def read_entry(out: Path, name: str) -> Entry:
    """Return what the list in `out` says of the set `name`; an empty entry where it says nothing.

    Raises:
        DataError: the list is damaged, or of another version.
        OSError: it cannot be read.
    """
    return _read(out).sets.get(name, Entry())


def write_entry(out: Path, name: str, entry: Entry) -> None:
    """Put an entry into the list in `out`, whole or not at all; other processes' entries stay.

    Raises:
        DataError: the list is damaged, or of another version.
        OSError: it cannot be written.
    """
    with only_one(out / LOCK, wait=True):
        ledger = _read(out)
        ledger.sets[name] = entry
        draft = out / f"{PREFIX}{LEDGER}"
        content = {"format": ledger.format, "sets": {key: one.model_dump() for key, one in ledger.sets.items()}}
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(out / LEDGER)


def _read(out: Path) -> _Ledger:
    path = out / LEDGER
    if not path.exists():
        return _Ledger()
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return _Ledger.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        fault = f"{place or 'it'}: {problem['msg'].removeprefix('Value error, ')}"
    except ValueError as error:  # no UTF-8, or no JSON
        fault = str(error)
    except RecursionError:
        fault = "nested too deeply"
    raise DataError(
        f"{path}: damaged, or of another version of tastemaker ({fault}); remove it, or choose another folder (--out)"
    )
