r"""A BERT encoder that reads a history once, and every candidate with an eye on it.

Words of the history attend to each other alone; words of a candidate attend to the history and to each other. So what
the history reads like is the same for all candidates of a question and is computed once, where reading both ways costs
a pass over the history for each candidate. With the history's keys and values $K_h, V_h$ and a candidate's $K_c, V_c$,
a layer's attention of the candidate is $\mathrm{softmax}(Q_c [K_h; K_c]^\top / \sqrt d)\,[V_h; V_c]$, as in the joint
encoder; only $Q_h$ never meets $K_c$. All but attention works on the real words alone, without filling.

Sources: Devlin et al., arXiv 1810.04805 (BERT); MacAvaney et al., arXiv 2004.14255 (PreTTR: terms of the two sides kept
apart in the first layers). Deviation from PreTTR: the sides are joined in every layer, in one direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Read:
    """States of the candidates' N real words, side by side.

    Attributes:
        states: of the last layer, [N, d].
        owner: candidate of each word, counted through all questions, int64 [N].
        lengths: words of each candidate, int64 [b m].
    """

    states: Tensor
    owner: Tensor
    lengths: Tensor

    @property
    def means(self) -> Tensor:
        """The mean state of each candidate's words, [b m, d]; 0 for one without."""
        sums = self.states.new_zeros(len(self.lengths), self.states.shape[1]).index_add(0, self.owner, self.states)
        return sums / self.lengths.clamp(min=1)[:, None].to(sums.dtype)

    @property
    def ends(self) -> Tensor:
        """The state of each candidate's last word, [b m, d]; of one without words, that of any other."""
        return self.states[(self.lengths.cumsum(0) - 1).clamp(min=0)]


def read_one_way(bert: Any, history: Tensor, candidates: Tensor) -> Read:  # noqa: ANN401  # transformers' BertModel
    """Read candidates with an eye on histories.

    Args:
        bert: of `transformers`, with absolute positions.
        history: token ids, -1 filled on the right, at least one real, int64 [b, H].
        candidates: token ids, -1 filled on the right, int64 [b, m, T]; one word of all at least is real.
    """
    (b, m, width), heads = candidates.shape, int(bert.config.num_attention_heads)
    known, mine = history >= 0, (candidates >= 0).view(b * m, width)
    place = mine.flatten().nonzero()[:, 0]  # [N]
    owner = place // width
    said = bert.embeddings(
        input_ids=history.clamp(min=0),
        token_type_ids=torch.zeros_like(history),
        position_ids=torch.arange(history.shape[1], device=history.device)[None],
    )  # [b, H, d]
    read = bert.embeddings(
        input_ids=candidates.flatten()[place][None],
        token_type_ids=torch.ones_like(place)[None],
        position_ids=(known.sum(1)[owner // m] + place % width)[None],
    )[0]  # [N, d]
    both = torch.cat([known.repeat_interleave(m, 0), mine], 1)[:, None, None]  # [b m, 1, 1, H + T]
    layers = list(bert.encoder.layer)
    for number, layer in enumerate(layers):
        attention = layer.attention.self
        rate = attention.dropout.p if layer.training else 0.0
        keys, values = (_by_head(project(said), heads) for project in (attention.key, attention.value))  # [b, h, H, e]
        query, own_keys, own_values = (
            _by_head(_filled(project(read), place, b * m, width), heads)
            for project in (attention.query, attention.key, attention.value)
        )  # [b m, h, T, e]
        gathered = scaled_dot_product_attention(
            query,
            torch.cat([keys.repeat_interleave(m, 0), own_keys], 2),
            torch.cat([values.repeat_interleave(m, 0), own_values], 2),
            attn_mask=both,
            dropout_p=rate,
        )
        read = _rest_of(layer, _side_by_side(gathered).flatten(0, 1)[place], read)
        if number + 1 < len(layers):  # nobody looks at what the history reads like behind the last layer
            asked = _by_head(attention.query(said), heads)
            gathered = scaled_dot_product_attention(asked, keys, values, attn_mask=known[:, None, None], dropout_p=rate)
            said = _rest_of(layer, _side_by_side(gathered), said)
    return Read(read, owner, mine.sum(1))


def _filled(states: Tensor, place: Tensor, rows: int, width: int) -> Tensor:
    """Return states [N, d] at their places among filling, [rows, width, d]."""
    return states.new_zeros(rows * width, states.shape[1]).index_copy(0, place, states).view(rows, width, -1)


def _by_head(states: Tensor, heads: int) -> Tensor:
    """Return states [b, n, d] by head, [b, h, n, d / h]."""
    return states.view(*states.shape[:2], heads, -1).transpose(1, 2)


def _side_by_side(states: Tensor) -> Tensor:
    """Return states by head [b, h, n, e] side by side, [b, n, h e]."""
    return states.transpose(1, 2).flatten(2)


def _rest_of(layer: Any, gathered: Tensor, before: Tensor) -> Tensor:  # noqa: ANN401  # transformers' BertLayer
    """Return what a layer makes of its attention's answer: projection, residuals, norms, and the feed-forward part."""
    attended = layer.attention.output(gathered, before)
    found: Tensor = layer.output(layer.intermediate(attended), attended)
    return found
