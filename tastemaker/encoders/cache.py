"""Vectors on disk, by content: what was encoded once is never encoded again, and a killed run goes on where it was.

One SQLite file for each encoder identity (name, configuration, weights), so that a changed encoder never meets old
vectors. Rows are keyed by kind and SHA-256 of the text; the texts themselves are not stored.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tastemaker.encoders.base import Encoder, distinct, spread
from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.folders import cache_folder
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tastemaker.encoders.base import Kind
    from tastemaker.types import Float32

BATCH = 1024  # texts between two commits: the most that a kill can lose
ASKED = 500  # keys in one SELECT; SQLite's oldest limit is 999
PATIENCE = 60.0  # seconds to wait while another process writes

_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
    kind TEXT NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (kind, digest)
) WITHOUT ROWID
"""


def cached(encoder: Encoder, folder: Path | None = None) -> CachedEncoder:
    """Wrap `encoder` so that it looks into `folder` first; default: "vectors" in the cache folder."""
    return CachedEncoder(encoder, cache_folder() / "vectors" if folder is None else Path(folder))


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
        """Encode what is not known yet, a commit after each 1,024 texts, and read the rest.

        Raises:
            ConfigError: the folder cannot be written.
            ArtifactError: the file is damaged.
        """
        found, rows = distinct(texts)
        if not found:
            return self.encoder.encode(texts, kind=kind)
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in found]
        path = self.folder / f"{self.name}-{self.identity()[:32]}.sqlite"
        try:
            with closing(_open(path)) as store:
                known = dict(_read(store, kind, keys))
                missing = [number for number, key in enumerate(keys) if key not in known]
                for start in progress(range(0, len(missing), BATCH), label="encode texts"):
                    batch = missing[start : start + BATCH]
                    vectors = self.encoder.encode([found[number] for number in batch], kind=kind)
                    blobs = [vector.astype("<f4").tobytes() for vector in vectors]
                    fresh = [(kind, keys[number], blob) for number, blob in zip(batch, blobs, strict=True)]
                    with store:
                        store.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", fresh)
                    known.update((key, blob) for _, key, blob in fresh)
        except sqlite3.Error as error:
            raise ArtifactError(f"{path}: the cache of vectors cannot be used: {error}; delete the file") from error
        sizes = {len(blob) for blob in known.values()}
        if len(sizes) != 1 or sizes.pop() % 4:
            raise ArtifactError(f"{path}: holds vectors of other lengths; delete the file")
        packed = b"".join(known[key] for key in keys)
        return spread(np.frombuffer(packed, dtype="<f4").reshape(len(keys), -1).astype(np.float32), rows)

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


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path.parent}: the cache cannot be written ({error.strerror}); name another folder in TASTEMAKER_CACHE"
        ) from error
    store = sqlite3.connect(path, timeout=PATIENCE)
    try:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never the file
        store.execute(_TABLE)
    except sqlite3.Error:
        store.close()
        raise
    return store


def _read(store: sqlite3.Connection, kind: Kind, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(keys), ASKED):
        part = keys[start : start + ASKED]
        marks = ", ".join("?" * len(part))
        yield from store.execute(
            f"SELECT digest, vector FROM vectors WHERE kind = ? AND digest IN ({marks})", [kind, *part]
        )
