"""The study: what is suggested, kept, gone on with and refused; and that nothing of the test part comes in."""

from __future__ import annotations

import csv
import io
import signal
import sqlite3
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import fields, replace

import numpy as np
import pytest

from tastemaker import config, evaluate, registry
from tastemaker.data.splits import Holdout, leave_one_out
from tastemaker.errors import ConfigError, DataError, LeakError, TrainingFailed
from tastemaker.models.ensemble.blend import Blend
from tastemaker.recommender import Aids
from tastemaker.search import (
    Asked,
    Choices,
    Measure,
    Plan,
    Range,
    best_toml,
    measure_settings,
    result_of,
    search,
    store,
    study,
    suggest,
    trials_csv,
)
from tastemaker.search.objective import LEAST_QUESTIONS, Figure
from tastemaker.testing import tiny_shop

NDCG = Measure("ndcg", 10)
TRANSITIONS = {"stage": [{"model": "transitions"}]}
SPACE = {"stage.0.recency": Range(0.2, 1.0), "stage.0.window": Range(1, 20)}


@pytest.fixture(scope="module")
def asked():
    return Asked.of(tiny_shop(users=80))


@pytest.fixture
def fits(monkeypatch):
    """Fits are replaced: the value is recency, less a little for each step of the window; `broken` are raised."""

    class Fits:
        def __init__(self):
            self.done, self.broken = [], {}

        def measure(self, settings, asked, measure, *, seed, device, on_epoch):
            stage = settings["stage"][0]
            self.done.append(stage)
            if (error := self.broken.get(len(self.done) - 1)) is not None:
                raise error
            return Figure(stage.get("recency", 0.6) - stage.get("window", 10) / 100, 0.01)

    found = Fits()
    monkeypatch.setattr(study, "measure_settings", found.measure)
    return found


def plan(**choices):
    return Plan(**{"settings": TRANSITIONS, "space": SPACE, "measure": NDCG, **choices})


def without_time(trials):
    return [replace(one, seconds=0) for one in trials]


def test_the_first_trial_is_the_configuration_as_it_stands(asked, tmp_path, fits):
    trials, ended = search(plan(), asked, tmp_path, trials=3)
    assert ended == "done"
    assert trials[0].settings == {"stage.0.recency": 0.6, "stage.0.window": 10}
    assert trials[0].value == pytest.approx(0.5)
    assert [one.number for one in trials] == [0, 1, 2]
    apart = plan(space={"stage.0.recency": Range(0.7, 1.0)})
    assert apart.given is None
    assert search(apart, asked, tmp_path / "apart", trials=1)[0][0].settings["stage.0.recency"] > 0.7


def test_it_finds_the_better_end(asked, tmp_path, fits):
    trials, _ = search(plan(), asked, tmp_path, trials=16)
    found = result_of(plan(), asked, trials, ended="done")
    assert found["best"]["value"] > 0.8
    assert found["best"]["value"] > found["as_it_stands"] == pytest.approx(0.5)
    assert list(found["importance"]) == ["stage.0.recency", "stage.0.window"]


def test_seeds_decide_suggestions(asked, tmp_path, fits):
    runs = [
        search(plan(seed=seed), asked, tmp_path / name, trials=12)[0] for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert without_time(runs[0]) == without_time(runs[1])
    assert [one.settings for one in runs[1]][1:] != [one.settings for one in runs[2]][1:]
    assert len({str(one.settings) for one in runs[0]}) == 12


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(asked, tmp_path, fits):
    whole, _ = search(plan(), asked, tmp_path / "whole", trials=12)
    fits.done.clear()
    fits.broken = {4: KeyboardInterrupt(), 11: KeyboardInterrupt()}
    part, ended = search(plan(), asked, tmp_path / "broken", trials=12)
    assert (len(part), ended) == (4, "stopped")
    assert (len(search(plan(), asked, tmp_path / "broken", trials=12)[0])) == 10
    again, ended = search(plan(), asked, tmp_path / "broken", trials=12)
    assert (without_time(again), ended) == (without_time(whole), "done")
    count = len(fits.done)
    assert search(plan(), asked, tmp_path / "broken", trials=12)[0] == again
    assert len(fits.done) == count


KILLED = """
import os, signal, sys
from pathlib import Path
from tastemaker.search import *
from tastemaker.search import study
from tastemaker.testing import tiny_shop
fit, count = study.measure_settings, 0
def measure(*given, **named):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(*given, **named)
study.measure_settings = measure
space = {"stage.0.recency": Range(0.2, 1.0), "stage.0.window": Range(1, 20)}
plan = Plan({"stage": [{"model": "transitions"}]}, space, Measure("ndcg", 10))
search(plan, Asked.of(tiny_shop(users=80)), Path(sys.argv[1]), trials=5)
"""


def test_kill_9_loses_no_more_than_the_running_trial(asked, tmp_path):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), "3"], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = []
    again, _ = search(plan(), asked, tmp_path / "killed", trials=5, on_trial=kept.append)
    assert [one.number for one in kept] == [2, 3, 4]
    whole, _ = search(plan(), asked, tmp_path / "whole", trials=5)
    assert without_time(again) == without_time(whole)


