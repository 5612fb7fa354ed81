"""What tuning adds to a language model on this machine: PEFT adapters, a soft prompt, or its weights themselves.

An `Adapter` is what PEFT keeps in a folder (adapter_config.json, adapter_model.safetensors), as plain data; the base
model is named in it and never stored. `export` writes the folder, which plain PEFT loads.

A soft prompt is learnt vectors before every prompt. Here they are tokens of their own, numbered after the vocabulary,
so that they go through caches and batches like any others.
"""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import peft
import torch
from peft.utils import set_peft_model_state_dict
from safetensors.numpy import save_file
from torch import Tensor, nn

from tastemaker.configurable import array_text, text_array, under
from tastemaker.drafts import draft
from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.lm.local import LocalLM
from tastemaker.lm.settings import AdapterConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FULL, SOFT = "FULL", "PROMPT_TUNING"
"""Peft types that are treated apart; the first one is not PEFT's."""
WEIGHTS, CONFIG, CARD = "adapter_model.safetensors", "adapter_config.json", "README.md"
"""Files of PEFT's folders."""
CARD_TEXT = """\
---
base_model: {base}
library_name: peft
---

Tuned by tastemaker on {part}{name}. `BASE` is that model's folder or hub name, `FOLDER` is this folder:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained(BASE{settings})
model = PeftModel.from_pretrained(base, FOLDER)
```
"""
LAYERS = "first_layers"
"""Key of a configuration, and no one of PEFT's: how many layers of the base model were kept, where not all were."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What was trained, as data.

    Attributes:
        config: as in PEFT's adapter_config.json; peft_type "FULL" for whole weights.
        tensors: float32, by the names of adapter_model.safetensors; by those of the model's parameters for "FULL".
    """

    config: dict[str, Any]
    tensors: dict[str, NDArray[np.float32]]

    @property
    def digest(self) -> str:
        """Hash of all of it."""
        total = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for name in sorted(self.tensors):
            total.update(name.encode())
            total.update(np.ascontiguousarray(self.tensors[name]).data)
        return total.hexdigest()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, for a saved model."""
        return {
            "config": text_array(json.dumps(self.config, sort_keys=True)),
            **{f"tensor.{name}": value for name, value in self.tensors.items()},
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Adapter:
        """Take back what `arrays` returned."""
        return cls(json.loads(array_text(arrays["config"])), under(arrays, "tensor"))


class SoftPrompt(nn.Module):
    """An embedding whose numbers beyond the vocabulary stand for learnt vectors.

    Args:
        words: the model's own embedding.
        vectors: of the soft prompt, [v, d].
    """

    def __init__(self, words: nn.Module, vectors: Tensor) -> None:
        super().__init__()
        self.words = words
        self.vectors = nn.Parameter(vectors)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors [..., d] of token numbers [...]."""
        size = len(self.words.get_parameter("weight"))
        soft = ids >= size
        found: Tensor = self.words(ids.where(~soft, 0))
        learnt = self.vectors[(ids - size).clamp(min=0)].to(found.dtype)
        return torch.where(soft[..., None], learnt, found)


def trainee(lm: LocalLM, config: AdapterConfig, *, seed: int) -> LocalLM:
    """Return a copy of `lm` whose trained parameters, and no others, want gradients.

    A model that was tuned already by the same method goes on from there; `config` is then its own.

    Raises:
        ConfigError: the method does not fit the model, or the model was tuned by another method.
    """
    before = lm.adapter
    kind = {"lora": "LORA", "ia3": "IA3", "soft_prompt": SOFT, "full": FULL}[config.method]
    if before is not None and before.config["peft_type"] != kind:
        raise ConfigError(
            f"method = {config.method!r}: {lm.name} was tuned by {before.config['peft_type']}; begin anew"
        )
    base = _copy(lm if before is None else untuned(lm))
    base._model.requires_grad_(False)
    with torch.random.fork_rng([] if base._model.device.type == "cpu" else [base._model.device]):
        torch.manual_seed(seed)
        if kind == FULL:
            _unfreeze(base._model, config.tuned_layers)
        elif kind == SOFT:
            _put_soft_prompt(base, _first_vectors(base, config.virtual_tokens))
        else:
            base._peft = _with_peft(base._model, _peft_config(base, config))
            base._model = base._peft.get_base_model()
    if before is not None:
        _put(base, before)
    return base


