"""Which shops' logs a data set holds, as digests that a saved model carries: was this very shop learnt from before?

Equal catalogues prove nothing, as two branches of a chain share one. A log is known by who bought what: a digest keeps
the smallest hashes of its (user id, item id) pairs, a random sample that every log draws alike (bottom-k sketch;
Cohen and Kaplan, PODC 2007), so the share of common pairs can be read from a digest and a log.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data.join import own_ids, shop_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset

    UInt64 = NDArray[np.uint64]

KEPT = 256
"""Hashes in a digest: a share of common pairs is right within about 3 of 100."""
SAME = 0.5
"""Logs with so large a share of common pairs are of one shop; in others few pairs agree by chance, however ids look."""


@dataclass(frozen=True, slots=True)
class LogDigest:
    """What is kept of one shop's log.

    Attributes:
        shop: its name among joined shops, None for a data set of one shop.
        pairs: different (user, item) pairs in the log.
        smallest: the smallest hashes of these, ascending, at most KEPT; unsigned 64-bit.
    """

    shop: str | None
    pairs: int
    smallest: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; hashes as 16 hexadecimal digits."""
        return {"shop": self.shop, "pairs": self.pairs, "smallest": [f"{one:016x}" for one in self.smallest]}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> LogDigest:
        """Read what `to_dict` returned."""
        return cls(facts["shop"], int(facts["pairs"]), tuple(int(one, 16) for one in facts["smallest"]))

    def common(self, asked: UInt64) -> float:
        """Return the share of pairs in common with a log that has these hashes, ascending: of the smaller log's pairs.

        It is estimated from those that both logs would sample.
        """
        sample = np.array(self.smallest, dtype=np.uint64)
        if not len(sample) or not len(asked):
            return 0.0
        hits = int(np.isin(sample, asked).sum())
        within = len(asked) if self.pairs <= len(sample) else int(np.searchsorted(asked, sample[-1], side="right"))
        return max(hits / len(sample), hits / within if within else 0.0)


def digests(data: Dataset) -> list[LogDigest]:
    """Return the digest of each shop in a data set: of all joined ones under their own ids, or of the only one."""
    names = shop_names(data.users.frame)
    if not any(names):
        return [_digest(None, _pair_hashes(data))]
    shops = pl.Series(names).gather(data.log["user"])
    parts = [(name, data.with_log(data.log.filter(shops == name))) for name in shops.unique(maintain_order=True)]
    return [_digest(name, _pair_hashes(part)) for name, part in parts]


def origin(data: Dataset) -> dict[str, Any]:
    """Return what a saved model says of the data that it learnt from: "data_fingerprint", and "shops" as digests."""
    return {"data_fingerprint": data.fingerprint, "shops": [one.to_dict() for one in digests(data)]}


def common(shops: Sequence[LogDigest], data: Dataset) -> list[float]:
    """Return for each digest the share of pairs in common with the log of `data`; see `LogDigest.common`."""
    asked = _pair_hashes(data) if shops else np.empty(0, dtype=np.uint64)
    return [shop.common(asked) for shop in shops]


def _pair_hashes(data: Dataset) -> UInt64:
    """Return the different hashes of the (user, item) pairs of a log, ascending, under the shops' own ids."""
    users, items = _hashed(own_ids(data.users.frame)), _hashed(own_ids(data.items.frame))
    mixed = users[data.log["user"].to_numpy()] * np.uint64(0x9E3779B97F4A7C15) + items[data.log["item"].to_numpy()]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.unique(mixed ^ (mixed >> np.uint64(31)))


def _hashed(ids: Iterable[str]) -> UInt64:
    """Return a hash of each id that is the same everywhere."""
    found = (hashlib.blake2b(one.encode("utf-8", "surrogatepass"), digest_size=8).digest() for one in ids)
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


def _digest(shop: str | None, hashes: UInt64) -> LogDigest:
    return LogDigest(shop, len(hashes), tuple(int(one) for one in hashes[:KEPT]))
