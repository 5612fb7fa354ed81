"""What went wrong and what is grounded: lists, language-model stages, reasons; and examples to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.report.blocks import Block, Figure, Section, Shopper, Table, Text
from tastemaker.report.charts import Span, spans
from tastemaker.report.demo import verdict
from tastemaker.report.reading import without_nulls
from tastemaker.report.words import listed, measure_name, number, percent, plain, signed, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tastemaker.report.reading import Comparison, Row
    from tastemaker.report.svg import Style

MOST_SHOPPERS = 12
KNOWN = "items of the history"
FAULTS = ("invalid ids", "repeated items", KNOWN)
"""What no list should hold; products of the history may stand in lists that are not masked."""
TESTED = "counterfactual"
"""Key of the counterfactual test among what is known of reasons."""
UNTESTABLE = {
    "cites no purchase": "cites no purchase",
    "without a control": "the histories hold too few other purchases for a control",
}
"""Why a reason was not tested -> in words."""
SHARES = ("rate", "share")
"""A key with one of these words holds a share, shown as percent."""


def trust(comparison: Comparison, styles: Mapping[str, Style]) -> Section:
    """Return what was wrong with lists, language-model stages and reasons."""
    rows = comparison.ranked()
    blocks: list[Block] = [
        *_lists(rows),
        *_language_models(rows),
        *_stages(comparison),
        *_sensitivity(rows),
        *_reasons(rows, styles),
    ]
    return Section("trust", "Language models and trust", blocks)


def examples(comparison: Comparison) -> Section:
    """Return example shoppers with the lists of all models side by side, the best model's first."""
    place = {row.model: number for number, row in enumerate(comparison.ranked())}
    blocks: list[Block] = []
    for example in comparison.examples[:MOST_SHOPPERS]:
        lists = sorted(example.lists, key=lambda one: place.get(one.model, len(place)))
        blocks.append(Shopper(example.model_copy(update={"lists": lists})))
    if len(comparison.examples) > MOST_SHOPPERS:
        blocks.append(Text(f"{MOST_SHOPPERS} of {len(comparison.examples)} shoppers are shown; the JSON has all."))
    return Section("examples", "Example shoppers", blocks or [Text("No example shoppers were asked for.")])


def _lists(rows: list[Row]) -> list[Block]:
    """Return faults of the lists, which every model can have."""
    faults = {row.model: row.trust.lists for row in rows if row.trust.lists}
    if not faults:
        return [Text("The lists were not checked for faults.")]
    wrong = [
        f"{row.model}: {key} {plain(value)}"
        for row in rows
        for key, value in row.trust.lists.items()
        if value and key in FAULTS and not (key == KNOWN and row.protocol.get("history_masked") is False)
    ]
    sentence = f"Faulty lists: {'; '.join(wrong)}." if wrong else "No list holds an invalid or a repeated product."
    return [Text(sentence), _table("Faults in lists", "model", faults)]


