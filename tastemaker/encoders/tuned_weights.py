"""What tuning changes in a sentence encoder: its last layers, and a linear map behind its vectors. As plain arrays.

Names: "layer.N.REST" is parameter REST of transformer layer N, "map.weight" [d, d] and "map.bias" [d] are the map, and
"base" is the fingerprint of the pretrained model that they belong to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.configurable import array_text
from tastemaker.drafts import draft
from tastemaker.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from tastemaker.encoders.transformer import TransformerEncoder


def layers_of(model: SentenceTransformer) -> nn.ModuleList:
    """Return the transformer layers of a sentence encoder, the first one first.

    Raises:
        ConfigError: it has none, or keeps them where no known architecture does.
    """
    transformer = getattr(model[0], "auto_model", None)
    layers = getattr(getattr(transformer, "encoder", None), "layer", None)
    if layers is None:
        kind = type(transformer if transformer is not None else model[0]).__name__
        raise ConfigError(
            f"{kind}: its layers cannot be tuned one by one; set tuned_layers = 0, or take a model of the BERT family"
        )
    return layers  # type: ignore[no-any-return]  # transformers does not say


def put_layers(model: SentenceTransformer, arrays: dict[str, NDArray[Any]]) -> None:
    """Put tuned layers over those of the pretrained `model`; its map, if there is one, stays out.

    Raises:
        RuntimeError, IndexError: they do not fit.
    """
    import torch

    for number in sorted({int(name.split(".")[1]) for name in arrays if name.startswith("layer.")}):
        start = f"layer.{number}."
        own = {name.removeprefix(start): torch.from_numpy(arrays[name]) for name in arrays if name.startswith(start)}
        layers_of(model)[number].load_state_dict(own)


def weakened(model: SentenceTransformer, arrays: dict[str, NDArray[Any]], strength: float) -> dict[str, NDArray[Any]]:
    """Return tuned layers on the way from those of the pretrained `model`, strength 0, to these, strength 1."""
    found = dict(arrays)
    for name in (name for name in arrays if name.startswith("layer.")):
        _, number, rest = name.split(".", 2)
        base = layers_of(model)[int(number)].state_dict()[rest].float().cpu().numpy()
        found[name] = (base + strength * (arrays[name] - base)).astype(arrays[name].dtype)
    return found


def put(model: SentenceTransformer, arrays: dict[str, NDArray[Any]], *, base: str) -> None:
    """Put tuned weights over those of the pretrained `model`, whose fingerprint is `base`.

    Raises:
        ArtifactError: they belong to another model, or do not fit it.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "base"}
    try:
        of = array_text(arrays["base"])
        if of != base:
            raise ArtifactError(
                f"tuned weights: they belong to the pretrained model {of[:12]}, and this one is {base[:12]}; "
                "bring that model back, or fit again"
            )
        put_layers(model, arrays)
        weight, bias = tensors["map.weight"], tensors["map.bias"]
        model.append(Dense(len(weight), len(weight), True, torch.nn.Identity(), weight, bias))
        model.append(Normalize())
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ArtifactError(f"tuned weights: they do not fit the model: {error}; fit again") from error


def export(encoder: TransformerEncoder, folder: Path) -> Path:
    """Write the encoder as a sentence-transformers folder, whole or not at all, and return it.

    `[encoder] model = "transformer"` with `folder` set to it gives the same vectors, as does sentence-transformers.

    Raises:
        ConfigError: the folder is there already.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; name a new folder")
    with draft(folder) as new:
        encoder.load().save(str(new), create_model_card=False)
    return folder
