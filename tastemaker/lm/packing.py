"""Instruction pairs as token rows, and rows as batches: the loss is on answers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

IGNORED = -100
"""Label of a place whose token is not to be foretold."""
PART_TOKENS = 8192
"""Tokens that go through a model at once, padding included: what bounds the memory for activations."""


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens of one text.

    Attributes:
        ids: all of it.
        answer: how many of the last tokens are to be foretold, at least 1 and fewer than all.
    """

    ids: tuple[int, ...]
    answer: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens that go through a model together.

    Attributes:
        ids: int64 [b, T], padded on the right.
        positions: int64 [b, T] where texts are packed side by side: each counts from 0, and that keeps them apart.
            None where each row is one text.
        columns: int64 [c], the places, of any row, whose logits are needed: all those of the vocabulary, so that each
            label competes with every token at its own place and with nothing of other rows.
        labels: int64 [b, c], the token after each of them, or IGNORED.
        weights: float32 [b, c]; those of one text sum to 1, so that a text counts the same however long its answer.
    """

    ids: Tensor
    positions: Tensor | None
    columns: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        positions = None if self.positions is None else self.positions.to(device)
        rest = (part.to(device) for part in (self.columns, self.labels, self.weights))
        return Batch(self.ids.to(device), positions, *rest)


def padded(rows: Sequence[Row], size: int) -> Iterator[Batch]:
    """Yield batches of at most `size` rows of similar length, the longest first; fewer where they pass `PART_TOKENS`.

    There is no attention mask: padding stands to the right, where nothing real looks, so the fastest kernels apply.
    """
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    while order:
        fit = max(1, min(size, PART_TOKENS // len(rows[order[0]])))
        part, order = order[:fit], order[fit:]
        yield _batch([[rows[number]] for number in part], packed=False)


def packed(rows: Sequence[Row], size: int) -> Iterator[Batch]:
    """Yield batches of one long row each, in which texts stand side by side and do not see each other.

    A batch has room for as many tokens as `size` of the longest texts; the longest text that still fits goes in first.
    """
    left = sorted(rows, key=len, reverse=True)
    room = size * len(left[0]) if left else 0
    while left:
        pack, rest, free = list[Row](), list[Row](), room
        for row in left:
            fits = len(row) <= free
            (pack if fits else rest).append(row)
            free -= len(row) if fits else 0
        yield _batch([pack], packed=True)
        left = rest


def _batch(lines: Sequence[Sequence[Row]], *, packed: bool) -> Batch:
    width = max(sum(map(len, line)) for line in lines)
    ids = np.zeros((len(lines), width), dtype=np.int64)
    positions = np.zeros_like(ids)
    labels = np.full_like(ids, IGNORED)
    weights = np.zeros(ids.shape, dtype=np.float32)
    for number, line in enumerate(lines):
        start = 0
        for row in line:
            end = start + len(row)
            ids[number, start:end] = row.ids
            positions[number, start:end] = np.arange(len(row))
            labels[number, end - 1 - row.answer : end - 1] = row.ids[-row.answer :]
            weights[number, end - 1 - row.answer : end - 1] = 1 / row.answer
            start = end
    columns = np.flatnonzero((labels != IGNORED).any(axis=0))
    parts = (torch.from_numpy(part) for part in (columns, labels[:, columns], weights[:, columns]))
    return Batch(torch.from_numpy(ids), torch.from_numpy(positions) if packed else None, *parts)
