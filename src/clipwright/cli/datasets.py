"""``clipwright datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import Config, Debug, Json, Quiet, Seed, verb_app

app = verb_app()


@app.command()
def datasets(
    *,
    sheets: Annotated[
        Path | None,
        typer.Option("--sheets", metavar="FOLDER", help="Also write a contact sheet of each, as NAME.png."),
    ] = None,
    seed: Seed = 0,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the embedded data sets, which need no files, and the benchmarks that are read from files.

    \b
    Examples:
      clipwright datasets
      clipwright datasets --json
      clipwright datasets --sheets sheets
    """
    from dataclasses import asdict

    from clipwright.cli.output import note, say, show_json, table
    from clipwright.data import datasets as embedded
    from clipwright.data.benchmarks import listing

    found = embedded()
    if as_json:
        benchmarks = [asdict(b) | {"name": b.described} for b in listing()]
        show_json([{"kind": "embedded", **asdict(d)} for d in found] + [{"kind": "benchmark", **b} for b in benchmarks])
    else:
        rows = [[d.name, d.classes, d.train, d.test, f"{d.side}x{d.side}", _size(d.bytes), d.licence] for d in found]
        say(table(["name", "classes", "train", "test", "pixels", "size", "licence"], rows))
        for d in found:
            say(f"\n{d.name}: {d.description}\n  source: {d.source}")
        say()
        files = [[b.described, b.classes, *b.images, b.title] for b in listing()]
        say(table(["benchmark, read from files", "classes", "train", "val", "test", "title"], files))
    if sheets is not None:
        _write_sheets(sheets, [d.name for d in found])
        note(f"{len(found)} contact sheets are in {sheets}.", quiet=quiet)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _write_sheets(folder: Path, names: list[str]) -> None:
    from clipwright.core.atomic import disk_errors, write_bytes
    from clipwright.core.errors import UsageError
    from clipwright.data.sheets import contact_sheet

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"--sheets {folder} goes through a file: name a folder.") from error
    with disk_errors(folder):
        for name in names:
            write_bytes(folder / f"{name}.png", contact_sheet(name))
