"""One epoch of SASRec on Amazon Beauty against RecTools and RecBole, at equal settings.

    python benchmarks/training_speed.py DATA/amazon-beauty-2014 --peers DIR --json OUT.json
    python benchmarks/training_speed.py --table

All: 64 dimensions, 2 layers, 2 heads, dropout 0.5, the newest 50 purchases, full-softmax cross-entropy over all items,
Adam at 0.001, items drawn at random to begin with, the train part of leave-one-out (131,413 next purchases), the same
number of threads. Each library keeps its own batches: ours 256 histories, RecTools 128 histories, RecBole 2,048 pairs
of a history and its next purchase. Ours runs whole epochs; of the peers, whose epoch takes minutes, a few batches after
a warm-up are timed and their mean is multiplied by the number of batches, so preparing data and evaluating are left out
for all three. The peers take turns with ours, and the ratio is the median over rounds. The loss at the first step is
told for each: near the logarithm of the number of items where the same loss is computed over the same items.

An epoch is not worth the same in each library: RecBole takes 65 steps, RecTools 175, ours 88. With --reach X it is
measured beside this how long ours takes to reach a validation NDCG@10 of X (history masked).

    python benchmarks/training_speed.py DATA/amazon-office-2014 --peers DIR --equal 40 \
        --json benchmarks/results/time_to_accuracy.json

Time to equal accuracy, on a set that is small enough: ours and each peer of --equal-peers train for so many whole
epochs; after each one every shopper is asked for the validation purchase, and the lists of both are judged by the same
code: NDCG@10, all items ranked, the history masked. Ours trains twice: with the settings that all share, which begin at
random, and as it comes (items begin at co-occurrence counts). Told are the best value of each, and the seconds of
training that each took until it first reached the lower one of the two best values; making lists is not counted for
anybody. What a library does before its first epoch is counted for ours, as making the counts is part of how it comes
(`start_seconds`; results without that key are of before this was so), and not for the peers.

Each peer lives in an environment of its own under --peers, made once with the pins that work (1.5 GB each; RecBole
needs an old setuptools for pkg_resources and an old NumPy for np.float_).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from math import log
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tastemaker import registry
from tastemaker.data import readers
from tastemaker.data.splits import leave_one_out
from tastemaker.recommender import Aids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.splits import Split
    from tastemaker.types import Int32

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "training_speed.json"
CONSTRAINTS = HERE.parent / "constraints.txt"
SETTINGS = {"dim": 64, "layers": 2, "heads": 2, "dropout": 0.5, "max_length": 50, "learning_rate": 1e-3}
PEERS = {
    "recbole": ("recbole==1.2.1", "setuptools<81", "numpy<2", "pandas<3", "scipy<1.14"),
    "rectools": ("rectools[torch]==0.19.0",),
}
AS_IT_COMES = "tastemaker, as it comes"
JUDGED_AT = 10
WARM_UP = 1
"""Steps of a peer that are not timed."""


class Reached(Exception):
    """Ends a training that has come as far as was asked."""


def install(name: str, folder: Path) -> Path:
    """Make a peer's environment unless it is there, and return its Python."""
    python = folder / name / "bin" / "python"
    ready = folder / name / "ready"
    if not ready.exists():
        print(f"making the environment of {name} in {folder / name}", flush=True)
        venv.create(folder / name, with_pip=True, clear=True)
        pins = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch==")]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *pins, *PEERS[name]], check=True)
        ready.touch()
    return python


def write_log(data: Dataset, folder: Path) -> Path:
    """Write all interactions as RecBole reads them; both peers hold the last two of each shopper out themselves."""
    frame = data.log.select("user", "item").with_row_index("place").select("user", "item", "place")
    frame.columns = ["user_id:token", "item_id:token", "timestamp:float"]
    path = folder / "beauty" / "beauty.inter"
    path.parent.mkdir()
    frame.write_csv(path, separator="\t")
    return path


