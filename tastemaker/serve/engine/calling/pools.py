"""The threads of the process, which all shops share: their number does not grow with the number of shops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tastemaker.serve.engine.workers import Workers

if TYPE_CHECKING:
    from tastemaker.serve.settings import Settings

WAITING = 1024


class Pools:
    """Threads by what they are for; none starts before there is work for it.

    Args:
        settings: of the service.

    Attributes:
        background: what nobody waits for long: reads and writes of the store.
        history: reads of shoppers, which requests wait for.
        views: makes views of catalogues.
        indexes: loads models and makes their indexes, few at a time, as each takes a processor for itself.
        language_model: calls of language models; four shops whose calls all hang leave the others theirs.
        ranking: stages that ask no language model.
        retrieving: retrievers that are too slow for the event loop.
        explaining: reasons, wishes and filters.
    """

    def __init__(self, settings: Settings) -> None:
        self.background = Workers(4, waiting=4 * WAITING, name="background")
        self.history = Workers(4, waiting=4 * WAITING, name="history")
        self.views = Workers(2, waiting=WAITING, name="views")
        self.indexes = Workers(2, waiting=WAITING, name="indexes")
        self.language_model = Workers(4 * settings.language_model_calls, waiting=0, name="language-model")
        self.ranking = Workers(2, waiting=64, name="rank")
        self.retrieving = Workers(2, waiting=WAITING, name="retrieve")
        self.explaining = Workers(2, waiting=256, name="explain")

    def close(self, *, within: float) -> bool:
        """End all threads; return whether all have ended within so many seconds. See `Workers.close`."""
        workers: list[Workers] = list(vars(self).values())
        for one in workers:
            one.close()
        return all([one.close(within=within / len(workers)) for one in workers])