def test_a_trial_that_ends_the_process_again_and_again_is_given_up(asked, tmp_path, fits):
    import optuna

    with store.opened(tmp_path, plan().identity(asked), prunes=True) as opened:
        for _ in range(study.CRASHES):
            running = opened.ask()
            running.set_user_attr("number", 0)
            opened.tell(running, state=optuna.trial.TrialState.FAIL)
    trials, _ = search(plan(), asked, tmp_path, trials=2)
    assert "the process ended 3 times" in trials[0].error
    assert (trials[0].state, trials[1].state) == ("failed", "complete")
    assert len(fits.done) == 1


def test_failed_trials_are_kept_with_their_message(asked, tmp_path, fits):
    fits.broken = {1: TrainingFailed("the loss is nan"), 2: MemoryError()}
    trials, _ = search(plan(), asked, tmp_path, trials=5)
    assert [one.state for one in trials] == ["complete", "failed", "failed", "complete", "complete"]
    assert [one.error for one in trials[1:3]] == ["the loss is nan", "MemoryError"]
    found = result_of(plan(), asked, trials, ended="done")
    assert found["counts"] == {"complete": 3, "pruned": 0, "failed": 2}
    assert found["importance"] is None


def test_where_nothing_works_the_search_ends(asked, tmp_path, fits):
    fits.broken = dict.fromkeys(range(9), DataError("no texts"))
    with pytest.raises(ConfigError, match="all 5 trials failed; the last one: no texts"):
        search(plan(), asked, tmp_path, trials=9)


@pytest.mark.parametrize("error", [LeakError("x", ["row"], "cure"), TypeError("a bug")])
def test_leaks_and_bugs_are_no_outcome_of_a_trial(asked, tmp_path, fits, error):
    fits.broken = {1: error}
    with pytest.raises(type(error)):
        search(plan(), asked, tmp_path, trials=3)
    assert [one.state for one in search(plan(), asked, tmp_path, trials=3)[0]] == ["complete"] * 3


def test_a_small_space_is_tried_whole_and_no_more(asked, tmp_path, fits):
    small = plan(space={"stage.0.window": Choices((2, 3, 5)), "stage.0.recency": Choices((0.5, 0.9))})
    trials, _ = search(small, asked, tmp_path, trials=30)
    assert len({str(one.settings) for one in trials}) == len(trials) == 6
    order = [one.settings for one in trials]
    assert order != sorted(order, key=lambda one: list(one.values()))


def test_settings_that_come_again_are_not_fitted_again(asked, tmp_path, fits):
    few = plan(space={"stage.0.window": Range(1, 4), "fallback": Choices(("popular", "none"))})
    trials, _ = search(few, asked, tmp_path, trials=7)
    again = [one for one in trials if one.same_as is not None]
    assert again
    assert len(fits.done) == len(trials) - len(again)
    assert all(one.value == trials[one.same_as].value for one in again)


def test_no_trial_begins_after_the_time(asked, tmp_path, fits):
    assert search(plan(), asked, tmp_path, trials=9, seconds=0) == ([], "time")


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"seed": 1}, "seed"),
        ({"space": {"stage.0.window": Range(1, 20)}}, "settings to try"),
        ({"measure": Measure("recall", 10)}, "measure"),
        ({"settings": {**TRANSITIONS, "fallback": "none"}}, "configuration"),
        ({"prunes": False}, "choice about pruning"),
    ],
)
def test_another_question_is_refused(asked, tmp_path, fits, other, word):
    search(plan(), asked, tmp_path, trials=1)
    with pytest.raises(DataError, match=f"holds a study with other {word}; choose another --out"):
        search(plan(**other), asked, tmp_path, trials=1)


def test_other_data_are_refused(asked, tmp_path, fits):
    search(plan(), asked, tmp_path, trials=1)
    with pytest.raises(DataError, match="holds a study with other data"):
        search(plan(), Asked.of(tiny_shop(users=80, seed=1)), tmp_path, trials=1)


