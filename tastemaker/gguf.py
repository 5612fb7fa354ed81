"""A GGUF file becomes an ordinary transformers folder: safetensors, configuration, tokenizer, chat template.

transformers loads a GGUF by dequantising it, which takes many times as long as reading safetensors, and refuses to save
what it loaded (its configuration says "quantised"). So the model is rebuilt once from a plain configuration.

The weights are stored as float16. The dequantised values of a 4-bit block are `scale * q + minimum`, for which the 11
significant bits of float16 keep several times more than the 8 of bfloat16 in the same space.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any

import gguf as _  # noqa: F401  # transformers reads the format with it: a missing one has to show before a download
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from tastemaker.errors import LanguageModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLE = "Customers who bought a 35 mm film camera also bought:\n1. a tripod; 2. black-and-white film"
TOLERANCE = 0.05  # nats, between the log-probabilities of the original and of the stored model


def convert(gguf: Path, folder: Path) -> None:
    """Write the model in the file `gguf` to `folder`, and check that it still gives the same probabilities.

    Raises:
        LanguageModelError: the written model differs from the original by more than float16 rounding explains.
    """
    models: Any = AutoModelForCausalLM  # transformers is typed in part
    with no_progress_bars():
        where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
        original = models.from_pretrained(gguf.parent, dtype=torch.float32, **where).eval()
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
        settings = original.config.to_dict()
        settings.pop("quantization_config", None)
        plain = AutoConfig.for_model(settings.pop("model_type"), **settings)
        copy = models.from_config(plain, dtype=torch.float16)
        copy.load_state_dict(original.state_dict())
        copy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        stored = models.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True).eval()
        tokens = tokenizer(SAMPLE, return_tensors="pt")["input_ids"]
        again = AutoTokenizer.from_pretrained(folder, local_files_only=True)(SAMPLE, return_tensors="pt")["input_ids"]
    if not torch.equal(tokens, again):
        raise LanguageModelError(f"{gguf}: the converted tokenizer splits text differently; report this as a bug")
    with torch.inference_mode():
        before, after = (model(tokens).logits.log_softmax(-1) for model in (original, stored))
    worst = float((before - after).abs().max())
    if not worst <= TOLERANCE:
        raise LanguageModelError(
            f"{gguf}: log-probabilities moved by {worst:.3g} in the conversion, more than the {TOLERANCE} that float16 "
            "explains; report this as a bug"
        )


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing on stderr while it loads or saves; it has no setting for single calls."""
    bars: Any = transformers_logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the GGUF reader's bar obeys no switch
            yield
    finally:
        if shown:
            bars.enable_progress_bar()
