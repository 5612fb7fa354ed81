"""What is written, and by whom: the table `[augment]` of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tastemaker.configurable import Config
from tastemaker.text.prompting.prompts import LETTERS

Kind = Literal["descriptions", "keywords", "profiles", "interactions"]
KINDS: tuple[Kind, ...] = ("descriptions", "keywords", "profiles", "interactions")
"""In the order in which they are written and judged."""


class AugmentConfig(Config):
    """Knobs of augmentation.

    Attributes:
        kinds: what is written. "descriptions": a sentence on each product without description (column "written").
            "keywords": words that go with each product (column "written_keywords"). "profiles": each shopper in
            keywords (column "profile" of the shoppers). "interactions": purchases of cold products that nobody made.
        writer: "statistics" of the training data, or the language model of the configuration ("lm").
        most: products, and shoppers, that texts are written for at most; the least bought and the newest come first.
        cold_below: products with fewer training purchases than this are cold.
        shoppers: similar shoppers that are retrieved for a cold product, among whom buyers are picked.
        picked: of them, synthetic interactions of one product at most.
    """

    kinds: tuple[Kind, ...] = KINDS
    writer: Literal["statistics", "lm"] = "statistics"
    most: int | None = Field(default=None, ge=1)
    cold_below: int = Field(default=1, ge=1)
    shoppers: int = Field(default=10, ge=2, le=len(LETTERS))
    picked: int = Field(default=3, ge=1, le=len(LETTERS))
