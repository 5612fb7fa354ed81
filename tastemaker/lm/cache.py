"""Answers on disk: what a language model was asked once is not asked again, and a killed run goes on where it was.

One SQLite file, shared by models and by processes. Keys are SHA-256 hashes of model, fingerprint, prompt and
parameters, so prompts are not stored; answers are, and a likelihood comes back bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tastemaker.errors import LanguageModelError
from tastemaker.folders import cache_folder
from tastemaker.lm.base import ChoiceModel, Completion, LanguageModel, LikelihoodModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tastemaker.lm.base import Prompt
    from tastemaker.types import Float32

BATCH = 32  # prompts between two commits: the most that a kill can lose
ASKED = 500  # keys in one SELECT; SQLite's oldest limit is 999
PATIENCE = 60.0  # seconds to wait while another process writes
APPLICATION = 0x54_4D_41_31  # "TMA1": marks the file as ours, and its format


def default_path() -> Path:
    """Return where answers are kept if nobody says otherwise."""
    return cache_folder() / "answers.sqlite"


@overload
def cached(lm: LikelihoodModel, path: Path | None = None) -> CachedLikelihoodLM: ...
@overload
def cached(lm: ChoiceModel, path: Path | None = None) -> CachedChoiceLM: ...
@overload
def cached(lm: LanguageModel, path: Path | None = None) -> CachedLM: ...
def cached(lm: LanguageModel, path: Path | None = None) -> CachedLM:
    """Wrap `lm` so that it looks into the file `path` first; the wrapper can exactly what the model can."""
    path = default_path() if path is None else Path(path)
    if isinstance(lm, LikelihoodModel):
        return CachedLikelihoodLM(lm, path)
    return CachedChoiceLM(lm, path) if isinstance(lm, ChoiceModel) else CachedLM(lm, path)


class CachedLM:
    """A language model with a memory on disk; made by `cached`.

    Raises:
        LanguageModelError: the file cannot be used; its name and the cure are in the message.
    """

    def __init__(self, lm: LanguageModel, path: Path) -> None:
        self.lm = lm
        self.path = path
        self.name = lm.name
        self.fingerprint = lm.fingerprint
        self.usage = lm.usage
        with closing(_open(path)):
            pass  # a file that cannot be used shows now, not after the first answer

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer from the file, and from the model where the file has none."""
        keys = [self._key("generate", prompt, max_tokens, list(stop), seed) for prompt in prompts]

        def ask(rows: list[int]) -> list[bytes]:
            answers = self.lm.generate([prompts[row] for row in rows], max_tokens=max_tokens, stop=stop, seed=seed)
            return [_packed(answer) for answer in answers]

        return [_unpacked(blob, self.path) for blob in self._answers(keys, ask)]

    def _key(self, method: str, prompt: Prompt, *parameters: object) -> bytes:
        facts = [self.name, self.fingerprint, method, prompt.system, prompt.user, prompt.answer, *parameters]
        return hashlib.sha256(json.dumps(facts).encode()).digest()

    def _answers(self, keys: Sequence[bytes], ask: Callable[[list[int]], list[bytes]]) -> list[bytes]:
        """Return the stored value of every key; `ask` computes those of the rows that have none, each key once."""
        with self._store() as store:
            known = _read(store, keys)
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key not in known}
        missing = sorted(first.values())
        self.usage.cached += len(keys) - len(missing)
        for start in range(0, len(missing), BATCH):
            rows = missing[start : start + BATCH]
            fresh = list(zip([keys[row] for row in rows], ask(rows), strict=True))
            self._write(fresh)
            known.update(fresh)
        return [known[key] for key in keys]

    def _write(self, fresh: Sequence[tuple[bytes, bytes]]) -> None:
        with self._store() as store, store:
            store.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", fresh)

    def _store(self) -> _Store:
        return _Store(self.path)


