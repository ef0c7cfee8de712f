"""Banks on disk: JSON with a version, one row on each line, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import ClipwrightError, FormatError
from clipwright.texts.bank import Row, TextBank
from clipwright.texts.files import read_json

FORMAT = 1
"""The newest version that this clipwright reads, and the one that it writes."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RowInFile(_Strict):
    """A row as it stands in a file; only its kind and text are required."""

    class_name: str = Field(default="", alias="class", description="empty for a template that every class shares")
    kind: str
    text: str | None = Field(description="null is dropped and counted")
    rival: str = ""
    source: str = ""
    model: str = ""
    date: str = ""
    prompt_hash: str = ""


class BankInFile(_Strict):
    """A bank as it stands in a file."""

    format: int
    class_names: list[str]
    phrasing: str = "default"
    rows: list[RowInFile]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a bank's file."""
    return BankInFile.model_json_schema()


def write_bank(bank: TextBank, path: Path) -> None:
    """Write a bank, whole or not at all; what is empty is left out.

    Raises:
        DiskFullError: there is no room.
    """
    head = {"format": FORMAT, "class_names": list(bank.class_names), "phrasing": bank.phrasing}
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    rows = [f"  {json.dumps(_row(row), ensure_ascii=False)}" for row in bank.rows]
    text = "\n".join(["{", *lines, ' "rows": [', ",\n".join(rows), " ]", "}", ""])
    write_bytes(path, text.encode())


def read_bank(path: Path) -> TextBank:
    """Read a bank that `write_bank` wrote, or that someone wrote by hand.

    Raises:
        FormatError: it is no bank, is damaged, or is newer than this clipwright.
        DataError: the file can't be read, or a row breaks a rule.
    """
    return parse_bank(read_json(path), str(path))


def is_bank(raw: Any) -> bool:
    """Whether a JSON value claims to be a bank."""
    return isinstance(raw, dict) and "format" in raw and "rows" in raw


def parse_bank(raw: Any, where: str) -> TextBank:
    """A bank from its JSON value.

    Args:
        raw: the value.
        where: what messages call the file.

    Raises:
        FormatError: it is no bank, is damaged, or is newer than this clipwright.
        DataError: a row breaks a rule.
    """
    if not is_bank(raw):
        raise FormatError(f'{where} is no bank of texts: it must be a JSON object with "format" and "rows".')
    version = raw["format"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FormatError(f"{where} has the format {version!r}, which is no version: restore the file.")
    if version > FORMAT:
        raise FormatError(f"{where} has format {version}, this clipwright reads up to {FORMAT}: update clipwright.")
    try:
        file = BankInFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = " -> ".join(str(part) for part in first["loc"])
        raise FormatError(f"{where} is damaged at {place}: {first['msg']}.") from error
    # a text may be null here: gather drops and counts it
    rows = [Row(**row.model_dump()) for row in file.rows]
    try:
        return TextBank.gather(file.class_names, rows, phrasing=file.phrasing)
    except ClipwrightError as error:
        raise type(error)(f"{where}: {error}") from error


def _row(row: Row) -> dict[str, str]:
    values = {
        "class": row.class_name,
        "kind": row.kind,
        "text": row.text,
        "rival": row.rival,
        "source": row.source,
        "model": row.model,
        "date": row.date,
        "prompt_hash": row.prompt_hash,
    }
    return {key: value for key, value in values.items() if value}
