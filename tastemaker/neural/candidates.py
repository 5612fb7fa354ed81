r"""Networks that score a question's candidates: questions as tensors, evidence as numbers, and one loss for all.

The score of candidate c is $w \cdot e_c + a(e_c) + r_c$: what the evidence says of it (the retriever's place and the
co-occurrence score where they are told, popularity, likeness to the history), linearly and through a small network a,
and what a subclass reads. At the start a, and r in the subclasses, is zero: training begins with the retriever's order.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from tastemaker.neural import devices
from tastemaker.neural.devices import Precision

BY_PLACE, BY_SHARE = -0.5, 0.5
"""Weights of log(place + 1) and of the log of the share at the start, before anything is learnt."""
SHARES = 3.0
"""What shares are divided by, to be of unit size."""
FEATURES = 10
"""Numbers that are the evidence of a candidate."""


@dataclass(frozen=True, slots=True)
class Asked:
    """b questions of at most L history items and m candidates, as tensors on one device.

    Attributes:
        history: item numbers, oldest first, filled up with -1, int64 [b, L].
        candidates: item numbers, filled up with -1, int64 [b, m].
        places: of each candidate in the retriever's list, from 0, float [b, m].
        shares: log of each candidate's share of the best co-occurrence score, float [b, m].
        told: whether places and shares are told to the model, bool [b].
        rounds: which tables of the products hold, int64 [b].
    """

    history: Tensor
    candidates: Tensor
    places: Tensor
    shares: Tensor
    told: Tensor
    rounds: Tensor

    def to(self, device: torch.device) -> Asked:
        """Return the same on another device."""
        names = ("history", "candidates", "places", "shares", "told", "rounds")
        return Asked(*(getattr(self, name).to(device, non_blocking=True) for name in names))


@dataclass(frozen=True, slots=True)
class Tables:
    """What is known of products, in each of several rounds.

    Attributes:
        vectors: by co-occurrence, unit length or zero, [rounds, n, d].
        counts: purchases, [rounds, n]; zeros where they are not to be seen.
        texts: vectors of the products' texts, unit length or zero, [n, t].
    """

    vectors: Tensor
    counts: Tensor
    texts: Tensor


class CandidateNetwork(nn.Module):
    """Scores candidates for histories.

    What is saved, kept and restored (`state_dict`) are the trained weights alone, and neither frozen ones nor tables.

    Args:
        tables: of the products.
        precision: of the arithmetic.
    """

    def __init__(self, tables: Tables, *, precision: Precision = "auto") -> None:
        super().__init__()
        self.precision = precision
        self.vectors: Tensor
        self.texts: Tensor
        self.popularity: Tensor
        self.register_buffer("vectors", tables.vectors, persistent=False)
        self.register_buffer("texts", tables.texts, persistent=False)
        self.register_buffer("popularity", tables.counts.log1p() / 5, persistent=False)
        self.wide = nn.Linear(FEATURES, 1, bias=False)
        self.deep = nn.Sequential(nn.Linear(FEATURES, 32), nn.GELU(), nn.Linear(32, 1))
        with torch.no_grad():
            self.wide.weight.zero_()
            self.wide.weight[0, 1], self.wide.weight[0, 2] = BY_PLACE, BY_SHARE * SHARES
            self.deep[2].weight.zero_()  # type: ignore[operator]
            self.deep[2].bias.zero_()  # type: ignore[operator]

    @abstractmethod
    def read(self, asked: Asked, features: Tensor) -> Tensor:
        """Return what the subclass says of the candidates, [b, m], given their evidence [b, m, FEATURES]."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.wide.weight.device

    @property
    def precision_now(self) -> Precision:
        """Of the arithmetic, in training or where lists are asked for."""
        return self.precision

    def forward(self, asked: Asked) -> Tensor:
        """Return scores, float32 [b, m]; -inf beside the filling."""
        asked = asked.to(self.device)
        features = self.features(asked)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=devices.half(self.precision_now, self.device)):
            said = self.read(asked, features).float()
        scores: Tensor = self.wide(features)[..., 0] + self.deep(features)[..., 0] + said
        return scores.masked_fill(asked.candidates < 0, -torch.inf)

    def loss(self, asked: Asked) -> Tensor:
        """Return the mean cross-entropy of the first candidate among all of its question."""
        scores = self(asked)
        return cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device))

    def features(self, asked: Asked) -> Tensor:
        """Return the evidence of the candidates as numbers of about unit size, [b, m, FEATURES]."""
        told = asked.told[:, None].float()
        popular = self.popularity[asked.rounds[:, None], asked.candidates.clamp(min=0)]
        retrieved = [told / (asked.places + 2).log2(), told * (asked.places + 1).log(), told * asked.shares / SHARES]
        return torch.stack([*retrieved, popular, *self._likeness(asked)], -1)

    def vectors_of(self, items: Tensor, rounds: Tensor) -> Tensor:
        """Return collaborative vectors, [b, k, d], of items [b, k]; zeros beside the filling."""
        return self.vectors[rounds[:, None], items.clamp(min=0)] * (items >= 0)[..., None]

    def texts_of(self, items: Tensor) -> Tensor:
        """Return text vectors, [b, k, t], of items [b, k]; zeros beside the filling."""
        return self.texts[items.clamp(min=0)] * (items >= 0)[..., None]

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]  # noqa: ANN401
        """Return the trained weights."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **options).items() if name in trained}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ANN401
        """Take trained weights back.

        Raises:
            RuntimeError: a weight is missing, unknown, or of another shape.
        """
        if strict and state_dict.keys() != self.state_dict().keys():
            odd = sorted(state_dict.keys() ^ self.state_dict().keys())
            raise RuntimeError(f"the trained weights are others: {', '.join(odd[:3])}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def _likeness(self, asked: Asked) -> list[Tensor]:
        """Return each candidate's cosine with the newest item, the nearest one, and the mean of the history.

        By collaborative and by text vectors, six of [b, m]; 0 where something is not known.
        """
        real = asked.history >= 0
        newest = (real.sum(1) - 1).clamp(min=0)[:, None, None]
        pairs = (
            (self.vectors_of(asked.history, asked.rounds), self.vectors_of(asked.candidates, asked.rounds)),
            (self.texts_of(asked.history), self.texts_of(asked.candidates)),
        )
        found = []
        for history, candidates in pairs:
            if not history.shape[1]:
                found += [candidates.new_zeros(candidates.shape[:2])] * 3
                continue
            cosines = candidates @ history.transpose(1, 2)  # [b, m, L]
            mean = normalize(history.sum(1), dim=1)[:, :, None]
            last = cosines.gather(2, newest.expand(-1, cosines.shape[1], 1))[..., 0]
            nearest = cosines.masked_fill(~real[:, None, :], -1).amax(2).clamp(min=0)
            found += [last, nearest, (candidates @ mean)[..., 0]]
        return found