def _language_models(rows: list[Row]) -> list[Block]:
    """Return hallucination, failure and fallback rates of language-model stages."""
    stages = {
        f"{row.model}: {plain(stage.get('model', stage.get('stage', place)), length=60)}": _flat(
            stage, without=("model",)
        )
        for row in rows
        for place, stage in enumerate(row.trust.language_model)
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


def _sensitivity(rows: list[Row]) -> list[Block]:
    """Return whether lists change with who asks: how alike they are, and how that ranges over words about people."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        groups = row.trust.sensitivity.get("groups")
        for name, group in groups.items() if isinstance(groups, dict) else ():
            mean, range_ = (group.get(key) or {} for key in ("mean", "range"))
            found[f"{row.model}: {plain(name, length=40)}"] = {
                "Jaccard": mean.get("jaccard"),
                "rank-biased overlap": mean.get("rbo"),
                "range (SNSR), Jaccard": range_.get("jaccard"),
                "range (SNSR), PRAG*": range_.get("prag"),
            }
    if not found:
        return []
    words = (
        "The same wish was put neutrally and by somebody of a gender, an age, an origin or a name, and in other words. "
        "Likeness compares the two lists; 1 is the same list. A range above that of a rewording says that people are "
        "served differently by a word about them."
    )
    return [Text(words), _table("Do lists change with who asks?", "model and who", found)]


def _stages(comparison: Comparison) -> list[Block]:
    """Say what each later stage changed, and what a language model was worth on validation."""
    changes = {}
    sentences = []
    measures = dict.fromkeys([comparison.measure, comparison.recall])
    for row in comparison.ranked():
        for stage in row.stages:
            name = f"{row.model}: {plain(stage.get('model'), length=60)}"
            change = stage.get("change")
            if isinstance(change, dict) and change:
                changes[name] = {measure_name(measure): _measured(change.get(measure), signed) for measure in measures}
            report = stage.get("report")
            if isinstance(report, dict) and _says_its_choice(report):
                asked = without_nulls(report.get("language_model") or {})
                said = {**report, "language_model": asked}
                sentences.append(f"{row.model}: {verdict(said, model=plain(stage.get('model'), length=60))}")
    blocks: list[Block] = [Text(sentence) for sentence in sentences]
    return [*blocks, _table("What a stage changed", "model and stage", changes)] if changes else blocks


def _says_its_choice(report: dict[str, Any]) -> bool:
    """Whether a stage's report has the weight that was chosen and every trial in full."""
    trials = report.get("chosen_on_validation") or []
    keys = ("weight", "gain", "standard_error")
    values = [report.get("weight"), *(trial.get(key) for trial in trials for key in keys)]
    return bool(trials) and all(isinstance(value, int | float) for value in values)


def _reasons(rows: list[Row], styles: Mapping[str, Style]) -> list[Block]:
    """Return how many reasons are grounded, and the counterfactual test with its control."""
    found = {row.model: row.trust.reasons for row in rows if row.trust.reasons}
    if not found:
        return [Text("Reasons were not checked.")]
    blocks: list[Block] = [
        Text(
            "A reason is grounded when all that it cites is in the shopper's history or the catalogue. That says "
            "that it is true, not that it is why the model listed the product: only the test below looks at that."
        ),
        _table("Reasons", "model", {model: _flat(one, without=(TESTED,)) for model, one in found.items()}),
    ]
    tested = {model: one[TESTED] for model, one in found.items() if isinstance(one.get(TESTED), dict)}
    if not tested:
        return [*blocks, Text("Whether reasons are true to the model was not tested.")]
    figure = _counterfactual(tested, styles)
    return [
        *blocks,
        Text(
            "The counterfactual test takes the cited purchases out of the history and looks whether the recommendation "
            "falls. The control takes out as many others, which should matter less."
        ),
        figure or _table("Counterfactual test", "model", {model: _flat(one) for model, one in tested.items()}),
        *_not_testable(tested),
    ]


def _not_testable(tested: dict[str, dict[str, Any]]) -> list[Block]:
    """Name the models of which not one reason could be tested, and why."""
    causes: dict[str, list[str]] = {}
    for model, found in tested.items():
        if found.get("tested") == 0:
            counts = {cause: found.get(cause) or 0 for cause in UNTESTABLE}
            cause = max(counts, key=lambda one: counts[one]) if any(counts.values()) else "no reason was given"
            causes.setdefault(cause, []).append(model)
    return [
        Text(f"Not testable: {listed(models)}: {UNTESTABLE.get(cause, cause)}.") for cause, models in causes.items()
    ]


def _counterfactual(tested: dict[str, dict[str, Any]], styles: Mapping[str, Style]) -> Figure | None:
    """Return how often a recommendation falls without what its reason cites, from the control to the test."""
    spans_of = []
    for model, found in tested.items():
        fell, control = (_value(found.get(key)) for key in ("fell", "control_fell"))
        if fell is not None and control is not None:
            spans_of.append(Span(model, styles[model], control, fell, f"{percent(control)} to {percent(fell)}"))
    if not spans_of:
        return None
    widest = max(spans_of, key=lambda span: span.best - span.worst)
    heading = "Do recommendations fall without what their reasons cite?"
    finding = (
        f"Clearest for {widest.name}: {percent(widest.best)} fall without the cited purchases, {percent(widest.worst)} "
        "without others."
    )
    axis = "share that falls (open: control, filled: cited)"
    table = _table("Counterfactual test", "model", {model: _flat(found) for model, found in tested.items()})
    return Figure(heading, finding, spans(spans_of, axis=axis, label=f"{heading} {finding}"), table)


def _table(label: str, first: str, rows: dict[str, dict[str, Any]]) -> Table:
    """Return rows of key-value pairs under the union of their keys, but for those that nobody has."""
    keys = dict.fromkeys(key for values in rows.values() for key, value in values.items() if value is not None)
    cells = [[name, *(_cell(key, values.get(key)) for key in keys)] for name, values in rows.items()]
    return Table(label, [first, *map(title, keys)], cells)


def _cell(key: str, value: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict):
        return _measured(value, number)
    is_share = isinstance(value, float) and 0 <= value <= 1 and any(word in key.lower() for word in SHARES)
    return percent(value) if is_share else plain(value, length=160)


def _flat(values: dict[str, Any], *, without: Iterable[str] = ()) -> dict[str, Any]:
    """Return nested values under "outer: inner"; a measured value with its bounds stays one value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in without:
            continue
        if isinstance(value, dict) and "value" not in value:
            found |= {f"{key}: {inner}": one for inner, one in _flat(value).items()}
        else:
            found[key] = value
    return found


def _value(measured: Any) -> float | None:  # noqa: ANN401  # any JSON value
    """Return the value of a measured value, or a bare number."""
    value = measured.get("value") if isinstance(measured, dict) else measured
    return value if isinstance(value, int | float) else None


def _measured(measured: Any, written: Callable[[float | None], str]) -> str:  # noqa: ANN401  # any JSON value
    """Return a value with its bounds, if it has them."""
    value = written(_value(measured))
    bounds = [measured.get(bound) for bound in ("low", "high")] if isinstance(measured, dict) else [None]
    return value if None in bounds else f"{value} [{', '.join(written(bound) for bound in bounds)}]"
