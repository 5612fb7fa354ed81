from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import ArtifactError, ConfigError, NotFitted

TEXTS = ["red shoe", "blue shoe", "red red hat", "green tea", "tea cup blue", ""]
COLORS, KINDS = ("red", "blue", "green", "black"), ("shoe", "hat", "cup", "tea", "lamp", "pen")
SHOP = [f"{COLORS[n % 4]} {KINDS[n // 4 % 6]} {n % 7}" for n in range(144)]


def slow_cosines(texts):
    """TF-IDF cosines by the book: (1 + log tf) * (log((1 + n) / (1 + df)) + 1), as scikit-learn documents them."""
    counts = [Counter(text.split()) for text in texts]
    frequency = Counter(word for count in counts for word in count)
    weights = [
        {w: (1 + math.log(c)) * (math.log((1 + len(texts)) / (1 + frequency[w])) + 1) for w, c in count.items()}
        for count in counts
    ]
    norms = [math.sqrt(sum(v * v for v in weight.values())) or 1 for weight in weights]
    return [
        [sum(v * b.get(w, 0) for w, v in a.items()) / na / nb for b, nb in zip(weights, norms, strict=True)]
        for a, na in zip(weights, norms, strict=True)
    ]


def test_undamped_cosines_are_those_of_tfidf():
    encoder = TfidfEncoder(analyzer="word", ngrams=(1, 1), damping=0, dim=16).fit(TEXTS)
    vectors = encoder.encode(TEXTS, kind="document")
    np.testing.assert_allclose(vectors @ vectors.T, slow_cosines(TEXTS), atol=2e-6)


def test_damping_weakens_the_strongest_topic():
    texts = ["soap red", "soap blue", "soap red big", "soap blue big", "soap green"]
    near = {}
    for damping in (0, 1):
        vectors = (
            TfidfEncoder(analyzer="word", ngrams=(1, 1), damping=damping, dim=2)
            .fit(texts)
            .encode(texts, kind="document")
        )
        near[damping] = float(vectors[0] @ vectors[1])  # all that they share is what everything shares
    assert near[1] < near[0] - 0.2


@pytest.mark.parametrize(
    "texts", [["one text"], ["", " "], [], ["a", "a", "a"], ["日本語 の 本", "日本語"], TEXTS, SHOP], ids=range(7)
)
def test_any_catalogue_gives_unit_or_zero_rows(texts):
    encoder = TfidfEncoder(dim=32).fit(texts)
    asked = [*texts, "", "zzz unknown", "red"]
    vectors = encoder.encode(asked, kind="query")
    assert vectors.shape == (len(asked), 32) and vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))
    assert all(norm > 0.9 for text, norm in zip(texts, norms, strict=False) if text.strip())
    assert norms[len(texts)] == 0


def test_equal_texts_have_equal_vectors_and_batches_do_not_matter():
    encoder = TfidfEncoder(dim=16).fit(SHOP)
    together = encoder.encode(SHOP, kind="document")
    alone = np.concatenate([encoder.encode([text], kind="query") for text in SHOP])
    np.testing.assert_array_equal(together, alone)


def test_typing_errors_stay_near():
    encoder = TfidfEncoder(dim=64).fit(SHOP)
    right, wrong, other = encoder.encode(["green shoe 3", "gren shoes 3", "black lamp 5"], kind="query")
    assert right @ wrong > 0.6 > right @ other


def test_restore_gives_equal_bits():
    encoder = TfidfEncoder(dim=16).fit(SHOP)
    copy = TfidfEncoder(dim=16)
    copy.restore({name: array.copy() for name, array in encoder.arrays().items()})
    asked = [*SHOP[:9], "", "new red thing"]
    np.testing.assert_array_equal(encoder.encode(asked, kind="query"), copy.encode(asked, kind="query"))
    assert copy.identity() == encoder.identity()
    assert all(array.dtype != object for array in encoder.arrays().values())


def test_an_empty_catalogue_can_be_saved():
    encoder = TfidfEncoder(dim=4).fit([""])
    copy = TfidfEncoder(dim=4)
    copy.restore(encoder.arrays())
    assert not copy.encode(["red"], kind="query").any()


def test_processes_agree_to_the_bit():
    code = (
        "from tastemaker.encoders.tfidf import TfidfEncoder\n"
        f"texts = {SHOP!r}\n"
        "print(TfidfEncoder(dim=16).fit(texts).identity())\n"
    )
    seeds = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert seeds == [TfidfEncoder(dim=16).fit(SHOP).identity()] * 2


def test_identity_follows_configuration_and_catalogue():
    first = TfidfEncoder(dim=16).fit(SHOP)
    assert first.identity() != TfidfEncoder(dim=16).fit(SHOP[:-1]).identity()
    assert first.identity() != TfidfEncoder(dim=16, seed=1).fit(SHOP).identity()


def test_unfitted_and_damaged_say_so():
    with pytest.raises(NotFitted):
        TfidfEncoder().encode(["a"], kind="query")
    with pytest.raises(NotFitted):
        TfidfEncoder().arrays()
    arrays = TfidfEncoder(dim=4).fit(SHOP).arrays()
    for damage in (
        {"terms": arrays["terms"][:-1]},
        {"terms": arrays["terms"][:0]},
        {"idf": arrays["idf"][:-1]},
        {"components": arrays["components"][:, :-1]},
    ):
        with pytest.raises(ArtifactError, match="fit the model again"):
            TfidfEncoder(dim=4).restore({**arrays, **damage})
    with pytest.raises(ArtifactError, match="missing"):
        TfidfEncoder(dim=4).restore({})


def test_settings_are_checked():
    for wrong in ({"dim": 0}, {"damping": 1.5}, {"ngrams": (0, 2)}, {"ngrams": (3, 2)}, {"dims": 3}):
        with pytest.raises(ConfigError, match="tfidf"):
            TfidfEncoder(**wrong)
