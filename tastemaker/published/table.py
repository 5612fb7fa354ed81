"""Our rows and theirs in one table, each with its source, and a word wherever a protocol is not the one of our rows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tastemaker.errors import ConfigError
from tastemaker.published.figures import differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tastemaker.published.figures import Benchmark, Figure, Ties

DEFAULT_MEASURES = ("ndcg@10", "recall@10", "ndcg@5", "recall@5")
YES_NO = {True: "yes", False: "no", None: "not stated"}


@dataclass(frozen=True, slots=True)
class Protocol:
    """What decides whether two figures may be compared.

    Attributes:
        masked: products of the history are kept out of the lists; None where not stated.
        split: how the data are split.
        sampled: the target is ranked among sampled products only.
        refit: fitted on train + validation before test; None where not stated.
        data: which data; empty for the benchmark's own.
        ties: whether purchases of one moment stay as in the "file" or are shuffled ("random"); None where not stated.
    """

    masked: bool | None = True
    split: str = "leave-one-out"
    sampled: bool = False
    refit: bool | None = False
    data: str = ""
    ties: Ties | None = "file"

    @property
    def not_stated(self) -> tuple[str, ...]:
        """What the source does not say, and what may therefore differ."""
        facts = {"masking": self.masked, "refit": self.refit, "ties": self.ties}
        return tuple(name for name, fact in facts.items() if fact is None)

    def differences(self, other: Protocol) -> tuple[str, ...]:
        """Say in words where this protocol is known not to be `other`."""
        found = []
        if self.masked is not None and self.masked != other.masked:
            found.append("history masked" if self.masked else "history not masked")
        if self.split != other.split:
            found.append(f"split: {self.split}")
        if self.sampled != other.sampled:
            found.append("sampled products" if self.sampled else "all products ranked")
        if self.refit is not None and self.refit != other.refit:
            found.append("fitted on train + validation" if self.refit else "fitted on train")
        if self.data != other.data:
            found.append(f"data: {self.data or 'as published'}")
        if self.ties is not None and self.ties != other.ties:
            found.append(f"ties: {'as in the file' if self.ties == 'file' else 'at random'}")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of the joined table.

    Attributes:
        model: name of the model; of ours with its variant, where there are several.
        ours: whether it was measured here.
        kind: "ours", or the kind of the figure.
        values, intervals: by measure; an interval is low and high, for our rows.
        source: paper or repository; of ours the command that made it.
        masked: as in `Protocol`.
        seeds: number of runs; None where not stated.
        differs: where its protocol is known not to be that of our first row.
        not_stated: what its source does not say: "masking", "refit", "ties".
        note: what one must know to read it.
    """

    model: str
    ours: bool
    kind: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    source: str
    masked: bool | None
    seeds: int | None
    differs: tuple[str, ...]
    not_stated: tuple[str, ...] = ()
    note: str = ""


def joined(
    benchmark: Benchmark, comparison: Mapping[str, Any] | None = None, measures: Sequence[str] = DEFAULT_MEASURES
) -> list[TableRow]:
    """Put the rows of a comparison and the comparable figures of a benchmark in one table.

    Args:
        benchmark: whose figures.
        comparison: `Comparison.to_dict()`; without it, theirs alone against the benchmark's own protocol (masked,
            fitted on train, all products ranked). Rows that failed are not in the table.
        measures: the columns; the first one sorts, rows without it come last.

    Raises:
        ConfigError: no measure.
    """
    if not measures:
        raise ConfigError("measures: name at least one, e.g. ndcg@10")
    rows = [] if comparison is None else [row for row in comparison["rows"] if row["error"] is None]
    facts = comparison or {}
    protocols = [_our_protocol(benchmark, facts, row) for row in rows]
    reference = protocols[0] if protocols else Protocol(split=benchmark.split)
    ours = [_our_row(facts, row, protocol, reference) for row, protocol in zip(rows, protocols, strict=True)]
    theirs = [_their_row(benchmark, figure, reference) for figure in benchmark.figures if figure.comparable]
    shown = [row for row in [*ours, *theirs] if any(measure in row.values for measure in measures)]
    return sorted(shown, key=lambda row: -row.values.get(measures[0], -1.0))


def as_markdown(rows: Iterable[TableRow], measures: Sequence[str] = DEFAULT_MEASURES) -> str:
    """Return the table in Markdown; our rows are bold."""
    lines = [
        f"| model | {' | '.join(measures)} | seeds | differs from our rows in | not stated | source |",
        f"|---|{'---:|' * len(measures)}---:|---|---|---|",
    ]
    for row in rows:
        model = f"**{_plain(row.model)} (ours)**" if row.ours else _plain(row.model)
        values = " | ".join(_value(row, measure) for measure in measures)
        source = f"`{_plain(row.source)}`" if row.ours else _plain(row.source)
        differs, silent = _plain("; ".join(row.differs)) or "-", ", ".join(row.not_stated) or "-"
        lines.append(f"| {model} | {values} | {row.seeds or '-'} | {differs} | {silent} | {source} |")
    return "\n".join(lines) + "\n"


