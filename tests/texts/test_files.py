from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clipwright.core.errors import DataError
from clipwright.texts import files
from clipwright.texts.files import limit_texts, read_json, read_text, texts_by_class


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(DataError, match="a folder"):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no file"):
        read_text(tmp_path / "pipe")


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": ["x", "y"]}))
    monkeypatch.setattr(files, "MOST_TEXTS", 1)
    with pytest.raises(DataError, match="has 2 texts, more than the 1 allowed"):
        texts_by_class(path)
    monkeypatch.setattr(files, "MOST_BYTES", 3)
    with pytest.raises(DataError, match="more than the 0 MiB allowed"):
        read_json(path)
    limit_texts(1, path)


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfname")
    assert read_text(path) == "name"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_text(path)
