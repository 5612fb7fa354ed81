"""Tuning a sentence encoder on purchases: what is learnt, what stays, and that the tuned encoder is an ordinary one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker import artifact
from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.data.splits import Holdout, leave_one_out
from tastemaker.errors import ArtifactError, ConfigError, DataError
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

pytest.importorskip("sentence_transformers", reason="needs the extra 'text'")

import torch
from printer_shop import KINDS, ONE, QUICK, WORDS, share_of_next_kind

from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.encoders.tuned_weights import export
from tastemaker.models.content.text_knn import TextKNN
from tastemaker.models.content.two_tower import TwoTower
from tastemaker.models.parts.texts.text_maps import Maps, Whitened
from tastemaker.models.parts.texts.text_pairs import Step, steps, titles_of
from tastemaker.models.parts.texts.text_towers import Towers
from tastemaker.neural.language.sentence_tuning import SentenceLayers
from tastemaker.neural.training import loop


@pytest.fixture(scope="module")
def fitted(folder, shop):
    return TwoTower(encoder=TransformerEncoder(folder=folder), **QUICK).fit(shop)


def test_what_is_bought_next_is_learnt_and_known_of_cold_products(folder, shop, fitted):
    untuned = TextKNN(encoder=TransformerEncoder(folder=folder)).fit(shop)
    assert share_of_next_kind(untuned) < 0.5
    assert share_of_next_kind(fitted) > 0.7
    assert fitted.ranks_cold_items
    cold = fitted.items.numbers([f"{kind}-fine" for kind in KINDS])
    for at in (0, 2, 4):  # among products that nobody has bought, the next kind comes first
        scores = fitted.score(Queries.from_lists([[fitted.items.numbers([f"{KINDS[at]}-acme"])[0]]]))[0, cold]
        assert scores.argmax() == at + 1


def test_layers_alone_give_the_vectors_of_the_whole_model(folder):
    encoder = TransformerEncoder(folder=folder)
    texts = [" ".join(WORDS[(3 * n + k) % 12] for k in range(1 + 5 * n % 20)) for n in range(70)]
    layers = SentenceLayers(encoder.load(), texts, tuned=2)
    whole = encoder.encode(texts, kind="document")
    np.testing.assert_allclose(layers.start.numpy(), whole, atol=1e-6)
    rows = np.array([69, 3, 11, 40, *range(50)])
    vectors = layers(rows)
    np.testing.assert_allclose(vectors.detach().numpy(), whole[rows], atol=3e-3)  # states are kept in half precision
    vectors.square().sum(0)[0].backward()
    assert all(parameter.grad is not None for parameter in layers.parameters())
    assert {name.split(".")[1] for name in layers.weights()} == {"1", "2"}
    layers.train()
    assert not any(module.training for module in layers.modules())


def test_what_follows_the_layers_goes_where_they_go_and_is_not_trained(folder, shop, tmp_path):
    tuned = TwoTower(encoder=TransformerEncoder(folder=folder), **{**QUICK, "epochs": 1}).fit(shop).tuned_encoder
    mapped = TransformerEncoder(folder=str(export(tuned, tmp_path / "mapped")))  # a linear map stands behind its layers
    layers = SentenceLayers(mapped.load(), ["printer acme", "tea"], tuned=1)
    behind = [parameter for name, parameter in layers.named_parameters() if name.startswith("tail.")]
    assert {tuple(parameter.shape) for parameter in behind} == {(32, 32), (32,)}
    assert not any(parameter.requires_grad for parameter in behind)
    assert all(parameter.requires_grad for parameter in layers.layers.parameters())
    assert {parameter.dtype for parameter in layers.double().parameters()} == {torch.float64}


def test_the_pretrained_model_stays_as_it_was(folder, shop):
    encoder = TransformerEncoder(folder=folder)
    before = encoder.encode(["printer acme"], kind="document")
    identity = encoder.identity()
    model = TwoTower(encoder=encoder, **QUICK).fit(shop)
    np.testing.assert_array_equal(encoder.encode(["printer acme"], kind="document"), before)
    assert encoder.identity() == identity != model.tuned_encoder.identity()


@pytest.mark.parametrize("tuned_layers", [0, 1, 3])
def test_the_tuned_encoder_is_an_ordinary_one(folder, shop, tmp_path, tuned_layers):
    model = TwoTower(encoder=TransformerEncoder(folder=folder), tuned_layers=tuned_layers, **{**QUICK, "epochs": 1})
    texts = titles_of(model.fit(shop).items, model="x").texts
    tuned = model.tuned_encoder
    np.testing.assert_allclose(tuned.encode(texts, kind="document"), model.vectors, atol=1e-6)
    changed = {name.split(".")[1] for name in tuned.arrays() if name.startswith("layer.")}
    assert changed == {str(2 - number) for number in range(tuned_layers)}

    written = TransformerEncoder(folder=str(export(tuned, tmp_path / "tuned")))
    np.testing.assert_allclose(written.encode(texts, kind="query"), tuned.encode(texts, kind="query"), atol=1e-6)
    with pytest.raises(ConfigError, match="is there already"):
        export(tuned, tmp_path / "tuned")

    knn = TextKNN(encoder=tuned).fit(shop)  # saved with its tuned weights, loaded over the pretrained model
    again = TextKNN(encoder=TransformerEncoder(folder=folder, max_length=tuned.config.max_length))
    again.attach(knn.items, knn.arrays())
    wish = Queries.from_lists([[]], texts=["kettle bolt"])
    assert again.score(wish).tobytes() == knn.score(wish).tobytes()


def test_a_saved_model_ranks_without_the_encoder_and_reads_wishes_with_it(folder, fitted, tmp_path):
    artifact.write(tmp_path / "m", {"model": "two_tower"}, fitted.arrays(), {"items": fitted.items.frame})
    _, arrays, frames = artifact.read(tmp_path / "m")
    loaded = TwoTower(encoder=TransformerEncoder(folder=folder), **QUICK).attach(Entities(frames["items"]), arrays)
    histories = Queries.from_lists([[0], [3, 9], [7, 7, 20]])
    assert loaded.score(histories).tobytes() == fitted.score(histories).tobytes()
    assert "_model" not in vars(loaded.encoder)
    wishes = Queries.from_lists([[], [4]], texts=["tea cosy", ""])
    assert loaded.score(wishes).tobytes() == fitted.score(wishes).tobytes()
    timeless = {**fitted.report(), "learning_curve": loop.timeless(fitted.report()["learning_curve"])}
    assert loaded.report() == timeless


def test_tuned_weights_belong_to_one_pretrained_model(folder, fitted, tmp_path):
    other = TransformerEncoder(folder=folder)
    other.load()[0].auto_model.encoder.layer[0].output.dense.weight.data += 1
    other.load().save(str(tmp_path / "other"), create_model_card=False)
    loaded = TwoTower(encoder=TransformerEncoder(folder=str(tmp_path / "other")), **QUICK)
    loaded.attach(fitted.items, fitted.arrays())
    with pytest.raises(ArtifactError, match="belong to the pretrained model"):
        loaded.score(Queries.from_lists([[]], texts=["tea cosy"]))


def test_a_wish_is_text_like_any_other(fitted):
    number = fitted.items.numbers(["kettle-dora"])[0]
    asked = Queries.from_lists([[], [], [number]], texts=["kettle dora", " ", ""])
    scores = fitted.score(asked)
    assert scores[0].argmax() == number and scores[0].max() == pytest.approx(1, abs=1e-5)
    assert np.isneginf(scores[1]).all()
    assert scores[2].tobytes() == fitted.score(Queries.from_lists([[number]]))[0].tobytes()


def test_contributions_add_up_to_the_cosine(fitted):
    history = np.array([3, 9, 3, *range(10, 19)], dtype=np.int32)
    shares = fitted.contributions(history, 25)
    assert shares.sum() == pytest.approx(float(fitted.score(Queries.from_lists([history]))[0, 25]), abs=1e-5)
    assert not shares[:2].any() and shares[-1] != 0  # only the newest ten are read


@pytest.mark.parametrize("encoder", ["hash", "transformer"])
def test_a_training_that_is_broken_off_ends_as_if_it_had_not_been(folder, shop, tmp_path, encoder):
    def make():
        part = HashEncoder() if encoder == "hash" else TransformerEncoder(folder=folder)
        return TwoTower(encoder=part, **QUICK)

    def stop(name, entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    split = leave_one_out(shop)
    asked = split.validation if encoder == "hash" else None  # with it the start is the best, and nothing to compare
    whole = make().fit(split.train, aids=Aids(validation=asked), seed=5)
    with pytest.raises(KeyboardInterrupt):
        make().fit(split.train, aids=Aids(validation=asked, folder=tmp_path, on_epoch=stop), seed=5)
    resumed = make().fit(split.train, aids=Aids(validation=asked, folder=tmp_path), seed=5)
    assert resumed.report()["best_epoch"] == whole.report()["best_epoch"] > 0
    for name, array in whole.arrays().items():
        assert array.tobytes() == resumed.arrays()[name].tobytes(), name
    other = make().fit(split.train, aids=Aids(validation=asked), seed=6)
    assert other.vectors.tobytes() != whole.vectors.tobytes()


def test_the_choice_of_epochs_is_kept_for_the_refit(shop):
    model = TwoTower(encoder=HashEncoder(), **QUICK)
    split = leave_one_out(shop)
    model.fit(split.train, aids=Aids(validation=split.validation))
    chosen = model.report()["best_epoch"]
    assert len(model.fit(split.refit, aids=Aids(keep_choices=True)).report()["learning_curve"]) == chosen


def test_the_loss_is_cross_entropy_without_false_negatives():
    """Against loops over pairs and texts."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((6, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = Whitened.of(vectors, np.zeros(6, dtype=np.int64), "none")
    begun = Maps.unlearnt(4, max_length=3, recency=0.5)
    towers = Towers(vectors, np.zeros(6, dtype=np.int64), plain, begun=begun, temperature=0.1)
    texts = np.array([0, 2, 3, 5])
    histories = np.array([[1, 0, -1], [3, -1, -1]])
    step = Step(texts, texts[:1], histories, np.array([2, 0]), (np.array([0, 0, 1]), np.array([1, 0, 3])))
    losses = []
    for history, target, banned in zip(histories, (2, 0), ({1, 0}, {3}), strict=True):
        profile = sum(0.5**age * vectors[texts[at]] for age, at in enumerate(history) if at >= 0)
        logits = {
            at: 10 * vectors[texts[at]] @ profile / np.linalg.norm(profile) for at in range(4) if at not in banned
        }
        losses.append(np.log(sum(np.exp(logit) for logit in logits.values())) - logits[target])
    assert float(towers(step).detach()) == pytest.approx(np.mean(losses), rel=1e-5)


