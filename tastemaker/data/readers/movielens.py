"""MovieLens: 100K (u.data, u.item, u.user), 1M (.dat with "::"), and 20M, 25M, 32M and latest (.csv).

The rating is the value, genres are the categories. Tags, links and genome scores are not read.
https://files.grouplens.org/datasets/movielens/ (README of each release).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.readers.delimited import read_delimited
from tastemaker.data.readers.table import Table, Tables, rename_columns
from tastemaker.data.readers.text import first_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.progress import Progress

NAME = "movielens"
RATINGS = ["user_id", "item_id", "value", "timestamp"]
GENRES_100K = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
AGES_1M = {"1": "under 18", "18": "18-24", "25": "25-34", "35": "35-44", "45": "45-49", "50": "50-55", "56": "56+"}
OCCUPATIONS_1M = (
    *("other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service"),
    *("doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer"),
    *("retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman"),
    *("unemployed", "writer"),
)
# Release, name of the ratings file, and what its first line looks like.
RELEASES = (
    ("100K", "u.data", re.compile(r"\d+\t\d+\t[1-5]\t\d{9}")),
    ("1M", "ratings.dat", re.compile(r"\d+::\d+::[\d.]+::\d+")),
    ("latest", "ratings.csv", re.compile(r"userId,movieId,rating,timestamp")),
)


def recognises(source: Path) -> bool:
    """Whether `source` is a ratings file of a known release, or a folder that holds one."""
    return _release(source) is not None


def load(source: Path, progress: Progress) -> Tables:
    """Read the folder, or the ratings file alone.

    Raises:
        DataError: a file cannot be read.
    """
    release = _release(source)
    if release is None:
        release = next((name for name, file, _ in RELEASES if (source / file).is_file()), "latest")
    loaders = {"100K": _load_100k, "1M": _load_1m, "latest": _load_latest}
    (tables,) = progress([release], label=f"reading MovieLens {release}")
    return loaders[tables](source)


def _release(source: Path) -> str | None:
    for name, file, pattern in RELEASES:
        path = source if source.is_file() else source / file
        if path.is_file() and pattern.fullmatch(first_lines(path)[0]):
            return name
    return None


def _load_100k(source: Path) -> Tables:
    ratings = read_delimited(_part(source, "u.data"), separator="\t", columns=RATINGS, quoted=False)
    items = users = None
    if source.is_dir() and (source / "u.item").is_file():
        columns = ["item_id", "title", "release_date", "video_release_date", "imdb_url", *GENRES_100K]
        items = read_delimited(source / "u.item", separator="|", columns=columns, quoted=False, encoding="latin-1")
        flags = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES_100K]
        frame = items.frame.with_columns(categories=pl.concat_list(flags).list.drop_nulls()).drop(GENRES_100K)
        items = items.with_frame(frame.drop("video_release_date"), "u.item: the empty video_release_date is not kept")
    if source.is_dir() and (source / "u.user").is_file():
        columns = ["user_id", "age", "gender", "occupation", "zip_code"]
        users = read_delimited(source / "u.user", separator="|", columns=columns, quoted=False, encoding="latin-1")
    return Tables(ratings, items, users)


def _load_1m(source: Path) -> Tables:
    ratings = _dat(_part(source, "ratings.dat"), RATINGS)
    items = users = None
    if source.is_dir() and (source / "movies.dat").is_file():
        items = _genres(_dat(source / "movies.dat", ["item_id", "title", "categories"]))
    if source.is_dir() and (source / "users.dat").is_file():
        users = _dat(source / "users.dat", ["user_id", "gender", "age", "occupation", "zip_code"])
        occupations = {str(number): name for number, name in enumerate(OCCUPATIONS_1M)}
        frame = users.frame.with_columns(pl.col("age").replace(AGES_1M), pl.col("occupation").replace(occupations))
        users = users.with_frame(frame, "users.dat: codes of age and occupation are written out")
    return Tables(ratings, items, users)


def _load_latest(source: Path) -> Tables:
    ratings = read_delimited(_part(source, "ratings.csv"), separator=",")
    ratings = rename_columns(ratings, {"userId": "user_id", "movieId": "item_id", "rating": "value"})
    items = None
    if source.is_dir() and (source / "movies.csv").is_file():
        items = read_delimited(source / "movies.csv", separator=",")
        items = _genres(rename_columns(items, {"movieId": "item_id", "genres": "categories"}))
    return Tables(ratings, items, notes=("tags, links and genome scores are not read",))


def _part(source: Path, name: str) -> Path:
    return source if source.is_file() else source / name


def _dat(path: Path, columns: list[str]) -> Table:
    return read_delimited(path, separator="::", columns=columns, quoted=False, encoding="latin-1")


def _genres(table: Table) -> Table:
    """Split "Action|Comedy"; "(no genres listed)" is an empty list."""
    genres = pl.col("categories").replace("(no genres listed)", "").str.split("|")
    return table.with_frame(table.frame.with_columns(genres.list.eval(pl.element().filter(pl.element() != ""))))
