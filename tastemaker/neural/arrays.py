"""Saving the weights of a network as plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tastemaker.configurable import under

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


def weights_of(network: nn.Module, name: str = "network") -> dict[str, NDArray[Any]]:
    """Return the weights under "NAME.WEIGHT"."""
    return {f"{name}.{key}": value.cpu().numpy() for key, value in network.state_dict().items()}


def take_weights(network: nn.Module, arrays: dict[str, NDArray[Any]], name: str = "network") -> None:
    """Give a network the weights that `weights_of` returned.

    Raises:
        ValueError: a weight is missing, unknown, or of another shape.
    """
    weights = {key: torch.from_numpy(value) for key, value in under(arrays, name).items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
