"""Attacks on product texts: what a seller may write, and what a recommender makes of it before and after defence."""

from tastemaker.attacks.measure import Asked, measure
from tastemaker.attacks.texts import Attack, Knowledge, attacks

__all__ = ["Asked", "Attack", "Knowledge", "attacks", "measure"]
