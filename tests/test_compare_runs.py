"""What a comparison keeps and does again, and what becomes of seeds and floors that fail; jobs run in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from walks import plan_of, walks

from tastemaker import compare as comparing
from tastemaker import metrics, provenance
from tastemaker.cli import compare as cli
from tastemaker.compare import Source, maps, shared, store, worker
from tastemaker.compare import run as running
from tastemaker.data import Dataset
from tastemaker.data.writers.canonical import write
from tastemaker.errors import DataError, LeakError, TastemakerError
from tastemaker.evaluate import Options
from tastemaker.report import comparison_page

QUICK = Options(ks=(5, 10))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shop"
    write(walks(), folder)
    return folder


@pytest.fixture
def jobs(monkeypatch):
    """Do jobs here instead of in processes; `broken` has (label, error), in order of work, of those that fail."""

    class Jobs:
        def __init__(self):
            self.done, self.broken = [], {}

        def do(self, description):
            self.done.append(description["label"])
            for start, error in self.broken.items():
                if description["label"].startswith(start):
                    return error
            try:
                worker.run(description)
            except TastemakerError as error:
                return str(error)
            return None

    found = Jobs()
    monkeypatch.setattr(running, "_do", found.do)
    return found


def compare(plan, folder):
    return comparing.compare(plan, folder)


def row_of(found, model):
    [row] = [row for row in found["rows"] if row["model"] == model]
    return row


def keys_of(plan, data):
    [job] = plan.jobs()
    return job.key(shops=[shared.shop(data, job.to_dict(shops=())).digest])


def with_parts(data, words):
    """Return the same log with the words of a column "split" for each shopper's purchases, counted from the newest."""
    from_end = pl.len().over("user") - 1 - pl.int_range(pl.len()).over("user")
    said = pl.lit("train")
    for place, word in enumerate(words):
        said = pl.when(from_end == place).then(pl.lit(word)).otherwise(said)
    return data.with_log(data.log.with_columns(said.alias("split")))


def test_other_words_in_the_column_split_are_other_runs():
    data = walks()
    plan = plan_of("shop", "popular", floor=False, split="as-given", options=QUICK)
    one = keys_of(plan, with_parts(data, ["test", "valid"]))
    assert keys_of(plan, with_parts(data, ["test", "valid"])) == one
    assert keys_of(plan, with_parts(data, ["test", "train", "valid"])) != one


def test_the_questions_alone_make_another_run(monkeypatch):
    data = walks()
    monkeypatch.setattr(Dataset, "fingerprint", "alike")
    plans = [
        plan_of("shop", "popular", floor=False, split=split, options=QUICK) for split in ("leave-one-out", "temporal")
    ]
    digests = [shared.shop(data, plan.jobs()[0].to_dict(shops=())).digest for plan in plans]
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", ["code_digest", "versions"])
def test_other_code_is_another_run(monkeypatch, name):
    plan, data = plan_of("shop", "popular", floor=False, options=QUICK), walks()
    before = keys_of(plan, data)
    monkeypatch.setattr(provenance, name, lambda: "other")
    assert keys_of(plan, data) != before


def test_data_that_change_while_jobs_run_are_noticed(shop, tmp_path, jobs, monkeypatch):
    read = shared.read
    calls = iter([read, *[lambda source, progress: read({**source, "path": str(other)}, progress=progress)] * 9])
    other = tmp_path / "other"
    write(walks(seed=1), other)
    monkeypatch.setattr(shared, "read", lambda source, progress: next(calls)(source, progress=progress))
    found = compare(plan_of(shop, "popular", floor=False, options=QUICK), tmp_path / "out")
    assert "changed while the comparison ran" in row_of(found, "popular")["error"]


@pytest.mark.parametrize("damage", ["no manifest", "half a manifest", "a file"])
def test_a_run_that_cannot_be_read_is_done_again(shop, tmp_path, jobs, damage):
    plan = plan_of(shop, "popular", floor=False, options=QUICK)
    first = compare(plan, tmp_path)
    [place] = (tmp_path / "runs").iterdir()
    if damage == "a file":
        store.clear(place)
        place.write_text("")
    elif damage == "no manifest":
        (place / "manifest.json").unlink()
    else:
        (place / "manifest.json").write_text('{"format": 1')
    assert store.read(place) is None
    assert compare(plan, tmp_path)["rows"][0]["metrics"] == first["rows"][0]["metrics"]
    assert len(jobs.done) == 2


def test_a_run_without_a_needed_part_is_no_run(shop, tmp_path, jobs, monkeypatch):
    compare(plan_of(shop, "popular", floor=False, options=QUICK), tmp_path)
    [place] = (tmp_path / "runs").iterdir()
    manifest, arrays, _ = store.artifact.read(place)
    for part in ("outcomes", "examples"):
        changed = {key: value for key, value in manifest.items() if key != part}
        monkeypatch.setattr(store.artifact, "read", lambda folder, changed=changed: (changed, arrays, {}))
        assert store.read(place) is None
    kept = {key: value for key, value in arrays.items() if key != "0.items"}
    monkeypatch.setattr(store.artifact, "read", lambda folder: (manifest, kept, {}))
    assert store.read(place) is None


