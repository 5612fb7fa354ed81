"""Latent semantic analysis: TF-IDF of words or character n-grams, reduced by a truncated SVD. No download, no GPU.

Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 1990; the damping of singular values follows
Caron, "Experiments with LSA Scoring: Optimal Rank and Basis", 2001.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from tastemaker import configurable
from tastemaker.configurable import array_text, text_array
from tastemaker.encoders.base import Encoder, unit_rows
from tastemaker.errors import ArtifactError, ConfigError, NotFitted
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from tastemaker.encoders.base import Kind
    from tastemaker.types import Float32

SMALL = 1e-5  # singular values below this share of the largest are rounding errors of float32
BATCH = 4096  # texts


class TfidfEncoder(Encoder):
    """Compares texts by the terms that they share, weighted by how rare those are in the catalogue."""

    name = "tfidf"

    class Config(configurable.Config):
        """Defaults: the best mean NDCG@10 of next-item retrieval on the validation parts of five data sets.

        Attributes:
            dim: length of a vector; a catalogue with fewer independent texts fills the rest with zeros.
            analyzer: "char" for character n-grams inside words (copes with typing errors, inflections and scripts
                without spaces), "word" for whole words.
            ngrams: shortest and longest n-gram, in characters or words.
            min_items: a term must occur in so many items; catalogues of fewer than 100 items keep every term.
            damping: 0 keeps the singular values, which gives the cosines of plain TF-IDF where `dim` is large enough;
                1 makes every latent topic count alike (whitening).
            seed: of the randomised SVD.
        """

        dim: int = Field(default=256, ge=1)
        analyzer: Literal["char", "word"] = "char"
        ngrams: tuple[PositiveInt, PositiveInt] = (3, 3)
        min_items: int = Field(default=2, ge=1)
        damping: float = Field(default=0.75, ge=0, le=1)
        seed: int = Field(default=0, ge=0)

    config: Config

    _vectorizer: TfidfVectorizer | None = None
    _components: Float32  # [terms, dim]

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by Config
        super().__init__(**settings)
        if self.config.ngrams[0] > self.config.ngrams[1]:
            raise ConfigError(f"tfidf.ngrams: {self.config.ngrams}: the shortest comes first")

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn terms, their weights, and the latent topics from the catalogue's texts."""
        vectorizer = self._make_vectorizer(min_df=self.config.min_items if len(texts) >= 100 else 1)
        try:
            matrix = vectorizer.fit_transform(texts)
        except ValueError as error:  # scikit-learn has no other sign for texts without any term
            if "empty vocabulary" not in str(error) and "no terms remain" not in str(error):
                raise
            return self._set([], np.empty(0, dtype=np.float32), np.empty((0, self.config.dim), dtype=np.float32))
        terms = vectorizer.get_feature_names_out().tolist()
        return self._set(terms, vectorizer.idf_.astype(np.float32), self._reduce(matrix))

    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode texts; "query" and "document" are treated alike.

        Raises:
            NotFitted: `fit` or `restore` comes first.
        """
        if self._vectorizer is None:
            raise NotFitted("encoder 'tfidf' has not seen a catalogue; call fit or restore first")
        vectors = np.zeros((len(texts), self.config.dim), dtype=np.float32)
        if not len(self._components):
            return vectors
        for start in progress(range(0, len(texts), BATCH), label="encode texts"):
            matrix = self._vectorizer.transform(texts[start : start + BATCH])  # [b, terms]
            vectors[start : start + BATCH] = matrix @ self._components
        return unit_rows(vectors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return terms, their weights, and the map to latent topics."""
        if self._vectorizer is None:
            raise NotFitted("encoder 'tfidf' has learnt nothing to save; call fit first")
        return {"terms": text_array(json.dumps(self._terms)), "idf": self._idf, "components": self._components}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned.

        Raises:
            ArtifactError: an array is missing or does not fit the others.
        """
        try:
            terms, idf, components = json.loads(array_text(arrays["terms"])), arrays["idf"], arrays["components"]
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                f"encoder 'tfidf': array missing or unreadable: {error}; fit the model again"
            ) from error
        sound = isinstance(terms, list) and all(isinstance(term, str) for term in terms) and len({*terms}) == len(terms)
        if not sound or idf.shape != (len(terms),) or components.shape != (len(terms), self.config.dim):
            raise ArtifactError("encoder 'tfidf': the arrays do not fit each other; fit the model again")
        self._set(terms, idf.astype(np.float32), components.astype(np.float32))

    def _set(self, terms: list[str], idf: Float32, components: Float32) -> Self:
        """Hold what was learnt; both `fit` and `restore` end here, so they cannot differ."""
        self._terms, self._idf, self._components = terms, idf, components
        self._vectorizer = self._make_vectorizer(
            vocabulary={term: column for column, term in enumerate(terms)} or {"": 0}
        )
        self._vectorizer.idf_ = idf if terms else np.ones(1, dtype=np.float32)
        return self

    def _make_vectorizer(self, **more: Any) -> TfidfVectorizer:  # noqa: ANN401  # scikit-learn's own keywords
        if self.config.analyzer == "char":
            more["analyzer"] = "char_wb"
        else:
            more["token_pattern"] = r"\b\w+\b"  # words of one letter too, unlike scikit-learn's default
        return TfidfVectorizer(ngram_range=self.config.ngrams, sublinear_tf=True, dtype=np.float32, **more)

    def _reduce(self, matrix: csr_matrix) -> Float32:
        """Return the map from terms to latent topics, float32 [terms, dim].

        With X = U S V^T, x V is the text in topics; dividing by S^damping weakens the few topics that dominate.
        """
        topics = min(self.config.dim, *matrix.shape)
        _, values, rows = randomized_svd(matrix, topics, random_state=self.config.seed)
        kept = values > SMALL * values[0] if len(values) else values > 0
        scaled = rows[kept] / values[kept, None] ** self.config.damping
        components = np.zeros((matrix.shape[1], self.config.dim), dtype=np.float32)
        components[:, : len(scaled)] = scaled.T
        return components
