"""An encoder-decoder that reads prompts and writes answers: T5's layers, drawn at random, with whole-word embeddings.

Raffel et al., T5, JMLR 2020, as transformers builds it from a configuration; whole-word embeddings (Geng et al., P5,
RecSys 2022, section 3.2) tell which tokens belong to one word or one identifier. They are counted from the end of the
prompt here, where the newest purchases stand. Dropout is on embeddings and on what each layer adds, not inside layers,
where it costs a quarter of a step on a processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import T5Config, T5Model
from transformers.models.t5.modeling_t5 import T5Attention, T5DenseActDense

from tastemaker.models.parts.generative.text_codec import END, PAD
from tastemaker.neural.losses import full_softmax

if TYPE_CHECKING:
    from tastemaker.models.parts.generative.text_codec import Packed
    from tastemaker.types import Int64

WORDS = 256
"""Words that are told apart; those further back count as one."""
WORD_DEVIATION = 0.1
"""Of whole-word embeddings at the start; those of tokens are drawn with deviation 1."""


@dataclass(frozen=True, slots=True)
class Task:
    """b prompts with their answers.

    Attributes:
        tokens: int64 [b, L], filled up on the right.
        words: number of each token's word, from the end, int64 [b, L].
        real: which places hold a token, bool [b, L].
        answers: int64 [b, T], filled up on the right.
        identifiers: whether every answer is an identifier, so that only identifiers compete.
    """

    tokens: Tensor
    words: Tensor
    real: Tensor
    answers: Tensor
    identifiers: bool = False


def task_of(prompts: Packed, answers: Packed | None, rows: Int64, *, identifiers: bool, device: str) -> Task:
    """Return the prompts and answers at `rows`; without answers they are empty."""
    tokens, words, lengths = prompts.padded(rows)
    wanted = np.zeros((len(rows), 0), dtype=np.int64) if answers is None else answers.padded(rows)[0]
    real = np.arange(tokens.shape[1]) < lengths[:, None]
    read, numbered, there, answered = (torch.from_numpy(part).to(device) for part in (tokens, words, real, wanted))
    return Task(read, numbered, there, answered, identifiers)


class TextToText(nn.Module):
    """Tokens to tokens.

    Args:
        vocabulary: tokens in all.
        first: the first identifier token; all behind it are identifiers, too.
        dim, layers, heads, dropout: of encoder and decoder, each with so many layers.
    """

    def __init__(self, vocabulary: int, first: int, *, dim: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.first = first
        self.tokens = nn.Embedding(vocabulary, dim)
        self.words = nn.Embedding(WORDS, dim)
        nn.init.normal_(self.words.weight, std=WORD_DEVIATION)
        shape = T5Config(
            vocab_size=2,  # padding and end: the embeddings are ours, one table for encoder, decoder and output
            d_model=dim,
            d_kv=dim // heads,
            d_ff=4 * dim,
            num_layers=layers,
            num_heads=heads,
            dropout_rate=dropout,
        )
        layers_of: Any = T5Model(shape)
        self.encoder, self.decoder = layers_of.encoder, layers_of.decoder
        self.encoder.embed_tokens = self.decoder.embed_tokens = None
        for part in layers_of.modules():
            inner: Any = part
            if isinstance(part, T5Attention):
                inner.dropout = 0.0
            elif isinstance(part, T5DenseActDense):
                inner.dropout = nn.Identity()
        self._scale = dim**-0.5

    @property
    def identifier_table(self) -> Tensor:
        """Vectors of the identifier tokens, [c, dim]."""
        return self.tokens.weight[self.first :]

    def read(self, task: Task) -> Tensor:
        """Return the encoder's states, [b, L, dim]."""
        embedded = self.tokens(task.tokens) + self.words(task.words.clamp(max=WORDS - 1))
        found: Tensor = self.encoder(inputs_embeds=embedded, attention_mask=task.real.long()).last_hidden_state
        return found

    def write(self, states: Tensor, real: Tensor, written: Tensor) -> Tensor:
        """Return the decoder's states after each of the tokens written so far, [b, t, dim], scaled for the output."""
        found: Tensor = self.decoder(
            inputs_embeds=self.tokens(written),
            encoder_hidden_states=states,
            encoder_attention_mask=real.long(),
            use_cache=False,
        ).last_hidden_state
        scaled: Tensor = found * self._scale
        return scaled

    def forward(self, task: Task) -> Tensor:
        """Return the mean cross-entropy of the answers' tokens, among identifiers where all answers are such."""
        before = torch.full_like(task.answers[:, :1], PAD)
        states = self.write(self.read(task), task.real, torch.cat([before, task.answers[:, :-1]], dim=1))  # [b, T, dim]
        there = task.answers != PAD
        states, targets = states[there], task.answers[there]
        if task.identifiers:
            return full_softmax(states, self.identifier_table, targets - self.first)
        return full_softmax(states, self.tokens.weight, targets)

    def answer(self, task: Task, *, most: int) -> Tensor:
        """Return what is written greedily, int64 [b, <= most], `PAD` behind the end of each answer."""
        states, b = self.read(task), len(task.tokens)
        written = torch.full((b, 1), PAD, device=states.device)
        done = torch.zeros(b, dtype=torch.bool, device=states.device)
        for _ in range(most):
            logits = self.write(states, task.real, written)[:, -1] @ self.tokens.weight.t()
            logits[:, PAD] = -torch.inf
            chosen = logits.argmax(dim=1).masked_fill(done, PAD)
            written = torch.cat([written, chosen[:, None]], dim=1)
            done |= chosen == END
            if done.all():
                break
        return written[:, 1:]
