"""The trie over the identifiers of a catalogue: which codes may follow a prefix, for many prefixes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from tastemaker.types import Int32, Int64


class CodeTrie(nn.Module):
    """All prefixes of a set of tuples, numbered at each depth in lexicographic order; arrays, no pointers.

    At depth l, node p has the children `first[p]` to `first[p + 1]` of depth l + 1; the child of node p by code c is
    found by bisection among the numbers p * size + c. The leaves, in order, are the given items: whatever a walk along
    children ends at is one of them.

    Args:
        codes: int32 [m, levels], no tuple twice.
        sizes: number of codes of each level.
        items: number of the item of each tuple, [m].

    Raises:
        ConfigError: two items have one tuple.
    """

    def __init__(self, codes: Int32, sizes: tuple[int, ...], items: Int64) -> None:
        super().__init__()
        self.sizes = sizes
        order = np.lexsort(codes.T[::-1])
        ordered = codes[order].astype(np.int64)
        if len(ordered) and (ordered[1:] == ordered[:-1]).all(axis=1).any():
            raise ConfigError('two items have one identifier; make them with collisions = "suffix" or "nearest"')
        node = np.zeros(len(ordered), dtype=np.int64)  # of the prefix so far
        count = 1
        self.counts = []
        self.register_buffer("held0", torch.tensor([len(ordered)]), persistent=False)
        for level, size in enumerate(sizes):
            keys, child = np.unique(node * size + ordered[:, level], return_inverse=True)
            first = np.searchsorted(keys, np.arange(count + 1) * size)
            self.register_buffer(f"keys{level}", torch.from_numpy(keys), persistent=False)
            self.register_buffer(f"first{level}", torch.from_numpy(first), persistent=False)
            node, count = child.reshape(-1), len(keys)
            held = torch.from_numpy(np.bincount(node, minlength=count))
            self.register_buffer(f"held{level + 1}", held, persistent=False)
            self.counts.append(count)
        self.register_buffer("items", torch.from_numpy(items[order].astype(np.int64)), persistent=False)

    items: Tensor

    def below(self, nodes: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Return the children of nodes [m] of depth `level`: rows of `nodes`, int64 [c], and child nodes, int64 [c]."""
        first = self.get_buffer(f"first{level}")
        start, count = first[nodes], first[nodes + 1] - first[nodes]
        rows = torch.repeat_interleave(count)
        ahead = count.cumsum(0) - count
        return rows, torch.arange(len(rows), device=nodes.device) - ahead[rows] + start[rows]

    def codes(self, children: Tensor, level: int) -> Tensor:
        """Return the code by which each node of depth `level` + 1 is reached."""
        return self.get_buffer(f"keys{level}")[children] % self.sizes[level]

    def shares(self, nodes: Tensor, level: int) -> Tensor:
        """Return the share of each prefix's products that each code leads to, float [m, size of the level]."""
        rows, children = self.below(nodes, level)
        found = torch.zeros(len(nodes), self.sizes[level], device=nodes.device)
        found[rows, self.codes(children, level)] = self.share(nodes[rows], children, level)
        return found

    def share(self, nodes: Tensor, children: Tensor, level: int) -> Tensor:
        """Return the share of the products of nodes of depth `level` that are below given children of theirs."""
        return self.get_buffer(f"held{level + 1}")[children] / self.get_buffer(f"held{level}")[nodes]

    def allowed(self, nodes: Tensor, level: int) -> Tensor:
        """Return which codes may follow the prefixes `nodes`, bool [m, size of the level]."""
        return self.shares(nodes, level) > 0

    def step(self, nodes: Tensor, codes: Tensor, level: int) -> Tensor:
        """Return the child of each node by each code, of any one shape; -1 where there is none."""
        if not self.counts[level]:
            return torch.full_like(nodes, -1)
        keys = self.get_buffer(f"keys{level}")
        wanted = nodes * self.sizes[level] + codes
        found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return torch.where((keys[found] == wanted) & (nodes >= 0), found, -1)

    def walk(self, codes: Tensor) -> Tensor:
        """Return the item of each tuple, int64 [...] from [..., levels]; -1 for a tuple that is no item's."""
        nodes = torch.zeros(codes.shape[:-1], dtype=torch.int64, device=codes.device)
        for level in range(len(self.sizes)):
            nodes = self.step(nodes, codes[..., level], level)
        return torch.where(nodes >= 0, self.items[nodes], -1) if len(self.items) else nodes
