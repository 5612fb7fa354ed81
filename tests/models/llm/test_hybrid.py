"""Soft tokens: one token a product, candidates apart from each other, trained on train alone, saved over a base."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import tiny_models
import torch

from tastemaker import artifact
from tastemaker.data import Queries, Ranking
from tastemaker.data.dataset import Dataset
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.lm.local import LocalLM
from tastemaker.lm.scripted import ScriptedLM
from tastemaker.lm.trunk import trunk_of
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.llm.hybrid import BEFORE, BETWEEN, Hybrid
from tastemaker.models.parts.reranking.practice import Knowledge, practise
from tastemaker.models.parts.reranking.trained_reranker import drawn, question_batch, retrieved
from tastemaker.neural.candidates import Asked, Tables
from tastemaker.neural.language.soft_tokens import SoftTokenRanker
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

QUICK = {"dim": 8, "epochs": 2, "batch_size": 32, "negatives": 6, "warmup": 0, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def lm():
    return LocalLM(tiny_models.causal())


def make(lm, **settings):
    return Hybrid(encoder=HashEncoder(), lm=lm, **{"weight": 1.0, **QUICK, **settings})


def shop_of_words(users=150, seed=0):
    """The next purchase has the colour of the last one, which no count can tell: each product is bought about once."""
    rng = np.random.default_rng(seed)
    colours = ["red", "blue"]
    titles = [f"{colours[item % 2]} thing {item}" for item in range(300)]
    rows = []
    for user in range(users):
        colour = rng.integers(2)
        picks = 2 * rng.choice(150, 5, replace=False) + colour
        rows += [(f"u{user}", f"i{item}", at) for at, item in enumerate(picks)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return Dataset.from_frames(log, pl.DataFrame({"item_id": [f"i{item}" for item in range(300)], "title": titles}))


def network_of(lm, *, n=9, tuned="none", **settings):
    rng = np.random.default_rng(0)
    tables = Tables(
        torch.from_numpy(rng.standard_normal((1, n, 4)).astype(np.float32)),
        torch.ones(1, n),
        torch.from_numpy(rng.standard_normal((n, 5)).astype(np.float32)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SoftTokenRanker(
            trunk_of(lm, (BEFORE, BETWEEN), tuned=tuned, **{"layers": None, **settings}), tables, dropout=0.0
        )
        torch.nn.init.normal_(network.readout.weight)
    return network.eval()


def asked(histories, candidates):
    width = max(map(len, histories))
    return Asked(
        torch.tensor([[*history, *[-1] * (width - len(history))] for history in histories]),
        torch.tensor(candidates),
        torch.zeros(len(histories), len(candidates[0])),
        torch.zeros(len(histories), len(candidates[0])),
        torch.ones(len(histories), dtype=torch.bool),
        torch.zeros(len(histories), dtype=torch.long),
    )


def test_states_are_those_of_plain_prompts(lm):
    """Oracle: one prompt a candidate through the whole model with its ordinary causal mask."""
    network = network_of(lm)
    question = asked([[3, 1, 4]], [[2, 7, 5]])
    scores = network.read(question, network.features(question))
    table = lm.network.get_input_embeddings()
    words = [table(torch.tensor([lm.tokens_of(text)])) for text in (BEFORE, BETWEEN)]
    for place, item in enumerate([2, 7, 5]):
        history, candidate = (network.tokens(torch.tensor([row]), question.rounds) for row in ([3, 1, 4], [item]))
        inputs = torch.cat([words[0], history, words[1], candidate + network.marker], 1)
        states = lm.network.get_decoder()(inputs_embeds=inputs).last_hidden_state
        torch.testing.assert_close(network.readout(states[:, -1])[0, 0], scores[0, place], atol=1e-4, rtol=1e-4)


def test_order_and_company_of_candidates_change_nothing(lm):
    network = network_of(lm)
    together = network(asked([[3, 1]], [[2, 7, 5]]))[0]
    turned = network(asked([[3, 1]], [[5, 2, 7]]))[0]
    alone = network(asked([[3, 1]], [[7, -1, -1]]))[0]
    torch.testing.assert_close(together, turned[[1, 2, 0]])
    torch.testing.assert_close(together[1], alone[0])
    assert torch.isneginf(alone[1:]).all()


def test_padding_of_histories_changes_nothing_and_their_order_does(lm):
    network = network_of(lm)
    both = network(asked([[3, 1, 4], [3, 1]], [[2, 7], [2, 7]]))
    torch.testing.assert_close(both[1], network(asked([[3, 1]], [[2, 7]]))[0], atol=1e-5, rtol=1e-5)
    assert (network(asked([[1, 3]], [[2, 7]]))[0] - both[1]).abs().max() > 1e-3


def test_a_history_and_candidates_cost_a_token_each(lm):
    network, seen = network_of(lm), []
    network.language_model.register_forward_pre_hook(
        lambda _, args, options: seen.append(options["inputs_embeds"].shape[1]), with_kwargs=True
    )
    network(asked([[1, 2, 3, 4] * 5], [[1, 2, 3, 4, 5] * 4]))
    assert seen == [len(lm.tokens_of(BEFORE)) + len(lm.tokens_of(BETWEEN)) + 20 + 20]


@pytest.mark.parametrize("tuned", ["none", "lora", "full"])
def test_what_is_trained_is_what_is_saved(lm, tuned):
    network = network_of(lm, tuned=tuned, layers=1)
    names = {name for name in network.state_dict() if name.startswith("language_model.")}
    assert bool(names) == (tuned != "none")
    assert all(("lora" in name) == (tuned == "lora") for name in names)
    assert len(network.language_model.layers) == 1
    assert not any("embed" in name for name, _ in network.named_parameters())
    assert len(lm.network.get_decoder().layers) == 2, "the model itself stays as it is"
    with pytest.raises(RuntimeError, match="the trained weights are others"):
        network.load_state_dict({**network.state_dict(), "odd": torch.zeros(1)})


def test_untrained_it_says_what_the_retriever_says(lm):
    shop = tiny_shop()
    model = make(lm, epochs=1, learning_rate=1e-12).fit(shop)
    queries = shop.queries().take([1, 2, 5, 8])
    candidates = Transitions().fit(shop).rank(queries, 10)
    ranking = model.rank(queries, 10, candidates=candidates)
    np.testing.assert_array_equal(ranking.items, candidates.items)


def test_text_is_learnt_where_counts_are_silent(lm):
    """Candidates of the history's colour come first, also those that nobody has bought."""
    shop = shop_of_words()
    model = make(lm, epochs=20).fit(shop)
    queries = shop.queries().take(np.arange(40))
    colours = np.array([history[-1] % 2 for history in queries])
    unsold = np.flatnonzero(shop.popularity == 0)
    assert len(unsold) > 20
    for pool in (np.arange(300), unsold):
        offered = np.random.default_rng(1).permuted(np.tile(pool, (40, 1)), axis=1)[:, :20].astype(np.int32)
        scores = np.zeros(offered.shape, np.float32) - np.arange(20, dtype=np.float32)
        own = model.own_order(queries, Ranking(offered, scores))
        assert (own.items[:, :5] % 2 == colours[:, None]).mean() > 0.7
        assert (offered[:, :5] % 2 == colours[:, None]).mean() < 0.6