def test_steps_ask_for_every_purchase_but_the_first_and_hide_what_the_shopper_has():
    histories = Queries.from_lists([[0, 1, 2, 1], [3], [], [4, 0, 5]])
    made = list(
        steps(
            histories, ONE[:9], size=2, most=100, max_length=2, negatives=3, refreshed=4, rng=np.random.default_rng(0)
        )
    )
    assert sorted(len(step.targets) for step in made) == [1, 2, 2]
    asked = set()
    for step in made:
        assert set(step.refreshed) <= set(step.texts) and len(step.refreshed) == 4
        for row, (history, target) in enumerate(zip(step.histories, step.targets, strict=True)):
            read = tuple(int(step.texts[at]) for at in history if at >= 0)
            asked.add((read, int(step.texts[target])))
            hidden = {int(step.texts[at]) for at in step.own[1][step.own[0] == row]}
            owned = {0, 1, 2} if int(step.texts[target]) in (1, 2) else {4, 0, 5}
            assert hidden == (owned & {int(text) for text in step.texts}) - {int(step.texts[target])}
    assert asked == {((0,), 1), ((1, 0), 2), ((2, 1), 1), ((4,), 0), ((0, 4), 5)}
    again = steps(
        histories, ONE[:9], size=2, most=3, max_length=2, negatives=3, refreshed=9, rng=np.random.default_rng(0)
    )
    assert sum(len(step.targets) for step in again) == 3