def test_two_searches_do_not_share_a_folder(asked, tmp_path):
    identity = plan().identity(asked)
    with (
        store.opened(tmp_path, identity, prunes=True),
        pytest.raises(DataError, match="another search is running there"),
        store.opened(tmp_path, identity, prunes=True),
    ):
        pass
    with store.opened(tmp_path, identity, prunes=True):
        pass


def test_a_folder_that_holds_something_else(asked, tmp_path):
    (tmp_path / store.FILE).write_text("no database " * 100)
    with pytest.raises(DataError, match=r"study.sqlite: cannot be used as a study"):
        search(plan(), asked, tmp_path, trials=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        search(plan(), asked, tmp_path / "file" / "out", trials=1)
    sqlite3.connect(tmp_path / store.LOCK).close()


def test_the_test_part_decides_nothing():
    """Other test items, and nothing that a search sees is another; and there is no place for them either."""
    shop = tiny_shop(users=80)
    log = shop.log
    users = log["user"].to_numpy()
    last = np.r_[users[1:] != users[:-1], True] & (np.bincount(users)[users] >= 3)  # the others are train whole
    items = log["item"].to_numpy().copy()
    items[last] = np.roll(items[last], 7)
    assert (items != log["item"].to_numpy()).any()
    other = shop.with_log(log.with_columns(item=items.astype(log["item"].to_numpy().dtype)))
    assert not np.array_equal(leave_one_out(shop).test.targets.items, leave_one_out(other).test.targets.items)
    one, two = Asked.of(shop, calibrates=True), Asked.of(other, calibrates=True)
    settings = {"stage": [{"model": "blend", "member": [{"model": "transitions"}, {"model": "ease"}]}]}
    assert measure_settings(settings, one, NDCG) == measure_settings(settings, two, NDCG)
    names = {"train", "validation", "judged", "apart", "masked", "facts"}
    assert {field.name for field in fields(Asked)} == names
    assert len(one.train) == len(leave_one_out(shop).train)
    validation = leave_one_out(shop).validation
    holdouts = [value for value in (getattr(one, field.name) for field in fields(Asked)) if isinstance(value, Holdout)]
    for part in holdouts:
        theirs = validation.take(np.flatnonzero(np.isin(validation.who(), part.who())))
        assert np.array_equal(part.targets.items, theirs.targets.items)


def test_what_chooses_weights_is_judged_on_other_shoppers(asked, monkeypatch):
    shop = tiny_shop(users=80)
    apart = Asked.of(shop, calibrates=True, seed=3)
    chosen, judged = set(apart.validation.who().tolist()), set(apart.judged.who().tolist())
    assert not chosen & judged
    assert chosen | judged == set(leave_one_out(shop).validation.who().tolist())
    assert abs(len(chosen) - len(judged)) <= 1
    assert apart.facts["questions"] == len(judged)
    assert apart.facts["choices"] == f"weights and the end of training: {len(chosen)} other validation questions"
    assert "choices" not in asked.facts
    assert set(Asked.of(shop, calibrates=True, seed=4).judged.who().tolist()) != judged
    asked_of_blend = []
    calibrate = Blend.calibrate

    def noting(self, validation, **given):
        asked_of_blend.extend(validation.who().tolist())
        calibrate(self, validation, **given)

    monkeypatch.setattr(Blend, "calibrate", noting)
    blend = {"stage": [{"model": "blend", "member": [{"model": "transitions"}, {"model": "ease"}]}]}
    measure_settings(blend, apart, NDCG)
    assert set(asked_of_blend) == chosen
    with pytest.raises(ConfigError, match="none were kept apart"):
        measure_settings(blend, asked, NDCG)


def test_half_of_the_questions_must_be_enough():
    shop = tiny_shop(users=40)
    assert len(Asked.of(shop).judged) < 2 * LEAST_QUESTIONS
    with pytest.raises(DataError, match="cannot tell settings apart"):
        Asked.of(shop, calibrates=True)


def test_the_value_is_the_one_that_evaluate_would_find(asked):
    """On a split whose test part is the validation part, which only this test may make."""
    split = leave_one_out(tiny_shop(users=80))
    pipeline = registry.build(TRANSITIONS).fit(split.train, aids=Aids(validation=split.validation))
    lists = pipeline.rank(split.validation.queries, 10)
    truth = split.validation.targets
    by_hand = np.zeros(len(truth))
    for row in range(len(truth)):
        [target] = truth.items[truth.offsets[row] : truth.offsets[row + 1]]
        by_hand[row] = sum(1 / np.log2(place + 2) for place in range(10) if lists.items[row, place] == target)
    found = measure_settings(TRANSITIONS, asked, NDCG)
    assert found.value == pytest.approx(by_hand.mean(), rel=1e-6)
    assert found.error == pytest.approx(by_hand.std(ddof=1) / len(by_hand) ** 0.5, rel=1e-6)


def test_too_few_questions():
    with pytest.raises(DataError, match="5 validation questions cannot tell settings apart; needs 20"):
        Asked.of(tiny_shop(users=80), sample=5)


@pytest.mark.parametrize("text", ["ndgc@10", "ndcg", "ndcg@0", "ndcg@x"])
def test_measures_that_are_none(text):
    with pytest.raises(ConfigError, match=f"--measure {text}"):
        Measure.of(text)


def test_whose_curve_speaks_for_the_whole():
    member = "stage.0.member.1."
    assert plan(space={f"{member}dim": Range(1, 2), f"{member}dropout": Range(0.1, 0.5)}).watched == "0/1/"
    assert plan(space={f"{member}dim": Range(1, 2), "stage.0.pool": Range(1, 2)}).watched is None
    assert plan(prunes=False).watched is None


def test_a_poor_curve_ends_a_trial_early(asked, tmp_path, monkeypatch):
    def measure(settings, asked, measure, *, seed, device, on_epoch):
        dropout = settings["stage"][0]["dropout"]
        for epoch in range(1, 9):
            on_epoch("0/other/sasrec", {"epoch": epoch, "ndcg@10": 9.0})
            on_epoch("0/sasrec", {"epoch": epoch, "loss": 1.0})
            on_epoch("0/sasrec", {"epoch": epoch, "ndcg@10": epoch * (1 - dropout)})
        return Figure(1 - dropout, 0.01)

    monkeypatch.setattr(study, "measure_settings", measure)
    values = (0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.9)  # ever better, and one that is not
    tried = plan(settings={"stage": [{"model": "sasrec"}]}, space={"stage.0.dropout": Choices(values)})
    in_order = lambda space, before, **choices: suggest.Fixed({"stage.0.dropout": values[len(before)]})  # noqa: E731
    monkeypatch.setattr(suggest, "sampler", in_order)
    trials, _ = search(tried, asked, tmp_path / "a", trials=len(values))
    assert [one.state for one in trials[:-1]] == ["complete"] * 6
    assert (trials[-1].state, trials[-1].settings) == ("pruned", {"stage.0.dropout": 0.9})
    assert trials[-1].curve == pytest.approx({epoch: epoch * 0.1 for epoch in range(1, store.WARM_EPOCHS + 1)})


def test_the_best_is_a_configuration_that_says_where_it_comes_from(asked, tmp_path, fits):
    trials, _ = search(plan(), asked, tmp_path, trials=4)
    found = result_of(plan(), asked, trials, ended="done")
    file = tmp_path / "best.toml"
    file.write_text(best_toml(found, command="tastemaker search x\nstage = 1"))
    settings = config.read(str(file))
    assert settings == tomllib.loads(file.read_text()) == found["settings"]
    best = max(trials, key=lambda one: one.value)
    assert settings["stage"][0]["recency"] == best.settings["stage.0.recency"]
    text = file.read_text()
    assert "# Found by: tastemaker search x stage = 1\n" in text
    assert "the test part was not read" in text and "optimistic" in text
    split = leave_one_out(tiny_shop(users=80))
    evaluate.fit(registry.build(settings), split)
    rows = list(csv.DictReader(io.StringIO(trials_csv(found))))
    assert [float(row["ndcg@10"]) for row in rows] == [one.value for one in trials]
    assert [int(row["stage.0.window"]) for row in rows] == [one.settings["stage.0.window"] for one in trials]


def test_noise_and_ends_are_named(asked, tmp_path, fits):
    trials, _ = search(plan(), asked, tmp_path, trials=3)
    made = [
        replace(trials[0], number=number, value=value, standard_error=0.02, settings={**trials[0].settings, **settings})
        for number, (value, settings) in enumerate(
            [(0.5, {"stage.0.recency": 1.0}), (0.49, {}), (0.47, {}), (0.481, {"stage.0.window": 3})]
        )
    ]
    found = result_of(plan(), asked, made, ended="done")
    assert found["within_noise"] == 2
    assert any("stage.0.recency lies at the end of what was tried, 0.2..1" in note for note in found["notes"])
