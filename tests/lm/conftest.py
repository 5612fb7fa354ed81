"""Tiny random models, made on the spot: no download, a few seconds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tokenizers
import torch
import transformers

if TYPE_CHECKING:
    from pathlib import Path

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT = 256


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level BPE of a few hundred tokens with ChatML control tokens."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|end|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    letters = " ".join(f"{letter}: {letter}. ({letter})" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    texts = ["The shopper bought a camera tripod, hand cream and cordless drills. Answer: Yes or: No " + letters] * 20
    bpe.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|end|>")


@pytest.fixture(scope="session")
def make_model(tokenizer, tmp_path_factory):
    """Return a function that saves a random model of some kind and returns its folder."""

    def make(
        kind: str = "Llama", *, chat: str | None = CHAT, safe: bool = True, context: int = CONTEXT, **settings: object
    ) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"tiny-{kind.lower()}"
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.3,  # far from uniform, so that differences show
            **settings,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = getattr(transformers, f"{kind}ForCausalLM")(config)
        if safe:
            model.save_pretrained(folder)
        else:
            config.save_pretrained(folder)
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        tokenizer.chat_template = chat
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def folder(make_model):
    """A tiny Llama that chats."""
    return make_model()


@pytest.fixture(scope="session")
def lm(folder):
    from tastemaker.lm.local import LocalLM

    return LocalLM(str(folder))