def test_a_loss_that_is_no_number_does_not_lose_the_run(shop, tmp_path, jobs, monkeypatch):
    def diverged(*more, **named):
        for one in evaluate_variants(*more, **named):
            one.stages[0]["report"]["learning_curve"] = [{"epoch": 1, "loss": float("nan")}]
            yield one

    evaluate_variants = worker.evaluate_variants
    monkeypatch.setattr(worker, "evaluate_variants", diverged)
    found = compare(plan_of(shop, "popular", floor=False, options=QUICK), tmp_path)
    assert row_of(found, "popular")["learning_curve"] == [{"epoch": 1, "loss": None}]


def test_a_finished_comparison_computes_nothing_again(shop, tmp_path, jobs, monkeypatch):
    plan = plan_of(shop, "popular", seeds=(0, 1, 2), options=QUICK)
    first = compare(plan, tmp_path)
    assert len(jobs.done) == 6
    for module, name in ((maps, "text_vectors"), (maps, "points"), (running.guards, "check_all")):
        monkeypatch.setattr(module, name, lambda *more: pytest.fail("computed again"))
    assert compare(plan, tmp_path) == first
    assert len(jobs.done) == 6


def test_ratios_keep_their_interval_over_seeds(shop, tmp_path, jobs):
    found = compare(plan_of(shop, "random", floor=False, seeds=(0, 1, 2), options=QUICK), tmp_path)
    runs = [store.read(place).outcomes[0] for place in (tmp_path / "runs").iterdir()]
    for name in ("popularity_lift@10", "revenue_recall@10", "ndcg@10"):
        row = row_of(found, "random")["metrics"][name]
        seeds = [one.facts["metrics"][name]["value"] for one in runs]
        assert row["value"] == pytest.approx(np.mean(seeds), abs=1e-6)
        assert min(seeds) < row["value"] < max(seeds)
        assert row["low"] < row["value"] < row["high"]
        assert row["spread"] == pytest.approx(np.std(seeds, ddof=1))
    assert row_of(found, "random")["metrics"]["coverage@10"]["low"] is None


def test_an_undefined_measure_is_the_mean_of_the_defined_ones(shop, tmp_path, jobs, monkeypatch):
    class Half:
        def __init__(self):
            self.made = 0

        def __call__(self, *more, **named):
            self.made += 1
            for one in evaluate_variants(*more, **named):
                if self.made == 1:
                    one.per_query["novelty@10"][:] = np.nan
                    one.metrics["novelty@10"] = {"value": None, "low": None, "high": None}
                yield one

    evaluate_variants = worker.evaluate_variants
    monkeypatch.setattr(worker, "evaluate_variants", Half())
    found = compare(plan_of(shop, "random", floor=False, seeds=(0, 1), options=QUICK), tmp_path)
    [whole] = [
        one.facts["metrics"]["novelty@10"]
        for place in (tmp_path / "runs").iterdir()
        for one in store.read(place).outcomes
        if one.facts["metrics"]["novelty@10"]["value"] is not None
    ]
    row = row_of(found, "random")["metrics"]["novelty@10"]
    assert (row["value"], row["low"]) == pytest.approx((whole["value"], whole["low"]), abs=1e-6)
    assert any("novelty@10 is undefined for 1 of 2 seeds" in note for note in found["notes"])


def test_a_seed_that_fails_leaves_the_others(shop, tmp_path, jobs):
    jobs.broken = {"random, file ties, seed 1": "out of memory"}
    found = compare(plan_of(shop, "random", floor=False, seeds=(0, 1, 2), options=QUICK), tmp_path)
    row = row_of(found, "random")
    assert (row["seeds"], row["error"]) == (2, None)
    assert row["failed_seeds"] == [{"seed": 1, "error": "out of memory"}]
    assert jobs.done[-1] == "random, file ties, seed 2"
    assert "random: seed 1 failed and is not in its row (file ties): out of memory" in found["notes"]
    with pytest.raises(cli.typer.Exit) as ended:
        cli.end(found)
    assert ended.value.exit_code == 1


def test_a_floor_with_a_hole_says_so(shop, tmp_path, jobs):
    jobs.broken = {"transitions": "killed"}
    found = compare(plan_of(shop, "random", options=QUICK), tmp_path)
    assert found["floor"] == ["popular", "text_knn"]
    assert row_of(found, "random")["against_floor"]["model"] in found["floor"]
    [note] = [note for note in found["notes"] if "floor is incomplete" in note]
    assert "transitions, file ties: killed" in note
    assert note in comparison_page(found)
    cli.end(found)  # only the floor failed: no model that was asked for


