"""`tastemaker evaluate`: measure a pipeline under one stated protocol, or under several variants of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from tastemaker import config as config_file
from tastemaker import evaluate as evaluation
from tastemaker import rating, registry
from tastemaker.cli import options, protocol
from tastemaker.cli.loading import built_or_saved, read_data
from tastemaker.cli.output import as_json, interval, made_by, note, print_json, print_table, write_text
from tastemaker.data.splits.variants import of_shoppers
from tastemaker.errors import ConfigError
from tastemaker.evaluate import Variant
from tastemaker.progress import bar
from tastemaker.rating import NeighbourRater
from tastemaker.report import verdict
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.data.dataset import Dataset
    from tastemaker.pipeline import Pipeline


def evaluate(
    context: typer.Context,
    config: str = typer.Argument(
        help="A TOML file, a model's name such as transitions, or the folder of a saved model, which is not refitted."
    ),
    data: str = options.DATA,
    split: str = protocol.SPLIT_OPTION,
    ks: list[int] = protocol.K_OPTION,
    masking: str = protocol.MASKING_OPTION,
    ties: str = protocol.TIES_OPTION,
    refit: str = protocol.REFIT_OPTION,
    repeats: str = protocol.REPEATS_OPTION,
    sample: int | None = protocol.SAMPLE_OPTION,
    user_groups: list[str] | None = protocol.USER_GROUPS_OPTION,
    item_groups: list[str] | None = protocol.ITEM_GROUPS_OPTION,
    price: str | None = protocol.PRICE_OPTION,
    device: str | None = protocol.DEVICE_OPTION,
    share: float | None = typer.Option(
        None,
        "--share",
        help="Learn from this random share of the shoppers (few-shot); a saved model is tuned on it. By default a "
        "configuration learns from all of them, a saved model from none (zero-shot).",
    ),
    probe: bool = typer.Option(
        False,
        "--probe",
        help="Also measure latency, cold start, the truth of reasons, and what the order of candidates, the words of a "
        "wish and the person who asks change.",
    ),
    ratings: bool = typer.Option(
        False, "--rating", help="Measure predicted ratings (MAE, RMSE) over neighbours 5..30."
    ),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Also write the JSON to a file."),
    seed: int = options.SEED,
    overrides: list[str] | None = options.SET,
    format: str | None = options.FORMAT,
    max_bad: int = options.MAX_BAD,
    json: bool = options.JSON,
) -> None:
    """Fit on train, rank all items for held-out shoppers, and print measures with intervals and the full protocol."""
    if ratings:
        _refuse_ranking_options(context)
        settings = config_file.read(config, overrides=overrides)
        pipeline = registry.build(settings, place=config)
        shop, read = read_data(data, format=format, max_bad=max_bad)
        result = _evaluate_ratings(settings, shop, place=config, seed=seed)
    else:
        choices = protocol.Choices.of(masking=masking, ties=ties, refit=refit)
        options = protocol.options_of(
            ks=ks,
            sample=sample,
            seed=seed,
            user_groups=user_groups,
            item_groups=item_groups,
            price=price,
            probe=probe,
            device=device,
        )
        pipeline, adapt = _measured(config, overrides, share, device)  # mistakes show before data are read
        shop, read = read_data(data, format=format, max_bad=max_bad)
        found: list[dict[str, Any]] = []
        for number, order in enumerate(choices.ties):
            if number:
                pipeline, adapt = _measured(config, overrides, share, device)
            parts = evaluation.prepare(shop, split=split, ties=order, repeats=cast(Any, repeats), seed=seed)
            if adapt is None and share is not None:
                parts = of_shoppers(parts, share, seed=seed)
            variants = [Variant(one, masked, order) for one in choices.refits for masked in choices.maskings]
            measured = evaluation.evaluate_variants(
                pipeline, parts, variants, options=options, adapt=adapt, progress=bar
            )
            found += [one.to_dict() for one in measured]
        result = {**found[0], "measure": options.measure, "variants": found}
    result = {**result, "data": read, "config": registry.settings_of(pipeline), "made_by": made_by()}
    if out is not None:
        write_text(out, as_json(result) + "\n")
    if json:
        print_json(result)
    elif ratings:
        _print_ratings(result)
    else:
        _print_measures(result)


def _measured(
    config: str, overrides: list[str] | None, share: float | None, device: str | None
) -> tuple[Pipeline, evaluation.Adaptation | None]:
    """Return the pipeline of a configuration, or a saved one and how it comes to rank the shop that is asked."""
    pipeline, loaded = built_or_saved(config, overrides, device=device)
    if loaded is None:
        return pipeline, None
    return pipeline, evaluation.Adaptation(loaded.facts, evaluation.check_share(share or 0.0))


def _refuse_ranking_options(context: typer.Context) -> None:
    """Refuse options that mean nothing for predicted ratings."""
    meaningful = {"config", "data", "ratings", "out", "seed", "overrides", "format", "max_bad", "json"}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in meaningful and source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"--rating: {parameter.opts[0]} has no meaning for predicted ratings; leave it out")


def _evaluate_ratings(settings: dict[str, Any], shop: Dataset, *, place: str, seed: int) -> dict[str, Any]:
    """Measure the one neighbour model of `settings`: plain, and where items have texts also enriched by them.

    Raises:
        ConfigError: it is no model that predicts ratings from neighbours.
    """
    stages = settings["stage"]
    name = str(stages[0].get("model"))
    if len(stages) > 1 or not hasattr(registry.model_class(name), "predict_over"):
        raise ConfigError(f"--rating: needs one stage that predicts ratings, user_knn or item_knn; got {name}")

    def model(alpha: float) -> NeighbourRater:
        stage = {"feedback": "ratings", **stages[0], "alpha": alpha}
        built = registry.build({**settings, "stage": [stage]}, place=place).stages[0].recommender
        return cast(NeighbourRater, built)

    given = stages[0].get("alpha")
    has_texts = any(item_texts(shop.items))
    alphas = () if given == 1 or not has_texts else (float(given),) if given is not None else rating.ALPHAS
    return rating.evaluate_ratings(shop, {name: model}, alphas=alphas, seed=seed, progress=bar)


def _print_measures(result: dict[str, Any]) -> None:
    variants = result["variants"]
    if len(variants) == 1:
        rows = [[name, found["value"], interval(found)] for name, found in result["metrics"].items()]
        print_table(["measure", "value", "95 % interval"], rows)
    else:
        shown = [name for name in result["metrics"] if name.partition("@")[0] in ("recall", "ndcg")]
        rows = [[one["variant"], *(one["metrics"][name]["value"] for name in shown)] for one in variants]
        print_table(["variant", *shown], rows)
    for one in variants:
        _print_gaps(one["gaps"], title=one["variant"])
    for one in variants:
        _warn(one)
        _print_stages(one, result["measure"])
        _print_probes(one)
        _print_asked(one["cost"]["language_models"])
    _print_protocols({one["variant"]: one["protocol"] for one in variants})


def _print_gaps(gaps: list[dict[str, Any]], *, title: str) -> None:
    columns = ("by", "measure", "worst", "worst_value", "worst_queries", "best", "best_value", "best_queries", "p_holm")
    names = ["groups by", "measure", "worst group", "value", "n", "best group", "value", "n", "p (Holm)", ""]
    rows = [[*(one[column] for column in columns), None if one["significant"] else "inside the noise"] for one in gaps]
    if rows:
        print_table(names, rows, title=title)


def _print_probes(result: dict[str, Any]) -> None:
    """Print latency, and whether reasons are true."""
    latency, reasons = result["cost"].get("latency_ms"), result["trust"].get("reasons")
    if latency:
        print_table(
            ["milliseconds a request, median", "95th percentile", "requests asked"],
            [[latency["p50"], latency["p95"], latency["asked"]]],
        )
    sensitivity = result["trust"].get("sensitivity")
    if sensitivity:
        print_table(
            ["the same wish by", f"likeness of lists (Jaccard@{sensitivity['k']})", "PRAG*", "RBO", "SNSR", "SNSV"],
            [
                [
                    f"{name} ({len(group['values'])})",
                    *((group["mean"].get(measure) or {}).get("value") for measure in ("jaccard", "prag", "rbo")),
                    *(group[spread].get("jaccard") for spread in ("range", "deviation")),
                ]
                for name, group in sensitivity["groups"].items()
            ],
        )
    if reasons:
        tested = reasons["counterfactual"]
        fell, control = (tested[name]["value"] if tested[name] else None for name in ("fell", "control_fell"))
        print_table(
            ["reasons asked", "rest on evidence", "cited purchase taken away: fell", "another one: fell", "tested"],
            [[reasons["asked"], reasons["share_grounded"], fell, control, tested["tested"]]],
        )


def _warn(result: dict[str, Any]) -> None:
    """Say what makes figures lower or emptier than a reader would think."""
    choices = result["protocol"]
    repeated = choices["targets_in_history"]
    if repeated and choices["history_masked"] and choices.get("repeats") == "count":
        note(
            f"warning: {repeated:,} targets were bought before, and masked lists cannot hit them; "
            "see --repeats novel or --masking unmasked"
        )


def _print_asked(language_models: list[dict[str, Any]]) -> None:
    """Say what language models were asked, and for what: fitting, ranking, or probes."""
    columns = ("during", "model", "calls", "cached", "prompt_tokens", "answer_tokens", "seconds")
    rows = [[one[column] for column in columns] for one in language_models]
    if rows:
        print_table([column.replace("_", " ") for column in columns], rows, title="language models were asked")


def _print_stages(result: dict[str, Any], name: str) -> None:
    """Say what each stage changed of one measure, what was chosen on validation, and what failed while ranking."""
    if len(result["stages"]) > 1:
        rows = []
        for number, stage in enumerate(result["stages"]):
            change = stage.get("change", {}).get(name)
            rows.append(
                [
                    f"{number}: {stage['model']}",
                    stage["metrics"][name]["value"],
                    "-" if change is None else f"{change['value']:+.4f} ({interval(change)})",
                    stage["report"].get("weight"),
                ]
            )
        print_table(["after stage", name, "change by this stage", "weight"], rows, title=result["variant"])
    for stage in result["stages"]:
        if "chosen_on_validation" in stage["report"]:
            typer.echo(verdict(stage["report"], model=stage["model"]))
        failed = {key: count for key, count in stage["report"].get("counts", {}).items() if key.startswith("failed")}
        if failed:
            note(f"warning: {stage['model']} kept the retriever's order: {failed}")


def _print_protocols(protocols: dict[str, dict[str, Any]]) -> None:
    """Print what all variants share, then for each variant what it does not share with all others."""
    every = {variant: dict(_flat(choices)) for variant, choices in protocols.items()}
    first, *others = every.values()
    shared = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    _print_protocol(shared, title="the same for all variants" if others else None)
    for variant, choices in every.items():
        own = {name: value for name, value in choices.items() if name not in shared}
        if own:
            _print_protocol(own, title=f"{variant}, apart from that")


def _print_protocol(choices: dict[str, Any], *, title: str | None = None) -> None:
    rows = [[name.replace("_", " "), str(value)] for name, value in _flat(choices)]
    print_table(["protocol", ""], rows, title=title)


def _flat(choices: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with the keys that lead to it; what is None is left out."""
    for key, value in choices.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{place}{key}: ")
        elif value is not None:
            yield f"{place}{key}", "; ".join(map(str, value)) if isinstance(value, list) else value


def _print_ratings(result: dict[str, Any]) -> None:
    rows = [[name, None, None, found["mae"], found["rmse"], None] for name, found in result["baselines"].items()]
    for model in result["models"]:
        rows += [
            [model["model"], model["alpha"], row["neighbours"], row["mae"], row["rmse"], row["fallback_share"]]
            for row in model["rows"]
        ]
    print_table(["model", "alpha", "neighbours", "MAE", "RMSE", "predicted by fall-back"], rows)
    _print_protocol(result["protocol"])
