"""The committed results of the accuracy tables: what is kept of a comparison, and how it is shown."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker import published
from tastemaker.metrics import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
MEASURES = ("recall", "ndcg")
SIGNIFICANT = 0.05

Results = dict[str, list[dict[str, Any]]]
"""`rows`: one a data set, model and masking. `pairs`: one a data set, masking and pair of models."""


def place(name: str) -> Path:
    """Return the file of a table's results."""
    return FOLDER / "results" / f"{name}.json"


def load(file: Path) -> Results:
    """Return the results that are there."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write(file: Path, found: Results) -> None:
    """Write the results whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, file)


def accuracy_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the measures of a result that are kept, by name."""
    return {name: one for name, one in row["metrics"].items() if name.partition("@")[0] in MEASURES}


def done(
    found: Results, data: str, name: str, settings: dict[str, Any], seeds: int, pairs: Iterable[tuple[str, str]]
) -> bool:
    """Say whether a cell is there with these settings, all its seeds and its tests."""
    rows = [row for row in found.get("rows", []) if (row["data"], row["model"]) == (data, name)]
    tested = {(pair["a"], pair["b"]) for pair in found.get("pairs", []) if pair["data"] == data}
    asked = _anywhere(settings)
    same = all(
        _anywhere(row["settings"]) == asked and row["seeds_asked"] == seeds and not row["failed_seeds"] for row in rows
    )
    return bool(rows) and same and set(pairs) <= tested


def _anywhere(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without where encoder and language model work, which moves figures by rounding only."""
    return {
        key: {name: one for name, one in value.items() if name != "device"} if isinstance(value, dict) else value
        for key, value in settings.items()
    }


def with_cell(
    found: Results,
    compared: dict[str, Any],
    *,
    data: str,
    pairs: Sequence[tuple[str, str]],
    made_by: dict[str, Any],
) -> Results:
    """Return the results with those of a comparison in the place of what was there."""
    rows = [_kept(row, compared, data, made_by) for row in compared["rows"] if row["error"] is None]
    tests = [
        _turned(pair, data, (a, b)) for a, b in pairs for pair in compared["pairs"] if {pair["a"], pair["b"]} == {a, b}
    ]
    return {
        "rows": _replaced(found.get("rows", []), rows, ("data", "model", "variant")),
        "pairs": _corrected(_replaced(found.get("pairs", []), tests, ("data", "variant", "a", "b"))),
    }


def of_model(name: str) -> list[dict[str, Any]]:
    """Return the committed rows of configurations whose one stage is this model."""
    return [
        row
        for table in committed()
        for row in load(place(table))["rows"]
        if [stage["model"] for stage in row["settings"]["stage"]] == [name]
    ]


def committed() -> list[str]:
    """Return the names of the tables that have results."""
    return sorted(file.stem for file in (FOLDER / "results").glob("*.json"))


def page() -> str:
    """Return all tables that have results, in markdown, each with title and note; empty where there is none."""
    parts = []
    for name in committed():
        facts = tomllib.loads((FOLDER / "tables" / f"{name}.toml").read_text(encoding="utf-8"))
        shown = markdown(load(place(name)), [row["name"] for row in facts["row"]])
        command = f"python benchmarks/accuracy/run.py {name}"
        parts.append(f"### {facts['title']}\n\n{facts['note']} Made by `{command}`.\n\n{shown}")
    return "\n\n".join(parts)


def markdown(found: Results, order: Sequence[str]) -> str:
    """Return the rows of each data set, and the tests between rows, in markdown."""
    rows = found.get("rows", [])
    parts = []
    for data in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == data]
        names = [*dict.fromkeys(row["model"] for row in mine if row["floor"]), *order]
        mine = sorted((row for row in mine if row["model"] in names), key=lambda row: names.index(row["model"]))
        lines = [
            f"| {data} | history | recall@10 | NDCG@10 | seeds | against the floor | seconds to fit | MiB "
            "| made with |",
            "|---|---|---:|---:|---:|---|---:|---:|---|",
        ]
        parts.append("\n".join([*lines, *(_line(row) for row in mine)]))
        parts += [*_bound(mine), *_costs(mine)]
    if found.get("pairs"):
        lines = [
            "| data | history | pair | difference in NDCG@10 [95 %] | p, Holm | |",
            "|---|---|---|---:|---:|---|",
        ]
        parts.append("\n".join([*lines, *(_pair_line(pair) for pair in found["pairs"])]))
    return "\n\n".join(parts)


