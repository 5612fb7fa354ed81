"""Giving a fitted recommender other product texts: the same products, what it learnt stays."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tastemaker.abilities import Rereading, Transferable
from tastemaker.data.dataset import Dataset
from tastemaker.encoders.base import Encoder
from tastemaker.errors import ConfigError
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from tastemaker.data.entities import Entities
    from tastemaker.encoders.base import Kind
    from tastemaker.recommender import Recommender
    from tastemaker.types import Float32


def reading_parts(recommender: Recommender) -> list[Recommender]:
    """Return the recommenders inside that read product texts: those with an encoder or a language model."""
    inside: dict[str, Recommender] = getattr(recommender, "parts", {})
    if inside:
        return [found for part in inside.values() for found in reading_parts(part)]
    reads = recommender.encoder is not None or recommender.lm is not None or isinstance(recommender, Rereading)
    return [recommender] if reads else []


class Remembering(Encoder):
    """An encoder that encodes each text once: most of a poisoned catalogue is as it was.

    Args:
        encoder: which does the work.
    """

    name = "remembering"

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._encoder = encoder
        self._known: dict[tuple[str, str], Float32] = {}

    def encode(self, texts: Sequence[str], *, kind: Kind, progress: Progress = silent) -> Float32:
        """Encode what is new, [n, d]."""
        new = list(dict.fromkeys(text for text in texts if (kind, text) not in self._known))
        if new or not texts:
            found = self._encoder.encode(new, kind=kind, progress=progress)
            self._known.update(zip(((kind, text) for text in new), found, strict=True))
            if not texts:
                return found
        return np.stack([self._known[kind, text] for text in texts])

    def fit(self, texts: Sequence[str]) -> Self:
        """Let the encoder learn, and forget."""
        self._encoder.fit(texts)
        self._known.clear()
        return self

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the encoder's own."""
        return self._encoder.arrays()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Give them back to the encoder."""
        self._encoder.restore(arrays)
        self._known.clear()


class Reread:
    """Lets parts of a recommender read other texts; at the end of the `with` they are as they were.

    A part that can reread does (`Rereading`); one that can rank another catalogue is given this one as another; one
    that learnt from texts is fitted anew, with the seed 0, and keeps what it chose on validation.

    Args:
        parts: see `reading_parts`.
        train: to fit anew on.
    """

    def __init__(self, parts: Sequence[Recommender], train: Dataset) -> None:
        self._parts = parts
        self._train = train
        self._before: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        # Rereading and moving set attributes anew, and change none in place.
        self._before = [
            {name: copy.copy(value) if isinstance(value, Counter) else value for name, value in vars(part).items()}
            for part in self._parts
        ]
        for part in self._parts:
            for name, value in vars(part).items():
                if isinstance(value, Encoder):
                    setattr(part, name, Remembering(value))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part, state in zip(self._parts, self._before, strict=True):
            vars(part).clear()
            vars(part).update(state)

    def read(self, items: Entities) -> None:
        """Let every part read these texts.

        Raises:
            ConfigError: a part cannot.
        """
        for part in self._parts:
            if isinstance(part, Rereading):
                part.reread(items)
            elif isinstance(part, Transferable):
                part.transfer(items)
            elif part.lm is None:
                part.encoder = copy.deepcopy(part.encoder)  # which learns from texts, and others may share
                aids = replace(part.aids, validation=None, keep_choices=True, folder=None)
                part.fit(Dataset(self._train.users, items, self._train.log), aids=aids, seed=0)
            else:
                raise ConfigError(f"attack: {part.name} cannot read other product texts once it is fitted")
