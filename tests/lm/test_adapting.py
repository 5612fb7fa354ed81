"""Adapters: PEFT's own format, loaded by plain PEFT; the base model stays as it is."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.lm.adapting import Adapter, adapted, export, trained, trainee, untuned
from tastemaker.lm.base import Prompt
from tastemaker.lm.local import LocalLM
from tastemaker.lm.settings import AdapterConfig

PROMPTS = [Prompt(f"The shopper bought {what}. Choose", "Rules.", "Answer:") for what in ("a drill", "hand cream", "")]
METHODS = ["lora", "ia3", "soft_prompt", "full"]


def disturbed(lm, **settings):
    """Return an adapter with random parameters."""
    student = trainee(lm, AdapterConfig(**{"rank": 2, "virtual_tokens": 3, **settings}), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in student._model.parameters():
            if value.requires_grad:
                value += torch.randn(value.shape, generator=generator) * 0.1
    return student, trained(student)


@pytest.mark.parametrize("method", METHODS)
def test_the_copy_is_changed_and_the_base_is_not(lm, method):
    before = lm.next_token(PROMPTS, ["A", "B"])
    weights = copy.deepcopy(lm._model.state_dict())
    student, adapter = disturbed(lm, method=method)
    tuned = adapted(lm, adapter)
    assert (lm.next_token(PROMPTS, ["A", "B"]) == before).all()
    assert all(torch.equal(value, weights[name]) for name, value in lm._model.state_dict().items())
    values = tuned.next_token(PROMPTS, ["A", "B"])
    assert np.abs(values - before).max() > 1e-3
    np.testing.assert_allclose(student.next_token(PROMPTS, ["A", "B"]), values, atol=1e-4)
    assert tuned.fingerprint != lm.fingerprint
    assert tuned.usage is lm.usage
    np.testing.assert_array_equal(untuned(tuned).next_token(PROMPTS, ["A", "B"]), before)
    assert untuned(tuned).fingerprint == lm.fingerprint


@pytest.mark.parametrize("method", METHODS)
def test_arrays_give_equal_bits(lm, method):
    _, adapter = disturbed(lm, method=method)
    again = Adapter.of_arrays({name: array.copy() for name, array in adapter.arrays().items()})
    assert again.digest == adapter.digest
    one, other = (adapted(lm, each) for each in (adapter, again))
    assert one.fingerprint == other.fingerprint
    assert (one.next_token(PROMPTS, ["A", "B"]) == other.next_token(PROMPTS, ["A", "B"])).all()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", ["lora", "ia3", "soft_prompt"])
@pytest.mark.parametrize(("kind", "layers"), [("Llama", None), ("Qwen2", None), ("Llama", 1)])
def test_plain_peft_loads_what_is_exported_as_its_card_says(make_model, tmp_path, method, kind, layers):
    base = make_model(kind)
    lm = LocalLM(str(base), layers=layers, revision="v1.0" if layers else None)
    _, adapter = disturbed(lm, method=method)
    folder = export(adapter, tmp_path / "adapter")
    assert {file.name for file in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    card = (folder / "README.md").read_text()
    assert json.dumps(str(base)) in card
    assert ('revision="v1.0"' in card) == bool(layers)
    said = {"BASE": base, "FOLDER": str(folder)}
    exec(card.split("```")[1].removeprefix("python\n"), said)  # what a reader of the card would do
    model = said["model"].eval()
    tuned = adapted(lm, adapter)
    values = tuned.next_token(PROMPTS, ["A", "B"])
    for row, prompt in zip(values, PROMPTS, strict=True):
        ids = torch.tensor([tuned._tokens.encode(prompt)])
        with torch.inference_mode():
            logs = model(input_ids=ids).logits[0, -1].log_softmax(-1)
        np.testing.assert_allclose(row, logs[tuned._tokens.choices(prompt, ["A", "B"])].numpy(), atol=1e-4)
    with pytest.raises(ConfigError, match="is there already"):
        export(adapter, tmp_path / "adapter")


def test_a_soft_prompt_goes_through_caches_batches_and_writing(lm):
    _, adapter = disturbed(lm, method="soft_prompt")
    tuned = adapted(lm, adapter)
    titles = [["a tripod", "hand cream, 50 ml"]] * len(PROMPTS)
    for prompt, together in zip(PROMPTS, tuned.loglikelihood(PROMPTS, titles), strict=True):
        np.testing.assert_allclose(tuned.loglikelihood([prompt], titles[:1])[0], together, atol=1e-4)
    [answer] = tuned.generate(PROMPTS[:1], max_tokens=5)
    ids = list(tuned._encode(PROMPTS[0], room=5))
    assert tuned.count_tokens(PROMPTS[0]) == len(ids) == lm.count_tokens(PROMPTS[0]) + 3
    assert ids[:3] == [len(tuned._model.get_input_embeddings().words.weight) + place for place in range(3)]
    written = []
    for _ in range(answer.answer_tokens):
        with torch.inference_mode():
            written.append(int(tuned._model(input_ids=torch.tensor([ids + written])).logits[0, -1].argmax()))
    assert answer.text == tuned._tokens.decode(written).strip()


def test_only_the_last_layers_are_trained(lm):
    for method in ("lora", "full"):
        student = trainee(lm, AdapterConfig(method=method, tuned_layers=1), seed=0)
        names = [name for name, value in student._model.named_parameters() if value.requires_grad]
        assert names
        assert all("layers.1." in name for name in names)


def test_attention_only(lm):
    student = trainee(lm, AdapterConfig(modules="attention"), seed=0)
    names = [name for name, value in student._model.named_parameters() if value.requires_grad]
    assert {name.split(".")[-4] for name in names} == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_the_seed_decides_the_first_weights_and_no_other_chance(lm):
    state = torch.get_rng_state()
    weights = [trained(trainee(lm, AdapterConfig(), seed=seed)).digest for seed in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", METHODS)
def test_going_on_begins_with_what_was_learnt(lm, method):
    _, adapter = disturbed(lm, method=method)
    again = trained(trainee(adapted(lm, adapter), AdapterConfig(method=method, rank=2, virtual_tokens=3), seed=5))
    assert again.digest == adapter.digest


def test_mistakes_are_named(lm, make_model):
    with pytest.raises(ConfigError, match="tuned_layers = 9: the model has 2"):
        trainee(lm, AdapterConfig(tuned_layers=9), seed=0)
    with pytest.raises(ConfigError, match="virtual_tokens = 9999"):
        trainee(lm, AdapterConfig(method="soft_prompt", virtual_tokens=9999), seed=0)
    _, adapter = disturbed(lm)
    with pytest.raises(ConfigError, match="was tuned by LORA"):
        trainee(adapted(lm, adapter), AdapterConfig(method="full"), seed=0)
    missing = Adapter(adapter.config, dict(list(adapter.tensors.items())[1:]))
    with pytest.raises(ArtifactError, match="does not fit"):
        adapted(lm, missing)
    wrong = Adapter({**adapter.config, "peft_type": "nonsense"}, adapter.tensors)
    with pytest.raises(ArtifactError, match="does not fit"):
        adapted(lm, wrong)
    _, whole = disturbed(lm, method="full")
    with pytest.raises(ConfigError, match="no adapter to write"):
        export(whole, lm_folder_that_is_not_there(lm))


def lm_folder_that_is_not_there(lm):
    from pathlib import Path

    return Path(lm.config.model) / "adapter"