def test_without_any_floor_there_is_no_verdict(shop, tmp_path, jobs):
    jobs.broken = {"popular": "a", "transitions": "b", "text_knn": "c"}
    found = compare(plan_of(shop, "random", options=QUICK), tmp_path)
    assert found["floor"] == []
    assert row_of(found, "random")["verdict"] == "no floor was run"
    assert any(note.startswith("no model of the floor could be run") for note in found["notes"])


def test_a_floor_model_that_learns_elsewhere_gets_a_verdict(shop, tmp_path, jobs):
    other = tmp_path / "other"
    write(walks(users=60, items=30, seed=3, shop="other "), other)
    found = compare(plan_of(shop, "text_knn", learn_from=Source(str(other)), options=QUICK), tmp_path / "out")
    assert found["floor"] == ["popular", "transitions", "text_knn (floor)"]
    row = row_of(found, "text_knn")
    assert row["protocol"]["fitted_on_other_data"] == found["data"]["fitted_on"]["fingerprint"]
    assert row["verdict"] in ("below the floor", "within the noise of the floor")
    assert "fitted_on_other_data" not in row_of(found, "text_knn (floor)")["protocol"]


def test_the_same_shop_is_no_other_shop(shop, tmp_path, jobs):
    """Learning "elsewhere" from the shop itself, or from a copy of it, would know the answers."""
    copy = tmp_path / "copy"
    write(with_parts(walks(), ["train", "test", "valid"]), copy)
    for place in (shop, copy):
        with pytest.raises(LeakError, match="shop that is learnt from"):
            compare(plan_of(shop, "text_knn", learn_from=Source(str(place)), options=QUICK), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert jobs.done == []


def test_what_reading_left_out_stands_in_the_result(tmp_path, jobs):
    lines = ["user_id,item_id,timestamp"]
    lines += [f"u{user},p{(user + step) % 7},{1_600_000_000 + step}" for user in range(20) for step in range(4)]
    (tmp_path / "log.csv").write_text("\n".join([*lines, "u1,,1600000009", ""]))
    entries = comparing.entries(["popular"], floor=False)
    plan = comparing.Plan(entries=entries, data=Source(str(tmp_path / "log.csv"), max_bad=1), options=QUICK)
    found = compare(plan, tmp_path / "out")
    assert (found["data"]["bad_rows"], found["data"]["left_out"]) == (1, {"interactions": 1})
    assert any("left out: 1 interaction" in note for note in found["notes"])


def test_a_place_that_cannot_be_written_is_refused_before_any_job(shop, tmp_path, jobs):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match="out: cannot be written"):
        compare(plan_of(shop, "popular", options=QUICK), tmp_path / "out")
    assert jobs.done == []


@pytest.mark.parametrize("name", ["interactions.csv", "items.parquet", "ratings.dat"])
def test_results_do_not_go_among_the_files_of_a_data_set(shop, tmp_path, jobs, name):
    there = tmp_path / "there"
    there.mkdir()
    (there / name).write_text("1::1193::5::978300760\n" if name == "ratings.dat" else "user_id,item_id\nu,i\n")
    with pytest.raises(DataError, match=r"there: holds a data set .*; choose another folder for results"):
        compare(plan_of(shop, "popular", options=QUICK), there)
    assert jobs.done == []
    assert [path.name for path in there.iterdir()] == [name]
    found = compare(plan_of(shop, "popular", options=QUICK), tmp_path / "out")
    assert compare(plan_of(shop, "popular", options=QUICK), tmp_path / "out")["rows"] == found["rows"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    for name, age in (("old", 3600), ("new", 0)):
        left = tmp_path / "runs" / f".draft.{name}"
        left.mkdir(parents=True)
        os.utime(left, (left.stat().st_mtime - age,) * 2)
    store.make_ready(tmp_path)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".draft.new"]


def test_a_worker_without_its_parent_ends(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    job = {"parent": gone.pid, "label": "x", "sources": [], "decides": {}, "folder": str(tmp_path / "run")}
    done = subprocess.run(
        [sys.executable, "-m", "tastemaker.compare.worker"], input=json.dumps(job), text=True, capture_output=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_pairs_inside_the_noise_are_named_under_every_variant(shop, tmp_path, jobs, capsys):
    plan = plan_of(shop, "again=popular", maskings=(True, False), options=QUICK)
    found = compare(plan, tmp_path)
    cli.print_comparison(found)
    printed = capsys.readouterr().out
    for variant in found["variants"]:
        [line] = [line for line in printed.splitlines() if line.startswith(f"inside the noise (ndcg@10, {variant})")]
        assert "popular and again" in line
    assert "fit + rank, s" in printed
    assert "-0.0000" not in printed


def test_holm_is_over_the_pairs_of_one_variant(shop, tmp_path, jobs):
    found = compare(plan_of(shop, "random", maskings=(True, False), options=QUICK), tmp_path)
    for variant in found["variants"]:
        pairs = [pair for pair in found["pairs"] if pair["variant"] == variant]
        assert [pair["p_holm"] for pair in pairs] == metrics.holm([pair["p"] for pair in pairs])
