"""The last layers of a sentence encoder as a network of their own, over kept states of the layers below them.

The lower layers stay as they were pretrained, so what they make of each text is computed once (in half precision: 768
bytes a token of a model with 384 dimensions) and a training step runs the last layers alone.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from tastemaker.encoders.tuned_weights import layers_of
from tastemaker.errors import ConfigError
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from tastemaker.types import Int64

TEXTS = 32
"""Texts of similar length that go through the layers together: titles of a batch fit a processor's cache."""
CLOSE = 1e-3
"""Most that the last layers, run alone, may differ from the whole model."""


class SentenceLayers(nn.Module):
    """The last layers of a sentence encoder, and the states of n texts before them.

    There is no dropout in training: the vectors of texts that are not in a batch are kept, and must be comparable.

    Args:
        model: the whole encoder; it stays as it is.
        texts: n texts, none blank.
        tuned: how many of the last layers are run, and trained.
        prompt: what the model wants in front of a text.
        progress: shown over batches of texts.

    Attributes:
        start: vectors of the whole pretrained model, [n, d].

    Raises:
        ConfigError: the model has fewer layers, or its last layers cannot be run alone.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        texts: Sequence[str],
        *,
        tuned: int,
        prompt: str | None = None,
        progress: Progress = silent,
    ) -> None:
        super().__init__()
        layers = layers_of(model)
        if tuned > len(layers):
            raise ConfigError(f"tuned_layers = {tuned}: the encoder has {len(layers)} layers")
        self.first = len(layers) - tuned
        self.layers = nn.ModuleList(deepcopy(layer).float().cpu() for layer in layers[self.first :])
        self.tail = nn.ModuleList(deepcopy(module).float().cpu() for module in list(model)[1:])
        self.layers.requires_grad_(True)
        self.tail.requires_grad_(False)
        self.eval()
        self._keep(model, texts, prompt, progress)

    def train(self, mode: bool = True) -> SentenceLayers:
        """Stay without dropout, whatever `mode` says."""
        return super().train(False)

    def forward(self, rows: Int64) -> Tensor:
        """Return the vectors of the texts at `rows`, [len(rows), d], with gradients."""
        order = np.argsort(self._lengths[rows], kind="stable")
        parts = [self._vectors(*self._padded(rows[order[at : at + TEXTS]])) for at in range(0, len(rows), TEXTS)]
        back = torch.from_numpy(np.argsort(order))
        return torch.cat(parts)[back.to(parts[0].device)]

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the parameters of the layers by the names of `tuned_weights`."""
        return {
            f"layer.{self.first + number}.{name}": value.detach().cpu().numpy().copy()
            for number, layer in enumerate(self.layers)
            for name, value in layer.state_dict().items()
        }

    def _keep(self, model: SentenceTransformer, texts: Sequence[str], prompt: str | None, progress: Progress) -> None:
        """Run the whole model once; keep the states before the tuned layers and the vectors at the end."""
        caught: list[Tensor] = []
        first = layers_of(model)[self.first]
        hook = first.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].float()))
        order = np.argsort([-len(text) for text in texts], kind="stable")
        states: list[Tensor] = [torch.empty(0)] * len(texts)
        vectors: list[Tensor] = [torch.empty(0)] * len(texts)
        try:
            with torch.no_grad():
                for at in progress(range(0, len(texts), TEXTS), label="encode texts"):
                    rows = order[at : at + TEXTS]
                    features = batch_to_device(
                        model.preprocess([texts[row] for row in rows], prompt=prompt, task="document"), model.device
                    )
                    sentences = model.forward(features, task="document")["sentence_embedding"].float().cpu()
                    state, mask = caught.pop().cpu(), features["attention_mask"].bool().cpu()
                    if not at and not torch.allclose(self._vectors(state, mask), sentences, atol=CLOSE, rtol=0):
                        raise ConfigError(
                            f"{type(first).__name__}: its last layers cannot be run alone; set tuned_layers = 0"
                        )
                    for place, row in enumerate(rows):
                        states[row], vectors[row] = state[place][mask[place]].half(), sentences[place]
        finally:
            hook.remove()
        self._lengths = np.array([len(state) for state in states], dtype=np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(self._lengths)])
        self._states = torch.cat(states)  # [tokens, hidden]
        self.start = torch.stack(vectors)

    def _padded(self, rows: Int64) -> tuple[Tensor, Tensor]:
        """Return states [b, L, hidden] and which of them are real, [b, L]."""
        places = np.arange(self._lengths[rows].max())
        real = places < self._lengths[rows][:, None]
        at = np.where(real, self._offsets[rows][:, None] + places, 0)
        device = next(self.parameters()).device
        return self._states[torch.from_numpy(at)].to(device).float(), torch.from_numpy(real).to(device)

    def _vectors(self, states: Tensor, real: Tensor) -> Tensor:
        """Run the tuned layers and all that follows them."""
        hidden = torch.zeros(real.shape, device=real.device).masked_fill(~real, torch.finfo(torch.float32).min)
        for layer in self.layers:
            made = layer(states, attention_mask=hidden[:, None, None, :])
            states = made[0] if isinstance(made, tuple) else made
        features: dict[str, Any] = {"token_embeddings": states, "attention_mask": real.long()}
        for module in self.tail:
            features = module(features)
        sentences: Tensor = features["sentence_embedding"]
        return sentences
