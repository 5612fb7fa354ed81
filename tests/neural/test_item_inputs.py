"""Item vectors from ids, texts, or both: what they start as, what training may touch, and other catalogues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tastemaker.errors import ConfigError
from tastemaker.neural.blocks import initialise
from tastemaker.neural.inputs.item_inputs import ItemInputConfig, ItemInputs

SMALL = {"dim": 6, "experts": 2, "code_blocks": 4, "codes": 16}
VARIANTS = {
    "linear": {},
    "mlp": {"adapter": "mlp"},
    "experts": {"adapter": "experts"},
    "codes": {"adapter": "codes"},
    "null-space": {"fusion": "null-space"},
    "pca": {"text_transform": "pca", "text_dim": 8},
    "groups": {"text_groups": 3},
    "none": {"text_transform": "none"},
}


def texts(n=40, seed=0, t=12):
    """Unit vectors; the last product has no text."""
    rows = np.random.default_rng(seed).normal(size=(n, t)).astype(np.float32) * 2.0 ** -np.arange(t, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if n > 1:
        rows[-1] = 0
    return rows


def made(vectors, *, seed=0, start=None, bought=None, **settings):
    inputs = ItemInputs(len(vectors), ItemInputConfig(**{**SMALL, **settings}), texts=vectors)
    initialise(inputs, generator=torch.Generator().manual_seed(seed))
    if bought is not None:
        inputs.known(bought)
    inputs.start(start)
    return inputs.eval()


def trained(inputs, steps=5):
    """Pull the table towards random vectors, as a loss would."""
    inputs.train()
    optimiser = torch.optim.Adam([one for one in inputs.parameters() if one.requires_grad], lr=0.05)
    goal = torch.randn(len(inputs()), inputs.config.dim, generator=torch.Generator().manual_seed(9))
    for _ in range(steps):
        optimiser.zero_grad()
        (inputs() - goal).square().mean().backward()
        optimiser.step()
    return inputs.eval()


def given(n=40, dim=6, seed=3):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("inputs", ["text", "both"])
def test_shapes_and_products_without_text(variant, inputs):
    made_ = made(texts(), inputs=inputs, start=given(), **VARIANTS[variant])
    assert made_().shape == (40, 6)
    assert torch.isfinite(made_()).all()
    assert ItemInputs.text_width({name: value.numpy() for name, value in made_.state_dict().items()}) == 12
    if inputs == "text":
        assert not made_()[-1].any()
        assert not trained(made_)()[-1].any()


def test_ids_alone_take_the_given_vectors_and_know_no_text():
    inputs = ItemInputs(5, ItemInputConfig(**SMALL))
    inputs.start(given(5))
    assert torch.equal(inputs(), torch.from_numpy(given(5)))
    assert ItemInputs.text_width({name: value.numpy() for name, value in inputs.state_dict().items()}) == 0
    for ask in (inputs.catalogue, inputs.embed):
        with pytest.raises(ConfigError, match='train with inputs = "text" or "both"'):
            ask(texts(5))


@pytest.mark.parametrize("variant", ["linear", "mlp", "experts"])
def test_before_training_neighbours_by_text_are_neighbours(variant):
    vectors = texts(60)[:-1]
    table = made(vectors, inputs="text", dim=8, text_transform="pca", **VARIANTS[variant])()
    table = torch.nn.functional.normalize(table, dim=1).detach().numpy()
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    near = [np.argsort(-(rows @ rows.T) + 9 * np.eye(len(rows)), axis=1)[:, 0] for rows in (table, centred)]
    assert (near[0] == near[1]).mean() > 0.9


@pytest.mark.parametrize("variant", ["linear", "mlp", "experts", "codes"])
def test_both_start_as_the_given_vectors_and_a_product_nobody_bought_as_their_regression(variant):
    vectors = texts(200)
    bought = np.arange(200) < 150
    truth = (vectors @ np.random.default_rng(1).normal(size=(12, 6))).astype(np.float32)
    start = np.where(bought[:, None], truth, 0).astype(np.float32)
    inputs = made(
        vectors, inputs="both", start=start, bought=bought, text_transform="pca", codes=128, **VARIANTS[variant]
    )
    table = inputs().detach().numpy()
    np.testing.assert_allclose(table[:150], truth[:150], atol=1e-5)
    new = np.flatnonzero(~bought)[:-1]  # all but the one without text
    cosines = (table[new] * truth[new]).sum(1) / np.linalg.norm(table[new], axis=1) / np.linalg.norm(truth[new], axis=1)
    assert cosines.mean() > (0.6 if variant == "codes" else 0.8)
    assert not table[-1].any()


@pytest.mark.parametrize(("new_length", "expected"), [(0.0, None), (1.0, 1.0), (0.5, 0.5)])
def test_products_nobody_bought_are_their_text_at_the_length_of_bought_ones(new_length, expected):
    bought = np.arange(200) % 2 == 0
    settings = {"inputs": "both", "bought": bought, "new_length": new_length}
    inputs = trained(made(texts(200), start=given(200), **settings))
    text, table = inputs.embed(texts(200)).detach(), inputs().detach()
    if expected is None:
        torch.testing.assert_close(table[1::2], text[1::2])
    else:
        cosines = torch.nn.functional.cosine_similarity(table[1:-1:2], text[1:-1:2])
        torch.testing.assert_close(cosines, torch.ones(99))
        lengths = [rows.square().sum(dim=1).mean().sqrt() for rows in (table[1:-1:2], table[::2])]
        assert lengths[0] / lengths[1] == pytest.approx(expected, rel=0.15)
    assert not torch.allclose(table[::2], text[::2], atol=1e-3)


def test_own_dropout_leaves_own_parts_out_in_training_alone():
    inputs = made(texts(200), inputs="both", start=given(200), own_dropout=0.5)
    text = inputs.embed(texts(200))
    assert not torch.isclose(inputs(), text, atol=1e-6).all(dim=1).any()
    inputs.train()
    torch.manual_seed(0)
    alone = torch.isclose(inputs(), text, atol=1e-6).all(dim=1)
    assert 70 < alone.sum() < 130


def test_null_space_training_leaves_the_semantic_part_untouched_and_apart():
    inputs = made(texts(), inputs="both", fusion="null-space", text_share=0.5, start=given())
    before = inputs().detach().clone()
    after = trained(inputs)()
    assert inputs.own.weight.shape == (40, 3)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).all(dim=1).any()
    own_alone = torch.cat([torch.zeros(40, 3), inputs.own.weight], dim=1)
    assert not (inputs.embed(texts()) @ own_alone.t()).any()  # orthogonal


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_go_through_a_state_and_other_catalogues_are_read_alike(variant):
    inputs = trained(made(texts(), inputs="both", start=given(), **VARIANTS[variant]))
    state = {name: value.clone() for name, value in inputs.state_dict().items()}
    blank = ItemInputs(40, inputs.config, texts=np.zeros((40, 12), dtype=np.float32)).eval()
    blank.load_state_dict(state)
    blank.read(texts())
    assert torch.equal(blank(), inputs())
    other = texts(7, seed=5)
    for one in (inputs, blank):
        one.catalogue(other)
    assert inputs().shape == (7, 6)
    assert torch.equal(inputs(), blank())
    assert torch.equal(inputs(), inputs.embed(other))
    again = ItemInputs(7, inputs.config, texts=np.zeros((7, 12), dtype=np.float32)).eval()
    again.load_state_dict(inputs.state_dict())
    again.read(other)
    assert torch.equal(again(), inputs())


def test_new_products_join_a_catalogue_and_the_others_keep_their_vectors():
    inputs = trained(made(texts(), inputs="both", start=given()))
    before = inputs().detach()
    more = np.concatenate([texts(3, seed=8)[:2], texts()])
    inputs.catalogue(more, before=np.array([-1, -1, *range(40)]))
    assert torch.equal(inputs()[2:], before)
    cosines = torch.nn.functional.cosine_similarity(inputs()[:2], inputs.embed(more[:2]))
    torch.testing.assert_close(cosines, torch.ones(2))
    assert not trained(inputs).own.weight[:2].any()


def test_texts_of_another_encoder_are_refused():
    inputs = made(texts(), inputs="text")
    with pytest.raises(ConfigError, match="have 5 numbers, these item vectors were learnt on 12"):
        inputs.catalogue(texts(t=5))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", [texts(1), np.repeat(texts(1), 4, axis=0), np.zeros((3, 12), np.float32), texts(3)])
def test_tiny_catalogues(variant, rows):
    inputs = made(rows, inputs="both", start=given(len(rows)), **VARIANTS[variant])
    assert torch.isfinite(trained(inputs)()).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_seed_gives_the_same_bits(variant):
    one, two = (made(texts(), inputs="both", start=given(), **VARIANTS[variant]) for _ in range(2))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_groups": 4, "text_transform": "pca"}, 'text_groups = 4 needs text_transform = "whiten"'),
        ({"text_groups": 4, "text_dim": 8}, "text_groups = 4 needs"),
        ({"inputs": "both", "fusion": "null-space", "adapter": "mlp"}, "keeps texts frozen; remove adapter"),
        ({"inputs": "both", "fusion": "null-space", "dim": 1}, "dim = 1 is too small"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ValidationError, match=message):
        ItemInputConfig(**settings)
