"""Where experiments, lists and events come from: a folder of JSON lines, or any store with a few methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tastemaker.documents import read_document
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.experiments.definition import Experiment, check_together
from tastemaker.experiments.records import Event, Impression, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tastemaker.experiments.records import EventRecord, ImpressionRecord

PAGE = 5_000
"""Events or lists read from a store at once."""
EVER = 2**62
"""A time after all others, in milliseconds."""
IMPRESSIONS, EVENTS = "impressions.jsonl", "events.jsonl"
DOCUMENTS = ("experiments.toml", "experiments.json")


class Source(Protocol):
    """What the commands read from."""

    def experiments(self) -> list[Experiment]:
        """Return all experiments, by name.

        Raises:
            ConfigError: one is wrong, or two cannot run beside each other.
        """

    def impressions(self, since: int | None, until: int | None) -> Iterable[ImpressionRecord]:
        """Return the lists that were shown from a time on and before another, in milliseconds UTC; None for ever."""

    def events(self) -> Iterable[EventRecord]:
        """Return what shoppers did."""


class FolderSource:
    """A folder with impressions.jsonl, events.jsonl and experiments.toml or experiments.json.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def experiments(self) -> list[Experiment]:
        """Return the experiments of the document, in its order.

        Raises:
            ConfigError: no document, or a mistake in it.
        """
        path = next((self.folder / name for name in DOCUMENTS if (self.folder / name).is_file()), None)
        if path is None:
            raise ConfigError(
                f"{self.folder}: needs {DOCUMENTS[0]} with [[experiment]] tables; see docs/experiments.md"
            )
        return parse_experiments(read_document(path), place=str(path))

    def impressions(self, since: int | None, until: int | None) -> Iterator[ImpressionRecord]:
        """Return the lists that were shown in a time.

        Raises:
            DataError: no such file, or a line that is no impression.
        """
        for one in read_lines(self.folder / IMPRESSIONS, Impression):
            if (since is None or one.timestamp >= since) and (until is None or one.timestamp < until):
                yield one

    def events(self) -> Iterator[EventRecord]:
        """Return what shoppers did.

        Raises:
            DataError: no such file, or a line that is no event.
        """
        return read_lines(self.folder / EVENTS, Event)


class ExperimentStore(Protocol):
    """The methods of a store that experiments need."""

    def list_experiments(self, tenant: str) -> Mapping[str, Mapping[str, Any]]:
        """Return name -> definition."""

    def impressions_after(
        self, tenant: str, place: tuple[int, str], end: int, limit: int = 1000
    ) -> Sequence[ImpressionRecord]:
        """Return up to `limit` lists shown before `end`, after the one at (milliseconds, request id), in that order."""

    def events_after(self, tenant: str, sequence: int, limit: int = 1000) -> Sequence[tuple[int, EventRecord]]:
        """Return up to `limit` events after one, each with its number."""


class StoreSource:
    """One tenant of a store.

    Args:
        store: the store.
        tenant: whose rows.
    """

    def __init__(self, store: ExperimentStore, tenant: str) -> None:
        self.store, self.tenant = store, tenant

    def experiments(self) -> list[Experiment]:
        """Return the tenant's experiments, by name.

        Raises:
            ConfigError: one is wrong, or two cannot run beside each other.
        """
        known = self.store.list_experiments(self.tenant)
        return parse_experiments(
            {"experiment": [{"name": name, **known[name]} for name in sorted(known)]}, place="store"
        )

    def impressions(self, since: int | None, until: int | None) -> Iterator[ImpressionRecord]:
        """Return the lists that were shown in a time, read page by page."""
        place, end = (since or 0, ""), EVER if until is None else until
        while page := self.store.impressions_after(self.tenant, place, end, PAGE):
            place = (page[-1].timestamp, page[-1].request_id)
            yield from page

    def events(self) -> Iterator[EventRecord]:
        """Return what shoppers did, read page by page."""
        sequence = 0
        while page := self.store.events_after(self.tenant, sequence, PAGE):
            sequence = page[-1][0]
            for _, event in page:
                yield event


def parse_experiments(document: Any, *, place: str = "experiments") -> list[Experiment]:  # noqa: ANN401  # any JSON
    """Check a document with a list of experiments.

    Args:
        document: `{"experiment": [{...}, ...]}`.
        place: named in messages, e.g. the file.

    Raises:
        ConfigError: one line for each mistake.
    """
    if not isinstance(document, dict) or not isinstance(document.get("experiment", []), list):
        raise ConfigError(f"{place}: must be a table with the key 'experiment', a list: [[experiment]] in TOML")
    found: list[Experiment] = []
    wrong = [
        f"{place}.{key}: unknown key{did_you_mean(key, ['experiment'])}" for key in document if key != "experiment"
    ]
    for number, one in enumerate(document.get("experiment", [])):
        try:
            found.append(Experiment.parse(one, place=f"{place}.experiment[{number}]"))
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    check_together(found)
    return found