def test_every_text_has_its_turn():
    histories = Queries.from_lists([list(range(10))] * 3)
    made = steps(
        histories, ONE[:10], size=9, most=27, max_length=2, negatives=0, refreshed=4, rng=np.random.default_rng(0)
    )
    assert {int(row) for step in made for row in step.refreshed} == set(range(10))


def test_equal_texts_are_one_and_blank_ones_none():
    items = Entities(pl.DataFrame({"id": ["a", "b", "c", "d"], "title": ["cup", None, "tea", "cup"]}))
    titles = titles_of(items, model="x")
    assert titles.texts == ["cup", "tea"]
    assert titles.of_item.tolist() == [0, -1, 1, 0]
    asked = titles.asked(Queries.from_lists([[1, 0], [1], [3, 1, 2]]))
    assert [history.tolist() for history in asked] == [[0], [], [0, 1]]


def test_a_map_serves_encoders_without_layers(shop):
    model = TwoTower(encoder=HashEncoder(), **{**QUICK, "learning_rate": 1e-3, "epochs": 6}).fit(shop)
    assert share_of_next_kind(model) > 0.8
    with pytest.raises(ConfigError, match="'hash' has no weights to tune"):
        _ = model.tuned_encoder


def test_impossible_encoders_are_refused(folder, shop, fitted, tmp_path):
    with pytest.raises(ConfigError, match=r"tuned_layers = 4: the encoder has 3 layers"):
        TwoTower(encoder=TransformerEncoder(folder=folder), tuned_layers=4).fit(shop)
    with pytest.raises(ConfigError, match="was tuned already"):
        TwoTower(encoder=fitted.tuned_encoder)


