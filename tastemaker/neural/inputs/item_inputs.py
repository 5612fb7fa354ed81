"""The table of item vectors that a network reads and predicts: learnt for each item, made from texts, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from tastemaker import configurable
from tastemaker.errors import ConfigError
from tastemaker.neural.inputs import adapters
from tastemaker.neural.inputs.text_transforms import TextTransform
from tastemaker.neural.training.row_adam import RowTable

if TYPE_CHECKING:
    from tastemaker.types import Bool, Float32, Int64

RIDGE = 0.1
"""Penalty of the regression of given vectors on texts, as a share of the mean variance of the texts."""


class ItemInputConfig(configurable.Config):
    """Settings of item vectors.

    Attributes:
        dim: length of item vectors and states.
        inputs: items known by "id", by "text", or by "both".
        own_dropout: share of items whose own vector is left out of a training step; only with inputs = "both".
        text_transform: what is done to text vectors first: "none", "pca" or "whiten" (WhitenRec); rows end at length 1.
        text_dim: leading directions of the text vectors that are kept; 0 keeps all.
        text_groups: "whiten" treats so many blocks of the text vector each by itself; 1 whitens fully.
        text_shrinkage: share of the mean variance in the variance of every direction, before "whiten" divides by it;
            left out, it is estimated from the texts (Ledoit and Wolf).
        adapter: from text to item vector: "linear", "mlp", "experts" (UniSRec), or "codes" (VQ-Rec).
        experts: of adapter = "experts".
        code_blocks: codes of a text, with adapter = "codes".
        codes: different codes of a block.
        fusion: how "both" come together: "sum", or "null-space" (AlphaFuse): texts stay frozen in some of the
            numbers of an item vector, and own vectors are learnt in the others.
        text_share: of those numbers, for the text; only with fusion = "null-space".
        new_length: with "both", length of the vectors of items that nobody has bought, as a multiple of that of bought
            ones: without an own part they are shorter and would hardly be shown; 0 leaves them so, more shows more.
    """

    dim: int = Field(default=64, ge=1)
    inputs: Literal["id", "text", "both"] = "id"
    own_dropout: float = Field(default=0.3, ge=0, lt=1)
    text_transform: Literal["none", "pca", "whiten"] = "whiten"
    text_dim: int = Field(default=0, ge=0)
    text_groups: int = Field(default=1, ge=1)
    text_shrinkage: float | None = Field(default=None, ge=0, le=1)
    adapter: Literal["linear", "mlp", "experts", "codes"] = "linear"
    experts: int = Field(default=4, ge=1)
    code_blocks: int = Field(default=32, ge=1)
    codes: int = Field(default=256, ge=2)
    fusion: Literal["sum", "null-space"] = "sum"
    text_share: float = Field(default=0.5, gt=0, lt=1)
    new_length: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _text_settings_agree(self) -> Self:
        if self.text_groups > 1 and (self.text_transform != "whiten" or self.text_dim):
            raise ValueError(
                f'text_groups = {self.text_groups} needs text_transform = "whiten" and text_dim = 0: '
                "blocks have no common order of directions"
            )
        if self.inputs == "both" and self.fusion == "null-space":
            if self.adapter != "linear":
                raise ValueError(f'fusion = "null-space" keeps texts frozen; remove adapter = "{self.adapter}"')
            if self.dim < 2:
                raise ValueError(f'fusion = "null-space" shares the numbers of a vector; dim = {self.dim} is too small')
        return self

    @property
    def text_part(self) -> int:
        """Numbers of an item vector that texts fill: all of them, but with fusion = "null-space"."""
        if self.inputs != "both" or self.fusion == "sum":
            return self.dim
        return min(max(1, round(self.text_share * self.dim)), self.dim - 1)


class ItemInputs(nn.Module):
    """One vector an item, [n, dim].

    With "both", an item's vector is its own plus what an adapter makes of its text. In training its own part is left
    out at random (ID dropout; Volkovs et al., DropoutNet, NIPS 2017), so that the text alone has to do, as it must for
    a product that nobody has bought; such products are told by `known` and have no own part at all.

    With fusion = "null-space" (Hu et al., AlphaFuse, SIGIR 2025, arXiv 2504.19218) the two stand side by side in
    orthogonal subspaces instead: the leading directions of the texts, which training does not touch, and own vectors.

    What is learnt from the texts alone (means, directions, centroids) is saved with the weights; the texts are not:
    weights that come from elsewhere want `read` or `catalogue` before the first `forward`.

    Args:
        n_items: size of the catalogue.
        config: settings.
        texts: text vectors, [n, t]; a row of zeros is a product without text. Needed unless inputs = "id".
    """

    bought: Tensor
    rows: Tensor
    prepared: Tensor
    there: Tensor

    def __init__(self, n_items: int, config: ItemInputConfig, *, texts: Float32 | None = None) -> None:
        super().__init__()
        self.config = config
        self.own: RowTable | None = None
        self.adapter: adapters.Adapter | None = None
        if config.inputs != "text":
            free = config.dim - config.text_part if config.inputs == "both" else 0
            self.own = RowTable(n_items, free or config.dim)
        if config.inputs == "both":
            self.register_buffer("bought", torch.ones(n_items, 1, dtype=torch.bool))
        if config.inputs != "id":
            if texts is None:
                raise ValueError(f"inputs = {config.inputs!r} needs texts")
            self.transform = TextTransform(
                texts.shape[1],
                config.text_transform,
                dim=config.text_dim,
                groups=config.text_groups,
                shrinkage=config.text_shrinkage,
            )
            self.transform.fit(texts)
            self.adapter = _adapter(self.transform.width, config)
            self.adapter.fit(self.transform(torch.from_numpy(texts)).numpy())
            for name in ("rows", "prepared", "there"):
                self.register_buffer(name, torch.empty(0), persistent=False)
            self.read(texts)
            self.adapter.start(self._projection())

    @staticmethod
    def text_width(weights: dict[str, Float32]) -> int:
        """Return the length of the text vectors that saved weights of item inputs were made for, 0 for none."""
        return weights["transform.mean"].shape[0] if "transform.mean" in weights else 0

    def known(self, bought: Bool) -> None:
        """Say which items somebody has bought in training, [n]; the others have no own part if they may have a text."""
        if self.config.inputs == "both":
            self.bought.copy_(torch.from_numpy(bought)[:, None])

    @property
    def has_text(self) -> Bool:
        """Which items have a text, bool [n]; none with inputs = "id"."""
        if self.own is not None and self.adapter is None:
            return np.zeros(self.own.num_embeddings, dtype=np.bool_)
        return self.there[:, 0].cpu().numpy()

    def start(self, vectors: Float32 | None = None) -> None:
        """Set the weights where training shall begin; to be called after they were drawn at random, and after `known`.

        Without `vectors`, the adapter begins as the projection on the leading directions of the texts, so that
        neighbours by text are neighbours. With `vectors`, [n, dim], such as those of co-occurrence, it begins as their
        ridge regression on the texts, so that a product nobody has bought begins where bought products with such texts
        are; own vectors begin as what remains, so that the sum is what was given. An item whose given vector is zero
        keeps the own vector that was drawn.
        """
        given = torch.from_numpy(vectors).to(self.device) if vectors is not None else None
        if self.adapter is not None:
            told = self._told(given) if given is not None and self.config.fusion == "sum" else None
            if given is None or told is None or not told.any():
                self.adapter.start(self._projection())
            else:
                self.adapter.start(adapters.regression(self.rows[told], given[told], ridge=RIDGE))
                given = torch.where(given.any(dim=1, keepdim=True), given - self._still(), 0)
        if self.own is not None and given is not None:
            begun = given.any(dim=1)
            self.own.weight.data[begun] = given[begun, : self.own.embedding_dim]

    def read(self, texts: Float32) -> None:
        """Take the texts of the same items anew, [n, t]: weights are saved without them."""
        raw = torch.from_numpy(texts).to(self.device)
        self.rows = self.transform(raw)
        self.prepared = self._needed().prepare(self.rows)
        self.there = raw.any(dim=1, keepdim=True)

    def catalogue(self, texts: Float32, *, before: Int64 | None = None) -> None:
        """Go over to another catalogue: another shop's, or the same one with new products.

        Args:
            texts: text vectors of its items, by the encoder of the first catalogue, [n, t].
            before: number that each item had until now, -1 for a new one, [n]; None: all of them are new, those of
                another shop, whose texts have a mean of their own. New items have no own vector, so their texts alone
                rank them.

        Raises:
            ConfigError: with inputs = "id", or texts of another length.
        """
        self._needed()
        width = len(self.transform.mean)
        if texts.shape[1] != width:
            raise ConfigError(
                f"text vectors have {texts.shape[1]} numbers, these item vectors were learnt on {width}; "
                "use the encoder of the training"
            )
        if before is None:
            self.transform.recentre(texts)
        self.read(texts)
        if self.own is not None:
            old = self.own.weight.data
            numbers = torch.from_numpy(np.full(len(texts), -1) if before is None else before).to(old.device)
            stays = (numbers >= 0)[:, None]
            numbers = numbers.clamp(min=0)
            self.own = RowTable(len(texts), old.shape[1], _weight=old[numbers] * stays)
            self.bought = self.bought[numbers] & stays

    def embed(self, texts: Float32) -> Tensor:
        """Return item vectors of any texts, such as a wish in words, [b, t] -> [b, dim].

        Raises:
            ConfigError: with inputs = "id".
        """
        raw = torch.from_numpy(texts).to(self.device)
        vectors = self._from_text(self._needed().prepare(self.transform(raw)), raw.any(dim=1, keepdim=True))
        return nn.functional.pad(vectors, (0, self.config.dim - vectors.shape[1]))

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors of all items, [n, dim]; those of items that nobody has bought at their full length.

        Args:
            rows: in training, the numbers of the items that are read, int64 [m]; then theirs, [m, dim], at a cost that
                does not grow with the catalogue.
        """
        own = self._own(rows)
        if self.adapter is None:
            return own  # type: ignore[return-value]  # inputs = "id"
        prepared, there = (part if rows is None else part[rows] for part in (self.prepared, self.there))
        text = self._from_text(prepared, there)
        if own is None:
            return text
        vectors = own + text if self.config.fusion == "sum" else torch.cat([text, own], dim=1)
        if self.training or self.bought.all():
            return vectors
        return torch.where(self.bought, vectors, vectors * self._lift(vectors, text))

    def _lift(self, vectors: Tensor, text: Tensor) -> Tensor | float:
        """Return by how much the vectors of bought items are longer than their text parts, times `new_length`."""
        bought = self.bought & self.there
        whole, part = ((rows.square().sum(dim=1, keepdim=True) * bought).sum() for rows in (vectors, text))
        if not self.config.new_length or not part:
            return 1.0
        return self.config.new_length * (whole / part).sqrt()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def _projection(self) -> Tensor:
        """Return the projection on the leading directions of the texts, scaled to a mean squared length of 1."""
        dim = self.config.text_part
        ordered = self.transform.ordered
        matrix = torch.eye(self.rows.shape[1], dim).to(self.rows) if ordered else adapters.projection(self.rows, dim)
        lengths = (self.rows @ matrix).square().sum(dim=1)[self.there[:, 0]]
        return matrix / lengths.mean().sqrt() if lengths.any() else matrix

    def _still(self) -> Tensor:
        """Return what the texts of the catalogue give, without the noise and the gradients of training."""
        mode = self.training
        self.eval()
        with torch.no_grad():
            text = self._from_text(self.prepared, self.there)
        self.train(mode)
        return text

    def _told(self, given: Tensor) -> Tensor:
        """Return which items have a text and a given vector, bool [n]."""
        told = self.there[:, 0] & given.any(dim=1)
        return told if self.own is None else told & self.bought[:, 0]

    def _own(self, rows: Tensor | None) -> Tensor | None:
        if self.own is None:
            return None
        own = self.own.weight if rows is None else self.own.take(rows)
        if self.adapter is None:
            return own
        kept = self.bought if rows is None else self.bought[rows]
        if self.training and self.config.own_dropout:
            kept = kept & (torch.rand(len(kept), 1, device=kept.device) >= self.config.own_dropout)
        return own * kept

    def _from_text(self, prepared: Tensor, there: Tensor) -> Tensor:
        return self._needed()(prepared) * there  # type: ignore[no-any-return]

    def _needed(self) -> adapters.Adapter:
        if self.adapter is None:
            raise ConfigError('inputs = "id" knows nothing of texts; train with inputs = "text" or "both"')
        return self.adapter


def _adapter(width: int, config: ItemInputConfig) -> adapters.Adapter:
    """Make the adapter that the settings name, from text vectors of this length."""
    dim = config.text_part
    if config.inputs == "both" and config.fusion == "null-space":
        return adapters.Projection(width, dim)
    if config.adapter == "mlp":
        return adapters.MLP(width, dim)
    if config.adapter == "experts":
        return adapters.Experts(width, dim, experts=config.experts)
    if config.adapter == "codes":
        return adapters.Codes(width, dim, blocks=config.code_blocks, codes=config.codes)
    return adapters.Linear(width, dim)
