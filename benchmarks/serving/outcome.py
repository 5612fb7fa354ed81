"""The table of docs/serving.md, from the results of `benchmarks/serve_load.py`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "serve_load.json"


def table() -> str:
    """Return what was measured as markdown."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rounds, visits = found["throughput"]["rounds"], found["throughput"]["first_visits"]
    ours, bare = (statistics.median(one[name]["per_second"] for one in rounds) for name in ("ours", "bare"))
    first, later = found["latency"]["at_200"], found["latency"]["again"]
    single, batches = found["events"]["single"], found["events"]["batches_of_100"]
    hung, swaps, stop = found["hung"], found["swaps"], found["stop"]
    refused = stop["statuses"].get("refused", 0)
    rows = [
        ("12,101 products x 64, 32 connections, shoppers who come back", f"{ours:,.0f} lists/s"),
        ("the same, a bare FastAPI route with one matrix-vector product and a top 10", f"{bare:,.0f} lists/s"),
        ("the same, each shopper for the first time", f"{visits['per_second']:,.0f} lists/s"),
        ("100,000 products x 384, 200 requests/s, open loop", _times(later)),
        ("the same in the first ten seconds after the start", _times(first)),
        ("100 candidates of the caller's put in order", _times(found["rerank"])),
        *_read(found.get("cross_encoder", {})),
        ("events, one a request, 64 connections, on disk", f"{single['per_second']:,.0f}/s, {_times(single)}"),
        ("events, 100 a request, on disk", f"{batches['events_per_second']:,.0f}/s, {_times(batches)}"),
        (
            f"language model hung, budget 300 ms, {hung['from_the_start']['requests']} requests at 20/s, of which "
            f"{hung['calls_before_open']} wait for it before the breaker opens",
            f"{_times(hung['from_the_start'])}, failures {_failures(hung['from_the_start'])}",
        ),
        (
            f"{swaps['exchanges']} exchanges of the model at 200 requests/s",
            f"failed {_failures(swaps)}, mixed {swaps['mixed']}, {_times(swaps)}",
        ),
        (
            "SIGTERM at 100 requests/s",
            f"failed {_failures(stop) - refused}, exit code {stop['exit_code']}; {refused} connections came too late",
        ),
    ]
    if kills := found.get("kills"):
        rows.append(
            (f"{kills['kills']} SIGKILLs while events come in", f"lost {kills['lost']}, doubled {kills['doubled']}")
        )
    return "\n".join(["| what | measured |", "|---|---|", *(f"| {what} | {said} |" for what, said in rows)])


def _read(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a row for each way in which the cross-encoder was asked."""
    return [
        (
            f"50 candidates read by `cross_encoder` (MiniLM): {name} ({_counted(row['threads'], 'thread')})",
            f"p50 {row['alone']['p50_ms']:.0f} ms, p95 {row['alone']['p95_ms']:.0f} ms; at 2/s p95 "
            f"{row['at_2']['p95_ms']:.0f} ms ({row['alone']['requests']} and {row['at_2']['requests']} requests)",
        )
        for name, row in found.items()
    ]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _times(row: dict[str, Any]) -> str:
    return f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.0f} ms"


def _failures(row: dict[str, Any]) -> int:
    return sum(count for status, count in row["statuses"].items() if not status.startswith("2"))
