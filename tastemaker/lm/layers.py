"""The layers of a causal language model of the transformers library: where they are, and the first ones alone."""

from __future__ import annotations

from typing import Any

from torch import nn

from tastemaker.errors import ConfigError


def layers_of(network: Any, *, name: str) -> nn.ModuleList:  # noqa: ANN401  # transformers is untyped
    """Return the list of a model's layers.

    Args:
        network: any causal model that keeps its layers in a list `layers`, as nearly all do.
        name: of the model, for the message.

    Raises:
        ConfigError: it keeps them elsewhere.
    """
    own = getattr(network.get_decoder(), "layers", None)
    if not isinstance(own, nn.ModuleList):
        raise ConfigError(f"{name}: a {type(network).__name__} keeps its layers where they cannot be counted")
    return own


def keep_first_layers(network: Any, count: int, *, name: str) -> None:  # noqa: ANN401
    """Leave out all layers after the first `count`; the last norm and the vocabulary stay.

    Raises:
        ConfigError: there are fewer, or they are kept elsewhere.
    """
    own = layers_of(network, name=name)
    if count > len(own):
        raise ConfigError(f"lm.layers = {count}: {name} has {len(own)} layers")
    network.get_decoder().layers = own[:count]
    settings = network.config.get_text_config()
    settings.num_hidden_layers = count
    if getattr(settings, "layer_types", None):  # of each layer; a key-value cache is made by them
        settings.layer_types = settings.layer_types[:count]
