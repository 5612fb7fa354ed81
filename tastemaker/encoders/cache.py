"""Vectors on disk, by content: what was encoded once is never encoded again, and a killed run goes on where it was.

One file for each encoder identity (name, configuration, weights), so that a changed encoder never meets old
vectors. Keys are SHA-256 hashes of kind and text; the texts themselves are not stored. Of questions nothing is kept,
not even the vector: they are the words of whoever asks.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tastemaker.disk_cache import DiskCache
from tastemaker.encoders.base import Encoder, distinct, spread
from tastemaker.folders import cache_folder
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.encoders.base import Kind
    from tastemaker.types import Float32

BATCH = 1024  # texts between two commits: the most that a kill can lose


def cached(encoder: Encoder, folder: Path | None = None) -> CachedEncoder:
    """Wrap `encoder` so that it looks into `folder` first; default: "vectors" in the cache folder."""
    return CachedEncoder(encoder, cache_folder() / "vectors" if folder is None else Path(folder))


def uncached(encoder: Encoder) -> Encoder:
    """Return the encoder itself, without its memory on disk."""
    return encoder.encoder if isinstance(encoder, CachedEncoder) else encoder


class CachedEncoder(Encoder):
    """An encoder with a memory on disk; processes may share it.

    A vector is the one that was computed first; computing it again in another batch may differ in the last bits.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.encoder = encoder
        self.folder = folder
        self.name = encoder.name  # type: ignore[misc]  # stands for the encoder it wraps
        self.config = encoder.config

    def fit(self, texts: Sequence[str]) -> Self:
        """Fit the encoder inside."""
        self.encoder.fit(texts)
        return self

    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode what is not known yet, a commit after each 1,024 texts, and read the rest; queries are always encoded.

        Raises:
            ConfigError: the file cannot be made or used now.
            ArtifactError: it is damaged.
        """
        found, rows = distinct(texts)
        if not found or kind == "query":
            return self.encoder.encode(texts, kind=kind, progress=progress)
        keys = [hashlib.sha256(f"{kind} {text}".encode()).digest() for text in found]
        store = DiskCache(
            self.folder / f"{self.name}-{self.identity()[:32]}.vectors.sqlite",
            contents="vectors",
            cure="name another folder in TASTEMAKER_CACHE",
        )

        def encode(places: list[int]) -> list[bytes]:
            vectors = self.encoder.encode([found[place] for place in places], kind=kind)
            return [vector.astype("<f4").tobytes() for vector in vectors]

        blobs = store.complete(keys, store.get(keys), encode, batch=BATCH, progress=progress, label="encode texts")
        sizes = {len(blob) for blob in blobs}
        if len(sizes) != 1 or sizes.pop() % 4:
            raise store.damaged("its vectors differ in length")
        return spread(np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(keys), -1).astype(np.float32), rows)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what the encoder inside has learnt."""
        return self.encoder.arrays()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Give the encoder inside back what it had learnt."""
        self.encoder.restore(arrays)

    def fingerprint(self) -> str:
        """Return the fingerprint of the encoder inside."""
        return self.encoder.fingerprint()

    def identity(self) -> str:
        """Return the identity of the encoder inside: a cache changes no vector."""
        return self.encoder.identity()
