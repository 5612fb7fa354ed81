"""Tuning: it learns, answers alone count, parts add up, and a killed run goes on to the same curve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tastemaker.errors import ConfigError, TrainingFailed
from tastemaker.lm.base import Prompt
from tastemaker.lm.packing import Row
from tastemaker.neural.language import lm_tuning
from tastemaker.neural.language.lm_settings import RATES, TuningConfig
from tastemaker.neural.language.lm_tuning import Texts, mean_loss, perplexity, rows_of_pairs, rows_of_texts, tune
from tastemaker.neural.training.loop import timeless
from tastemaker.recommender import Aids
from tastemaker.text.instructions.tasks import InstructionPair

WORDS = ("camera", "tripod", "cream", "drill", "soap", "brush")


def pairs(count=24):
    """The letter of the product that was bought before is the answer."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        shown = rng.permutation(WORDS)[:3]
        answer = int(rng.integers(3))
        lines = "\n".join(f"{letter}. {word}" for letter, word in zip("ABC", shown, strict=True))
        made.append(InstructionPair("toy", Prompt(f"{shown[answer]}?\n{lines}", answer="Answer:"), "ABC"[answer]))
    return made


def texts_of(lm):
    rows, _ = rows_of_pairs(lm, pairs(), max_tokens=200)
    return Texts(tuple(rows[:16]), tuple(rows[16:]))


def config(**settings):
    base = {"epochs": 3, "batch_size": 4, "at_once": 2, "round_steps": 3, "warmup": 2, "rank": 4, "patience": 0}
    return TuningConfig(**{**base, **settings})


def run(lm, seed=0, aids=None, **settings):
    return tune(lm, texts_of, config(**settings), seed=seed, aids=aids)


@pytest.mark.parametrize("method", RATES)
def test_every_method_learns(lm, method):
    tuned, course = run(lm, method=method, epochs=10, learning_rate=5 * RATES[method])
    rows = texts_of(tuned).train
    assert mean_loss(tuned, rows) < 0.97 * mean_loss(lm, texts_of(lm).train)
    assert course.curve[-1]["step"] == 40
    assert lm.adapter is None
    assert tuned.adapter is not None


def test_the_same_seed_gives_the_same_bits(lm):
    digests = [run(lm, seed=seed, dropout=0.2)[0].adapter.digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("settings", [{"at_once": 4}, {"at_once": 1}, {"packing": True}])
def test_how_many_go_through_at_once_changes_nothing(lm, settings):
    one, other = (run(lm, **each)[0].adapter.tensors for each in ({}, settings))
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, atol=2e-4, err_msg=name)


class KilledError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("killed_at", [1, 5, 8, 11])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_run_goes_on_to_the_same_curve(lm, tmp_path, monkeypatch, method, killed_at):
    settings = {"method": method, "dropout": 0.1, "patience": 5}
    whole, course = run(lm, **settings)
    aids = Aids(folder=tmp_path)
    steps = 0
    step = lm_tuning.take_step

    def killing(*arguments, **options):
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise KilledError
        return step(*arguments, **options)

    monkeypatch.setattr(lm_tuning, "take_step", killing)
    with pytest.raises(KilledError):
        run(lm, aids=aids, **settings)
    assert aids.checkpoint("lm").exists() == (killed_at > 3)
    torch.manual_seed(99)
    resumed, again = run(lm, aids=aids, **settings)
    assert steps - 1 < 12 + killed_at
    assert timeless(again.curve) == timeless(course.curve)
    assert resumed.adapter.digest == whole.adapter.digest


def test_a_checkpoint_of_another_run_is_refused(lm, tmp_path):
    run(lm, aids=Aids(folder=tmp_path))
    with pytest.raises(TrainingFailed, match="another training"):
        run(lm, aids=Aids(folder=tmp_path), learning_rate=1e-5)