def test_histories_of_one_purchase_teach_nothing(folder):
    data = tiny_shop(users=5)
    single = data.with_log(data.log.unique("user", keep="first", maintain_order=True))
    untrained = TwoTower(encoder=HashEncoder(), epochs=1, text_transform="none").fit(single)
    vectors = HashEncoder().encode(titles_of(data.items, model="x").texts, kind="document")
    np.testing.assert_allclose(untrained.vectors[untrained.known], vectors, atol=1e-6)


@pytest.mark.parametrize("tuned_layers", [0, 2])
def test_tuning_begins_where_the_last_training_ended(folder, shop, tuned_layers):
    encoder = TransformerEncoder(folder=folder)
    model = TwoTower(encoder=encoder, tuned_layers=tuned_layers, **{**QUICK, "epochs": 2}).fit(shop)
    queries = shop.queries().take(slice(0, 20))
    before, ages = model.score(queries), model._maps.ages
    model.config = model.config.model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    model.tune(shop)
    np.testing.assert_allclose(model.score(queries), before, atol=2e-3)
    np.testing.assert_allclose(model._maps.ages, ages, rtol=1e-4)


def test_a_tuning_that_fails_leaves_the_model_as_it_was(shop):
    model = TwoTower(encoder=HashEncoder(), **{**QUICK, "epochs": 1}).fit(shop)
    was, before = dict(vars(model)), {name: array.tobytes() for name, array in model.arrays().items()}
    other = Dataset(shop.users, Entities(shop.items.frame.clone()), shop.log)

    def stop(part, entry):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.tune(other, aids=Aids(on_epoch=stop))
    assert model.items is shop.items
    assert model.aids is was["aids"]
    assert {name: array.tobytes() for name, array in model.arrays().items()} == before


def test_after_a_transfer_it_learns_on(folder, shop):
    other = Dataset(shop.users, Entities(shop.items.frame.reverse()), shop.log)  # the same titles, numbered otherwise
    model = TwoTower(encoder=TransformerEncoder(folder=folder), tuned_layers=0, **QUICK).fit(shop)
    with pytest.raises(DataError, match="call transfer"):
        model.tune(other)
    model.transfer(other.items)
    model.tune(other)
    assert model.items is other.items
    assert np.isfinite(model.score(other.queries().take(slice(0, 3)))).all()


def test_questions_without_target_do_no_harm_and_those_that_cannot_judge_are_told(shop):
    split = leave_one_out(shop)
    histories = [history for history in split.validation.queries.take(slice(0, 20))]
    targets = [target for target in split.validation.targets.take(slice(0, 20))]
    questions = Holdout(Queries.from_lists([*histories, [1]]), Queries.from_lists([*targets, []]))
    said = TwoTower(encoder=HashEncoder(), **QUICK).fit(split.train, aids=Aids(validation=questions)).report()
    assert "not_judged" not in said
    assert said["learning_curve"][-1]["ndcg@10"] > 0
    mute = Holdout(Queries.from_lists([[1]]), Queries.from_lists([[]]))
    said = TwoTower(encoder=HashEncoder(), **QUICK).fit(split.train, aids=Aids(validation=mute)).report()
    assert said["not_judged"].startswith("none of 1 validation questions")


def test_the_number_of_threads_is_heeded(shop):
    before = torch.get_num_threads()
    model = TwoTower(encoder=HashEncoder(), **{**QUICK, "epochs": 1})
    assert model.fit(shop, aids=Aids(threads=before + 1)).report()["threads"] == before + 1
    assert torch.get_num_threads() == before
