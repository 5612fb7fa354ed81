"""Devices by name, their random states, and the quickest number of threads."""

from __future__ import annotations

import time

import pytest
import torch

from tastemaker import registry
from tastemaker.errors import ConfigError
from tastemaker.neural import devices
from tastemaker.recommender import Aids
from tastemaker.testing import HashEncoder, tiny_shop

NEURAL = [name for name in registry.names() if registry.model_class(name).extra == "neural"]


def test_the_processor_is_always_there():
    assert devices.available()[0] == "cpu"
    assert devices.device_of("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "CPU", ""])
def test_an_absent_device_is_refused(name):
    with pytest.raises(ConfigError, match=rf"device '{name}': not on this machine.*; there is cpu"):
        devices.device_of(name)


def test_a_graphics_card_is_found_by_both_names(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.available() == ["cpu", "cuda:0", "cuda:1"]
    assert devices.device_of("cuda") == torch.device("cuda:0")
    assert devices.device_of("cuda:1") == torch.device("cuda:1")


def test_random_states_of_a_graphics_card_are_kept(monkeypatch):
    card = torch.device("cuda:0")
    given = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda place: torch.tensor([7], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, place: given.append((state.item(), place)))
    states = devices.random_states(card)
    assert sorted(states) == ["cpu", "cuda"]
    devices.set_random_states(states, card)
    devices.set_random_states({"cpu": states["cpu"]}, card)  # a checkpoint from a training on the processor
    assert given == [(7, card)]


def test_seeds_are_given_back():
    before = torch.get_rng_state()
    with devices.seeded(torch.device("cpu"), 5):
        one = torch.rand(1)
    with devices.seeded(torch.device("cpu"), 5):
        assert torch.equal(one, torch.rand(1))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("best", "most"), [(1, 4), (2, 4), (4, 4), (3, 3)])
def test_the_quickest_number_of_threads_is_taken(monkeypatch, best, most):
    monkeypatch.setattr(devices, "MEASURED_FOR", 0.02)
    tried, before = [], torch.get_num_threads()
    now = 1
    monkeypatch.setattr(torch, "set_num_threads", lambda number: globals().update(now=number))

    def step():
        tried.append(globals().get("now", now))
        time.sleep(0.001 if tried[-1] == best else 0.01)

    assert devices.fastest_threads(step, most=most) == best
    assert set(tried) <= {1, 2, 3, 4, before}
    assert max(tried) <= max(most, before)


def test_equal_times_go_to_fewer_threads(monkeypatch):
    monkeypatch.setattr(devices, "MEASURED_FOR", 0.0)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    assert devices.fastest_threads(lambda: time.sleep(0.02), most=2) == 1


def test_one_thread_is_not_measured():
    assert devices.fastest_threads(lambda: 1 / 0, most=1) == 1


@pytest.mark.parametrize("name", NEURAL)
def test_every_network_heeds_the_device(name):
    model = registry.model_class(name)(encoder=HashEncoder(), epochs=1)
    with pytest.raises(ConfigError, match=r"device 'cuda:7': not on this machine"):
        model.fit(tiny_shop(), aids=Aids(device="cuda:7"))
