"""A language model's layers without its vocabulary: what reads soft tokens, to be tuned or kept frozen."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tastemaker.errors import ConfigError
from tastemaker.lm.base import LanguageModel
from tastemaker.lm.layers import layers_of
from tastemaker.lm.local import LocalLM

if TYPE_CHECKING:
    from collections.abc import Sequence

Tuned = Literal["none", "lora", "full"]
"""Which weights of the trunk are trained: none, low-rank adapters beside every matrix, or all."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """A copy of a causal language model's first layers.

    Attributes:
        network: from input vectors [b, L, width] to hidden states, as transformers calls it; no embedding table.
        words: vectors of the tokens of each given text, [tokens, width] each.
        width: of a hidden state.
        spread: root mean square of the entries of the vocabulary's vectors.
    """

    network: nn.Module
    words: tuple[Tensor, ...]
    width: int
    spread: float


def local_of(lm: LanguageModel | None, *, model: str) -> LocalLM:
    """Return the model on this machine behind caches and budgets.

    Args:
        lm: any language model.
        model: whose name an error begins with.

    Raises:
        ConfigError: there is none, or it does not run here.
    """
    inner: Any = lm
    while inner is not None and not isinstance(inner, LocalLM):
        inner = getattr(inner, "lm", None)
    if inner is None:
        what = "no [lm] is set" if lm is None else f"{lm.name} does not run on this machine"
        raise ConfigError(
            f'{model}: {what}; it needs the weights themselves: [lm] model = "smollm2-135m-instruct", or a folder'
        )
    return inner


def trunk_of(
    lm: LocalLM, texts: Sequence[str], *, layers: int | None, tuned: Tuned, rank: int = 8, seed: int = 0
) -> Trunk:
    """Copy the first layers of a language model, and the vectors of a few texts; the model itself stays as it is.

    Args:
        lm: any causal model that transformers loads and that keeps its layers in a list `layers`.
        texts: whose tokens' vectors are wanted.
        layers: how many of the first layers; None for all.
        tuned: which weights are trained.
        rank: of the low-rank adapters.
        seed: of their start.

    Raises:
        ConfigError: it has fewer layers, or keeps them elsewhere.
    """
    whole: Any = lm.network
    decoder, table = whole.get_decoder(), whole.get_input_embeddings()
    own = layers_of(whole, name=lm.name)
    count = len(own) if layers is None else layers
    if count > len(own):
        raise ConfigError(f"lm_layers = {count}: {lm.name} has {len(own)} layers; set so many at most, or leave it out")
    first = nn.ModuleList(copy.deepcopy(own[number]) for number in range(count))
    # What is named here is not copied but replaced: the vocabulary, and the layers that are left out.
    network: nn.Module = copy.deepcopy(decoder, {id(own): first, id(table): nn.Identity()}).float()
    network.config.num_hidden_layers = count  # type: ignore[union-attr]
    network.requires_grad_(tuned == "full")
    if tuned == "lora" and count:
        _adapt(network, rank=rank, seed=seed)
    with torch.no_grad():
        ids = [torch.tensor(lm.tokens_of(text), device=table.weight.device, dtype=torch.long) for text in texts]
        words = tuple(table(each).float().cpu() for each in ids)
        spread = float(table.weight.float().square().mean().sqrt())
    return Trunk(network.cpu(), words, int(table.weight.shape[1]), spread)


def identity_of(lm: LocalLM) -> str:
    """Return what pins the weights of a language model, whatever device and arithmetic they are used with."""
    return lm.fingerprint.replace(f"-{lm.config.dtype}-{lm.config.device.partition(':')[0]}", "")


def _adapt(network: nn.Module, *, rank: int, seed: int) -> None:
    """Put low-rank adapters beside every linear layer (LoRA, arXiv 2106.09685)."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network)
