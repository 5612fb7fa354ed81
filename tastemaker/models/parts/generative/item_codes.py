"""The identifiers that code models rank by: made from the training part's purchases and the catalogue's texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from tastemaker import configurable
from tastemaker.configurable import under
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.matrices import cooccurrence
from tastemaker.models.parts.texts.text_vectors import encoded_items, item_vectors
from tastemaker.neural.arrays import take_weights, weights_of
from tastemaker.neural.indexing import quantisers, semantic_ids
from tastemaker.neural.indexing.collisions import Policy
from tastemaker.neural.indexing.semantic_ids import Coder, Scheme, SemanticIds
from tastemaker.neural.indexing.words import Words
from tastemaker.neural.inputs import adapters
from tastemaker.neural.inputs.item_inputs import RIDGE
from tastemaker.neural.inputs.text_transforms import TextTransform, Transform
from tastemaker.text.render import item_names, item_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.encoders.base import Encoder
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32


class ItemCodeConfig(configurable.Config):
    """Settings of item identifiers.

    Attributes:
        scheme: "residual" or "product" quantise vectors; "collaborative" are clusters of clusters of co-occurrence;
            "text" are words of names; "sequential" and "random" know nothing of the product.
        source: of "residual" and "product": vectors of "text", of "cooccurrence", or "both" side by side.
        levels: codes of an identifier, before the one that may be added for collisions.
        codes: of each level.
        collisions: items with equal codes get one "suffix" more, or move to the "nearest" free codes; "allow" leaves
            them equal.
        text_transform: what is done to text vectors first: "none", "pca" or "whiten"; rows end at length 1.
        text_dim: leading directions of the text vectors that are kept; 0 keeps all.
        purchase_dim: length of co-occurrence vectors.
        text_share: of "both": share of the squared length, and of product codes, that is the text's.
    """

    scheme: Scheme = "residual"
    source: Literal["text", "cooccurrence", "both"] = "both"
    levels: int = Field(default=3, ge=1)
    codes: int = Field(default=256, ge=2)
    collisions: Policy = "suffix"
    text_transform: Transform = "whiten"
    text_dim: int = Field(default=64, ge=0)
    purchase_dim: int = Field(default=64, ge=1)
    text_share: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _room_for_both(self) -> Self:
        if self.scheme == "product" and self.source == "both" and self.levels < 2:
            raise ValueError('scheme = "product" with source = "both" gives codes to each: levels must be at least 2')
        if self.scheme == "collaborative" and self.collisions == "nearest":
            raise ValueError(
                'collisions = "nearest" finds no free codes where clusters are cut to single items; use "suffix"'
            )
        return self

    @property
    def reads_texts(self) -> bool:
        """Whether identifiers come from vectors of texts."""
        return self.scheme in ("residual", "product") and self.source != "cooccurrence"

    @property
    def reads_purchases(self) -> bool:
        """Whether identifiers come from what was bought together, or when."""
        return self.scheme in ("collaborative", "sequential") or (
            self.scheme in ("residual", "product") and self.source != "text"
        )


class ItemVectors:
    """What is quantised: whitened texts, co-occurrence, or both side by side, [n, d].

    A product that nobody has bought has no co-occurrence; where texts are read, its co-occurrence is estimated from its
    text by ridge regression on the bought ones. All is learnt from the training part and kept, so that products which
    come later get vectors of the same space.
    """

    def __init__(self, config: ItemCodeConfig, width: int) -> None:
        self.config = config
        self.transform = TextTransform(width, config.text_transform, dim=config.text_dim) if width else None
        self.matrix = torch.zeros(self.transform.width if self.transform else 0, config.purchase_dim)

    def fit(self, texts: Float32 | None, purchases: Float32 | None) -> Float32:
        """Learn from texts [n, t] and co-occurrence [n, p] and return the items' vectors."""
        if self.transform is not None and texts is not None:
            self.transform.fit(texts)
            rows = self.transform(torch.from_numpy(texts))
            if purchases is not None:
                told = torch.from_numpy(texts.any(axis=1) & purchases.any(axis=1))
                if told.any():
                    self.matrix = adapters.regression(rows[told], torch.from_numpy(purchases)[told], ridge=RIDGE)
        return self.of(texts, purchases)

    def of(self, texts: Float32 | None, purchases: Float32 | None) -> Float32:
        """Return the vectors of items with these texts; co-occurrence is zero, or None, where it is not known."""
        parts, share = [], self.config.text_share
        both = self.transform is not None and self.config.source == "both"
        if self.transform is not None and texts is not None:
            rows = self.transform(torch.from_numpy(texts))
            parts.append(rows.numpy() * np.sqrt(share if both else 1.0))
            if both:
                estimated = _unit((rows @ self.matrix).numpy())
                bought = estimated if purchases is None else _unit(purchases)
                found = np.where(bought.any(axis=1, keepdims=True), bought, estimated)
                parts.append(found * np.sqrt(1 - share))
        elif purchases is not None:
            parts.append(_unit(purchases))
        return np.concatenate(parts, axis=1).astype(np.float32)

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Numbers and product codes of each part of a vector."""
        config, width = self.config, self.transform.width if self.transform else self.config.purchase_dim
        if self.transform is None or config.source != "both":
            return [(width, min(config.levels, width))]
        text = min(max(1, round(config.text_share * config.levels)), config.levels - 1)
        return [(width, min(text, width)), (config.purchase_dim, min(config.levels - text, config.purchase_dim))]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what was learnt."""
        found: dict[str, NDArray[Any]] = {"matrix": self.matrix.numpy(), "width": np.array([0])}
        if self.transform is not None:
            found["width"] = np.array([len(self.transform.mean)])
            found |= weights_of(self.transform, "transform")
        return found

    @classmethod
    def restored(cls, config: ItemCodeConfig, arrays: dict[str, NDArray[Any]]) -> ItemVectors:
        """Take it back."""
        found = cls(config, int(arrays["width"][0]))
        found.matrix = torch.from_numpy(arrays["matrix"])
        if found.transform is not None:
            take_weights(found.transform, arrays, "transform")
        return found


