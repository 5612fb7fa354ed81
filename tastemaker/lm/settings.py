"""Settings of language models that can be read without torch: to check a file takes no model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tastemaker.configurable import Config


class Wrapping(Config):
    """What stands around a language model.

    Attributes:
        cache: keep answers on disk: true (in the cache folder), false, or the path of a file. Answers are stored,
            prompts are not.
        max_calls: prompts that the model may be asked; None for no ceiling. Answers from the cache are free.
        max_tokens_total: tokens that it may read and write together; None for no ceiling.
    """

    cache: bool | str = True
    max_calls: int | None = Field(default=None, ge=0)
    max_tokens_total: int | None = Field(default=None, ge=0)


class LocalSettings(Config):
    """How a model on this machine is loaded.

    Attributes:
        model: see `LocalLM` in `tastemaker.lm.local`.
        revision: commit, tag or branch of a hub model; pin a commit where results must be repeatable.
        threads: torch's threads, for the whole process; None leaves them alone.
        batch_size: prompts written to at once by `generate`.
        device: "cpu", "cuda", "cuda:1" ...
        dtype: of the computation. On a CPU without bfloat16 units, float32 is the faster one; and
            likelihoods of a shared cache equal those of a full pass to 1e-4 in float32 only.
        layers: first layers of the model that are kept; None keeps all. A shortened model answers nothing sensible
            until it is tuned, in a fraction of the time: for trials, and for tuning without a graphics card.
        read: how prompts are read whose next token is wanted: "prefix" one after the other, what they begin with in
            common once; "batch" many of similar length at once; "auto" the first on a CPU, the second elsewhere. Both
            give the same to float error.
    """

    model: str = Field(min_length=1)
    revision: str | None = None
    threads: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=8, ge=1)
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    layers: int | None = Field(default=None, ge=1)
    read: Literal["auto", "prefix", "batch"] = "auto"


class AdapterConfig(Config):
    """What of a language model is trained.

    Attributes:
        method: "lora" (arXiv 2106.09685) adds low-rank matrices, "ia3" (arXiv 2205.05638) factors on keys, values and
            hidden units, "soft_prompt" (arXiv 2104.08691) learnt tokens before every prompt; "full" trains the weights
            themselves.
        rank: of LoRA's matrices.
        alpha: LoRA's matrices are scaled by alpha / rank.
        dropout: on what goes into LoRA's matrices.
        modules: LoRA in "all" linear layers, or those of the "attention" only.
        tuned_layers: last layers of the model that are trained, by "lora" and "full"; 0 for all. Below them nothing has
            to go backwards, which saves time.
        virtual_tokens: of a soft prompt.
    """

    method: Literal["lora", "ia3", "soft_prompt", "full"] = "lora"
    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    modules: Literal["all", "attention"] = "all"
    tuned_layers: int = Field(default=0, ge=0)
    virtual_tokens: int = Field(default=16, ge=1)
