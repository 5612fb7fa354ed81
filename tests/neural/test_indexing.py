"""Item identifiers: quantisers against slow ones, collisions, growth, the trie and the search against enumeration."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from tastemaker.data import Queries
from tastemaker.errors import ConfigError
from tastemaker.neural.indexing import beam, semantic_ids
from tastemaker.neural.indexing.quantisers import Product, Residual, Tree
from tastemaker.neural.indexing.semantic_ids import SemanticIds, coded, counted, drawn
from tastemaker.neural.indexing.starts import code_means
from tastemaker.neural.indexing.trie import CodeTrie
from tastemaker.neural.indexing.usage import in_common, staleness, usage
from tastemaker.neural.indexing.words import Words


def points(n=200, dim=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def quantiser(kind, vectors, codes=6):
    if kind == "product":
        return Product.fit(vectors, [(vectors.shape[1], 3)], codes=codes, seed=0)
    return {"residual": Residual, "tree": Tree}[kind].fit(vectors, levels=3, codes=codes, seed=0)


KINDS = ["residual", "product", "tree"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_codes(kind):
    vectors = points()
    first, second = (quantiser(kind, vectors).encode(vectors) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.shape == (200, 3)
    assert first.min() >= 0
    assert first.max() < 6


@pytest.mark.parametrize("kind", KINDS)
def test_codes_come_back_from_arrays(kind):
    vectors = points()
    before = quantiser(kind, vectors)
    after = type(before).restored(before.arrays())
    assert after.sizes == before.sizes
    assert (after.encode(points(seed=1)) == before.encode(points(seed=1))).all()


def test_a_residual_code_is_the_centroid_nearest_to_the_rest():
    vectors = points()
    coder = quantiser("residual", vectors)
    for vector, found in zip(vectors[:20], coder.encode(vectors[:20]), strict=True):
        rest = vector.astype(np.float64)
        for centres, code in zip(coder.centres, found, strict=True):
            apart = np.square(rest - centres).sum(axis=1)
            assert apart[code] == pytest.approx(apart.min(), rel=1e-5)
            rest = rest - centres[code]
    np.testing.assert_allclose(coder.decode(coder.encode(vectors)), vectors - _rests(coder, vectors), atol=1e-5)


def _rests(coder, vectors):
    rests = vectors.copy()
    for level, code in enumerate(coder.encode(vectors).T):
        rests -= coder.centres[level][code]
    return rests


@pytest.mark.parametrize("kind", ["residual", "product"])
def test_a_wide_search_for_near_tuples_is_exact(kind):
    """With room for all tuples, the order is that of the distances of what all tuples stand for."""
    vectors = points(60)
    coder = quantiser(kind, vectors, codes=3)
    everything = np.array(list(itertools.product(range(3), repeat=3)), dtype=np.int32)
    apart = np.square(vectors[:, None] - coder.decode(everything)[None]).sum(axis=2)
    found = coder.nearest(vectors, 27)
    assert found.shape == (60, 27, 3)
    places = (found[:, :, None, :] == everything).all(axis=3).argmax(axis=2)
    np.testing.assert_allclose(np.take_along_axis(apart, places, 1), np.sort(apart, axis=1), rtol=1e-3, atol=1e-4)


def test_product_codes_do_not_depend_on_other_blocks():
    vectors = points()
    coder = quantiser("product", vectors)
    other = vectors.copy()
    other[:, coder.order[0][coder.order[0] < 8]] += 3
    changed = coder.encode(vectors) != coder.encode(other)
    assert changed[:, 0].any()
    assert not changed[:, 1:].any()


def test_product_parts_do_not_share_a_block():
    coder = Product.fit(points(dim=10), [(6, 2), (4, 3)], codes=4, seed=0)
    held = [set(row[row < 10].tolist()) for row in coder.order]
    assert set.union(*held[:2]) == set(range(6))
    assert set.union(*held[2:]) == {6, 7, 8, 9}


def test_more_codes_lose_less():
    vectors = points(400)
    errors = []
    for codes in (2, 4, 16):
        coder = quantiser("residual", vectors, codes=codes)
        errors.append(coder.errors(vectors, coder.encode(vectors)).mean())
    assert errors[0] > errors[1] > errors[2]


def test_tree_codes_share_beginnings_where_items_are_alike():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 10)
    vectors = (8 * np.eye(4)[groups] + 0.1 * rng.standard_normal((40, 4))).astype(np.float32)
    codes = Tree.fit(vectors, levels=2, codes=4, seed=0).encode(vectors)
    assert all(len(set(codes[groups == group, 0])) == 1 for group in range(4))
    assert len(set(codes[:, 0])) == 4


# Identifiers


def test_drawn_identifiers_are_distinct_and_fill_all_there_are():
    ids = drawn(16, levels=2, codes=4, seed=3)
    assert len(np.unique(ids.codes, axis=0)) == 16
    assert (drawn(16, levels=2, codes=4, seed=3).codes == ids.codes).all()
    assert (drawn(16, levels=2, codes=4, seed=4).codes != ids.codes).any()
    with pytest.raises(ConfigError, match="17 new items and 16 free identifiers: raise codes or levels"):
        drawn(17, levels=2, codes=4, seed=0)


def test_counted_identifiers_follow_train_histories_and_not_item_numbers():
    ids = counted(Queries.from_lists([[7, 2, 5]]), 9, levels=2, codes=3, seed=0)
    assert ids.codes[[7, 2, 5]].tolist() == [[0, 0], [0, 1], [0, 2]]
    assert len(np.unique(ids.codes, axis=0)) == 9
    never = [item for item in range(9) if item not in (7, 2, 5)]
    several = [
        counted(Queries.from_lists([[7, 2, 5]]), 9, levels=2, codes=3, seed=seed).codes[never] for seed in (0, 1)
    ]
    assert (several[0] != several[1]).any(), "items that nobody bought would stand in the order of their numbers"


def test_counted_identifiers_do_not_keep_the_order_of_shoppers():
    histories = Queries.from_lists([[user] for user in range(50)])
    numbers = counted(histories, 50, levels=2, codes=8, seed=0).codes @ [8, 1]
    assert abs(np.corrcoef(np.arange(50), numbers)[0, 1]) < 0.5


@pytest.mark.parametrize("policy", ["suffix", "nearest"])
def test_collisions_are_told_apart_and_counted(policy):
    vectors = np.repeat(points(30, seed=2), 3, axis=0)  # thirty triples that are alike
    coder = quantiser("residual", vectors, codes=8)
    ids = coded("residual", coder, vectors, policy=policy, places=20)
    assert len(np.unique(ids.codes, axis=0)) == 90
    assert ids.moved.sum() >= 60
    if policy == "suffix":
        assert ids.levels == 4
        assert (ids.codes[:, 3] < 20).all()
        assert (ids.codes[:, :3] == coder.encode(vectors)).all()
    else:
        assert ids.levels == 3


def test_a_tuple_with_no_place_left_sends_items_next_door():
    vectors = np.zeros((5, 2), dtype=np.float32)
    vectors[4] = 9
    ids = coded("residual", Residual.fit(vectors, levels=1, codes=3, seed=0), vectors, policy="suffix", places=2)
    assert len(np.unique(ids.codes, axis=0)) == 5
    with pytest.raises(ConfigError, match="no free identifier is left"):
        coded("residual", Residual.fit(vectors, levels=1, codes=2, seed=0), vectors, policy="suffix", places=2)


def test_allowed_collisions_stay_equal():
    vectors = np.repeat(points(10), 2, axis=0)
    ids = coded("product", quantiser("product", vectors), vectors, policy="allow")
    assert (ids.codes[::2] == ids.codes[1::2]).all()
    assert ids.moved.all()
    assert usage(ids)["distinct"] == len(np.unique(ids.codes, axis=0))


@pytest.mark.parametrize("policy", ["suffix", "nearest", "allow"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_product_gets_an_identifier_and_the_others_keep_theirs(kind, policy):
    if (kind, policy) == ("tree", "nearest"):
        return  # a cluster for each item leaves no room; `ItemCodeConfig` refuses it
    vectors = points(60)
    ids = coded("residual", quantiser(kind, vectors), vectors, policy=policy, places=8)
    grown = ids.extend(np.concatenate([vectors[:3], points(4, seed=5)]), 7)
    assert (grown.codes[:60] == ids.codes).all()
    assert grown.born.tolist() == [0] * 60 + [1] * 7
    assert grown.moved[60:63].all(), "a product like an old one collides with it"
    if policy != "allow":
        assert len(np.unique(grown.codes, axis=0)) == 67
    assert grown.digest != ids.digest
    assert grown.extend(points(1, seed=6), 1).born[-1] == 2


@pytest.mark.parametrize("make", [drawn, lambda *n, **more: counted(Queries.from_lists([[0, 1]]), *n, **more)])
def test_identifiers_without_vectors_grow_too(make):
    ids = make(10, levels=2, codes=4, seed=0)
    grown = ids.extend(None, 4)
    assert len(np.unique(grown.codes, axis=0)) == 14
    assert staleness(grown)["error_ratio"] is None
    assert staleness(grown)["new_items"] == 4


def test_another_catalogue_keeps_known_products():
    vectors = points(20)
    ids = coded("residual", quantiser("residual", vectors), vectors, places=8)
    other = ids.renumbered(np.array([5, -1, 0]), points(1, seed=9))
    assert (other.codes[[0, 2]] == ids.codes[[5, 0]]).all()
    assert other.born.tolist() == [0, 1, 0]


def test_staleness_grows_with_the_distance_of_what_is_new():
    vectors = points(200)
    ids = coded("residual", quantiser("residual", vectors), vectors, places=64)
    alike, strange = (staleness(ids.extend(points(50, seed=7) + shift, 50)) for shift in (0, 4))
    assert 0.8 < alike["error_ratio"] < 2 < strange["error_ratio"]
    assert alike["new_share"] == pytest.approx(0.2)


def test_usage_by_hand():
    ids = drawn(4, levels=2, codes=2, seed=0)
    said = usage(ids)
    assert [level["perplexity"] for level in said["levels"]] == [2.0, 2.0]
    assert (said["distinct"], said["collisions"], said["error"]) == (4, 0, None)
    assert said["version"] == f"random/{semantic_ids.VERSION}/{ids.digest[:12]}"


def written(scheme, codes, *, policy="suffix"):
    ids = coded(scheme, quantiser("residual", points()), points(5), policy=policy)
    return replace(ids, codes=np.array(codes, dtype=np.int32))


def test_codes_in_common_by_hand():
    codes = [[1, 2, 3, 0], [1, 2, 3, 1], [1, 2, 5, 0], [4, 2, 3, 0], [1, 5, 3, 0]]
    assert in_common(written("residual", codes), 0).tolist() == [3, 3, 2, 0, 1]  # the last code tells equal ones apart
    assert in_common(written("product", codes), 0).tolist() == [3, 3, 2, 2, 2]  # each code stands for itself
    short = [row[:3] for row in codes]
    assert in_common(written("residual", short, policy="nearest"), 0).tolist() == [3, 3, 2, 0, 1]


def test_what_fills_up_words_is_nothing_in_common():
    titles = ["red soap", "red soap", "red brush", "brush", "red"]
    ids = coded("text", Words.fit(titles, levels=4, codes=8), titles)
    assert ids.words()[:2] == ["red soap", "red soap #1"]
    assert in_common(ids, 0).tolist() == [2, 2, 1, 0, 1]


def test_words_with_vowel_signs_are_whole_identifiers():
    titles = ["हरी चाय", "ชาเขียว"]
    ids = coded("text", Words.fit(titles, levels=2, codes=8), titles)
    assert [set(word.split()) for word in ids.words()] == [{"हरी", "चाय"}, {"ชาเขียว"}]


@pytest.mark.parametrize("kind", [*KINDS, "words", "none"])
def test_identifiers_come_back_from_arrays(kind):
    if kind == "words":
        titles = ["red soap", "red soap bar", "blue brush"]
        ids = coded("text", Words.fit(titles, levels=2, codes=8), titles, places=4)
    elif kind == "none":
        ids = drawn(5, levels=2, codes=4, seed=0)
    else:
        ids = coded("residual", quantiser(kind, points()), points(), places=32)
    back = SemanticIds.restored(ids.arrays())
    assert back.digest == ids.digest
    assert (back.sizes, back.policy, back.shared, back.words()) == (ids.sizes, ids.policy, ids.shared, ids.words())
    known = {"words": ["red brush"], "none": None}.get(kind, points(1, seed=3))
    assert back.extend(known, 1).digest == ids.extend(known, 1).digest


def test_a_saved_version_that_is_not_known_is_refused(monkeypatch):
    saved = drawn(5, levels=2, codes=4, seed=0).arrays()
    monkeypatch.setattr(semantic_ids, "VERSION", 2)
    with pytest.raises(ValueError, match="identifiers of version 1, this is version 2"):
        SemanticIds.restored(saved)


def test_textual_identifiers_are_the_rare_words_with_the_common_ones_first():
    titles = ["gentle hand soap", "gentle hand cream", "gentle face cream", "gentle hand soap", "???", "gentle gentle"]
    ids = coded("text", Words.fit(titles, levels=2, codes=16), titles, places=4)
    assert ids.words()[2] == "cream face"
    assert ids.words()[4] == ""
    assert len(set(ids.words())) == 6
    assert len(np.unique(ids.codes, axis=0)) == 6
    assert ids.words()[0].startswith("hand soap") != ids.words()[3].endswith("soap #1")
    assert ids.vocabulary == 16 + 4
    assert ids.offsets.tolist() == [0, 0, 16]
    assert ids.extend(["face soap"], 1).words()[-1] == "soap face"


def test_offsets_number_the_codes_of_all_levels_apart():
    ids = coded("residual", quantiser("residual", points()), points(), places=32)
    assert ids.offsets.tolist() == [0, 6, 12, 18]
    assert ids.vocabulary == 18 + 32


def test_code_means_by_hand():
    ids = drawn(4, levels=2, codes=2, seed=0)
    vectors = np.array([[1, 0], [3, 0], [0, 5], [0, 0]], dtype=np.float32)
    means = code_means(ids, vectors)
    for level, code in itertools.product(range(2), range(2)):
        carriers = [vectors[item] for item in range(3) if ids.codes[item, level] == code]
        wanted = np.mean(carriers, axis=0) if carriers else [0, 0]
        np.testing.assert_allclose(means[2 * level + code], wanted)


# Trie and search


def catalogue(n=40, sizes=(4, 3, 5), seed=0):
    rng = np.random.default_rng(seed)
    everything = np.array(list(itertools.product(*map(range, sizes))), dtype=np.int32)
    return rng.permutation(everything)[:n], sizes


def test_the_trie_allows_what_the_catalogue_allows():
    codes, sizes = catalogue()
    trie = CodeTrie(codes, sizes, np.arange(40))
    rows = codes.tolist()
    for level in range(3):
        prefixes = sorted({tuple(row[:level]) for row in rows})
        nodes = torch.zeros(len(prefixes), dtype=torch.int64)
        for depth in range(level):
            nodes = trie.step(nodes, torch.tensor([prefix[depth] for prefix in prefixes]), depth)
        allowed = trie.allowed(nodes, level)
        for line, prefix in enumerate(prefixes):
            wanted = {row[level] for row in rows if tuple(row[:level]) == prefix}
            assert set(torch.nonzero(allowed[line])[:, 0].tolist()) == wanted


def test_shares_count_the_products_below():
    codes, sizes = catalogue()
    trie = CodeTrie(codes, sizes, np.arange(40))
    whole = trie.shares(torch.zeros(1, dtype=torch.int64), 0)[0]
    np.testing.assert_allclose(whole, np.bincount(codes[:, 0], minlength=4) / 40, rtol=1e-6)
    node = trie.step(torch.zeros(1, dtype=torch.int64), torch.tensor([2]), 0)
    below = codes[codes[:, 0] == 2, 1]
    np.testing.assert_allclose(trie.shares(node, 1)[0], np.bincount(below, minlength=3) / len(below), rtol=1e-6)


def test_smoothing_mixes_the_model_with_the_catalogue():
    codes, sizes = catalogue()
    trie = CodeTrie(codes, sizes, np.arange(40))
    step, _ = table_step(2, sizes)
    found, scores = beam.search(step, trie, 2, 40, smoothing=1.0)  # all of it: every product is equally likely
    torch.testing.assert_close(scores.exp(), torch.full((2, 40), 1 / 40))
    assert found[0].tolist() == list(range(40))


def test_a_walk_ends_at_the_item_or_nowhere():
    codes, sizes = catalogue()
    items = np.random.default_rng(1).permutation(100)[:40]
    trie = CodeTrie(codes, sizes, items)
    everything = np.array(list(itertools.product(*map(range, sizes))))
    wanted = {tuple(row): item for row, item in zip(codes.tolist(), items.tolist(), strict=True)}
    found = trie.walk(torch.from_numpy(everything))
    assert found.tolist() == [wanted.get(tuple(row), -1) for row in everything.tolist()]


def test_two_items_with_one_identifier_have_no_trie():
    with pytest.raises(ConfigError, match="two items have one identifier"):
        CodeTrie(np.array([[1, 2], [1, 2]], dtype=np.int32), (3, 3), np.arange(2))


def table_step(queries, sizes, seed=0):
    """Return a model whose log-probabilities depend on query and whole prefix, and its table of all tuples."""
    rng = np.random.default_rng(seed)
    tables = []
    for level in range(len(sizes)):
        logits = torch.from_numpy(rng.standard_normal((queries, *sizes[: level + 1]))).float()
        tables.append(logits.log_softmax(-1))
    total = tables[0]
    for table in tables[1:]:
        total = total.unsqueeze(-1) + table

    def step(prefixes):
        table = tables[prefixes.shape[2]].flatten(1, -2) if prefixes.shape[2] else tables[0][:, None]
        place = torch.zeros(prefixes.shape[:2], dtype=torch.int64)
        for level in range(prefixes.shape[2]):
            place = place * sizes[level] + prefixes[:, :, level]
        return table.gather(1, place[:, :, None].expand(-1, -1, table.shape[2]))

    return step, total


def test_a_beam_as_wide_as_the_catalogue_is_exact():
    codes, sizes = catalogue()
    step, total = table_step(3, sizes)
    found, scores = beam.search(step, CodeTrie(codes, sizes, np.arange(40)), 3, 40)
    exact = total[:, codes[:, 0], codes[:, 1], codes[:, 2]]
    assert (found == exact.argsort(dim=1, descending=True)).all()
    torch.testing.assert_close(scores, exact.sort(dim=1, descending=True).values)


def test_a_narrow_beam_finds_products_only_and_keeps_true_scores():
    codes, sizes = catalogue(12)
    step, total = table_step(3, sizes)
    found, scores = beam.search(step, CodeTrie(codes, sizes, np.arange(12)), 3, 5)
    assert found.shape == (3, 5)
    assert (found >= 0).all()
    for query in range(3):
        assert len(set(found[query].tolist())) == 5
        torch.testing.assert_close(scores[query], total[(query, *codes[found[query]].T)])


def test_hidden_items_are_not_found_and_cost_no_place():
    codes, sizes = catalogue(12)
    step, _ = table_step(2, sizes)
    trie = CodeTrie(codes, sizes, np.arange(12))
    whole, _ = beam.search(step, trie, 2, 12)
    hidden = torch.stack([whole[0, [0, 2, 3]], torch.tensor([int(whole[1, 1]), -1, -1])])
    found, scores = beam.search(step, trie, 2, 12, hidden=hidden)
    assert (
        found[0].tolist() == [item for place, item in enumerate(whole[0].tolist()) if place not in (0, 2, 3)] + [-1] * 3
    )
    assert found[1].tolist() == [item for place, item in enumerate(whole[1].tolist()) if place != 1] + [-1]
    assert torch.isneginf(scores[0, -3:]).all()


def test_a_free_search_leaves_the_catalogue():
    codes, sizes = catalogue(6)
    step, total = table_step(2, sizes)
    found = beam.free(step, sizes, 2, 60, device=torch.device("cpu"))
    order = total.flatten(1).argsort(dim=1, descending=True)
    places = found[:, :, 0] * 15 + found[:, :, 1] * 5 + found[:, :, 2]
    assert (places == order).all()
    trie = CodeTrie(codes, sizes, np.arange(6))
    assert (trie.walk(found) >= 0).sum(dim=1).tolist() == [6, 6]
