"""A comparison: the floor and its verdicts, seeds, resuming after a kill, failed rows, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from walks import plan_of, walks

from tastemaker import compare as comparing
from tastemaker.compare import Source, store
from tastemaker.data import Dataset
from tastemaker.data.writers.canonical import write
from tastemaker.errors import ConfigError, DataError, LeakError
from tastemaker.evaluate import Options
from tastemaker.report import comparison_csv, comparison_page

MEASURE = "ndcg@10"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shop"
    write(walks(), folder)
    return folder


@pytest.fixture(scope="module")
def compared(shop, tmp_path_factory):
    """One comparison with everything in it: floor, random model, two seeds, two maskings, groups."""
    out = tmp_path_factory.mktemp("out")
    plan = plan_of(
        shop,
        "random",
        "item_knn",
        maskings=(True, False),
        seeds=(0, 1),
        options=Options(ks=(5, 10), probe=True, user_groups=("region",), item_groups=("categories",)),
    )
    return plan, out, comparing.compare(plan, out)


def rows_of(found, model):
    return [row for row in found["rows"] if row["model"] == model]


def test_a_random_model_is_marked_as_below_the_floor(compared):
    _, _, found = compared
    for row in rows_of(found, "random"):
        assert row["verdict"] == "below the floor"
        assert row["against_floor"]["model"] == "transitions"
        assert row["against_floor"]["difference"] < 0
        assert row["against_floor"]["p_holm"] < 0.05
    assert found["floor"] == ["popular", "transitions", "text_knn"]
    assert {row["verdict"] for row in found["rows"] if row["floor"]} == {"floor"}


def test_every_row_says_under_which_protocol_it_was_made(compared):
    _, _, found = compared
    assert found["variants"] == ["masked, file ties, fitted on train", "unmasked, file ties, fitted on train"]
    assert found["protocol"]["split"] == "leave-one-out"
    assert found["protocol"]["items_ranked"] == "all"
    masked, unmasked = rows_of(found, "transitions")
    assert (masked["protocol"]["history_masked"], unmasked["protocol"]["history_masked"]) == (True, False)
    for row in found["rows"]:
        assert row["error"] is None
        assert row["cost"]["peak_mib"] > 50
        assert row["cost"]["latency_ms"]["p50"] <= row["cost"]["latency_ms"]["p95"]
        assert row["trust"]["lists"]["invalid ids"] == 0
        assert row["trust"]["lists"]["items of the history"] == 0
        assert {one["by"] for one in row["slices"]} >= {"history length", "target popularity", "region", "categories"}


def test_seeds_move_what_is_random_and_nothing_else(compared):
    _, _, found = compared
    assert rows_of(found, "random")[0]["metrics"][MEASURE]["spread"] > 0
    assert rows_of(found, "transitions")[0]["metrics"][MEASURE]["spread"] == 0


def test_pairs_are_tested_on_the_same_questions(compared):
    _, _, found = compared
    pairs = [pair for pair in found["pairs"] if pair["variant"] == found["variants"][0]]
    assert len(pairs) == 5 * 4 // 2
    means = {
        row["model"]: row["metrics"][MEASURE]["value"]
        for row in found["rows"]
        if row["variant"] == found["variants"][0]
    }
    for pair in pairs:
        assert pair["difference"] == pytest.approx(means[pair["a"]] - means[pair["b"]], abs=1e-6)
        assert pair["p"] <= pair["p_holm"] <= 1
        assert pair["significant"] == (pair["p_holm"] < 0.05)


def test_the_example_shoppers_get_lists_and_reasons_of_every_model(compared):
    _, _, found = compared
    assert len(found["examples"]) == 5
    for example in found["examples"]:
        assert [one["model"] for one in example["lists"]] == [
            "popular",
            "transitions",
            "text_knn",
            "random",
            "item_knn",
        ]
        assert example["bought"]
        for one in example["lists"]:
            assert all(item["hit"] == (item["name"] in example["bought"]) for item in one["items"])
            assert all(item["reason"] for item in one["items"])


def test_a_second_run_does_nothing_again(compared):
    plan, out, found = compared
    runs = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert len({path.parent for path in runs}) == 10
    again = comparing.compare(plan, out)
    assert runs == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert again == found


def test_a_damaged_run_is_done_again(shop, tmp_path):
    plan = plan_of(shop, "popular", floor=False)
    first = comparing.compare(plan, tmp_path)
    [folder] = (tmp_path / "runs").iterdir()
    arrays = folder / "arrays.safetensors"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert store.read(folder) is None
    second = comparing.compare(plan, tmp_path)
    assert store.read(folder) is not None
    assert second["rows"][0]["metrics"] == first["rows"][0]["metrics"]


def test_another_protocol_is_another_run(shop, tmp_path):
    comparing.compare(plan_of(shop, "popular", floor=False), tmp_path)
    comparing.compare(plan_of(shop, "popular", floor=False, refits=(True,)), tmp_path)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_killed_comparison_goes_on_where_it_was(shop, tmp_path):
    words = [
        sys.executable,
        "-m",
        "tastemaker",
        "compare",
        "item_knn",
        "user_knn",
        "--data",
        str(shop),
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    done = []
    deadline = time.monotonic() + 120
    while len(done) < 2 and time.monotonic() < deadline:
        done = list((tmp_path / "runs").glob("[0-9a-f]*")) if (tmp_path / "runs").exists() else []
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(done) >= 2, "no run was kept before the kill"
    assert not (tmp_path / "comparison.json").exists()
    kept = {path: (path / "manifest.json").stat().st_mtime_ns for path in done}
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert all((path / "manifest.json").stat().st_mtime_ns == made for path, made in kept.items())
    assert len(list((tmp_path / "runs").glob("[0-9a-f]*"))) == 5
    for name in ("comparison.json", "comparison.csv", "report.html"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_row_that_cannot_be_made_says_why_and_the_others_stand(shop, tmp_path):
    other = tmp_path / "other"
    write(walks(users=60, items=30, seed=3, shop="other "), other)
    plan = plan_of(shop, "zero=text_knn", "item_knn", learn_from=Source(str(other)))
    found = comparing.compare(plan, tmp_path / "out")
    [failed] = rows_of(found, "item_knn")
    assert "cannot rank another catalogue than the one it was fitted on" in failed["error"]
    [zero] = rows_of(found, "zero")
    assert zero["protocol"]["fitted_on_other_data"] != zero["protocol"]["data_fingerprint"]
    assert found["data"]["fitted_on"]["source"] == str(other)
    assert all("fitted_on_other_data" not in row["protocol"] for row in found["rows"] if row["floor"])
    page, table = comparison_page(found), comparison_csv(found)
    assert "cannot rank another catalogue than the one it was fitted on" in page
    assert table.count("\n") == 1 + len(found["rows"])


def test_leaks_are_refused_before_anything_runs(shop, tmp_path):
    data = walks()
    log = data.log.with_columns(
        pl.Series("user_id", data.users.frame["id"].gather(data.log["user"])),
        pl.Series("item_id", data.items.frame["id"].gather(data.log["item"])),
        pl.when(pl.int_range(pl.len()).over("user") == pl.len().over("user") - 1)
        .then(pl.lit("test"))
        .when(pl.int_range(pl.len()).over("user") == pl.len().over("user") - 2)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
        .alias("split"),
    ).select("user_id", "item_id", "timestamp", "split")
    leaked = pl.concat([log, log.filter(split="test").head(40).with_columns(split=pl.lit("train"))])
    write(Dataset.from_frames(leaked, data.items.frame.rename({"id": "item_id"})), tmp_path / "leaky")
    with pytest.raises(LeakError, match="u000"):
        comparing.compare(plan_of(tmp_path / "leaky", "popular", split="as-given"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        (["no_such_model"], "no model of that name"),
        (["popular", "popular"], "two models are called 'popular'"),
        (["a=popular", "a=random"], "two models are called 'a'"),
    ],
)
def test_configurations_are_checked_before_the_data_are_read(configs, message):
    with pytest.raises(ConfigError, match=message):
        comparing.entries(configs)


def test_a_label_of_the_floor_does_not_displace_the_floor(tmp_path):
    tuned = tmp_path / "transitions.toml"
    tuned.write_text('[[stage]]\nmodel = "random"\n')
    entries = comparing.entries([str(tuned), "text_knn", "popular=random"])
    assert [(entry.label, entry.floor) for entry in entries] == [
        ("popular (floor)", True),
        ("transitions (floor)", True),
        ("text_knn", True),
        ("transitions", False),
        ("popular", False),
    ]
    assert entries[1].settings == {"stage": [{"model": "transitions"}]}


def test_a_changed_floor_model_is_no_floor():
    entries = comparing.entries(["transitions", "mine=transitions"], overrides=["stage.0.recency=0.5"])
    floor = {entry.label: entry.floor for entry in entries}
    assert floor == {
        "popular": True,
        "text_knn": True,
        "transitions (floor)": True,
        "transitions": False,
        "mine": False,
    }


def test_what_learns_from_another_shop_is_no_floor():
    entries = comparing.entries(["text_knn"], learn_from=True)
    assert [entry.label for entry in entries if entry.floor] == ["popular", "transitions", "text_knn (floor)"]
    assert [entry.label for entry in entries if not entry.floor] == ["text_knn"]


def test_a_file_may_have_an_equals_sign_in_its_name(tmp_path):
    file = tmp_path / "lr=0.1.toml"
    file.write_text('[[stage]]\nmodel = "random"\n')
    [entry] = comparing.entries([str(file)], floor=False)
    assert (entry.label, entry.settings["stage"][0]["model"]) == ("lr=0.1", "random")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"seeds": ()}, "seeds: none given"),
        ({"seeds": (0, 1, 0)}, "must be different"),
        ({"seeds": (-1,)}, "from 0 on"),
        ({"maskings": ()}, "maskings: none given"),
        ({"split": "leave-one-ot"}, "did you mean 'leave-one-out'"),
        ({"repeats": "exlude"}, "did you mean 'exclude'"),
        ({"ties": ("fil",)}, "did you mean 'file'"),
    ],
)
def test_a_plan_is_checked_before_the_data_are_read(choices, message):
    with pytest.raises(ConfigError, match=message):
        plan_of("no such folder", "popular", **choices)


def test_an_unknown_group_is_one_clear_error(shop, tmp_path):
    plan = plan_of(shop, "popular", floor=False, options=Options(user_groups=("regoin",)))
    with pytest.raises(DataError, match="did you mean 'region'"):
        comparing.compare(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_ask_is_refused(tmp_path):
    one = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"]})
    write(Dataset.from_frames(one), tmp_path / "one")
    with pytest.raises(DataError, match="no user has 3 interactions"):
        comparing.compare(plan_of(tmp_path / "one", "popular"), tmp_path / "out")


def test_one_shopper_and_lists_beyond_the_catalogue(tmp_path):
    one = pl.DataFrame({"user_id": ["a"] * 4, "item_id": list("wxyz")})
    write(Dataset.from_frames(one), tmp_path / "one")
    plan = plan_of(tmp_path / "one", "random", floor=False, options=Options(ks=(10, 500), probe=True))
    [row] = comparing.compare(plan, tmp_path / "out")["rows"]
    assert row["error"] is None
    assert row["protocol"]["test_queries"] == 1
    assert row["metrics"]["recall@500"]["value"] == 1
