"""What went wrong and what is grounded: lists, language-model stages, reasons; and examples to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.report.blocks import Block, Section, Shopper, Table, Text
from tastemaker.report.demo import verdict
from tastemaker.report.reading import without_nulls
from tastemaker.report.words import NONE, measure_name, percent, plain, signed, title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tastemaker.report.reading import Comparison, Row

MOST_SHOPPERS = 12
SHARES = ("rate", "share")
"""A key with one of these words holds a share, shown as percent."""


def trust(comparison: Comparison) -> Section:
    """Return what was wrong with lists, language-model stages and reasons."""
    rows = comparison.ranked()
    blocks: list[Block] = [*_lists(rows), *_language_models(rows), *_stages(rows), *_reasons(rows)]
    return Section("trust", "Language models and trust", blocks)


def examples(comparison: Comparison) -> Section:
    """Return example shoppers with the lists of all models side by side."""
    blocks: list[Block] = [Shopper(example) for example in comparison.examples[:MOST_SHOPPERS]]
    if len(comparison.examples) > MOST_SHOPPERS:
        blocks.append(Text(f"{MOST_SHOPPERS} of {len(comparison.examples)} shoppers are shown; the JSON has all."))
    return Section("examples", "Example shoppers", blocks or [Text("No example shoppers were asked for.")])


def _lists(rows: list[Row]) -> list[Block]:
    """Return faults of the lists, which every model can have."""
    faults = {row.model: row.trust.lists for row in rows if row.trust.lists}
    if not faults:
        return [Text("The lists were not checked for faults.")]
    wrong = [
        f"{model}: {key} {plain(value)}"
        for model, found in faults.items()
        for key, value in found.items()
        if value and key not in ("short lists", "filled by fallback")
    ]
    sentence = f"Faulty lists: {'; '.join(wrong)}." if wrong else "No list holds an invalid or a repeated product."
    return [Text(sentence), _table("Faults in lists", "model", faults)]


def _language_models(rows: list[Row]) -> list[Block]:
    """Return hallucination, failure and fallback rates of language-model stages."""
    stages = {
        f"{row.model}: {plain(stage.get('stage', number), length=60)}": _flat(stage, without=("stage",))
        for row in rows
        for number, stage in enumerate(row.trust.language_model)
    }
    if not stages and any(row.cost.language_models for row in rows):
        return [Text("A language model took part; what went wrong with its answers was not counted.")]
    if not stages:
        return [Text("No language model took part.")]
    return [
        Text(
            "A language model's answer is read as positions in the candidates. What cannot be read, names no candidate "
            "or repeats one is counted here, and the order of the stage before stands. Order sensitivity asks again "
            "with the candidates in another order."
        ),
        _table("Language-model stages", "model and stage", stages),
    ]


def _stages(rows: list[Row]) -> list[Block]:
    """Say what each later stage changed, and what a language model was worth on validation."""
    changes = {}
    sentences = []
    for row in rows:
        for stage in row.stages:
            name = f"{row.model}: {plain(stage.get('model'), length=60)}"
            change = stage.get("change")
            if isinstance(change, dict) and change:
                changes[name] = {measure_name(key): _change(value) for key, value in change.items()}
            report = stage.get("report")
            if isinstance(report, dict) and _says_its_choice(report):
                asked = without_nulls(report.get("language_model") or {})
                sentences.append(f"{row.model}: {verdict({**report, 'language_model': asked})}")
    blocks: list[Block] = [Text(sentence) for sentence in sentences]
    return [*blocks, _table("What a stage changed", "model and stage", changes)] if changes else blocks


def _says_its_choice(report: dict[str, Any]) -> bool:
    """Whether a stage's report has the weight that was chosen and every trial in full."""
    trials = report.get("chosen_on_validation") or []
    keys = ("weight", "gain", "standard_error")
    values = [report.get("weight"), *(trial.get(key) for trial in trials for key in keys)]
    return bool(trials) and all(isinstance(value, int | float) for value in values)


def _reasons(rows: list[Row]) -> list[Block]:
    """Return how many reasons are grounded, and the counterfactual test with its control."""
    found = {row.model: _flat(row.trust.reasons) for row in rows if row.trust.reasons}
    if not found:
        return [Text("Reasons were not checked.")]
    return [
        Text(
            "A reason is grounded when all that it cites is in the shopper's history or the catalogue. The "
            "counterfactual test takes the cited purchase out of the history and looks whether the recommendation "
            "falls; the control takes out another purchase, which should matter less."
        ),
        _table("Reasons", "model", found),
    ]


def _table(label: str, first: str, rows: dict[str, dict[str, Any]]) -> Table:
    """Return rows of key-value pairs under the union of their keys."""
    keys = list(dict.fromkeys(key for values in rows.values() for key in values))
    cells = [[name, *(_cell(key, values.get(key)) for key in keys)] for name, values in rows.items()]
    return Table(label, [first, *map(title, keys)], cells)


def _cell(key: str, value: Any) -> str:  # noqa: ANN401  # any JSON value
    is_share = isinstance(value, float) and 0 <= value <= 1 and any(word in key.lower() for word in SHARES)
    return percent(value) if is_share else plain(value, length=160)


def _flat(values: dict[str, Any], *, without: Iterable[str] = ()) -> dict[str, Any]:
    """Return nested values under "outer: inner"."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in without:
            continue
        if isinstance(value, dict):
            found |= {f"{key}: {inner}": one for inner, one in _flat(value).items()}
        else:
            found[key] = value
    return found


def _change(value: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict):
        low, high = value.get("low"), value.get("high")
        bounds = f" [{signed(low)}, {signed(high)}]" if low is not None and high is not None else ""
        return f"{signed(value.get('value'))}{bounds}"
    return NONE if value is None else plain(value)
