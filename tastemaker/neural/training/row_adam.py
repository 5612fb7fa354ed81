r"""AdamW that costs a step only the rows it reads: for a table of which each step needs a few rows.

A step of plain AdamW moves every row of a table, also those without a gradient, whose momentum runs on. Here a row is
left where it is until it is read again, and then all that it missed is made up for in one go. With m and v as step T,
the last one to touch the row, left them, and $c_s$ the learning rate of step s times
$\sqrt{1 - \beta_2^s} / (1 - \beta_1^s)$, the steps T + 1 to t move the row by

$$-\frac{m}{\sqrt v + \epsilon} \sum_{s=T+1}^{t} c_s \left(\beta_1 / \sqrt{\beta_2}\right)^{s-T}$$

and multiply m by $\beta_1^{t-T}$, v by $\beta_2^{t-T}$ and the row by its weight decay. So training takes the course of
plain AdamW, but for rounding, for $\epsilon$ (1e-8, beside a $\sqrt v$ that shrinks), and, with weight decay, for the
order of decay and momentum within the time that a row was not read. Time and memory traffic of a step grow with the
rows that it reads, not with the table.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REMEMBERED = 256
"""Steps for which momentum runs on; (0.9 / sqrt(0.999))^256 is 2e-12, so later ones move nothing."""


class RowTable(nn.Embedding):
    """A table [n, d] that is read whole as `weight`, or some rows of it by `take`.

    Attributes:
        before: called with the numbers of rows before they are read, so that an optimiser brings them up to date.
    """

    before: Callable[[Tensor], None] | None = None

    def take(self, rows: Tensor) -> Tensor:
        """Return the rows of these numbers, int64 [m] -> [m, d]; their gradient is sparse."""
        if self.before is not None:
            self.before(rows)
        return nn.functional.embedding(rows, self.weight, sparse=True)


class RowAdamW(torch.optim.AdamW):
    """AdamW; tables whose gradient is sparse are trained row by row.

    Args:
        groups: of parameters, as torch takes them.
        tables: those whose weights are among the parameters; they ask this optimiser before each reading of rows,
            until `release`.
        lr: learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]], *, tables: Sequence[RowTable], lr: float) -> None:
        super().__init__(groups, lr=lr)
        self._followers = tables
        self._missed = {table.weight: _Missed(table.weight, self.defaults["betas"]) for table in tables}
        for table in tables:
            table.before = partial(self._catch_up, table.weight)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # a closure is of no use here
        """Make a step; rows without a gradient stay behind."""
        whole = []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None or weight not in self._missed:
                    continue
                if weight.grad.is_sparse:
                    self._step_of_rows(weight, group)
                    weight.grad = None
                else:
                    self._catch_up(weight)
                    whole.append(weight)
        super().step()
        for weight in whole:
            self._missed[weight].none(int(self.state[weight]["step"]))

    def settle(self) -> None:
        """Bring all rows up to date: before a table is read whole, or saved."""
        for weight, missed in self._missed.items():
            self._catch_up(weight)
            missed.none(missed.step)

    def release(self) -> None:
        """Let the tables be read without this optimiser."""
        for table in self._followers:
            table.before = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the state of an optimiser that was settled."""
        super().load_state_dict(state_dict)
        for weight, missed in self._missed.items():
            missed.none(int(self.state[weight]["step"]) if weight in self.state else 0)

    def _step_of_rows(self, weight: Tensor, group: dict[str, Any]) -> None:
        given = weight.grad.coalesce()  # type: ignore[union-attr]  # asked before
        rows, gradient = given.indices()[0], given.values()
        self._catch_up(weight, rows)
        state, missed = self.state[weight], self._missed[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        step, rate, (first, second) = int(state["step"]), float(group["lr"]), group["betas"]
        mean = state["exp_avg"][rows].lerp_(gradient, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        kept, pace, root = 1 - rate * group["weight_decay"], rate / (1 - first**step), (1 - second**step) ** 0.5
        weight[rows] = weight[rows] * kept - mean / (square.sqrt() / root + group["eps"]) * pace
        missed.stepped(rows, pace=pace * root, kept=kept)

    @torch.no_grad()
    def _catch_up(self, weight: Tensor, rows: Tensor | None = None) -> None:
        """Make up for the steps that rows missed; None stands for all rows."""
        missed = self._missed[weight]
        late = missed.late(rows)
        if not len(late):
            return
        state, (first, second) = self.state[weight], self.defaults["betas"]
        way, kept, gaps = missed.made_up(late)
        mean, square = state["exp_avg"][late], state["exp_avg_sq"][late]
        weight[late] = (weight[late] - mean / (square.sqrt() + self.defaults["eps"]) * way) * kept  # it runs on first
        state["exp_avg"][late], state["exp_avg_sq"][late] = mean * first**gaps, square * second**gaps


class _Missed:
    """Which steps each row of a table missed, and what they come to.

    Attributes:
        step: steps so far.
    """

    def __init__(self, weight: Tensor, betas: tuple[float, float]) -> None:
        self._last = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
        self._fading = (betas[0] / betas[1] ** 0.5) ** np.arange(REMEMBERED + 1)
        self.none(0)

    def none(self, step: int) -> None:
        """Note that all rows are where they should be after this step."""
        self.step = self._begin = step
        self._ways, self._kept = np.zeros(64), np.zeros(64)  # by step from `begin` on: sums of c_s, logs of decay
        self._last.fill_(step)

    def late(self, rows: Tensor | None) -> Tensor:
        """Return those of the rows that missed a step."""
        if self.step == self._begin:
            return self._last[:0]
        if rows is None:
            return (self._last < self.step).nonzero()[:, 0]
        return rows[self._last[rows] < self.step]

    def stepped(self, rows: Tensor, *, pace: float, kept: float) -> None:
        """Note a step that touched these rows and moved the others by their momentum times `pace`."""
        self.step += 1
        at = self.step - self._begin
        if at == len(self._ways):
            self._ways, self._kept = (np.concatenate([old, np.zeros(at)]) for old in (self._ways, self._kept))
        first = max(0, at - REMEMBERED)
        self._ways[first:at] += pace * self._fading[at - first : 0 : -1]
        self._kept[at] = self._kept[at - 1] + np.log(kept)
        self._last[rows] = self.step

    def made_up(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what rows missed, [m, 1] each, and count it as made up for.

        Returns:
            The sum of $c_s$ with its powers, what weight decay leaves of the row, and the number of steps.
        """
        last = self._last[rows]
        at = (last - self._begin).cpu().numpy()
        kept = np.exp(self._kept[self.step - self._begin] - self._kept[at])
        way, left = (torch.from_numpy(one).to(rows.device, torch.float32)[:, None] for one in (self._ways[at], kept))
        self._last[rows] = self.step
        return way, left, (self.step - last)[:, None]
