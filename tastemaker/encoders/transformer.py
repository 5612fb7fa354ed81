"""Pretrained sentence encoders, through sentence-transformers, arranged to be quick on a CPU.

Against `SentenceTransformer.encode`: repeated texts are encoded once, texts are sorted by their length in tokens (not
in characters), and a batch is as many texts as fit a number of tokens, so that titles go in batches of a good size for
the processor's cache with hardly any padding. The vectors are those of the plain call.

torch is imported when the model is loaded, not with this file: importing it takes seconds, and a run whose vectors are
all in the cache needs none of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tastemaker import configurable
from tastemaker.encoders import tuned_weights
from tastemaker.encoders.base import Encoder, distinct, spread, unit_rows
from tastemaker.errors import ConfigError, LanguageModelError
from tastemaker.progress import Progress, silent
from tastemaker.weights import weights_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from tastemaker.encoders.base import Kind
    from tastemaker.types import Float32

DEFAULT_WEIGHTS = "minilm-l6-v2"
WINDOW = 16_384  # texts that are tokenized and sorted together
PROMPTS: dict[Kind, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}
COMMIT = re.compile("[0-9a-f]{40}")
# All that is fetched from a hub: neither code nor pickled weights.
HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]
PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt"})


class TransformerEncoder(Encoder):
    """Compares texts by their meaning as a pretrained model sees it."""

    name = "transformer"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"weights", "folder", "hub", "revision", "batch_tokens", "threads", "device"}
    )

    class Config(configurable.Config):
        """Which model, and how it is run; name one of `weights`, `folder` and `hub`, or none for MiniLM.

        Attributes:
            weights: name of packaged weights; `tastemaker doctor` lists them.
            folder: a sentence-transformers model on this machine.
            hub: a model on the Hugging Face hub; texts stay here, but the weights are fetched on first use.
            revision: commit hash of the hub model; needed with `hub`, so that the model cannot change underneath.
            max_length: tokens read of a text; 0 is the model's own limit.
            batch_tokens: tokens in one batch.
            threads: of the processor; 0 leaves torch's own choice.
            device: "cpu", "cuda", "cuda:1" ...; vectors differ between devices by rounding only. Those that are in the
                cache are read from there, whichever device made them, and need none now.
            precision: "bfloat16" is faster on processors with AVX512-BF16 or AMX, and slower on others
                (`benchmarks/encode_titles.py --bfloat16` measures it); its vectors differ a little.
        """

        weights: str = ""
        folder: str = ""
        hub: str = ""
        revision: str = ""
        max_length: int = Field(default=0, ge=0)
        batch_tokens: int = Field(default=1024, ge=1)
        threads: int = Field(default=0, ge=0)
        device: str = "cpu"
        precision: Literal["float32", "bfloat16"] = "float32"

    config: Config

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by Config
        super().__init__(**settings)
        self._tuned: dict[str, NDArray[Any]] = {}
        named = [key for key in ("weights", "folder", "hub") if getattr(self.config, key)]
        if len(named) > 1:
            raise ConfigError(f"transformer: {' and '.join(named)} both name a model; keep one")
        if bool(self.config.hub) != bool(self.config.revision):
            raise ConfigError("transformer: hub and revision go together; revision is the commit hash of the model")
        if self.config.revision and not COMMIT.fullmatch(self.config.revision):
            raise ConfigError(
                f"transformer.revision: {self.config.revision!r}: must be the 40 hexadecimal digits of a commit; "
                "what a branch or a tag names can change"
            )

    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode texts; where the model has prompts for queries and documents, they are put in front.

        Raises:
            LanguageModelError: the weights are not here or cannot be loaded.
        """
        import torch
        from sentence_transformers.util import batch_to_device

        found, rows = distinct(texts)
        vectors = np.zeros((len(found), self.dim), dtype=np.float32)
        prompt = self.prompt(kind)
        with torch.inference_mode(), _threads(self.config.threads):
            for batch in progress(self._batches(found), label="encode texts"):
                features = self._model.preprocess([found[row] for row in batch], prompt=prompt, task=kind)
                placed = batch_to_device(features, self._model.device)
                sentence = self._model.forward(placed, task=kind)["sentence_embedding"]
                vectors[batch] = sentence.float().cpu().numpy()
        return spread(unit_rows(vectors), rows)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension() or 0)

    def fingerprint(self) -> str:
        """Return a hash over the model's files and what was tuned, so the same model elsewhere is the same encoder."""
        if not self._tuned:
            return self.base_fingerprint
        return hashlib.sha256(f"{self.base_fingerprint} {super().fingerprint()}".encode()).hexdigest()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights that differ from the pretrained ones; see `tuned_weights`."""
        return dict(self._tuned)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take tuned weights; they are put over the pretrained ones when the model is loaded."""
        self._tuned = dict(arrays)
        self.__dict__.pop("_model", None)  # loaded without them

    @cached_property
    def base_fingerprint(self) -> str:
        """A hash over the files of the pretrained model."""
        state = hashlib.sha256()
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and path.suffix in (".safetensors", ".json", ".txt", ".model"):
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                state.update(f"{path.relative_to(self._folder).as_posix()} {content}\n".encode())
        return state.hexdigest()

    @cached_property
    def _folder(self) -> Path:
        """Where the model's files are, after a check that nothing in them runs code."""
        if self.config.hub:
            folder = _fetch(self.config.hub, self.config.revision)
        elif self.config.folder:
            folder = Path(self.config.folder).expanduser()
        else:
            folder = weights_folder(self.config.weights or DEFAULT_WEIGHTS)
        _check_folder(folder)
        return folder

    @cached_property
    def _model(self) -> SentenceTransformer:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        precision = torch.bfloat16 if self.config.precision == "bfloat16" else torch.float32
        try:
            model = SentenceTransformer(
                str(self._folder),
                device="cpu",  # its weights are read there, and then moved
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": precision},
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise LanguageModelError(f"{self._folder}: not a sentence-transformers model: {error}") from error
        if self._tuned:
            tuned_weights.put(model, self._tuned, base=self.base_fingerprint)
        try:
            model.to(self.config.device, precision)  # heads behind the transformer too
        except (RuntimeError, AssertionError) as error:  # torch raises both
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"encoder.device: {self.config.device!r}: not on this machine ({reason}); "
                'set device = "cpu" in [encoder], or --device cpu'
            ) from error
        if self.config.max_length:
            own = model.max_seq_length
            model.max_seq_length = self.config.max_length if own is None else min(self.config.max_length, own)
        return model.eval()

    def load(self) -> SentenceTransformer:
        """Return the model itself, for tuning and for a copy on disk; the same one at each call.

        Raises:
            LanguageModelError: the weights are not here or cannot be loaded.
        """
        return self._model

    def prompt(self, kind: Kind) -> str | None:
        """Return what the model wants in front of a text, if anything."""
        names = [*PROMPTS[kind], self._model.default_prompt_name]
        return next((prompt for name in names if name and (prompt := self._model.prompts.get(name))), None)

    def _batches(self, texts: list[str]) -> list[NDArray[np.int64]]:
        """Return row numbers, a batch each: the longest texts first, about `batch_tokens` tokens with the padding."""
        limit = self._model.max_seq_length
        batches = []
        for start in range(0, len(texts), WINDOW):
            lengths = _lengths(self._model.tokenizer, texts[start : start + WINDOW])
            lengths = np.minimum(lengths, limit) if limit else lengths
            order = np.argsort(-lengths, kind="stable")
            first = 0
            while first < len(order):
                size = max(1, self.config.batch_tokens // max(1, int(lengths[order[first]])))
                batches.append(start + order[first : first + size])
                first += size
        return batches


def _lengths(tokenizer: Any, texts: list[str]) -> NDArray[np.int64]:  # noqa: ANN401  # of transformers or of tokenizers
    """Return the number of tokens of each text, or of characters where the model has no transformers tokenizer."""
    from transformers import PreTrainedTokenizerBase

    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return np.array([len(text) for text in texts], dtype=np.int64)
    coded = tokenizer(texts, truncation=True, return_attention_mask=False, return_token_type_ids=False)
    return np.array([len(ids) for ids in coded["input_ids"]], dtype=np.int64)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for a while; 0 changes nothing."""
    import torch

    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count:
            torch.set_num_threads(before)


def _fetch(hub: str, revision: str) -> Path:
    """Return the local copy of a hub model, fetched if it is not here yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=HUB_FILES))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LanguageModelError(
            f"{hub}@{revision}: cannot be fetched: {reason}; put the files into a folder"
        ) from error


def _check_folder(folder: Path) -> None:
    """Refuse a model folder that is absent, brings code, leaves its place, or holds its weights as a pickle.

    Raises:
        ConfigError: with the file and the reason.
    """
    listing = folder / "modules.json"
    if not listing.is_file():
        raise ConfigError(f"{folder}: not a sentence-transformers model (no modules.json)")
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
        modules = [(str(module["type"]), str(module.get("path", ""))) for module in content]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{listing}: unreadable: {error}") from error
    for kind, place in modules:
        if not kind.startswith("sentence_transformers."):
            raise ConfigError(f"{listing}: {kind!r} is code from outside sentence-transformers; refused")
        path = PureWindowsPath(place)  # knows both kinds of slash
        if path.anchor or ".." in path.parts:
            raise ConfigError(f"{listing}: the path {place!r} leaves the folder; refused")
    for file in folder.rglob("*"):
        suffix = file.suffix.lower()
        if suffix in PICKLES or (suffix == ".bin" and not (file.parent / "model.safetensors").is_file()):
            raise ConfigError(f"{file}: weights as a pickle can run code; convert them to model.safetensors")
