"""What is wrong with a row, and what a reader has to report about a whole source."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUE_LIMIT = 80  # characters of a bad value that a problem shows
SHOWN = 5  # problems that an error message lists

SCHEMA = {
    "file": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "value": pl.String,
    "rule": pl.String,
    "hint": pl.String,
}


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, "1 row" or "2,000 rows"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def no_problems() -> pl.DataFrame:
    """Return an empty table of problems."""
    return pl.DataFrame(schema=SCHEMA)


def problem_table(
    lines: pl.Series, values: pl.Series, *, file: str, rule: str, hint: str | pl.Expr, column: str | None = None
) -> pl.DataFrame:
    """Make a table of problems, one row for each of `lines`, with the columns of `SCHEMA`.

    Args:
        lines: 1-based line of each bad row (row number for parquet).
        values: what stands there, any type; cut to `VALUE_LIMIT` characters.
        file: the file's path.
        rule: short name of the broken rule.
        hint: how to mend it, one for all or an expression over the columns line and value.
        column: the bad column, None where the whole row is bad.
    """
    table = pl.DataFrame({"line": lines.cast(pl.Int64), "value": _as_text(values)})
    return table.select(
        file=pl.lit(file),
        line="line",
        column=pl.lit(column, dtype=pl.String),
        value=pl.when(pl.col("value").str.len_chars() > VALUE_LIMIT)
        .then(pl.col("value").str.slice(0, VALUE_LIMIT) + "…")
        .otherwise(pl.col("value")),
        rule=pl.lit(rule),
        hint=pl.lit(hint) if isinstance(hint, str) else hint,
    ).cast(pl.Schema(SCHEMA))


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: where, what stands there, and how to mend it.

    Attributes:
        file: path of the file.
        line: 1-based physical line at which the row starts (the header is line 1); row number for parquet.
        column: name of the bad column, or None where the whole row is bad.
        value: what stands there as text, cut to a readable length; None where nothing does.
        rule: short name of the broken rule.
        hint: how to mend it.
    """

    file: str
    line: int
    column: str | None
    value: str | None
    rule: str
    hint: str

    def __str__(self) -> str:
        column = "" if self.column is None else f" {self.column}:"
        return f"{self.file}:{self.line}:{column} {self.rule}: {self.value!r}; {self.hint}"


@dataclass(frozen=True)
class Report:
    """What reading a source brought to light.

    Attributes:
        source: what was read.
        format: the format that it was read as.
        files: the files that were read.
        rows: data rows found in each of interactions, items and users, good and bad; no interactions for products only.
        left_out: rows of each that are not part of the data: bad ones, and interactions of left-out items or users.
        found: the problems as a table with the columns of `SCHEMA`, by file and line.
        notes: what was assumed, inferred or repaired, in words.
        options: words of the command line that read the source in the same way again.
    """

    source: str
    format: str
    files: tuple[str, ...]
    rows: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)
    found: pl.DataFrame = field(default_factory=no_problems)
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every row is good."""
        return self.found.is_empty()

    @property
    def bad_rows(self) -> int:
        """Number of rows with at least one problem."""
        return self.found.select(pl.struct("file", "line").n_unique()).item() if not self.ok else 0

    @property
    def problems(self) -> Iterator[Problem]:
        """Every problem, by file and line."""
        return (Problem(*row) for row in self.found.iter_rows())

    def kinds(self) -> list[str]:
        """Return how often each rule is broken, "1,889 user_id: empty-id", the commonest first."""
        counts = self.found.group_by("column", "rule", maintain_order=True).len("count")
        rows = counts.sort("count", descending=True, maintain_order=True).iter_rows()
        return [f"{count:,} {f'{column}: ' if column else ''}{rule}" for column, rule, count in rows]

    def left_out_words(self) -> str:
        """Return "left out: 3 interactions, 1 item", or nothing where nothing is."""
        words = [counted(count, role.removesuffix("s")) for role, count in self.left_out.items() if count]
        return f"left out: {', '.join(words)}" if words else ""

    def summary(self, *, allowed: int = 0) -> str:
        """Say in a few lines what is wrong, how to see all of it, and how to go on without the bad rows."""
        bad, more = self.bad_rows, self.found.height - SHOWN
        kind = "interactions" if "interactions" in self.rows else "items"
        nothing_left = self.left_out.get(kind, 0) >= self.rows[kind]
        noun = kind.removesuffix("s")
        cause = f"no {noun} would be left without them" if nothing_left else f"{allowed:,} allowed"
        lines = [f"{self.source}: {counted(bad, 'bad row')}, {cause}"]
        first = pl.struct("file", "column", "rule").is_first_distinct()  # one of each kind says most
        shown = self.found.sort(~first, maintain_order=True).head(SHOWN).sort("file", "line", maintain_order=True)
        lines += [f"  {Problem(*row)}" for row in shown.iter_rows()]
        kinds = self.kinds()
        in_all = f"; in all: {', '.join(kinds)}" if kinds[1:] else ""
        lines += [f"  and {more:,} more{in_all}"] if more > 0 else []
        lines.append(f"see all: {self.command()} --json")
        if not nothing_left:
            lines.append(f"go on without them: --max-bad {bad} (max_bad={bad})")
        return "\n".join(lines)

    def command(self) -> str:
        """Return the command that shows every problem."""
        return shlex.join(["tastemaker", "data", "validate", self.source, *self.options])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: everything, with every problem."""
        return {
            "source": self.source,
            "format": self.format,
            "files": list(self.files),
            "rows": self.rows,
            "bad_rows": self.bad_rows,
            "left_out": self.left_out,
            "notes": list(self.notes),
            "problems": [asdict(problem) for problem in self.problems],
        }


def _as_text(values: pl.Series) -> pl.Series:
    if values.dtype.is_nested():
        return pl.Series([None if value is None else str(value) for value in values.to_list()], dtype=pl.String)
    return values.cast(pl.String)
