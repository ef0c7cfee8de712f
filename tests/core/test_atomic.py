"""Files that are whole or absent."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clipwright.core.atomic import DiskFullError, atomic_file, create_bytes, disk_errors, write_bytes, write_json
from clipwright.core.errors import ClipwrightError


def test_content_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_file(path) as stream:
        stream.write(b"half")
        assert not path.exists()
        stream.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def interrupted() -> None:
        with atomic_file(path) as stream:
            stream.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    sentence = pytest.raises(DiskFullError, match=r"is full: free some space .* already finished is kept\.")
    with sentence, disk_errors(tmp_path):
        Path("/dev/full").write_bytes(b"x")
    assert issubclass(DiskFullError, ClipwrightError)


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="denied") as caught, disk_errors(tmp_path):
        raise OSError(errno.EACCES, "denied")
    assert not isinstance(caught.value, ClipwrightError)


def test_json_is_readable_and_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"name": "Größe", "n": [1, 2]})
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert "Größe" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"name": "Größe", "n": [1, 2]}


def test_one_of_many_creators_wins(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with ThreadPoolExecutor(8) as threads:
        wrote = list(threads.map(lambda i: create_bytes(path, b"%d" % i), range(32)))
    assert sum(wrote) == 1
    assert path.read_bytes() == b"%d" % wrote.index(True)
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_creation_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)  # no file system at hand is without them
    assert create_bytes(tmp_path / "file", b"x")
    assert not create_bytes(tmp_path / "file", b"y")
    assert (tmp_path / "file").read_bytes() == b"x"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
