"""`tastemaker db`: keep a store: schema, backups, checks, and whole tenants as JSON lines."""

from __future__ import annotations

from pathlib import Path

import typer

from tastemaker.cli import options
from tastemaker.cli.output import as_json, note, print_json, print_table
from tastemaker.cli.stores import CONSOLE, STORE_OPTION, TENANT_OPTION, lines_of, opened, plain, required
from tastemaker.errors import DataError
from tastemaker.store import restore_backup
from tastemaker.store.reading import parsed

app = typer.Typer(help="Keep a store: schema, backups, checks, whole tenants as JSON lines.", no_args_is_help=True)


@app.command()
def upgrade(
    to: str | None = typer.Option(None, "--to", metavar="REVISION", help="An older schema instead of the newest."),
    store: str | None = STORE_OPTION,
) -> None:
    """Bring the schema of a store to that of this release, or back to an older one."""
    with opened(store, write=True, create=True, upgrade=to is None, any_schema=to is not None) as target:
        before = target.revision()
        if to is not None:
            target.upgrade(to)
        note(f"{target.place}: schema {target.revision()}" + (f", was {before}" if to and to != before else ""))


@app.command()
def backup(
    path: Path = typer.Argument(metavar="FILE", help="New file."),
    store: str | None = STORE_OPTION,
) -> None:
    """Copy a store, as it is at one moment, while others write to it."""
    with opened(store, write=False) as source:
        source.backup(path)
    note(f"{path}: {path.stat().st_size:,} bytes")


@app.command()
def restore(
    path: Path = typer.Argument(metavar="FILE", help="A backup."),
    replace: bool = typer.Option(False, "--replace", help="Set the store that is there aside."),
    store: str | None = STORE_OPTION,
) -> None:
    """Check a backup, and put it in the place of a store that nobody writes to."""
    aside = restore_backup(path, required(store), replace=replace)
    note(f"restored {path}" + (f"; what was there is now {aside}" if aside else ""))


@app.command()
def check(
    deep: bool = typer.Option(False, "--deep", help="Compare every index with its table, too."),
    store: str | None = STORE_OPTION,
    json: bool = options.JSON,
) -> None:
    """Look for damage, settings that risk rows, lack of room, an old schema; exit code 1 where there is a fault."""
    with opened(store, write=False, any_schema=True) as source:
        problems = source.check(deep=deep)
    if json:
        print_json([plain(problem) for problem in problems])
    else:
        print_table(
            ["check", "severity", "found", "cure"],
            [[problem.check, problem.severity, problem.found, problem.cure] for problem in problems],
        )
    if any(problem.severity == "fault" for problem in problems):
        raise typer.Exit(1)


@app.command()
def compact(store: str | None = STORE_OPTION) -> None:
    """Write all tables anew: smaller files, and nothing of erased rows in unused parts of pages."""
    with opened(store, write=True) as target:
        target.compact()


@app.command()
def export(
    path: str = typer.Argument(CONSOLE, metavar="[FILE]", help="New file; - is stdout."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
) -> None:
    """Write a whole tenant as JSON lines; personal data and hashes of keys included."""
    with opened(store, write=False) as source:
        if path == CONSOLE:
            for row in source.export_tenant(tenant):
                print_json(row, indent=None)
            return
        count = 0
        try:
            with Path(path).open("x", encoding="utf-8") as file:
                Path(path).chmod(0o600)
                for row in source.export_tenant(tenant):
                    file.write(f"{as_json(row, indent=None)}\n")
                    count += 1
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    note(f"{path}: {count:,} lines")


@app.command(name="import")
def import_(
    path: str = typer.Argument(metavar="FILE", help="What `db export` wrote; - is stdin."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Take in a tenant from JSON lines; the same lines again do no harm."""
    with opened(store, write=True, create=True, upgrade=True) as target, lines_of(path) as lines:
        counts = target.import_tenant(tenant, parsed(lines, "stdin" if path == CONSOLE else path))
    if json:
        print_json(counts)
    else:
        print_table(["kind", "new"], [[kind, str(count)] for kind, count in counts.items()])