def as_json(rows: Iterable[TableRow]) -> list[dict[str, Any]]:
    """Return the rows as JSON values."""
    return [{one.name: _json_value(getattr(row, one.name)) for one in fields(row)} for row in rows]


def as_page(known: Mapping[str, Benchmark]) -> str:
    """Return the documentation page with the figures of every benchmark."""
    parts = [PAGE_HEAD]
    for benchmark in known.values():
        counts = ", ".join(f"{count:,} {what}" for what, count in benchmark.counts.items())
        fetch = f"`tastemaker data fetch {benchmark.fetch}`" if benchmark.fetch else "not by name"
        parts.append(f"## {benchmark.name}\n\n{benchmark.title}: {counts}; split: {benchmark.split}; fetch: {fetch}.")
        parts.append(benchmark.note)
        rows = joined(benchmark)
        if rows:
            parts.append(as_markdown(rows).strip())
        notes = [f"- {one.model}: {_remark(one)}" for one in benchmark.figures if one.comparable and _remark(one)]
        if notes:
            parts.append("\n".join(notes))
        left_out = [_left_out(one) for one in benchmark.figures if not one.comparable]
        if left_out:
            parts.append("Not to be put beside these:\n\n" + "\n".join(left_out))
    return "\n\n".join(parts) + "\n"


PAGE_HEAD = """\
# Published benchmarks

What others report on public data sets, as it stands in the package (`tastemaker.published`), so that our rows and
theirs can stand in one table. Every figure names its source. Read them with care: whether products of the history are
masked, how purchases of one day are ordered, and which loss trained the baseline move them more than most new models
do. "Differs" says where a protocol is known to be another than this: masked lists, a fit on train alone, purchases of
one moment in the order of the file, all products ranked. "Not stated" names what the source does not say of these, so
that it may differ too: masking, refit (on train + validation), ties (the order within one moment)."""


def _our_protocol(benchmark: Benchmark, comparison: Mapping[str, Any], row: Mapping[str, Any]) -> Protocol:
    """Read what a row of a comparison says of itself, or what all its rows share."""
    said = {**comparison.get("protocol", {}), **row["protocol"]}
    other = differences(benchmark, comparison["data"])
    order = str(said.get("order_of_ties", ""))
    return Protocol(
        masked=said["history_masked"],
        split=said["split"],
        sampled=said["items_ranked"] != "all",
        refit="validation" in said["fitted_on"],
        data="; ".join(other),
        ties="random" if order.startswith("at random") else "file",
    )


def _our_row(
    comparison: Mapping[str, Any], row: Mapping[str, Any], protocol: Protocol, reference: Protocol
) -> TableRow:
    metrics = {name: one for name, one in row["metrics"].items() if one["value"] is not None}
    named = f"{row['model']}, {row['variant']}" if len(comparison["variants"]) > 1 else row["model"]
    return TableRow(
        model=named,
        ours=True,
        kind="ours",
        values={name: one["value"] for name, one in metrics.items()},
        intervals={name: (one["low"], one["high"]) for name, one in metrics.items() if one["low"] is not None},
        source=shlex.join(comparison.get("made_by", {}).get("command", [])),
        masked=protocol.masked,
        seeds=row.get("seeds", len(comparison["seeds"])),
        differs=(*protocol.differences(reference), *([f"data: {protocol.data}"] if protocol.data else [])),
        note=row["verdict"],
    )


def _their_row(benchmark: Benchmark, figure: Figure, reference: Protocol) -> TableRow:
    protocol = Protocol(
        masked=figure.masked,
        split=figure.split or benchmark.split,
        sampled=figure.sampled,
        refit=figure.refit,
        data=figure.data,
        ties=figure.ties,
    )
    return TableRow(
        model=figure.model,
        ours=False,
        kind=figure.kind,
        values=figure.values,
        intervals={},
        source=figure.source,
        masked=figure.masked,
        seeds=figure.seeds,
        differs=protocol.differences(reference),
        not_stated=protocol.not_stated,
        note=_remark(figure),
    )


def _remark(figure: Figure) -> str:
    """Return the note, with how we know the figure where we did not read it at its source."""
    known = {"second-hand": "Quoted from another text.", "not read again": "Its source could not be opened."}
    return " ".join(part for part in (figure.note, known.get(figure.checked, "")) if part)


def _left_out(figure: Figure) -> str:
    values = ", ".join(f"{measure} {value:.4f}" for measure, value in figure.values.items())
    return f"- {figure.model}{f' ({values})' if values else ''}, {figure.source}: {figure.note}"


def _value(row: TableRow, measure: str) -> str:
    if measure not in row.values:
        return "-"
    if measure not in row.intervals:
        return f"{row.values[measure]:.4f}"
    low, high = row.intervals[measure]
    return f"{row.values[measure]:.4f} [{low:.4f}, {high:.4f}]"


def _json_value(value: Any) -> Any:  # noqa: ANN401  # any field of a row
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value


def _plain(text: str) -> str:
    """Return text that cannot end a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