def trained(lm: LocalLM) -> Adapter:
    """Return what a `trainee` has learnt."""
    facts: dict[str, Any] = {"base_model_name_or_path": lm.config.model, "revision": lm.config.revision}
    if lm.config.layers is not None:
        facts[LAYERS] = lm.config.layers
    parameters = {name: value for name, value in lm._model.named_parameters() if value.requires_grad}
    if lm._peft is not None:
        config = {**lm._peft.peft_config["default"].to_dict(), **facts, "inference_mode": True}
        tensors = peft.get_peft_model_state_dict(lm._peft)
    elif isinstance(soft := lm._model.get_input_embeddings(), SoftPrompt):
        config = (
            peft.PromptTuningConfig(
                task_type="CAUSAL_LM",
                inference_mode=True,
                num_virtual_tokens=len(soft.vectors),
                token_dim=soft.vectors.shape[1],
                num_transformer_submodules=1,
                num_attention_heads=lm._model.config.get_text_config().num_attention_heads,
                num_layers=lm._model.config.get_text_config().num_hidden_layers,
            ).to_dict()
            | facts
        )
        tensors = {"prompt_embeddings": soft.vectors}
    else:
        config, tensors = {"peft_type": FULL, **facts}, parameters
    plain = json.loads(json.dumps(config, default=_json))
    return Adapter(plain, {name: _numpy(value) for name, value in tensors.items()})


def adapted(lm: LocalLM, adapter: Adapter) -> LocalLM:
    """Return a copy of `lm` with `adapter` in it; `lm` stays as it is.

    In float32, LoRA and IA3 are merged into the weights, so that they cost no time.

    Raises:
        ArtifactError: the adapter does not fit the model.
    """
    base = _copy(lm if lm.adapter is None else untuned(lm))
    base._model.requires_grad_(False)
    kind = adapter.config.get("peft_type")
    try:
        if kind == SOFT:
            _put_soft_prompt(base, torch.from_numpy(adapter.tensors["prompt_embeddings"]))
        elif kind != FULL:
            base._peft = _with_peft(base._model, _config_of(adapter))
            base._model = base._peft.get_base_model()
        _put(base, adapter)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{lm.name}: the adapter does not fit the model ({error}); tune again") from error
    if base._peft is not None and lm.config.dtype == "float32":
        base._model, base._peft = base._peft.merge_and_unload(), None
    base._model.requires_grad_(False).eval()
    base.adapter = adapter
    base.fingerprint = f"{lm.fingerprint.partition('-tuned-')[0]}-tuned-{adapter.digest[:16]}"
    return base


def untuned(lm: LocalLM) -> LocalLM:
    """Return the model without what tuning added, loaded anew; the account of what was spent goes on."""
    if lm.adapter is None:
        return lm
    fresh = LocalLM(**lm.config.model_dump())
    fresh.usage = lm.usage
    return fresh


def export(adapter: Adapter, folder: Path) -> Path:
    """Write an adapter as a folder of PEFT's, whole or not at all, and return it.

    `peft.PeftModel.from_pretrained(base, folder)` loads it; how to load `base` stands in the folder's README.md.

    Raises:
        ConfigError: the folder is there already, or whole weights were trained, which are no adapter.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; name a new folder")
    if adapter.config["peft_type"] == FULL:
        raise ConfigError("the weights themselves were tuned; there is no adapter to write")
    with draft(folder) as new:
        (new / CONFIG).write_text(json.dumps(_of_peft(adapter), indent=2, sort_keys=True) + "\n")
        (new / CARD).write_text(_card(adapter), encoding="utf-8")
        save_file({name: np.ascontiguousarray(value) for name, value in adapter.tensors.items()}, new / WEIGHTS)
    return folder


def _of_peft(adapter: Adapter) -> dict[str, Any]:
    return {key: value for key, value in adapter.config.items() if key != LAYERS}


def _card(adapter: Adapter) -> str:
    """Return what a folder of PEFT's says of itself: of which model it is a part, and how both are loaded."""
    name, layers, revision = (adapter.config.get(key) for key in ("base_model_name_or_path", LAYERS, "revision"))
    part = f"the first {layers} layers of " if layers else ""
    settings = f", revision={json.dumps(revision)}" if revision else ""
    settings += f", num_hidden_layers={layers}" if layers else ""
    return CARD_TEXT.format(base=json.dumps(name), name=name, part=part, settings=settings)


def _copy(lm: LocalLM) -> LocalLM:
    """Return a copy with weights of its own; tokenizer and account are shared."""
    new = copy.copy(lm)
    new._model = copy.deepcopy(lm._model)
    return new