def test_questions_have_the_target_first_and_never_again():
    shop = tiny_shop(users=200)
    _, practice = practise(shop, rounds=2, depth=12, max_length=9, dim=4, seed=0)
    rng = np.random.default_rng(0)
    rows = drawn(practice, 150, rng)
    assert len(rows) == len(set(rows.tolist())) <= 150
    batch = question_batch(practice, rows, shop.queries().items, negatives=5, rng=rng)
    assert batch.candidates.shape[1] == 6
    np.testing.assert_array_equal(batch.candidates[:, 0], practice.targets[rows])
    assert not (batch.candidates[:, 1:] == batch.candidates[:, :1]).any()
    listed = practice.places[rows] >= 0
    assert not batch.told[~listed].any(), "what is not in the list must not be told by its absence"
    assert batch.told[listed].float().mean() > 0.8
    for at in np.flatnonzero(listed):
        for item, place, share in zip(batch.candidates[at], batch.places[at], batch.shares[at], strict=True):
            if item >= 0:
                assert practice.lists[rows[at], int(place)] == item
                assert practice.shares[rows[at], int(place)] == share


def test_validation_ends_training_and_a_killed_one_goes_on(lm, tmp_path):
    split = leave_one_out(tiny_shop(users=150))
    settings = {"epochs": 4, "patience": 4, "schedule": "constant"}
    whole = make(lm, **settings).fit(split.train, aids=Aids(validation=split.validation))
    course = whole.report()["learning_curve"]
    assert all("ndcg@10" in entry for entry in course)

    def stop(name, entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    aids = Aids(validation=split.validation, folder=tmp_path, on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        make(lm, **settings).fit(split.train, aids=aids)
    again = make(lm, **settings).fit(split.train, aids=Aids(validation=split.validation, folder=tmp_path))
    assert [entry["loss"] for entry in again.report()["learning_curve"]] == [entry["loss"] for entry in course]
    assert all(np.array_equal(array, again.arrays()[name]) for name, array in whole.arrays().items())
    [file] = tmp_path.rglob("*.checkpoint")
    assert file.stat().st_size < 2_000_000, "frozen weights do not enter checkpoints"


def test_other_pretrained_weights_are_refused(lm, tmp_path):
    model = make(lm).fit(tiny_shop())
    artifact.write(tmp_path / "m", {"model": "hybrid"}, model.arrays(), {"items": model.items.frame})
    _, arrays, _ = artifact.read(tmp_path / "m")
    with pytest.raises(ArtifactError, match="trained over the weights"):
        make(LocalLM(tiny_models.causal(seed=1))).attach(model.items, arrays)


def test_a_missing_language_model_is_named():
    for given, what in ((None, "no .lm. is set"), (ScriptedLM(), "scripted does not run on this machine")):
        with pytest.raises(ConfigError, match=f"hybrid: {what}; it needs the weights"):
            Hybrid(encoder=HashEncoder(), lm=given).fit(tiny_shop())
    with pytest.raises(ConfigError, match=r"lm_layers = 5: .* has 2 layers"):
        make(LocalLM(tiny_models.causal()), lm_layers=5).fit(tiny_shop())


@pytest.mark.parametrize("kind", ["Qwen2", "Mistral"])
def test_other_architectures(kind):
    model = make(LocalLM(tiny_models.causal(kind)), lm_layers=1).fit(tiny_shop())
    offered = Ranking(np.array([[5, 6, 7]], np.int32), np.array([[3, 2, 1]], np.float32))
    assert sorted(model.rank(Queries.from_lists([[1]]), 3, candidates=offered).items[0]) == [5, 6, 7]


def test_it_runs_where_the_language_model_is_unless_the_fit_says_otherwise(lm, tmp_path):
    from tastemaker.lm.cache import cached

    assert make(cached(lm, tmp_path / "cache"))._device().type == "cpu"
    elsewhere = LocalLM(tiny_models.causal())
    elsewhere.config = elsewhere.config.model_copy(update={"device": "cuda:7"})
    with pytest.raises(ConfigError, match="device 'cuda:7': not on this machine"):
        make(cached(elsewhere, tmp_path / "cache")).fit(tiny_shop())
    model = make(lm)
    model.aids = Aids(device="cuda:9")
    with pytest.raises(ConfigError, match="device 'cuda:9'"):
        model._device()


def test_the_leak_tests_see_what_was_asked(lm):
    from tastemaker.errors import LeakError
    from tastemaker.guards import check_pairs

    split = leave_one_out(tiny_shop(users=150))
    model = make(lm).fit(split.train)
    [(what, pairs)] = model.learnt_from().items()
    check_pairs(pairs, split, what=what)
    assert len(pairs[0]) == model.report()["questions"]
    with pytest.raises(LeakError):
        check_pairs(make(lm).fit(split.refit).learnt_from()[what], split, what=what)


def test_without_layers_the_tokens_speak_for_themselves(lm):
    """The state of a candidate does not depend on the history then; with layers it does."""
    for layers, depends in ((0, False), (1, True)):
        network = network_of(lm, tuned="lora", layers=layers)
        said = [
            network.read(question := asked([history], [[2, 7]]), network.features(question)) for history in ([3], [4])
        ]
        assert ((said[0] - said[1]).abs().max() > 1e-4) == depends
    assert not [name for name in network_of(lm, tuned="lora", layers=0).state_dict() if "language_model" in name]


@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_half_precision_says_nearly_the_same(lm, tuned):
    shop = tiny_shop()
    queries = shop.queries().take(np.arange(20))
    candidates = Transitions().fit(shop).rank(queries, 10)
    halved, whole = (
        make(lm, tuned=tuned, precision=precision).fit(shop).opinions(queries, candidates, purpose="rank")
        for precision in ("bfloat16", "float32")
    )
    assert all(np.abs(one - other).max(initial=0) < 0.05 for one, other in zip(halved, whole, strict=True))


def test_a_network_that_tells_no_candidate_from_another_is_judged_as_the_retriever_and_one_gone_wrong_as_nothing(lm):
    split = leave_one_out(tiny_shop(users=60, seed=2))
    validation, histories = split.validation, split.train.queries()
    known = Knowledge.of(histories, np.zeros((split.train.n_items, 4), dtype=np.float32))
    ranker = Hybrid(lm=lm, candidates=6)

    def judged(score):
        def network(asked):
            return torch.full(asked.candidates.shape, score).masked_fill(asked.candidates < 0, -torch.inf)

        return ranker._judge(validation, network, known, seed=0)()

    lists, total = retrieved(known, validation.queries, 6).items, 0.0
    for row, target in enumerate(validation.targets):
        if len(validation.queries.history(row)) and len(target) and target[0] in lists[row]:
            total += 1 / np.log2(lists[row].tolist().index(target[0]) + 2)
    assert 0 < total < len(lists)
    assert judged(0.0) == pytest.approx(total / len(lists))
    assert judged(float("nan")) == 0.0
