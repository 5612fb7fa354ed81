"""Item identifiers as tuples of codes, their schemes, and how they fare as the catalogue grows.

| scheme | codes are | a new product |
|---|---|---|
| random | drawn (P5's RID) | gets drawn ones: nothing is known of it |
| sequential | digits of the order in which train histories first name the item (P5's SID) | gets the next numbers |
| collaborative | clusters of clusters of co-occurrence vectors (P5-CID) | goes where its vector points |
| residual, product | quantised vectors of texts, purchases, or both (TIGER, RPG) | goes where its vector points |
| text | words of its title (IDGenRec) | gets words of its title |

P5's own sequential numbering was made on all data: a shopper's test item got the number after the validation item, and
shoppers stood in file order, so neighbouring numbers told the answer (Rajput et al. 2023, table of P5 with shuffled
numbers; half of its recall was this leak). Here only train histories count, in random order of shoppers, and what they
do not name is numbered in random order.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tastemaker.configurable import array_text, text_array, under
from tastemaker.errors import ConfigError
from tastemaker.neural.indexing.collisions import Policy, settle
from tastemaker.neural.indexing.quantisers import QUANTISERS, Quantiser
from tastemaker.neural.indexing.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.queries import Queries
    from tastemaker.types import Bool, Float32, Int32, Int64

Scheme = Literal["random", "sequential", "collaborative", "residual", "product", "text"]
VERSION = 1
"""Of the way in which identifiers are made."""

Coder = Quantiser | Words
"""What gives an item its first choice of codes."""


@dataclass(frozen=True, slots=True)
class SemanticIds:
    """The identifiers of a catalogue; equal settings, data and seed give equal ones.

    Attributes:
        scheme: how they are made.
        codes: int32 [n, levels].
        sizes: number of codes of each level.
        policy: what happens to equal tuples.
        shared: levels, from the first on, in which a code means the same (textual identifiers); 0: none do.
        moved: items that did not have their first choice to themselves, bool [n].
        errors: squared distance of each item's vector from what its tuple stands for, [n]; NaN without vectors.
        born: int32 [n], 0 for the items that identifiers were made for, k for those that came with the k-th extension.
        coder: gives new items their codes; None for drawn and counted codes.
    """

    scheme: Scheme
    codes: Int32
    sizes: tuple[int, ...]
    policy: Policy
    shared: int
    moved: Bool
    errors: Float32
    born: Int32
    coder: Coder | None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def levels(self) -> int:
        """Codes of an item."""
        return len(self.sizes)

    @property
    def offsets(self) -> Int64:
        """What to add to the codes of each level to number the codes of all levels apart, int64 [levels]."""
        sizes = [*self.sizes[: min(1, self.shared)], *self.sizes[self.shared :]] if self.shared else list(self.sizes)
        starts = np.cumsum([0, *sizes[:-1]])
        return np.concatenate([np.zeros(max(0, self.shared - 1), dtype=np.int64), starts]).astype(np.int64)

    @property
    def vocabulary(self) -> int:
        """Different codes of all levels together."""
        return int(self.offsets[-1]) + self.sizes[-1]

    @property
    def digest(self) -> str:
        """SHA-256 of scheme, version, sizes and codes."""
        state = hashlib.sha256(f"{self.scheme} {VERSION} {self.sizes} {self.policy}".encode())
        state.update(np.ascontiguousarray(self.codes).tobytes())
        return state.hexdigest()

    @property
    def version(self) -> str:
        """Scheme, version of the making, and the beginning of the digest: which identifiers a model has learnt."""
        return f"{self.scheme}/{VERSION}/{self.digest[:12]}"

    def words(self) -> list[str]:
        """Return the identifiers as people read them: numbers, or words of titles."""
        if not isinstance(self.coder, Words):
            return ["-".join(map(str, row)) for row in self.codes.tolist()]
        read = self.coder.read(self.codes[:, : self.shared])
        rest = self.codes[:, self.shared :].tolist()
        return [
            " ".join([text, *(f"#{code}" for code in more if code)]).strip()
            for text, more in zip(read, rest, strict=True)
        ]

    def extend(self, known: Float32 | Sequence[str] | None, count: int, *, seed: int = 0) -> SemanticIds:
        """Return identifiers with `count` products appended; those that exist stay as they are, nothing is learnt.

        Args:
            known: of the new products: vectors as those the identifiers were made from, or titles; None for drawn and
                counted codes.
            count: new products.
            seed: of what is drawn.

        Raises:
            ConfigError: no identifier is left.
        """
        return self.renumbered(np.concatenate([np.arange(len(self)), np.full(count, -1)]), known, seed=seed)

    def renumbered(self, before: Int64, known: Float32 | Sequence[str] | None, *, seed: int = 0) -> SemanticIds:
        """Return the identifiers of another catalogue: the same shop's with new products, or another shop's.

        Args:
            before: number that each item had until now, [n]; -1 for a new one.
            known: of the new ones, in order; see `extend`.
            seed: of what is drawn.

        Raises:
            ConfigError: no identifier is left.
        """
        stays = before >= 0
        old, count = before[stays], int((~stays).sum())
        codes, moved, errors = self._coded(known, count, taken=self.codes[old], seed=seed)
        born = np.full(count, self.born.max(initial=-1) + 1, dtype=np.int32)
        parts = {"codes": codes, "moved": moved, "errors": errors, "born": born}
        merged: dict[str, Any] = {}
        for name, new in parts.items():
            ours = getattr(self, name)[old]
            merged[name] = np.zeros((len(before), *ours.shape[1:]), dtype=ours.dtype)
            merged[name][stays], merged[name][~stays] = ours, new
        return replace(self, **merged)

    def _coded(
        self, known: Float32 | Sequence[str] | None, count: int, *, taken: Int32, seed: int
    ) -> tuple[Int32, Bool, Float32]:
        """Return codes, whether they were moved, and errors of new items, beside tuples that are taken."""
        rng = np.random.default_rng(seed)
        if self.coder is None:
            make = _drawn if self.scheme == "random" else _counted
            codes = make(count, self.sizes, taken, rng)
            return codes, np.zeros(count, dtype=np.bool_), np.full(count, np.nan, dtype=np.float32)
        coder, width = self.coder, len(self.coder.sizes)
        if isinstance(coder, Words):
            titles = list(known or ())
            first = coder.encode(titles)
            alternatives = lambda items, wanted: coder.nearest([titles[item] for item in items], wanted)  # noqa: E731
        else:
            vectors = np.zeros((0, 0), dtype=np.float32) if known is None else np.asarray(known, dtype=np.float32)
            first = coder.encode(vectors)
            alternatives = lambda items, wanted: list(coder.nearest(vectors[items], wanted))  # noqa: E731
        codes, moved = settle(
            first,
            self.policy,
            places=self.sizes[-1],
            alternatives=alternatives,
            order=rng.permutation(count),
            taken=taken,
        )
        if isinstance(coder, Words):
            return codes, moved, np.full(count, np.nan, dtype=np.float32)
        return codes, moved, coder.errors(vectors, codes[:, :width])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        facts: dict[str, Any] = {
            "scheme": self.scheme,
            "sizes": self.sizes,
            "policy": self.policy,
            "shared": self.shared,
        }
        facts |= {"version": VERSION, "coder": self.coder.kind if self.coder else ""}
        found: dict[str, NDArray[Any]] = {
            "facts": text_array(json.dumps(facts)),
            "codes": self.codes,
            "moved": self.moved,
        }
        found |= {"errors": self.errors, "born": self.born}
        coder = self.coder.arrays() if self.coder else {}
        return found | {f"coder.{name}": array for name, array in coder.items()}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]]) -> SemanticIds:
        """Take back what `arrays` returned.

        Raises:
            ValueError: they were made by another version.
        """
        facts = json.loads(array_text(arrays["facts"]))
        if facts["version"] != VERSION:
            raise ValueError(f"identifiers of version {facts['version']}, this is version {VERSION}")
        kind = Words if facts["coder"] == Words.kind else QUANTISERS.get(facts["coder"])
        coder = kind.restored(under(arrays, "coder")) if kind else None
        columns = {name: arrays[name] for name in ("codes", "moved", "errors", "born")}
        columns["codes"] = columns["codes"].reshape(-1, len(facts["sizes"]))
        return cls(
            facts["scheme"],
            sizes=tuple(facts["sizes"]),
            policy=facts["policy"],
            shared=facts["shared"],
            coder=coder,
            **columns,
        )


def drawn(n_items: int, *, levels: int, codes: int, seed: int) -> SemanticIds:
    """Return random identifiers, all different."""
    empty = _empty("random", (codes,) * levels, "nearest")
    return empty.extend(None, n_items, seed=seed)


def counted(histories: Queries, n_items: int, *, levels: int, codes: int, seed: int) -> SemanticIds:
    """Return identifiers in the order in which train histories, shoppers shuffled, first name the items.

    Args:
        histories: of the training part only; see the leak that this module's docstring describes.
        n_items: size of the catalogue; items that no history names follow in random order.
        levels: digits.
        codes: base of the digits.
        seed: of the shuffles.
    """
    rng = np.random.default_rng(seed)
    shuffled = histories.take(rng.permutation(len(histories)))
    named, first = np.unique(shuffled.items, return_index=True)
    unnamed = np.setdiff1d(np.arange(n_items), named)
    order = np.concatenate([named[np.argsort(first)], rng.permutation(unnamed)]).astype(np.int64)
    ids = _empty("sequential", (codes,) * levels, "nearest").extend(None, n_items, seed=seed)
    numbered = np.empty_like(ids.codes)
    numbered[order] = ids.codes  # `ids` counts item numbers, and the k-th of the order gets the k-th
    return replace(ids, codes=numbered)


def coded(
    scheme: Scheme,
    coder: Coder,
    known: Float32 | Sequence[str],
    *,
    policy: Policy = "suffix",
    places: int = 256,
    seed: int = 0,
) -> SemanticIds:
    """Return the identifiers that a coder gives.

    Args:
        scheme: its name.
        coder: a quantiser, or words.
        known: vectors of the items for a quantiser, [n, d], titles for words.
        policy: what happens to equal tuples.
        places: items of one tuple, with policy = "suffix": the codes of the level that is added.
        seed: of the order in which items choose, where a place is wanted twice.

    Raises:
        ConfigError: there is no room for all items.
    """
    sizes = coder.sizes + ((places,) if policy == "suffix" else ())
    shared = len(coder.sizes) if isinstance(coder, Words) else 0
    empty = replace(_empty(scheme, sizes, policy), shared=shared, coder=coder)
    return empty.extend(known, len(known), seed=seed)


def _empty(scheme: Scheme, sizes: tuple[int, ...], policy: Policy) -> SemanticIds:
    nothing = np.zeros((0, len(sizes)), dtype=np.int32)
    return SemanticIds(
        scheme,
        nothing,
        sizes,
        policy,
        shared=0,
        moved=np.zeros(0, dtype=np.bool_),
        errors=np.zeros(0, dtype=np.float32),
        born=np.zeros(0, dtype=np.int32),
        coder=None,
    )


def _drawn(count: int, sizes: tuple[int, ...], taken: Int32, rng: np.random.Generator) -> Int32:
    """Draw different tuples that are not taken.

    Raises:
        ConfigError: there are not so many.
    """
    room = math.prod(sizes) - len(taken)
    if count > room:
        raise ConfigError(f"{count} new items and {room} free identifiers: raise codes or levels")
    known = {tuple(row) for row in taken.tolist()}
    if room < 4 * count:
        free = [row for row in np.ndindex(*sizes) if row not in known]
        rows = [free[place] for place in rng.permutation(len(free))[:count]]
    else:
        rows = []
        while len(rows) < count:
            for row in map(tuple, rng.integers(0, sizes, (count, len(sizes))).tolist()):
                if row not in known and len(rows) < count:
                    known.add(row)
                    rows.append(row)
    return np.array(rows, dtype=np.int32).reshape(count, len(sizes))


def _counted(count: int, sizes: tuple[int, ...], taken: Int32, rng: np.random.Generator) -> Int32:
    """Return the numbers after the highest that is taken, as digits.

    Raises:
        ConfigError: they have more digits than there are levels.
    """
    start = 0
    for row in taken.tolist():
        number = 0
        for digit, size in zip(row, sizes, strict=True):
            number = number * size + digit
        start = max(start, number + 1)
    if start + count > math.prod(sizes):
        raise ConfigError(f"{start + count} items and {math.prod(sizes)} identifiers: raise codes or levels")
    numbers, digits = np.arange(start, start + count, dtype=np.int64), []
    for size in reversed(sizes):
        numbers, digit = np.divmod(numbers, size)
        digits.append(digit)
    return np.stack(digits[::-1], axis=1).astype(np.int32)