def _with_peft(model: Any, config: peft.PeftConfig) -> Any:  # noqa: ANN401  # transformers is untyped
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
            )  # peft asks it
            return peft.get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"{type(model).__name__}: cannot be tuned so: {str(error).splitlines()[0]}") from error


def _config_of(adapter: Adapter) -> peft.PeftConfig:
    make: Any = peft.PeftConfig.from_peft_type
    config: peft.PeftConfig = make(**{**_of_peft(adapter), "base_model_name_or_path": None})  # it may lie elsewhere now
    return config


def _peft_config(lm: LocalLM, config: AdapterConfig) -> peft.PeftConfig:
    linear, count = _linear_layers(lm._model)
    last = list(range(count - config.tuned_layers, count)) if config.tuned_layers else None
    if config.tuned_layers > count:
        raise ConfigError(
            f"tuned_layers = {config.tuned_layers}: the model has {count} layers; set fewer, or 0 for all"
        )
    if config.method == "ia3":
        return peft.IA3Config(task_type="CAUSAL_LM")
    chosen = sorted({name for name, place in linear if config.modules == "all" or "att" in place})
    if not chosen:
        raise ConfigError(f"modules = {config.modules!r}: {type(lm._model).__name__} has none")
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=chosen,
        layers_to_transform=last,
    )


def _linear_layers(model: Any) -> tuple[set[tuple[str, str]], int]:  # noqa: ANN401  # transformers is untyped
    """Return own name and whole name of each linear layer of the transformer, and how many layers that has."""
    layers = _layers(model)
    found = {
        (place.rpartition(".")[2], place)
        for layer in layers
        for place, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    }
    return found, len(layers)


def _layers(model: Any) -> nn.ModuleList:  # noqa: ANN401  # transformers is untyped
    """Return the layers of the transformer: the longest list of modules."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ConfigError(f"{type(model).__name__}: has no list of layers that could be tuned")
    return max(lists, key=len)


def _unfreeze(model: Any, tuned_layers: int) -> None:  # noqa: ANN401  # transformers is untyped
    """Let all weights be trained, or those of the last layers."""
    if not tuned_layers:
        model.requires_grad_(True)
        return
    layers = _layers(model)
    if tuned_layers > len(layers):
        raise ConfigError(f"tuned_layers = {tuned_layers}: the model has {len(layers)} layers; set fewer, or 0 for all")
    for layer in layers[-tuned_layers:]:
        layer.requires_grad_(True)


def _first_vectors(lm: LocalLM, count: int) -> Tensor:
    """Return vectors of random words to begin a soft prompt with (arXiv 2104.08691, section 3.1)."""
    words: Tensor = lm._model.get_input_embeddings().weight
    chosen = torch.randperm(len(words), device="cpu")[:count]
    if len(chosen) < count:
        raise ConfigError(f"virtual_tokens = {count}: the model has {len(words)} tokens")
    return words[chosen.to(words.device)].detach().float().clone()


def _put_soft_prompt(lm: LocalLM, vectors: Tensor) -> None:
    words = lm._model.get_input_embeddings()
    lm._model.set_input_embeddings(SoftPrompt(words, vectors.to(words.weight.device)))
    lm.soft_prompt = list(range(len(words.weight), len(words.weight) + len(vectors)))


def _put(lm: LocalLM, adapter: Adapter) -> None:
    """Give the parameters of `adapter` to a model that has room for them.

    Raises:
        ValueError: there is no room for some, or a shape differs.
    """
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in adapter.tensors.items()}
    if lm._peft is not None:
        own = peft.get_peft_model_state_dict(lm._peft)
        if own.keys() != tensors.keys():
            raise ValueError(f"{len(own.keys() ^ tensors.keys())} parameters are not in both")
        set_peft_model_state_dict(lm._peft, tensors)
        return
    if adapter.config["peft_type"] == SOFT:
        own = {"prompt_embeddings": lm._model.get_input_embeddings().vectors}
    else:
        own = dict(lm._model.named_parameters())
    with torch.no_grad():
        for name, value in tensors.items():
            if own[name].shape != value.shape:
                raise ValueError(f"{name}: {tuple(value.shape)} instead of {tuple(own[name].shape)}")
            own[name].copy_(value)


def _numpy(value: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.detach().float().cpu().numpy().copy()
    return array


def _json(value: object) -> object:
    """Write what JSON does not know: sets of names, and words of enumerations."""
    return sorted(value) if isinstance(value, set | frozenset) else str(getattr(value, "value", value))
