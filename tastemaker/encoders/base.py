"""The encoder contract: strings in, unit vectors out. Encoders never see a data set."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from tastemaker.configurable import Configurable
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from tastemaker.types import Float32

Kind = Literal["query", "document"]


class Encoder(Configurable):
    """Turns texts into vectors of length 1 (or all zeros for a text without any known content)."""

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from the catalogue's texts, where the encoder learns anything; pretrained ones return themselves.

        Only product texts come here, never interactions, so nothing held out can leak in.
        """
        return self

    @abstractmethod
    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode texts.

        Args:
            texts: any strings, empty ones too.
            kind: "document" for products, "query" for histories and wishes; some models treat them differently.
            progress: shown over batches.

        Returns:
            float32 [len(texts), d], rows of length 1 or 0.
        """
