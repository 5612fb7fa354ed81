"""Options of evaluate, compare and benchmark that choose the protocol, and what their words stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from tastemaker.errors import ConfigError, MissingExtra, did_you_mean
from tastemaker.evaluate import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

SPLIT_OPTION = typer.Option(
    "leave-one-out", "--split", help="leave-one-out, temporal, as-given, user-cold or item-cold."
)
K_OPTION = typer.Option([5, 10], "-k", min=1, help="List length; give it again for more.")
MASKING_OPTION = typer.Option(
    "masked", "--masking", help="masked leaves products of the history out of the lists; unmasked; both."
)
TIES_OPTION = typer.Option(
    "file", "--ties", help="Order of purchases at one time and of equal scores: file, shuffled (by seed) or both."
)
REFIT_OPTION = typer.Option("no", "--refit", help="Fit once more on train + validation before test: no, yes or both.")
REPEATS_OPTION = typer.Option(
    "count",
    "--repeats",
    help="A product bought again: count it as a target, exclude it from the data but for the first purchase, or let "
    "only novel products count as targets.",
)
SAMPLE_OPTION = typer.Option(None, "--sample", min=1, help="Use this many random test shoppers.")
USER_GROUPS_OPTION = typer.Option(
    None, "--user-group", metavar="COLUMN", help="Measure groups of shoppers apart, by this column; may be repeated."
)
ITEM_GROUPS_OPTION = typer.Option(
    None, "--item-group", metavar="COLUMN", help="Measure groups of target products apart, by this column."
)
PRICE_OPTION = typer.Option(
    None, "--price", metavar="IN,OUT", help="Money for a million prompt tokens and a million answer tokens."
)
DEVICE_OPTION = typer.Option(
    None,
    "--device",
    help="cpu (the default), cuda or cuda:1: where networks are trained, and where encoder and language model work "
    "unless their tables name a device. A saved model is moved there.",
)
MOVE_OPTION = typer.Option(
    None, "--device", help="Where encoder and language model work: cpu, cuda or cuda:1; as saved by default."
)

MASKINGS = {"masked": (True,), "unmasked": (False,), "both": (True, False)}
REFITS = {"no": (False,), "yes": (True,), "both": (False, True)}
TIES = {"file": ("file",), "shuffled": ("shuffled",), "both": ("file", "shuffled")}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the words on the command line stand for; fields as in `tastemaker.compare.Plan`."""

    maskings: tuple[bool, ...]
    ties: tuple[Any, ...]
    refits: tuple[bool, ...]

    @classmethod
    def of(cls, *, masking: str, ties: str, refit: str) -> Choices:
        """Read the three words.

        Raises:
            ConfigError: an unknown word.
        """
        return cls(
            _chosen("--masking", masking, MASKINGS), _chosen("--ties", ties, TIES), _chosen("--refit", refit, REFITS)
        )


def options_of(
    *,
    ks: list[int],
    sample: int | None,
    seed: int,
    user_groups: list[str] | None,
    item_groups: list[str] | None,
    price: str | None,
    probe: bool,
    device: str | None = None,
) -> Options:
    """Gather what is measured from the words of the command line.

    Raises:
        ConfigError: a price that is none, or a device that is not there.
        MissingExtra: a device is named and torch is not installed.
    """
    check_device(device)
    return Options(
        ks=tuple(sorted(set(ks))),
        sample=sample,
        seed=seed,
        user_groups=tuple(user_groups or ()),
        item_groups=tuple(item_groups or ()),
        price=price_of(price),
        probe=probe,
        device=device or "cpu",
    )


def check_device(name: str | None) -> None:
    """Refuse a device that is not there before any data are read; None is the processor.

    Raises:
        ConfigError: no such device.
        MissingExtra: torch is not installed.
    """
    if name in (None, "cpu"):
        return
    try:
        from tastemaker.neural import devices
    except ModuleNotFoundError as error:
        raise MissingExtra(f"--device {name}", "torch", "neural") from error
    devices.device_of(name)


def price_of(text: str | None) -> tuple[float, float] | None:
    """Read "IN,OUT".

    Raises:
        ConfigError: not two numbers of at least 0.
    """
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read < float("inf") and 0 <= written < float("inf")):
        raise ConfigError(f"--price {text}: must be two amounts, e.g. 0.15,0.60 for a million tokens read and written")
    return read, written


def _chosen(option: str, word: str, known: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    if word not in known:
        raise ConfigError(f"{option} {word}: unknown{did_you_mean(word, known)}")
    return known[word]