@dataclass(frozen=True, slots=True)
class ItemCodes:
    """The identifiers of a catalogue and what is needed to give new products theirs.

    Attributes:
        ids: the identifiers.
        vectors: what they were quantised from; None for schemes without vectors.
        described: items that identifiers say something of, whether bought or not, bool [n].
    """

    ids: SemanticIds
    vectors: ItemVectors | None
    described: Bool

    @classmethod
    def of(
        cls,
        train: Dataset,
        config: ItemCodeConfig,
        encoder: Encoder | None,
        *,
        model: str,
        seed: int,
        progress: Progress,
    ) -> ItemCodes:
        """Make identifiers from the training part; the encoder is fitted if texts are read.

        Raises:
            ConfigError: there are more items than identifiers.
            DataError: texts are to be read and there are none.
        """
        n, sizes = train.n_items, {"levels": config.levels, "codes": config.codes}
        unknown: Bool = np.zeros(n, dtype=np.bool_)
        if config.scheme == "random":
            return cls(semantic_ids.drawn(n, **sizes, seed=seed), None, unknown)
        if config.scheme == "sequential":
            return cls(semantic_ids.counted(train.queries(), n, **sizes, seed=seed), None, unknown)
        coder: Coder
        policy: dict[str, Any] = {"policy": config.collisions, "places": config.codes, "seed": seed}
        if config.scheme == "text":
            names = _named(train.items)
            coder = Words.fit(names, **sizes)
            return cls(
                semantic_ids.coded("text", coder, names, **policy), None, np.array([bool(name) for name in names])
            )
        if config.reads_texts and config.reads_purchases and not any(item_texts(train.items)):
            raise DataError(
                f"{model}: no item has a title or another text; make identifiers from purchases alone, with source = "
                '"cooccurrence" in its [[stage]], or give items with texts'
            )
        texts = purchases = None
        if config.reads_texts:
            if encoder is None:
                raise ConfigError(f"{model}: needs an encoder to read texts")
            texts = item_vectors(train.items, encoder, model=model, progress=progress)
        if config.reads_purchases:
            purchases = cooccurrence.vectors(train.queries(), n, config.purchase_dim, seed=seed)
        vectors = ItemVectors(config, 0 if texts is None else texts.shape[1])
        found = vectors.fit(texts, purchases)
        learnt = found[found.any(axis=1)] if found.any() else found
        if config.scheme == "product":
            coder = quantisers.Product.fit(learnt, vectors.blocks, codes=config.codes, seed=seed)
        else:
            kind = quantisers.Tree if config.scheme == "collaborative" else quantisers.Residual
            coder = kind.fit(learnt, **sizes, seed=seed)
        described = unknown if texts is None else np.asarray(texts.any(axis=1))
        return cls(semantic_ids.coded(config.scheme, coder, found, **policy), vectors, described)

    def moved_to(
        self, items: Entities, before: NDArray[np.int64], encoder: Encoder | None, *, model: str, progress: Progress
    ) -> ItemCodes:
        """Return the identifiers of another catalogue; nothing is learnt.

        Args:
            items: the catalogue.
            before: number that each item had until now, -1 for a new one.
            encoder: of the training.
            model: for messages.
            progress: shown over the encoding.
        """
        new = before < 0
        described: Bool = np.zeros(len(items), dtype=np.bool_)
        described[~new] = self.described[before[~new]]
        known: Any = None
        if self.ids.scheme == "text":
            names = _named(items)
            known = [name for name, fresh in zip(names, new, strict=True) if fresh]
            described = np.array([bool(name) for name in names])
        elif self.vectors is not None:
            texts = None
            if self.vectors.transform is not None and encoder is not None:
                texts = encoded_items(items, encoder, model=model, progress=progress)
                described = np.asarray(texts.any(axis=1))
                texts = texts[new]
            nothing = np.zeros((int(new.sum()), self.vectors.config.purchase_dim), dtype=np.float32)
            known = self.vectors.of(texts, nothing if self.vectors.config.reads_purchases else None)
        return ItemCodes(self.ids.renumbered(before, known), self.vectors, described)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        found = {f"ids.{name}": array for name, array in self.ids.arrays().items()} | {"described": self.described}
        vectors = {} if self.vectors is None else self.vectors.arrays()
        return found | {f"vectors.{name}": array for name, array in vectors.items()}

    @classmethod
    def restored(cls, config: ItemCodeConfig, arrays: dict[str, NDArray[Any]]) -> ItemCodes:
        """Take back what `arrays` returned."""
        saved = under(arrays, "vectors")
        vectors = ItemVectors.restored(config, saved) if saved else None
        return cls(SemanticIds.restored(under(arrays, "ids")), vectors, arrays["described"])


def _named(items: Entities) -> list[str]:
    """Return the names of items, empty for those known by id only."""
    names = item_names(items)
    return ["" if name == f"item {id_}" else name for name, id_ in zip(names, items.frame["id"].to_list(), strict=True)]


def _unit(rows: Float32) -> Float32:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-9), dtype=np.float32)