def test_a_checkpoint_holds_the_adapter_alone(lm, tmp_path):
    aids = Aids(folder=tmp_path)
    run(lm, aids=aids, rank=1, modules="attention")
    assert aids.checkpoint("lm").stat().st_size < 60_000


def test_held_out_pairs_end_it_and_the_best_weights_stay(lm):
    tuned, course = run(lm, epochs=30, learning_rate=0.05, patience=2)
    losses = [entry["held_out_loss"] for entry in course.curve]
    assert len(losses) < 40
    assert course.best_epoch == 1 + int(np.argmin(losses))
    assert len(losses) == course.best_epoch + 2
    assert mean_loss(tuned, texts_of(tuned).held_out) == pytest.approx(min(losses), abs=1e-4)


def test_the_rate_rises_and_falls_step_by_step(lm):
    _, course = run(lm, round_steps=1, schedule="linear", learning_rate=1e-3, warmup=2)
    rates = [entry["learning_rate"] for entry in course.curve]
    assert rates == pytest.approx([1e-3 * min(1, (place + 1) / 2) * (1 - place / 12) for place in range(12)])


def test_the_listener_hears_each_round(lm):
    heard = []
    _, course = run(lm, aids=Aids(on_epoch=lambda name, entry: heard.append((name, entry["step"]))))
    assert heard == [("lm", 3), ("lm", 6), ("lm", 9), ("lm", 12)]
    assert [entry["epoch"] for entry in course.curve] == [1, 2, 3, 4]


def test_going_on_learns_on(lm):
    once, _ = run(lm)
    twice, _ = run(once)
    assert twice.adapter.digest != once.adapter.digest
    assert mean_loss(twice, texts_of(lm).train) < mean_loss(once, texts_of(lm).train)


def test_rows_of_pairs_end_with_answer_and_end_token(lm):
    [pair] = pairs(1)
    [row], too_long = rows_of_pairs(lm, [pair], max_tokens=200)
    assert too_long == 0
    assert row.ids[-1] == lm._tokens.end
    assert list(row.ids[: -row.answer]) == lm._tokens.encode(pair.prompt)
    assert row.ids[-2] == lm._tokens.choices(pair.prompt, [pair.answer])[0]
    assert row.answer == 2


def test_long_pairs_are_left_out_and_counted(lm):
    rows, too_long = rows_of_pairs(lm, pairs(), max_tokens=min(map(len, texts_of(lm).train)))
    assert 0 < len(rows) < 24
    assert too_long == 24 - len(rows)
    with pytest.raises(
        ConfigError, match=r"tuning.max_tokens: \d+: nothing to learn from, 24 pairs are longer; raise it"
    ):
        tune(lm, lambda lm: Texts((), (), 24), config())


def test_perplexity_of_texts_equals_a_loop(lm):
    texts = ["a camera tripod", "hand cream", "x"]
    rows = rows_of_texts(lm, texts, max_tokens=100)
    total, count = 0.0, 0
    for text in texts:
        ids = [*lm._tokens._tokenizer(text)["input_ids"], lm._tokens.end]
        with torch.inference_mode():
            logs = lm._model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        total -= sum(float(logs[place - 1, ids[place]]) for place in range(1, len(ids)))
        count += len(ids) - 1
    assert perplexity(lm, rows, at_once=2) == pytest.approx(np.exp(total / count), rel=1e-4)


def test_long_texts_are_cut(lm):
    rows = rows_of_texts(lm, ["camera tripod " * 40], max_tokens=16)
    assert max(map(len, rows)) == 16
    assert sum(row.answer for row in rows) == sum(map(len, rows)) - len(rows)


def test_a_loss_that_is_no_number_is_named(lm):
    with pytest.raises(TrainingFailed, match="lower learning_rate"):
        run(lm, method="full", learning_rate=1e30, clip=0, warmup=0)


def test_a_row_has_its_length():
    assert len(Row((1, 2, 3), 1)) == 3
