"""Assignment: stable, even, independent of other experiments, and exclusive within a layer."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tastemaker.errors import ConfigError
from tastemaker.experiments import Experiment, assign, assign_first, bucket, check_together

TWO = [{"name": "a"}, {"name": "b"}]
BUCKET, LETTERS = 0.4879052314081309, "aaabbbbbbbbbbabbbbbbbbaa"
UNITS = [f"user-{number}" for number in range(20_000)]


def experiment(**more) -> Experiment:
    return Experiment.parse({"name": "test", "variants": TWO, **more})


def shares(one: Experiment) -> dict[str | None, float]:
    found, counts = np.unique([str(assign(one, unit)) for unit in UNITS], return_counts=True)
    return dict(zip(found.tolist(), (counts / len(UNITS)).tolist(), strict=True))


def test_the_hash_never_changes():
    """Running experiments depend on it: a shopper must stay where they are after an upgrade."""
    assert bucket("variant", "", "test", "user-0") == pytest.approx(BUCKET, abs=1e-15)
    assert "".join(str(assign(experiment(), unit)) for unit in UNITS[:24]) == LETTERS
    assert bucket("ab", "c") != bucket("a", "bc")
    assert 0 <= bucket("\ud800") < 1


def test_weights_are_kept():
    found = shares(experiment(variants=[{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]))
    assert found["a"] == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / len(UNITS)) ** 0.5)
    assert found["a"] + found["b"] == pytest.approx(1)


def test_buckets_are_even():
    drawn = np.asarray([bucket("x", unit) for unit in UNITS])
    counts = np.histogram(drawn, bins=50, range=(0, 1))[0]
    chi_square = ((counts - len(UNITS) / 50) ** 2 / (len(UNITS) / 50)).sum()
    assert 20 < chi_square < 90  # 49 degrees of freedom: about one in 10,000 lies outside on either side


def test_experiments_are_independent():
    first, second = experiment(), experiment(name="other")
    both = np.mean([assign(first, unit) == assign(second, unit) for unit in UNITS])
    assert both == pytest.approx(0.5, abs=4 * 0.5 / len(UNITS) ** 0.5)
    salted = np.mean([assign(first, unit) == assign(experiment(salt="2"), unit) for unit in UNITS])
    assert salted == pytest.approx(0.5, abs=4 * 0.5 / len(UNITS) ** 0.5)


def test_more_traffic_moves_nobody():
    small, large = experiment(traffic=[0, 0.1]), experiment(traffic=[0, 0.5])
    before = {unit: assign(small, unit) for unit in UNITS}
    part = [unit for unit, variant in before.items() if variant]
    assert len(part) / len(UNITS) == pytest.approx(0.1, abs=0.01)
    assert all(assign(large, unit) == before[unit] for unit in part)


def test_a_layer_excludes():
    first = experiment(layer="home", traffic=[0, 0.4])
    second = experiment(name="other", layer="home", traffic=[0.4, 1])
    check_together([first, second])
    for unit in UNITS[:2000]:
        assert (assign(first, unit) is None) != (assign(second, unit) is None)
        found = assign_first([first, second], unit, now=0)
        assert found is not None
        assert assign(found[0], unit) == found[1]


def test_time_and_overrides():
    one = experiment(since="2026-01-01T00:00Z", until="2026-02-01T00:00Z", traffic=[0, 1e-9], overrides={"me": "b"})
    within = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp() * 1000)
    assert assign_first([one], "me", now=within) == (one, "b")
    assert assign_first([one], "me", now=within * 2) is None
    assert assign_first([one], "user-1", now=within) is None
    assert not one.runs(int(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000))
    assert one.control == "a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variants": TWO[:1]}, "experiment.variants: "),
        ({"variants": [TWO[0], TWO[0]]}, "variants share a name: a, a"),
        ({"variants": [{"name": "a|b"}, TWO[1]]}, "experiment.variants.0.name: 'a|b': must be a name without '|'"),
        ({"name": "\ud800"}, "experiment.name: '\\ud800': must be a name"),
        ({"\ud800": 1}, "unable to parse raw data as a unicode string"),
        ({"variants": [{"name": "a", "weight": 10**400}, TWO[1]]}, "variants.0.weight: 1000"),
        ({"variants": [{"name": "a", "weigth": 2}, TWO[1]]}, "weigth: unknown key; did you mean 'weight'?"),
        ({"variants": [{"name": "a", "weight": 0}, TWO[1]]}, "variants.0.weight: 0: input should be greater than 0"),
        ({"traffic": [0.5, 0.5]}, "traffic 0.5 to 0.5 must lie between 0 and 1 and rise"),
        ({"traffic": [0, 1.5]}, "traffic 0 to 1.5"),
        ({"overrides": {"me": "c"}}, "overrides name the unknown variant 'c'; known: a, b"),
        ({"since": "2026-01-01T00:00"}, "timezone"),
        ({"since": "2026-01-02T00:00Z", "until": "2026-01-01T00:00Z"}, "since must lie before until"),
        ({"salty": "x"}, "experiment.salty: unknown key; did you mean 'salt'?"),
    ],
)
def test_mistakes_have_place_value_and_cure(values, message):
    with pytest.raises(ConfigError) as caught:
        experiment(**values)
    assert message in str(caught.value)


def test_no_table_is_no_experiment():
    with pytest.raises(ConfigError, match="must be a table with name and variants"):
        Experiment.parse([])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"name": "test"}, "another one is called so"),
        ({"name": "other", "layer": "home", "traffic": [0.3, 1]}, r"share the shoppers of layer 'home'.*\[0, 0.5\]"),
        ({"name": "other", "layer": "home", "traffic": [0.4, 1]}, None),
        ({"name": "other", "layer": "away"}, None),
        ({"name": "other"}, None),
    ],
)
def test_experiments_beside_each_other(second, message):
    pair = [experiment(layer="home", traffic=[0, 0.4]), experiment(**second)]
    if message is None:
        check_together(pair)
    else:
        with pytest.raises(ConfigError, match=message):
            check_together(pair)


def test_one_after_the_other_may_share_a_layer():
    first = experiment(layer="home", until="2026-02-01T00:00Z")
    check_together([first, experiment(name="next", layer="home", since="2026-02-01T00:00Z")])
