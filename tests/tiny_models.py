"""Tiny random models on disk, made once a process: architectures of real ones, a second to make, no download."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

WORDS = "lavender hand cream soothing skin cordless drill steel screw soap shampoo brush perfume number acme bolt cosy"


def _place() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tiny-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _bpe(texts: list[str]):
    import tokenizers
    import transformers

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|end|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|end|>")


@cache
def causal(kind: str = "Llama", *, layers: int = 2, seed: int = 0, context: int = 512) -> str:
    """A causal language model's folder: `kind` as transformers names it, 32 wide."""
    import torch
    import transformers

    place = _place()
    letters = " ".join(f"{letter}: {letter}. ({letter})" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    tokenizer = _bpe([WORDS, f"The shopper bought, oldest first: The shopper buys next: Answer: {letters}"] * 20)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return str(place)


@cache
def sentence_encoder(words: str = WORDS, *, layers: int = 2) -> str:
    """A sentence-transformers folder: BERT layers, mean pooling, unit length."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    place = _place()
    digits = [str(number) for number in range(60)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*words.split(), *digits, ";", ":"])]
    (place / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(place / "vocab.txt"), model_max_length=64).save_pretrained(place / "bert")
    shape = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.15, **shape)
        model = BertModel(config)
        model.embeddings.word_embeddings.weight.data.mul_(10)  # words stay apart
        model.save_pretrained(place / "bert")
    modules = [Transformer(str(place / "bert"), max_seq_length=32), Pooling(32), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(place / "model"), create_model_card=False)
    return str(place / "model")
