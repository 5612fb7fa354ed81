"""A model that learnt from four shops, asked in a fifth: as it is, and tuned on some of its shoppers.

The sources (Toys, Sports, Office, Games) are joined and learnt from with configs/transfer.toml, split leave-one-out;
their own validation parts end training. Then Beauty, leave-one-out, is ranked without having been seen (zero-shot), and
after tuning on the train part of 1 %, 10 % and all of its shoppers, beside the same configuration trained on these
shoppers alone (scratch), all items ranked, masked and unmasked, test shoppers all. Rows that are there with the same
settings, defaults among them, are not run again; the model of the sources is kept under --runs, one for each.

    TASTEMAKER_DATA=... python benchmarks/accuracy/transfer.py           # what is missing, then the table
    python benchmarks/accuracy/transfer.py --table                       # the table only
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accuracy_results as results
from run import made_by

from tastemaker import config, evaluate, guards, registry, saved
from tastemaker.data import readers
from tastemaker.data.join import join
from tastemaker.data.origins import origin
from tastemaker.data.splits import leave_one_out
from tastemaker.data.splits.variants import of_shoppers
from tastemaker.evaluate import Adaptation, Options, Variant
from tastemaker.evaluate.cost import peak_mib
from tastemaker.progress import bar
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.splits import Split

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results" / "transfer.json"
SOURCES = ("amazon-office-2014", "amazon-toys-2014", "amazon-sports-2014", "amazon-games-2018")
TARGET = "amazon-beauty-2014"
CONFIG = FOLDER / "configs" / "transfer.toml"
FLOOR = ("popular", "text_knn")
SHARES = (0.0, 0.01, 0.1, 1.0)
VARIANTS = [Variant(masking=True), Variant(masking=False)]


def settings_of(name: str) -> dict[str, Any]:
    """Return the configuration of a row."""
    if name in FLOOR:
        encoder = {"encoder": {"model": "transformer"}} if name == "text_knn" else {}
        return {"stage": [{"model": name}], **encoder}
    return config.read(str(CONFIG))


def full_settings(name: str) -> dict[str, Any]:
    """Return the configuration of a row with every default, so that one that changes makes another row."""
    return registry.settings_of(registry.build(settings_of(name)))


def asked_of(name: str, share: float) -> dict[str, Any]:
    """Return all that decides a row but for the code: where it is another, the row is run again."""
    sources = list(SOURCES) if name == "transferred" else []
    return {"model": name, "share": share, "settings": full_settings(name), "sources": sources, "target": TARGET}


def learn(data: Path, runs: Path, target: Split, *, sources: Sequence[str] = SOURCES) -> saved.SavedModel:
    """Return the model of the sources, learnt now if it is not there; they must not hold what `target` holds out."""
    facts = json.dumps([full_settings("transferred"), list(sources)], sort_keys=True)
    place = runs / f"transfer-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    if not place.exists():
        shops = {name.split("-")[1]: readers.read(str(data / name))[0] for name in sources}
        joined = join(shops)
        split = leave_one_out(joined)
        guards.check_other_shop(split, target)
        pipeline = registry.build(settings_of("transferred"))
        started = time.perf_counter()
        checkpoints = place.with_suffix(".checkpoints")
        evaluate.fit(pipeline, split, aids=Aids(folder=checkpoints), progress=bar)
        facts = {
            **origin(joined),
            "train_fingerprint": split.train.fingerprint,
            "protocol": {**split.protocol, "choices": evaluate.choices_of(pipeline, split.validation)},
            "fit_seconds": round(time.perf_counter() - started, 1),
        }
        saved.save(place, saved.SavedModel(pipeline, joined.users, split.refit.queries(), facts))
        evaluate.forget_checkpoints(checkpoints)
    return saved.load(place)


def measure(name: str, share: float, *, data: Path, runs: Path) -> dict[str, Any]:
    """Return one row: a floor model, the transferred model, or the configuration from scratch."""
    shop, _ = readers.read(str(data / TARGET))
    split = evaluate.prepare(shop)
    adapt = None
    if name == "transferred":
        source = learn(data, runs, split)
        pipeline, adapt = source.pipeline, Adaptation(source.facts, share)
    else:
        pipeline = registry.build(settings_of(name))
        split = split if share == 1 else of_shoppers(split, share)
    found = evaluate.evaluate_variants(pipeline, split, VARIANTS, options=Options(), adapt=adapt, progress=bar)
    by_variant = {one.variant.name: one for one in found}
    first = next(iter(by_variant.values()))
    return {
        "model": name,
        "share": share,
        "asked": asked_of(name, share),
        "metrics": {variant: results.accuracy_of(one.to_dict()) for variant, one in by_variant.items()},
        "seconds": first.cost["fit_seconds"],
        "peak_mib": peak_mib(),
        "protocol": first.protocol,
        "config": registry.settings_of(pipeline),
        "made_by": made_by(),
    }


def rows() -> list[tuple[str, float]]:
    """Return what is measured, cheapest first."""
    floor = [(name, 1.0) for name in FLOOR]
    scratch = [("scratch", share) for share in SHARES if share]
    return floor + [("transferred", share) for share in SHARES] + scratch


def load() -> list[dict[str, Any]]:
    """Return the rows that are there."""
    return results.load(RESULTS).get("rows", [])


def keep(row: dict[str, Any]) -> None:
    """Write a row in the place of the one that was there."""
    others = [one for one in load() if (one["model"], one["share"]) != (row["model"], row["share"])]
    results.write(RESULTS, {"rows": [*others, row]})


def table(found: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| Beauty, model | learnt from | recall@10 | NDCG@10 | unmasked recall@10 | NDCG@10 | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(found, key=lambda one: rows().index((one["model"], one["share"]))):
        masked, unmasked = row["metrics"].values()
        cells = [part[name] for part in (masked, unmasked) for name in ("recall@10", "ndcg@10")]
        numbers = [f"{cell['value']:.4f}" for cell in cells]
        lines.append(f"| {row['model']} | {_words(row)} | {' | '.join(numbers)} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def _words(row: dict[str, Any]) -> str:
    """Say what a row learnt from."""
    share = f"{row['share']:.0%} of the shoppers".replace("100% of the shoppers", "all shoppers")
    if row["model"] != "transferred":
        return {"popular": "all shoppers", "text_knn": "texts only"}.get(row["model"], share)
    return "other shops only (zero-shot)" if not row["share"] else f"other shops, then {share}"


def main() -> None:
    """Run what is missing unless only the table is wanted, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    parser.add_argument("--runs", type=Path, default=FOLDER / "runs", help="folder for the model of the sources")
    options = parser.parse_args()
    if not options.table:
        options.runs.mkdir(parents=True, exist_ok=True)
        for name, share in rows():
            if any(row["asked"] == asked_of(name, share) for row in load()):
                continue
            row = measure(name, share, data=Path(os.environ["TASTEMAKER_DATA"]), runs=options.runs)
            keep(row)
            print(name, share, row["metrics"][VARIANTS[0].name]["ndcg@10"], flush=True)
    print(table(load()))


if __name__ == "__main__":
    main()
