"""What decides the course of a training, as one line of text: a checkpoint of another identity is not gone on from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from tastemaker.data.splits import Holdout


def training_identity(*facts: object, network: nn.Module, validation: Holdout | None) -> str:
    """Return the facts with hashes of the weights that training begins with and of the questions that may end it.

    Args:
        facts: what else decides it: model, verb, settings, data, encoder.
        network: before its first step.
        validation: None where nothing ends training early.
    """
    begin, asked = hashlib.sha256(), hashlib.sha256()
    for name, weights in network.state_dict().items():
        begin.update(f"{name} {tuple(weights.shape)}\n".encode())
        begin.update(weights.detach().cpu().contiguous().numpy().data)
    for part in () if validation is None else (validation.queries, validation.targets):
        for numbers in (part.offsets, part.items):
            asked.update(numbers.tobytes())
    return " ".join([*map(str, facts), begin.hexdigest(), asked.hexdigest()])