class CachedChoiceLM(CachedLM):
    """A `CachedLM` around a model that gives likelihoods of choices."""

    lm: ChoiceModel

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return log-probabilities from the file, and from the model where the file has none."""
        keys = [self._key("next_token", prompt, list(choices)) for prompt in prompts]

        def ask(rows: list[int]) -> list[bytes]:
            return [row.tobytes() for row in self.lm.next_token([prompts[row] for row in rows], choices).astype("<f4")]

        rows = [_floats(blob, len(choices), self.path) for blob in self._answers(keys, ask)]
        return np.array(rows, dtype=np.float32).reshape(len(prompts), len(choices))


class CachedLikelihoodLM(CachedChoiceLM):
    """A `CachedChoiceLM` around a model whose every probability is open."""

    lm: LikelihoodModel

    def __init__(self, lm: LikelihoodModel, path: Path) -> None:
        super().__init__(lm, path)
        self.context = lm.context

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[Float32]:
        """Return log-probabilities; each continuation has its own entry, so other candidates cost only themselves."""
        texts = [list(dict.fromkeys(own)) for own in continuations]
        keys = [
            {text: self._key("loglikelihood", prompt, text) for text in own}
            for prompt, own in zip(prompts, texts, strict=True)
        ]
        with self._store() as store:
            known = _read(store, [key for own in keys for key in own.values()])
        missing = [[text for text in own if own[text] not in known] for own in keys]
        todo = [row for row, own in enumerate(missing) if own]
        self.usage.cached += len(prompts) - len(todo)
        for start in range(0, len(todo), BATCH):
            rows = todo[start : start + BATCH]
            values = self.lm.loglikelihood([prompts[row] for row in rows], [missing[row] for row in rows])
            fresh = [
                (keys[row][text], np.float32(value).astype("<f4").tobytes())
                for row, found in zip(rows, values, strict=True)
                for text, value in zip(missing[row], found, strict=True)
            ]
            self._write(fresh)
            known.update(fresh)
        return [
            np.array([_floats(known[keys[row][text]], 1, self.path)[0] for text in own], dtype=np.float32)
            for row, own in enumerate(continuations)
        ]

    def count_tokens(self, text: str | Prompt) -> int:
        """Ask the model's tokenizer."""
        return self.lm.count_tokens(text)


class _Store:
    """A connection for the time of one `with`; what SQLite has to complain about becomes a LanguageModelError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._connection = _open(self._path)
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise _unusable(self._path, error) from error


def _open(path: Path) -> sqlite3.Connection:
    connection: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=PATIENCE)
        [mark] = connection.execute("PRAGMA application_id").fetchone()
        if mark != APPLICATION:
            [tables] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name <> 'answers'").fetchone()
            if mark or tables:
                connection.close()
                raise LanguageModelError(f"{path}: not a file of answers of this version; choose another one")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never the file
        connection.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
    except (sqlite3.Error, OSError) as error:
        if connection is not None:
            connection.close()
        raise _unusable(path, error) from error
    return connection


def _unusable(path: Path, error: Exception) -> LanguageModelError:
    if isinstance(error, OSError):
        return LanguageModelError(f"{path}: cannot be written: {error.strerror}; name another file in lm.cache")
    if isinstance(error, sqlite3.OperationalError):
        return LanguageModelError(f"{path}: cannot be used now: {error}; name another file in lm.cache")
    return LanguageModelError(f"{path}: the cache of answers is damaged: {error}; delete the file")


def _read(store: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for part in _parts(sorted(set(keys))):
        marks = ", ".join("?" * len(part))
        found.update(store.execute(f"SELECT key, value FROM answers WHERE key IN ({marks})", part))
    return found


def _parts(keys: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), ASKED):
        yield keys[start : start + ASKED]


def _packed(answer: Completion) -> bytes:
    return json.dumps([answer.text, answer.prompt_tokens, answer.answer_tokens, answer.finished]).encode()


def _unpacked(blob: bytes, path: Path) -> Completion:
    try:
        text, read, written, finished = json.loads(blob)
    except (ValueError, TypeError) as error:
        raise _unusable(path, sqlite3.DatabaseError("an answer cannot be read")) from error
    return Completion(str(text), int(read), int(written), bool(finished))


def _floats(blob: bytes, count: int, path: Path) -> Any:  # noqa: ANN401  # float32 [count]
    if not isinstance(blob, bytes) or len(blob) != 4 * count:
        raise _unusable(path, sqlite3.DatabaseError("an entry has the wrong length"))
    return np.frombuffer(blob, dtype="<f4")