def headline() -> str:
    """Return recall@10 / NDCG@10 of the headline table by data set, beside the best published figure, in markdown."""
    rows = load(place("headline"))["rows"]
    cells = {(row["model"], _history(row), row["data"]): row for row in rows}
    names = list(dict.fromkeys(row["data"] for row in rows))
    lines = ["| recall@10 / NDCG@10 | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    models = ["transitions", *dict.fromkeys(row["model"] for row in rows if not row["floor"])]
    for history in dict.fromkeys(key[1] for key in cells):
        for model in models:
            found = [cells.get((model, history, name)) for name in names]
            shown = [f"{value(row, 'recall@10')} / {value(row, 'ndcg@10')}" if row else "-" for row in found]
            lines.append(f"| {model}, {history} | " + " | ".join(shown) + " |")
    best = [max(_comparable(name), key=lambda one: one.values["ndcg@10"]) for name in names]
    shown = [f"{one.values['recall@10']:.4f} / {one.values['ndcg@10']:.4f} ({one.model})" for one in best]
    lines.append("| best published, masked, by NDCG@10 | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _comparable(name: str) -> list[published.TableRow]:
    """Return published rows that were not made here, masked and fitted on train as far as they say."""
    rows = published.joined(published.benchmarks()[name], None, ("ndcg@10",))
    return [row for row in rows if not row.differs and "recall@10" in row.values]


def survey() -> str:
    """Return the paradigms of the survey, each with the command that runs it and its measured figures, in markdown."""
    lines = [
        "| paradigm | variant | command | measured on | recall@10 [95 %] | NDCG@10 [95 %] |",
        "|---|---|---|---|---:|---:|",
    ]
    for one, found in cited():
        figures = " | ".join(_interval(found, measure) for measure in ("recall@10", "ndcg@10"))
        where = "-" if found is None else f"{one['data']}, {found['test_queries']:,} shoppers{_more_seeds(found)}"
        variant = f"{one['variant']}{_switched_off(found)}"
        lines.append(f"| {one['paradigm']} | {variant} | `{one['command']}` | {where} | {figures} |")
    return "\n".join(lines)


def seeds_in_words() -> str:
    """Say which seeds the figures of `survey` are of."""
    several = any(_more_seeds(found) for _, found in cited() if found is not None)
    return "seed 0, or the mean over seeds where the row says how many" if several else "seed 0"


def cited() -> list[tuple[dict[str, str], dict[str, Any] | None]]:
    """Return the rows of the survey, each with the result that it names; None where that was not measured."""
    facts = tomllib.loads((FOLDER / "survey.toml").read_text(encoding="utf-8"))
    return [(one, _cited(one)) for one in facts["row"]]


def _more_seeds(row: dict[str, Any]) -> str:
    return f", {row['seeds']} seeds" if row["seeds"] > 1 else ""


def _switched_off(row: dict[str, Any] | None) -> str:
    """Say of a re-ranker that validation switched off what it was worth at full weight; nothing of any other row.

    That is its own order within its bound on rising, which keeps it nearer to the retriever's than its own order is.
    """
    for report in (row or {}).get("reports", []):
        tried = {one["weight"]: one for one in report.get("chosen_on_validation", [])}
        if report.get("weight") == 0.0 and 1.0 in tried:
            full, none = tried[1.0], tried[0.0]
            told = f"at full weight {full['ndcg@10']:.4f} NDCG@10 on validation shoppers, its retriever"
            error = f"standard error of the difference {full['standard_error']:.4f}"
            return f"; switched off: {told} {none['ndcg@10']:.4f} ({error})"
    return ""


def _cited(one: dict[str, str]) -> dict[str, Any] | None:
    """Return the masked row of a result that a row of the survey names."""
    rows = load(place(one["table"])).get("rows", [])
    return next((r for r in rows if (r["data"], r["model"], r["masked"]) == (one["data"], one["model"], True)), None)


def _interval(row: dict[str, Any] | None, measure: str) -> str:
    if row is None:
        return "not measured"
    metric = row["metrics"][measure]
    return f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"


def card(name: str) -> str:
    """Return the committed rows of one model as a markdown table; empty where there is none."""
    rows = of_model(name)
    if not rows:
        return ""
    lines = [
        "| data | split | row | history | recall@10 | NDCG@10 | seeds | seconds to fit | made with |",
        "|---|---|---|---|---:|---:|---:|---:|---|",
    ]
    seen = set()
    for row in rows:
        values = " | ".join(value(row, measure) for measure in ("recall@10", "ndcg@10"))
        cells = f"{row['data']} | {row['split']} | {row['model']} | {_history(row)} | {values} | {row['seeds']}"
        line = f"| {cells} | {row['fit_seconds']:.0f} | {made_with(row)} |"
        key = (row["data"], row["split"], row["variant"], json.dumps(row["settings"], sort_keys=True))
        if key not in seen:  # a floor row stands in several tables
            lines.append(line)
        seen.add(key)
    return "\n".join(lines) + "\n"


def value(row: dict[str, Any], measure: str) -> str:
    """Return a measure, with the standard deviation over seeds where they differ."""
    one = row["metrics"][measure]
    spread = f" ± {one['spread']:.4f}" if one["spread"] else ""
    return f"{one['value']:.4f}{spread}"


def _kept(row: dict[str, Any], compared: dict[str, Any], data: str, made_by: dict[str, Any]) -> dict[str, Any]:
    protocol = compared["protocol"] | row["protocol"]
    return {
        "data": data,
        "split": protocol["split"],
        "model": row["model"],
        "floor": row["floor"],
        "variant": row["variant"],
        "masked": protocol["history_masked"],
        "settings": row["config"],
        "configs": [stage["config"] for stage in row["stages"]],
        "seeds_asked": len(compared["seeds"]),
        "seeds": row["seeds"],
        "failed_seeds": row["failed_seeds"],
        "metrics": accuracy_of(row),
        "verdict": row["verdict"],
        "against_floor": row["against_floor"],
        "reports": [
            {key: said for key, said in stage["report"].items() if key != "learning_curve"} for stage in row["stages"]
        ],
        "fit_seconds": row["cost"]["fit_seconds"],
        "rank_seconds": row["cost"]["rank_seconds"],
        "per_1000_requests": row["cost"]["per_1000_requests"],
        "peak_mib": row["cost"]["peak_mib"],
        "data_fingerprint": compared["data"]["fingerprint"],
        "test_queries": protocol["test_queries"],
        **made_by,
    }


def _turned(pair: dict[str, Any], data: str, wanted: tuple[str, str]) -> dict[str, Any]:
    """Return a test seen from the first of `wanted`."""
    difference = {name: pair[name] for name in ("difference", "low", "high")}
    if pair["a"] != wanted[0]:
        difference = {"difference": -pair["difference"], "low": -pair["high"], "high": -pair["low"]}
    facts = {"data": data, "variant": pair["variant"], "measure": pair["measure"], "a": wanted[0], "b": wanted[1]}
    return {**facts, **difference, "p": pair["p"]}


def _replaced(old: list[dict[str, Any]], new: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return `old` with the entries of `new` in their places, and those that are new at the end."""
    entries = {tuple(one[name] for name in names): one for one in old}
    entries |= {tuple(one[name] for name in names): one for one in new}
    return list(entries.values())


def _corrected(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Correct the tests of one data set and masking for their number (Holm, 1979)."""
    for group in {(pair["data"], pair["variant"]) for pair in pairs}:
        mine = [pair for pair in pairs if (pair["data"], pair["variant"]) == group]
        for pair, p in zip(mine, holm([pair["p"] for pair in mine]), strict=True):
            pair |= {"p_holm": float(p), "significant": bool(p < SIGNIFICANT)}
    return pairs


def _line(row: dict[str, Any]) -> str:
    values = " | ".join(value(row, measure) for measure in ("recall@10", "ndcg@10"))
    cells = f"{row['model']} | {_history(row)} | {values} | {row['seeds']} | {row['verdict']}"
    return f"| {cells} | {row['fit_seconds']:.0f} | {row['peak_mib']:,} | {made_with(row)} |"


def made_with(row: dict[str, Any]) -> str:
    """Return the release that made a row, whether its code was committed, and the graphics card, if any."""
    card = row.get("device", "cpu").partition(": ")[2]
    changed = " + changes" if row["changed_since"] else ""
    return f"{row['tastemaker']}{changed}{f', {card}' if card else ''}"


def _bound(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what a perfect re-ranker of the 50 candidates of `transitions` would reach, where that was measured."""
    measured = [row for row in rows if row["model"] == "transitions" and "recall@50" in row["metrics"]]
    found = [f"{row['metrics']['recall@50']['value']:.4f} {_history(row)}" for row in measured]
    start = "A perfect re-ranker of 50 candidates of `transitions` would have, as recall@10 and as NDCG@10, "
    return [f"{start}{' and '.join(found)}."] if found else []


def _costs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what 1,000 requests take, where language models answer some of them, and what no re-ranker can exceed."""
    mine = [row for row in rows if row["masked"] and (row.get("per_1000_requests") or {}).get("prompt_tokens")]
    if not mine:
        return []
    lines = ["| a 1,000 requests | seconds | tokens read | tokens written | money |", "|---|---:|---:|---:|---:|"]
    for row in mine:
        cost = row["per_1000_requests"]
        money = "-" if cost["money"] is None else f"{cost['money']:.3f}"
        tokens = f"{cost['prompt_tokens']:,.0f} | {cost['answer_tokens']:,.0f}"
        lines.append(f"| {row['model']} | {cost['seconds']:.0f} | {tokens} | {money} |")
    return ["\n".join(lines)]


def _pair_line(pair: dict[str, Any]) -> str:
    masked = pair["variant"].partition(",")[0]
    difference, low, high = (pair[name] + 0.0 for name in ("difference", "low", "high"))  # no -0.0
    size = f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]"
    verdict = "significant" if pair["significant"] else "within the noise"
    return f"| {pair['data']} | {masked} | {pair['a']} - {pair['b']} | {size} | {pair['p_holm']:.2g} | {verdict} |"


def _history(row: dict[str, Any]) -> str:
    return "masked" if row["masked"] else "unmasked"
