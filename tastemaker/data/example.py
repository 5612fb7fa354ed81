"""A made-up shop to try things on, as the csv files that a shop would bring: tea, coffee, and what goes with them.

Shoppers walk along one of two roads, from leaves to a pot, cups and something sweet, or from beans to a grinder, a
press and mugs, and then along the other. So there is something to learn, and enough shoppers to judge a re-ranker by.
Figures measured on it say nothing of any real shop.
"""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from tastemaker.drafts import draft
from tastemaker.errors import DataError

SHOPPERS = 60
NAMED = ("anna", "ben", "cleo", "dan")
"""The first shoppers; the others are numbered."""
ROADS = (
    (("tea-green", "tea-black", "tea-mint"), ("teapot", "strainer"), ("cup-blue", "cup-white"), ("honey", "biscuits")),
    (("coffee", "coffee-dark"), ("grinder", "filter"), ("press", "frother"), ("mug-red", "mug-black"), ("chocolate",)),
)
UNSOLD = ("matcha", "syrup")
"""Products that nobody has bought."""
SWITCHES = 0.15
"""How often a shopper crosses over to the other road before the end of the first."""
ITEMS = """\
item_id,title,brand,categories,price
tea-green,Green tea 100 g,Leaf,Grocery|Tea,4.90
tea-black,Black tea 100 g,Leaf,Grocery|Tea,4.50
tea-mint,Peppermint tea 20 bags,Leaf,Grocery|Tea,2.90
teapot,Glass teapot 1 l,Clara,Kitchen|Tea,24.00
strainer,Tea strainer,Clara,Kitchen|Tea,6.00
cup-blue,Blue cup,Clara,Kitchen|Cups,7.50
cup-white,White cup,Clara,Kitchen|Cups,6.50
honey,Forest honey 250 g,Leaf,Grocery|Spreads,6.20
biscuits,Oat biscuits 200 g,Oven,Grocery|Sweets,3.40
coffee,Coffee beans 1 kg,Bean,Grocery|Coffee,18.00
coffee-dark,Dark roast coffee beans 1 kg,Bean,Grocery|Coffee,19.50
grinder,Coffee grinder,Bean,Kitchen|Coffee,49.00
filter,Coffee filter papers,Bean,Kitchen|Coffee,3.10
press,French press 0.8 l,Clara,Kitchen|Coffee,29.00
frother,Milk frother,Clara,Kitchen|Coffee,15.00
mug-red,Red mug,Clara,Kitchen|Cups,8.50
mug-black,Black mug,Clara,Kitchen|Cups,8.50
chocolate,Dark chocolate 100 g,Oven,Grocery|Sweets,2.70
matcha,Matcha tea powder 50 g,Leaf,Grocery|Tea,14.00
syrup,Caramel syrup 250 ml,Oven,Grocery|Coffee,5.60
"""


def interactions(*, shoppers: int = SHOPPERS, seed: int = 0) -> pl.DataFrame:
    """Return purchases: user_id, item_id, timestamp as text, each shopper's in the order of time."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(shoppers):
        name = NAMED[number] if number < len(NAMED) else f"shopper-{number + 1:02}"
        at = datetime(2026, 1, 1, 8) + timedelta(days=int(rng.integers(60)))
        for item in _walk(rng, number % 2):
            rows.append((name, item, at.isoformat()))
            at += timedelta(days=int(rng.integers(1, 15)), hours=int(rng.integers(10)))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


def write_example(folder: Path, *, shoppers: int = SHOPPERS, seed: int = 0) -> Path:
    """Write interactions.csv and items.csv, whole or not at all.

    Raises:
        DataError: the folder is there, or cannot be written.
    """
    if folder.exists():
        raise DataError(f"{folder}: is there already; choose another folder")
    buffer = io.BytesIO()
    interactions(shoppers=shoppers, seed=seed).write_csv(buffer)
    try:
        with draft(folder) as new:
            (new / "interactions.csv").write_bytes(buffer.getvalue())
            (new / "items.csv").write_text(ITEMS, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder


def _walk(rng: np.random.Generator, road: int) -> list[str]:
    """Return 4 to 8 different products in the order in which they are bought."""
    steps = [*ROADS[road], *ROADS[1 - road]]
    length, other = int(rng.integers(4, 9)), list(ROADS[1 - road])
    bought: list[str] = []
    for step in steps:
        crossing = other and rng.random() < SWITCHES
        left = [item for item in (other.pop(0) if crossing else step) if item not in bought]
        if left and len(bought) < length:
            bought.append(str(rng.choice(left)))
    return bought
