"""Models shortened to their first layers."""

import numpy as np
import pytest
import torch

from tastemaker.errors import ConfigError
from tastemaker.lm import build
from tastemaker.lm.adapting import adapted, trained, trainee
from tastemaker.lm.base import Prompt
from tastemaker.lm.layers import layers_of
from tastemaker.lm.local import LocalLM
from tastemaker.lm.settings import AdapterConfig

ASKED = [Prompt(text) for text in ("hand cream or", "hand cream or a drill: Answer:", "tripod")]


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_what_is_left_are_the_first_layers_and_the_vocabulary(make_model, kind):
    folder = make_model(kind)
    whole, short = LocalLM(str(folder)), LocalLM(str(folder), layers=1)
    assert len(layers_of(short.network, name="it")) == 1
    assert short.network.config.num_hidden_layers == 1
    ids = torch.tensor([whole.tokens_of("hand cream and cordless drills")])
    hidden = {}
    first = layers_of(whole.network, name="it")[0]
    hook = first.register_forward_hook(lambda _module, _inputs, output: hidden.update(first=output))
    with torch.inference_mode():
        whole.network(ids)
        hook.remove()
        states = hidden["first"] if isinstance(hidden["first"], torch.Tensor) else hidden["first"][0]
        expected = whole.network.lm_head(whole.network.model.norm(states))
        torch.testing.assert_close(short.network(ids).logits, expected)
    # with and without a shared key-value cache, and while it writes
    one_by_one = np.concatenate([short.next_token([prompt], ["A", "B"]) for prompt in ASKED])
    np.testing.assert_allclose(short.next_token(ASKED, ["A", "B"]), one_by_one, atol=1e-4)
    assert [answer.answer_tokens for answer in short.generate(ASKED, max_tokens=4)] == [4, 4, 4]


def test_a_shortened_model_has_an_identity_of_its_own(folder):
    whole, short = LocalLM(str(folder)), LocalLM(str(folder), layers=1)
    assert short.weights != whole.weights
    assert short.fingerprint != whole.fingerprint
    assert LocalLM(str(folder), layers=2).weights != short.weights
    again = build.build({**build.settings_of(short), "cache": False})
    assert again.fingerprint == short.fingerprint


def test_what_tuning_learns_fits_the_shortened_model_alone(folder):
    short = LocalLM(str(folder), layers=1)
    adapter = trained(trainee(short, AdapterConfig(method="lora"), seed=0))
    assert not [name for name in adapter.arrays() if ".layers.1." in name]
    np.testing.assert_allclose(
        adapted(short, adapter).next_token(ASKED, ["A", "B"]), short.next_token(ASKED, ["A", "B"]), atol=1e-4
    )


def test_more_layers_than_there_are_is_refused(folder):
    with pytest.raises(ConfigError, match=r"lm.layers = 3: .* has 2 layers"):
        LocalLM(str(folder), layers=3)
    with pytest.raises(ConfigError, match="layers"):
        LocalLM(str(folder), layers=0)