def peer(name: str, python: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Time a few steps of a peer, and say what an epoch of them takes."""
    said = run_peer(name, python, asked)
    timed = said["seconds"][WARM_UP:]
    return {**said, "epoch_seconds": mean(timed) * said["batches"], "steps_timed": len(timed)}


def run_peer(name: str, python: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Run a peer's script in its environment, and return what it says."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.json"
        file.write_text(json.dumps(asked))
        command = [str(python), str(HERE / "peers" / f"{name}_sasrec.py"), str(file)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: ended with status {done.returncode}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(split: Split, *, epochs: int) -> dict[str, Any]:
    """Train for whole epochs; the first one, which is slower, is not counted where there are several."""
    model = build(epochs=epochs, patience=0)
    model.fit(split.train)
    curve = model.stages[0].recommender.report()["learning_curve"]
    seconds = [entry["seconds"] for entry in curve]
    return {"epoch_seconds": median(seconds[1:] or seconds), "seconds": seconds, "losses": [e["loss"] for e in curve]}


def first_loss(split: Split) -> float:
    """Return our mean loss of the first epoch at a learning rate that changes nothing: that of random items."""
    model = build(epochs=1, patience=0, learning_rate=1e-12)
    model.fit(split.train)
    return float(model.stages[0].recommender.report()["learning_curve"][0]["loss"])


def reach(split: Split, wanted: float) -> dict[str, Any]:
    """Train until validation is as good as was asked, with default settings and with those of this benchmark."""
    found: dict[str, Any] = {"ndcg@10": wanted}
    for name, settings in (("equal settings", {}), ("default start", {"start": "cooccurrence"})):
        entries: list[Mapping[str, float]] = []

        def note(_part: str, entry: Mapping[str, float], entries: list[Mapping[str, float]] = entries) -> None:
            entries.append(entry)
            if entry.get("ndcg@10", 0.0) >= wanted:
                raise Reached

        start = time.perf_counter()
        try:
            build(epochs=100, patience=100, **settings).fit(
                split.train, aids=Aids(validation=split.validation, on_epoch=note)
            )
        except Reached:
            found[name] = {"seconds": time.perf_counter() - start, "epochs": len(entries)}
        else:
            found[name] = {"seconds": None, "epochs": len(entries)}
    return found


def equal(split: Split, file: Path, pythons: Mapping[str, Path], *, epochs: int, threads: int) -> dict[str, Any]:
    """Train ours and the peers for whole epochs; return each course, and when it reached the lower of two bests."""
    courses = {
        "tastemaker": our_course(build(epochs=epochs, patience=0), split),
        AS_IT_COMES: our_course(
            registry.build({"stage": [{"model": "sasrec", "epochs": epochs, "patience": 0}], "fallback": "none"}), split
        ),
    }
    for name, python in pythons.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "lists.json"
            asked = {**SETTINGS, "threads": threads, "log": str(file), "batch_size": None, "batches": None}
            said = run_peer(name, python, {**asked, "epochs": epochs, "k": JUDGED_AT, "lists": str(place)})
            values = [judged(lists, split) for lists in json.loads(place.read_text())]
        courses[name] = {"epoch_seconds": said["epoch_seconds"], "ndcg@10": values}
    to_equal = {
        name: {peer: meeting(courses[name], courses[peer]) for peer in pythons} for name in ("tastemaker", AS_IT_COMES)
    }
    return {"epochs": epochs, "courses": courses, "to_equal": to_equal}


def our_course(model: Any, split: Split) -> dict[str, Any]:  # noqa: ANN401  # a pipeline of one model
    """Train a model with a judgement after each epoch, whose seconds do not count."""
    starts: list[float] = []
    seconds: list[float] = []
    values: list[float] = []
    sequence = model.stages[0].recommender
    queries, targets = split.validation.queries, split.validation.targets.items[split.validation.targets.offsets[:-1]]

    def note(_part: str, entry: Mapping[str, float]) -> None:
        starts.append(time.perf_counter() - began - entry["seconds"])  # of the first epoch, before anything was judged
        seconds.append(entry["seconds"])  # of training alone, as for the peers
        sequence._freeze()
        values.append(ndcg(sequence.rank(queries, JUDGED_AT).items, targets))

    began = time.perf_counter()
    sequence.fit(split.train, aids=Aids(on_epoch=note))
    return {"start_seconds": max(0.0, starts[0]), "epoch_seconds": seconds, "ndcg@10": values}


def judged(lists: Mapping[str, list[int]], split: Split) -> float:
    """Return the NDCG@10 of a peer's lists, item numbers by user number; what was bought before is left out."""
    queries, targets = split.validation.queries, split.validation.targets.items[split.validation.targets.offsets[:-1]]
    items = np.full((len(queries), JUDGED_AT), -1, dtype=np.int32)
    for row, user in enumerate(queries.users if queries.users is not None else range(len(queries))):
        bought = set(queries.items[queries.offsets[row] : queries.offsets[row + 1]].tolist())
        kept = [item for item in lists.get(str(user), ()) if item not in bought][:JUDGED_AT]
        items[row, : len(kept)] = kept
    return ndcg(items, targets)


def ndcg(items: Int32, targets: Int32) -> float:
    """Return the mean NDCG of lists [B, k] with one target each."""
    at = items == targets[:, None]
    return float((at / np.log2(np.arange(items.shape[1]) + 2)).sum() / len(items))


def meeting(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, float]:
    """Return the lower of the two best values, and the seconds until ours and the peer's first reached it."""
    value = min(max(one["ndcg@10"]) for one in (ours, peer))
    seconds = []
    for one in (ours, peer):
        first = next(place for place, found in enumerate(one["ndcg@10"]) if found >= value)
        seconds.append(one.get("start_seconds", 0.0) + sum(one["epoch_seconds"][: first + 1]))
    return {"ndcg@10": value, "ours": seconds[0], "peer": seconds[1], "times_faster": seconds[1] / seconds[0]}


def build(**settings: Any) -> Any:  # noqa: ANN401  # a pipeline of one model, whose settings are its own
    """Return our model with the settings of this benchmark."""
    stage = {"model": "sasrec", "start": "random", **SETTINGS, **settings}
    return registry.build({"stage": [stage], "fallback": "none"})


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of amazon-beauty-2014")
    parser.add_argument("--table", action="store_true", help="print the table of the result that is there")
    parser.add_argument("--peers", type=Path, help="folder for the peers' environments, made where they are missing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3, help="of ours, in each round")
    parser.add_argument("--recbole-batches", type=int, default=5, help="steps of RecBole, the first of them a warm-up")
    parser.add_argument("--rectools-batches", type=int, default=11, help="steps of RecTools")
    parser.add_argument("--reach", type=float, help="also measure our time to this validation NDCG@10")
    parser.add_argument("--equal", type=int, metavar="EPOCHS", help="measure time to equal accuracy instead")
    parser.add_argument("--equal-peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    if options.data is None or options.peers is None:
        parser.error("name the folder of amazon-beauty-2014 and --peers")
    started = time.perf_counter()
    pythons = {
        name: install(name, options.peers.resolve()) for name in (options.equal_peers if options.equal else PEERS)
    }
    data, _ = readers.read(options.data)
    split = leave_one_out(data)
    torch.set_num_threads(options.threads)
    if options.equal:
        with tempfile.TemporaryDirectory() as folder:
            file = write_log(data, Path(folder))
            found = equal(split, file, pythons, epochs=options.equal, threads=options.threads)
        result = {"data": options.data.name, "settings": SETTINGS, "threads": options.threads, "equal": found}
        print(equal_table(result))
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ("tastemaker", *PEERS)}
    counts = {"recbole": options.recbole_batches, "rectools": options.rectools_batches}
    with tempfile.TemporaryDirectory() as folder:
        asked = {**SETTINGS, "threads": options.threads, "log": str(write_log(data, Path(folder))), "batch_size": None}
        for _ in range(options.rounds):
            runs["tastemaker"].append(ours(split, epochs=options.epochs))
            for name, python in pythons.items():
                runs[name].append(peer(name, python, {**asked, "batches": counts[name]}))
    mine = [one["epoch_seconds"] for one in runs["tastemaker"]]
    ratios = {
        name: median(one["epoch_seconds"] / own for one, own in zip(runs[name], mine, strict=True)) for name in PEERS
    }
    losses = {name: runs[name][0]["losses"][0] for name in PEERS} | {"tastemaker": first_loss(split)}
    result: dict[str, Any] = {
        "data": options.data.name,
        "settings": SETTINGS,
        "threads": options.threads,
        "rounds": options.rounds,
        "loss_of_random_items": log(data.n_items),
        "loss_at_the_first_step": losses,
        "times_faster": ratios,
        "runs": runs,
    }
    if options.reach is not None:
        result["reach"] = reach(split, options.reach)
    result["minutes"] = round((time.perf_counter() - started) / 60, 1)
    print(table(result))
    print(f"\n{result['minutes']} minutes")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def equal_table(result: dict[str, Any]) -> str:
    """Return time to equal accuracy in markdown."""
    found = result["equal"]
    lines = [
        f"SASRec on {result['data']}, {result['threads']} threads, {found['epochs']} epochs, NDCG@10 on validation\n",
        "| library | best | at epoch | seconds an epoch |",
        "|---|---:|---:|---:|",
    ]
    for name, one in found["courses"].items():
        best = max(one["ndcg@10"])
        at = one["ndcg@10"].index(best) + 1
        lines.append(f"| {name} | {best:.4f} | {at} | {median(one['epoch_seconds']):.2f} |")
    lines += ["\n| ours | peer | NDCG@10 that both reach | ours, s | peer, s | times faster |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for name, peers in found["to_equal"].items():
        for peer, one in peers.items():
            lines.append(
                f"| {name} | {peer} | {one['ndcg@10']:.4f} | {one['ours']:.1f} | {one['peer']:.1f} "
                f"| {one['times_faster']:.1f} |"
            )
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """Return seconds an epoch, ratios and first losses in markdown."""
    lines = [
        f"SASRec on {result['data']}, {result['threads']} threads, median of {result['rounds']} rounds; a loss of"
        f" {result['loss_of_random_items']:.3f} is that of random items\n",
        "| library | seconds an epoch | times ours | loss at the first step | timed |",
        "|---|---:|---:|---:|---|",
    ]
    for name, runs in result["runs"].items():
        seconds = median(run["epoch_seconds"] for run in runs)
        ratio = f"{result['times_faster'][name]:.1f}" if name in result["times_faster"] else "1"
        steps = f"{runs[0]['steps_timed']} of {runs[0]['batches']} steps" if "batches" in runs[0] else "whole epochs"
        loss = result["loss_at_the_first_step"][name]
        lines.append(f"| {name} | {seconds:.1f} | {ratio} | {loss:.3f} | {steps} |")
    if "reach" in result:
        reached = dict(result["reach"])
        wanted = reached.pop("ndcg@10")
        for name, one in reached.items():
            taken = "not reached" if one["seconds"] is None else f"{one['seconds']:.0f} s"
            lines.append(f"\nOurs to a validation NDCG@10 of {wanted}, {name}: {taken}, {one['epochs']} epochs.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
