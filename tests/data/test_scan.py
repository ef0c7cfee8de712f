"""Finding image files: links, cycles, odd names, unreadable folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clipwright.core.errors import DataError
from clipwright.data.scan import scan

Plant = Callable[..., Path]


def found(root: Path) -> list[str]:
    return list(scan(root).ids.to_pylist())


def test_nested_unicode_hidden_and_other_files(plant: Plant) -> None:
    root = plant(["b/2.PNG", "a/x/y/z/1.jpg", "北極熊/写真.png", "a/ü 'quoted\"\n-.png", ".hidden/1.png", "a/.1.png"])
    (root / "notes.txt").write_text("x")
    (root / "-rf").mkdir()
    (root / "__MACOSX").mkdir()
    shutil.copy(root / "b/2.PNG", root / "__MACOSX/1.png")
    result = scan(root)
    assert result.ids.to_pylist() == ["a/x/y/z/1.jpg", "a/ü 'quoted\"\n-.png", "b/2.PNG", "北極熊/写真.png"]
    assert [result.groups[g] for g in result.group] == [("a", "x"), ("a",), ("b",), ("北極熊",)]
    assert ("-rf",) in result.groups
    assert (result.others, result.example) == (1, "notes.txt")
    for name, size, mtime in zip(result.ids.to_pylist(), result.sizes, result.mtimes, strict=True):
        status = (root / name).stat()
        assert (size, mtime) == (status.st_size, status.st_mtime_ns)


def test_links_are_followed_and_cycles_end(plant: Plant, tmp_path: Path) -> None:
    root = plant(["a/1.png", "b/deep/2.png"])
    outside = plant(["3.png"], tmp_path / "outside")
    (root / "c").symlink_to(outside, target_is_directory=True)
    (root / "a/4.png").symlink_to(outside / "3.png")
    (root / "a/loop").symlink_to(root, target_is_directory=True)
    (root / "b/deep/up").symlink_to(root / "b", target_is_directory=True)
    (root / "b/deep/self").symlink_to("self")
    (root / "self").symlink_to(".", target_is_directory=True)
    (root / "a/gone.png").symlink_to("nowhere.png")
    result = scan(root)
    assert result.ids.to_pylist() == ["a/1.png", "a/4.png", "b/deep/2.png", "c/3.png"]
    assert result.broken == 1


def test_one_folder_linked_as_two_splits_is_read_twice(plant: Plant) -> None:
    root = plant(["test/a/1.png"])
    (root / "val").symlink_to("test", target_is_directory=True)
    assert found(root) == ["test/a/1.png", "val/a/1.png"]


def test_links_among_siblings_do_not_explode(plant: Plant) -> None:
    names = [f"d{i}" for i in range(12)]
    root = plant([f"{name}/1.png" for name in names])
    for name in names:
        for other in names:
            (root / name / f"to_{other}").symlink_to(f"../{other}", target_is_directory=True)
    assert len(found(root)) <= 12 + 12 * 12 * 12


def test_special_files_are_not_opened(plant: Plant) -> None:
    root = plant(["a/1.png"])
    os.mkfifo(root / "a/pipe.png")
    assert found(root) == ["a/1.png"]
    assert scan(root).broken == 1


def test_names_that_are_not_utf8_are_counted(plant: Plant) -> None:
    root = plant(["a/1.png"])
    bad = os.fsencode(root) + b"/a/\xff.png"
    shutil.copy(os.fsencode(root / "a/1.png"), bad)
    result = scan(root)
    assert result.ids.to_pylist() == ["a/1.png"]
    assert result.undecodable == 1


def test_many_files_cross_batches(tmp_path: Path) -> None:
    for i in range(17_000):
        (tmp_path / f"{i}.png").touch()
    result = scan(tmp_path)
    assert len(result.ids) == len(result.sizes) == len(result.group) == 17_000
    assert result.ids.to_pylist() == sorted(f"{i}.png" for i in range(17_000))


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that holds one that nobody but its owner may read, looked at as another user."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    (root / "secret").mkdir(mode=0o700)
    (root / "open").mkdir(mode=0o755)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    else:
        (root / "secret").chmod(0)
    try:
        yield root
    finally:
        if me == 0:
            os.seteuid(0)
        (root / "secret").chmod(0o700)
        shutil.rmtree(root)


def test_an_unreadable_folder_is_one_sentence(locked: Path) -> None:
    for root in (locked, locked / "secret"):
        with pytest.raises(
            DataError, match=r"the folder .*secret can't be read \(Permission denied\): give yourself access"
        ):
            scan(root)
    assert found(locked / "open") == []
