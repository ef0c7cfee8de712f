from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from clipwright.cli.images import expand
from clipwright.core.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "sub/c.webp", "sub/notes.txt", ".hidden.png", ".cache/d.png", "[odd].png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(root: Path, *sources: str) -> list[str]:
    return [str(Path(p).relative_to(root)) for p in expand(sources)]


def test_folders_are_searched_in_order_without_hidden_files(photos: Path) -> None:
    assert names(photos, str(photos)) == ["[odd].png", "a.JPG", "b.png", "sub/c.webp"]


def test_globs_cross_folders(photos: Path) -> None:
    assert names(photos, f"{photos}/**/*.webp", f"{photos}/?.png") == ["sub/c.webp", "b.png"]


def test_files_are_taken_as_they_are_even_with_magic_or_missing(photos: Path) -> None:
    assert names(photos, f"{photos}/[odd].png", f"{photos}/sub/notes.txt") == ["[odd].png", "sub/notes.txt"]
    assert names(photos, f"{photos}/missing.png") == ["missing.png"]


def test_standard_input_gives_one_path_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a b.png\n\nc.png\r\n"))
    assert list(expand(["-"])) == ["a b.png", "c.png"]


def test_nothing_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        list(expand([str(tmp_path)]))
    with pytest.raises(DataError, match="nothing matches"):
        list(expand([f"{tmp_path}/*.png"]))


def test_paths_come_before_all_are_known(photos: Path) -> None:
    stream = expand([str(photos / "b.png"), str(photos / "nothing*")])
    assert next(stream) == str(photos / "b.png")
    with pytest.raises(DataError):
        next(stream)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_among_the_images_are_passed_over(photos: Path) -> None:
    """Reading one would wait for ever; a broken link is told of in its row."""
    os.mkfifo(photos / "pipe.png")
    (photos / "sub" / "link.png").symlink_to("gone.png")
    assert names(photos, str(photos)) == ["[odd].png", "a.JPG", "b.png", "sub/c.webp", "sub/link.png"]
    assert names(photos, f"{photos}/*.png") == ["[odd].png", "b.png"]
