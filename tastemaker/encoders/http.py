"""Encoders behind an OpenAI-compatible /embeddings endpoint: llama.cpp, Ollama, vLLM, text-embeddings-inference."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from tastemaker.encoders.base import Encoder, distinct, spread, unit_rows
from tastemaker.errors import LanguageModelError
from tastemaker.http_client import Endpoint, HttpClient
from tastemaker.progress import Progress, silent
from tastemaker.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.encoders.base import Kind
    from tastemaker.types import Float32


class HttpEncoder(Encoder):
    """Asks a model server for vectors."""

    name = "http"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {*Endpoint.model_fields, "batch_size"} - {"url"}  # another server may serve another model by the same name
    )

    class Config(Endpoint):
        """The endpoint (see `Endpoint`), and what is asked of it.

        Attributes:
            served_model: the name by which the server knows the model.
            batch_size: texts in one request.
            max_length: characters of a text that are sent.
            query_prefix: put before queries, for models that were trained so, e.g. "query: ".
            document_prefix: put before products.
        """

        served_model: str
        batch_size: int = Field(default=64, ge=1)
        max_length: int = Field(default=4000, ge=1)
        query_prefix: str = ""
        document_prefix: str = ""

    config: Config

    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode texts, a request for each batch; personal data are redacted before they are sent.

        Raises:
            ConfigError: the address is not allowed, or the key is missing.
            LanguageModelError: no answer, or one that does not fit the question.
        """
        found, rows = distinct(texts)
        prefix = self.config.query_prefix if kind == "query" else self.config.document_prefix
        asked = [redact(prefix + text[: self.config.max_length], personal=kind == "query") for text in found]
        if not asked:  # only the server knows how long its vectors are
            return np.zeros((len(texts), self._ask(["text"]).shape[1]), dtype=np.float32)
        size = self.config.batch_size
        parts = [
            self._ask(asked[start : start + size])
            for start in progress(range(0, len(asked), size), label="encode texts")
        ]
        if len({part.shape[1] for part in parts}) > 1:
            raise LanguageModelError(f"{self.config.url}: vectors of different lengths; did the server's model change?")
        return spread(unit_rows(np.concatenate(parts)), rows)

    @cached_property
    def _client(self) -> HttpClient:
        return HttpClient(self.config)

    def _ask(self, texts: list[str]) -> Float32:
        """Return the vectors of one batch, float32 [len(texts), d]."""
        payload = {"model": self.config.served_model, "input": texts, "encoding_format": "float"}
        answer = self._client.post("embeddings", payload)
        try:
            return _vectors(answer, len(texts))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise LanguageModelError(
                f"{self.config.url}: not the embeddings of {len(texts)} texts; is this an embedding model?"
            ) from error  # whose own message may quote what the server sent


def _vectors(answer: dict[str, Any], count: int) -> Float32:
    """Read an embeddings answer, whose members may come in any order.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: another form, another number of vectors, or no numbers.
    """
    by_index = {int(member["index"]): member["embedding"] for member in answer["data"]}
    if sorted(by_index) != list(range(count)) or len(answer["data"]) != count:
        raise ValueError(f"{len(answer['data'])} vectors came back")
    vectors = np.array([by_index[index] for index in range(count)], dtype=np.float64)
    if vectors.ndim != 2 or not vectors.shape[1] or not (np.abs(vectors) < np.finfo(np.float32).max).all():
        raise ValueError(f"the vectors have the shape {vectors.shape} or hold numbers beyond float32")
    return vectors.astype(np.float32)
