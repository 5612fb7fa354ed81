"""Task families as a network learns them: pairs encoded once, drawn anew each epoch by the weight of their family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, field_validator

from tastemaker import configurable
from tastemaker.errors import did_you_mean
from tastemaker.neural.batches import by_length
from tastemaker.text.instructions.task_templates import FAMILIES

if TYPE_CHECKING:
    from tastemaker.models.parts.generative.text_codec import Packed, TextCodec
    from tastemaker.text.instructions.task_families import TaskWriter
    from tastemaker.text.instructions.tasks import InstructionPair
    from tastemaker.types import Int32, Int64

RANKED_BY = "sequential"
"""The family whose prompts rank."""
TO_IDENTIFIERS = ("sequential", "direct")
"""Families whose answer is an identifier."""
MAX_TOKENS = 256
"""Tokens of a prompt; what is beyond is cut off in front."""
ANSWER_TOKENS = 48
"""Tokens of an answer."""

WEIGHTS = {
    "sequential": 1.0,
    "direct": 0.25,
    "rating": 0.25,
    "profile": 0.25,
    "explanation": 0.25,
    "attribute": 0.5,
    "title": 0.25,
    "facts": 0.25,
    "summary": 0.25,
}


class FamilyConfig(configurable.Config):
    """Settings of what is learnt.

    Attributes:
        families: share of each family's pairs that an epoch draws, 0 to 1; a family that is not named is left out.
        pairs: of each family but "sequential", at most; drawn once.
    """

    families: dict[str, float] = Field(default_factory=lambda: dict(WEIGHTS))
    pairs: int = Field(default=20_000, ge=1)

    @field_validator("families")
    @classmethod
    def _known_families(cls, families: dict[str, float]) -> dict[str, float]:
        for name, weight in families.items():
            if name not in FAMILIES:
                raise ValueError(f"no task family {name!r}{did_you_mean(name, FAMILIES)}")
            if not 0 <= weight <= 1:
                raise ValueError(f"{name} = {weight:g}: must be from 0 to 1")
        return families

    def draw(self, writer: TaskWriter, rng: np.random.Generator) -> dict[str, list[InstructionPair]]:
        """Write the pairs of each family that has a weight and that the data allow."""
        wanted = [family for family, share in self.families.items() if share]
        most = dict.fromkeys(wanted, self.pairs) | {RANKED_BY: writer.size}
        drawn = {family: writer.pairs(family, rng, most=most[family]) for family in wanted}
        return {family: pairs for family, pairs in drawn.items() if pairs}


@dataclass(frozen=True, slots=True)
class Lessons:
    """The encoded pairs of families whose answers are of one kind.

    Attributes:
        prompts, answers: of all pairs, family after family.
        families: where each family ends, and the share of it that an epoch draws.
        identifiers: whether the answers are identifiers.
    """

    prompts: Packed
    answers: Packed
    families: tuple[tuple[int, float], ...]
    identifiers: bool

    def groups(self, size: int, rng: np.random.Generator) -> list[Int64]:
        """Draw an epoch's pairs and return them in groups of `size` with answers and prompts of similar length."""
        parts, start = [], 0
        for end, share in self.families:
            parts.append(start + rng.permutation(end - start)[: round(share * (end - start))])
            start = end
        rows = np.concatenate(parts).astype(np.int64)
        lengths = self.answers.lengths[rows] * (MAX_TOKENS + 1) + self.prompts.lengths[rows]
        return [rows[group] for group in by_length(lengths, size, rng)]


def lessons_of(drawn: dict[str, list[InstructionPair]], codec: TextCodec, shares: dict[str, float]) -> list[Lessons]:
    """Encode the pairs of all families: those that are answered with identifiers, then those with words."""
    found = []
    for identifiers in (True, False):
        families = [family for family in drawn if (family in TO_IDENTIFIERS) is identifiers]
        pairs = [pair for family in families for pair in drawn[family]]
        if pairs:
            ends = np.cumsum([len(drawn[family]) for family in families]).tolist()
            prompts = codec.encode([pair.prompt.user for pair in pairs], most=MAX_TOKENS)
            answers = codec.encode([pair.answer for pair in pairs], most=ANSWER_TOKENS, end=not identifiers)
            each = tuple((end, shares[family]) for end, family in zip(ends, families, strict=True))
            found.append(Lessons(prompts, answers, each, identifiers))
    return found


def who(pairs: list[InstructionPair]) -> tuple[Int32, Int32]:
    """Return shopper and product of the pairs that have both."""
    both = [(pair.user, pair.item) for pair in pairs if pair.user >= 0 and pair.item >= 0]
    found = np.array(both, dtype=np.int32).reshape(-1, 2)
    return found[:, 0], found[:, 1]
