"""Answers on disk: what a language model was asked once is not asked again, and a killed run goes on where it was.

One file, shared by models and by processes. Keys are SHA-256 hashes of model, fingerprint, prompt and parameters, so
prompts are not stored; answers are, and a likelihood comes back bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from tastemaker.disk_cache import DiskCache
from tastemaker.folders import cache_folder
from tastemaker.lm.base import ChoiceModel, Completion, LanguageModel, LikelihoodModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tastemaker.lm.base import Prompt
    from tastemaker.types import Float32

BATCH = 32  # prompts between two commits: the most that a kill can lose


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
        ConfigError: the file cannot be made or used, or is another program's.
        ArtifactError: it is damaged.
    """

    def __init__(self, lm: LanguageModel, path: Path) -> None:
        self.lm = lm
        self.path = path
        self.name = lm.name
        self.fingerprint = lm.fingerprint
        self.usage = lm.usage
        self._bypassed = False
        self._store = DiskCache(path, contents="answers", cure="name another file in lm.cache")
        self._store.get([])  # a file that cannot be used shows now, not after the first answer

    @contextmanager
    def bypassed(self) -> Iterator[None]:
        """Ask the model itself for one `with`, and keep nothing: for measuring how long it takes."""
        before, self._bypassed = self._bypassed, True
        try:
            yield
        finally:
            self._bypassed = before

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer from the file, and from the model where the file has none."""
        keys = [self._key("generate", prompt, max_tokens, list(stop), seed) for prompt in prompts]

        def ask(rows: list[int]) -> list[bytes]:
            answers = self.lm.generate([prompts[row] for row in rows], max_tokens=max_tokens, stop=stop, seed=seed)
            return [_packed(answer) for answer in answers]

        blobs, known = self._answers(keys, ask)
        answers = [self._unpacked(blob) for blob in blobs]
        self._count(*((answers[row].prompt_tokens, answers[row].answer_tokens) for row in known))
        return answers

    def _key(self, method: str, prompt: Prompt, *parameters: object) -> bytes:
        facts = [self.name, self.fingerprint, method, prompt.system, prompt.user, prompt.answer, *parameters]
        return hashlib.sha256(json.dumps(facts).encode()).digest()

    def _answers(self, keys: Sequence[bytes], ask: Callable[[list[int]], list[bytes]]) -> tuple[list[bytes], list[int]]:
        """Return the value of every key, and the rows for which `ask` was not needed."""
        if self._bypassed:
            return ask(list(range(len(keys)))), []
        stored = self._store.get(keys)
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key not in stored}
        known = [row for row, key in enumerate(keys) if first.get(key) != row]
        self.usage.cached += len(known)
        return self._store.complete(keys, stored, ask, batch=BATCH), known

    def _count(self, *tokens: tuple[int, int]) -> None:
        """Add tokens read and written of cached answers to the account."""
        self.usage.cached_prompt_tokens += sum(read for read, _ in tokens)
        self.usage.cached_answer_tokens += sum(written for _, written in tokens)

    def _unpacked(self, blob: bytes) -> Completion:
        try:
            text, read, written, finished = json.loads(blob)
        except (ValueError, TypeError) as error:
            raise self._store.damaged("an answer cannot be read") from error
        return Completion(str(text), int(read), int(written), bool(finished))

    def _floats(self, blob: bytes, count: int) -> Float32:
        """Return the `count` values of an entry."""
        if not isinstance(blob, bytes) or len(blob) != 4 * count:
            raise self._store.damaged("an entry has the wrong length")
        return np.frombuffer(blob, dtype="<f4").astype(np.float32)


class CachedChoiceLM(CachedLM):
    """A `CachedLM` around a model that gives likelihoods of choices."""

    lm: ChoiceModel

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return log-probabilities from the file, and from the model where the file has none."""
        keys = [self._key("next_token", prompt, list(choices)) for prompt in prompts]

        def ask(rows: list[int]) -> list[bytes]:
            asked = [prompts[row] for row in rows]
            before = self.usage.prompt_tokens, self.usage.answer_tokens
            values = self.lm.next_token(asked, choices).astype("<f4")
            self._keep_tokens(asked, self.usage.prompt_tokens - before[0], self.usage.answer_tokens - before[1])
            return [row.tobytes() for row in values]

        blobs, known = self._answers(keys, ask)
        self._count(*self._tokens([prompts[row] for row in known]))
        rows = [self._floats(blob, len(choices)) for blob in blobs]
        return np.array(rows, dtype=np.float32).reshape(len(prompts), len(choices))

    def _keep_tokens(self, prompts: Sequence[Prompt], read: int, written: int) -> None:
        """Keep what prompts took that were asked together, each its equal share: servers tell nothing finer here."""
        if not self._bypassed:
            share = json.dumps([round(read / len(prompts)), round(written / len(prompts))]).encode()
            self._store.put((self._key("tokens", prompt), share) for prompt in prompts)

    def _tokens(self, prompts: Sequence[Prompt]) -> list[tuple[int, int]]:
        """Return tokens read and written for prompts that were asked once; none for those of which nothing was kept."""
        keys = [self._key("tokens", prompt) for prompt in prompts]
        kept = self._store.get(keys)
        try:
            return [
                (int(read), int(written)) for read, written in (json.loads(kept[key]) for key in keys if key in kept)
            ]
        except (ValueError, TypeError) as error:
            raise self._store.damaged("a count of tokens cannot be read") from error


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
        known = {} if self._bypassed else self._store.get(key for own in keys for key in own.values())
        missing = [[text for text in own if own[text] not in known] for own in keys]
        todo = [row for row, own in enumerate(missing) if own]
        done = [row for row, own in enumerate(missing) if not own]
        self.usage.cached += len(done)
        prompt_tokens = self._tokens([prompts[row] for row in done])
        self._count(*prompt_tokens, *((self.count_tokens(f" {text}"), 0) for row in done for text in texts[row]))
        for start in range(0, len(todo), BATCH):
            rows = todo[start : start + BATCH]
            values = self.lm.loglikelihood([prompts[row] for row in rows], [missing[row] for row in rows])
            fresh = [
                (keys[row][text], np.float32(value).astype("<f4").tobytes())
                for row, found in zip(rows, values, strict=True)
                for text, value in zip(missing[row], found, strict=True)
            ]
            if not self._bypassed:
                self._store.put(fresh)
            known.update(fresh)
        return [
            np.array([self._floats(known[keys[row][text]], 1)[0] for text in own], dtype=np.float32)
            for row, own in enumerate(continuations)
        ]

    def count_tokens(self, text: str | Prompt) -> int:
        """Ask the model's tokenizer."""
        return self.lm.count_tokens(text)

    def _keep_tokens(self, prompts: Sequence[Prompt], read: int, written: int) -> None:
        """Keep nothing: the model can count."""

    def _tokens(self, prompts: Sequence[Prompt]) -> list[tuple[int, int]]:
        return [(self.count_tokens(prompt), 0) for prompt in prompts]


def _packed(answer: Completion) -> bytes:
    return json.dumps([answer.text, answer.prompt_tokens, answer.answer_tokens, answer.finished]).encode()
