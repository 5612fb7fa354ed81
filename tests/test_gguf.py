"""A tiny GGUF file, written here, goes through the conversion and gives the same probabilities."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tastemaker import gguf as conversion
from tastemaker.errors import LanguageModelError
from tastemaker.lm.base import Prompt
from tastemaker.lm.local import LocalLM

DIM, HIDDEN, HEADS, LAYERS = 64, 96, 4, 2
CHAT = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"


def byte_letters() -> list[str]:
    """The printable characters by which GPT-2's tokenizer names the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(rest))]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A random Llama of two layers, its matrices in Q8_0, with a byte tokenizer and a chat template."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tokens = ["<|end|>", "<|im_start|>", "<|im_end|>", *byte_letters(), "th"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(DIM)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * 257)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), DIM), "output": (len(tokens), DIM)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": (DIM, DIM) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"blk.{layer}.{name}": (HIDDEN, DIM) for name in ("ffn_gate", "ffn_up")}
        shapes |= {f"blk.{layer}.ffn_down": (DIM, HIDDEN)}
    for name, shape in shapes.items():
        values = gguf.quantize(rng.normal(0, 0.2, shape).astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", values, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    norms = ["output_norm", *(f"blk.{layer}.{name}" for layer in range(LAYERS) for name in ("attn_norm", "ffn_norm"))]
    for name in norms:
        writer.add_tensor(f"{name}.weight", rng.uniform(0.5, 1.5, DIM).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_folder_gives_the_same_probabilities(file, tmp_path, capsys):
    conversion.convert(file, tmp_path / "folder")
    assert capsys.readouterr().err == ""  # no progress bars
    from_file, from_folder = LocalLM(str(file)), LocalLM(str(tmp_path / "folder"))
    prompts = [Prompt("a tripod", "rules"), Prompt("a drill")]
    choices = ["a", "b", "z"]
    np.testing.assert_allclose(
        from_file.next_token(prompts, choices), from_folder.next_token(prompts, choices), atol=0.02
    )
    assert from_folder._tokens.render(prompts[0]) == "<|im_start|>rules<|im_end|><|im_start|>a tripod<|im_end|>"
    assert from_file.name == "tiny.gguf"
    assert from_file.fingerprint.startswith("sha256-")
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", dtype="auto", local_files_only=True)
    assert stored.dtype == torch.float16


def test_a_conversion_that_changes_the_model_is_refused(file, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "TOLERANCE", -1.0)
    with pytest.raises(LanguageModelError, match="log-probabilities moved by"):
        conversion.convert(file, tmp_path / "folder")
