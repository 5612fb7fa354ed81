"""Reading prompts with a causal model: one after the other with what they have in common kept, or many at once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CACHE_TOKENS = 1 << 12  # rows x length of an expanded key-value cache; larger blocks only pad more
LOGITS = 1 << 27  # rows x length x vocabulary of a block of logits; 0.5 GB
BATCH_TOKENS = 1 << 15  # rows x length of prompts that are read at once


def read_at_once(model: Any, rows: Sequence[list[int]]) -> Iterator[tuple[int, torch.Tensor]]:  # noqa: ANN401
    """Read many token rows, those of similar length together, padded on the right.

    No attention mask is needed: the padding stands to the right of all that is real, where nothing real looks. Logits
    are computed only at the places where a row ends.

    Yields:
        Number of a row, and the log-probabilities [V] of the token that follows it; in the order of the lengths.
    """
    order = sorted(range(len(rows)), key=lambda number: (-len(rows[number]), rows[number]))
    start = 0
    while start < len(order):
        part = order[start : start + _size([len(rows[number]) for number in order[start:]], _vocabulary(model))]
        start += len(part)
        lengths = torch.tensor([len(rows[number]) for number in part])
        ids = torch.zeros((len(part), int(lengths[0])), dtype=torch.long)
        for place, number in enumerate(part):
            ids[place, : len(rows[number])] = torch.tensor(rows[number])
        columns, column_of = torch.unique(lengths - 1, return_inverse=True)
        output = model(
            input_ids=ids.to(model.device), use_cache=False, logits_to_keep=columns.to(model.device)
        )  # logits [b, columns, V]
        ends = output.logits[torch.arange(len(part)), column_of].float().log_softmax(-1)  # [b, V]
        yield from zip(part, ends, strict=True)


def _size(lengths: Sequence[int], vocabulary: int) -> int:
    """Return how many rows, the longest of which comes first, are read together."""
    different = 0
    for count, length in enumerate(lengths):
        different += count == 0 or length != lengths[count - 1]
        full = (count + 1) * lengths[0] > BATCH_TOKENS or (count + 1) * different * vocabulary > LOGITS
        if full and count:
            return count
    return len(lengths)


def _vocabulary(model: Any) -> int:  # noqa: ANN401  # transformers is untyped
    return int(model.config.get_text_config().vocab_size)


class Reader:
    """Reads token rows one after the other; what two rows in a row begin with in common is computed once."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401  # transformers is untyped
        self._model = model
        self._row: list[int] = []
        self._cache = DynamicCache(config=model.config)
        # A sliding window or a recurrent state has forgotten what a shorter row would need.
        self._can_shorten = all(type(layer) is DynamicLayer for layer in self._cache.layers)

    def read(self, row: list[int]) -> torch.Tensor:
        """Return the log-probabilities [V] of the token that follows `row`."""
        kept = _common(self._row, row) if self._can_shorten else 0
        if kept:
            self._cache.crop(kept - len(self._row))
        else:
            self._cache = DynamicCache(config=self._model.config)
        ids = torch.tensor([row[kept:]], device=self._model.device)  # [1, new]
        output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits  # [1, 1, V]
        self._row = row
        return logits[0, -1].float().log_softmax(-1)  # [V]

    def continuations(self, first: torch.Tensor, tails: Sequence[list[int]]) -> torch.Tensor:
        """Return the summed log-probability [n] of each tail after the row that was read last.

        Args:
            first: what `read` returned, [V].
            tails: token ids, at least one each.
        """
        totals = first[[tail[0] for tail in tails]]
        longer = sorted((number for number, tail in enumerate(tails) if len(tail) > 1), key=lambda n: len(tails[n]))
        while longer:
            width = len(tails[longer[-1]]) - 1
            rows = min(CACHE_TOKENS // (len(self._row) + width), LOGITS // (width * len(first)))
            block, longer = longer[-max(1, rows) :], longer[: -max(1, rows)]
            totals[block] += self._block([tails[number] for number in block], width)
        return totals

    def _block(self, tails: Sequence[list[int]], width: int) -> torch.Tensor:
        """Return the log-probability [n] of all but the first token of each tail, padded on the right."""
        ids = torch.zeros((len(tails), width + 1), dtype=torch.long)
        real = torch.zeros((len(tails), width), dtype=torch.bool)
        for number, tail in enumerate(tails):
            ids[number, : len(tail)] = torch.tensor(tail)
            real[number, : len(tail) - 1] = True
        ids, real = ids.to(self._model.device), real.to(self._model.device)
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(tails))
        # No attention mask: the padding stands to the right of all that is real, where nothing real looks.
        output = self._model(input_ids=ids[:, :-1], past_key_values=cache)
        logits: torch.Tensor = output.logits  # [n, width, V]
        chosen = logits.gather(-1, ids[:, 1:, None])[..., 0].float() - logits.float().logsumexp(-1)  # [n, width]
        return chosen.where(real, 0).sum(-1)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with; at most all but the last of `other`, which has to be read anew."""
    limit = min(len(one), len(other) - 1)
    return next((place for place in range(limit) if one[place] != other[place]), limit)
