"""The folder: names that no file system minds, rows that survive, nothing of another run mixed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipwright.core.errors import UsageError
from clipwright.data.generated import TABLE, Generated, read_manifest
from clipwright.synthetic.picture_folder import PictureFolder, folder_names, slug, square

WHO: dict[str, Any] = {"class_id": 0, "class": "a", "index": 0, "prompt": "a", "model": "m", "settings": {"k": 1}}


def about(*names: str, **settings: Any) -> Generated:
    return Generated(names, names, folder_names(names), ("a {}.",), settings or {"k": 1})


def picture(shade: int = 7) -> Image.Image:
    return Image.new("RGB", (8, 8), (shade, 0, 0))


def test_slugs() -> None:
    assert slug("Great Grey Owl") == "great-grey-owl"
    assert slug("F-16A/B") == "f-16a-b"
    assert slug("..") == slug("狐") == slug("///") == "class"
    assert slug("Größe <b>x</b>") == "groe-b-x-b"
    assert slug("CON.") == "con"
    assert len(slug("x" * 999)) == 40
    assert folder_names(["b", "a", "a/b", "a b"]) == ("000-b", "001-a", "002-a-b", "003-a-b")
    assert folder_names(["x"] * 1001)[-1] == "1000-x"


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_names_give_different_plain_folders(names: list[str]) -> None:
    found = folder_names(names)
    assert len(set(found)) == len(names)
    assert all(set(f) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(f) < 60 for f in found)


def test_an_image_is_known_again_by_its_bytes(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path / "out", about("a"))
    path = folder.path(0, 0)
    assert path == "000-a/000000.png"
    assert not folder.has(path, WHO)
    folder.write(path, WHO, picture(), seed=5, attempt=1, size=4)
    again = PictureFolder(tmp_path / "out", about("a"))
    assert again.has(path, WHO)
    assert not again.has(path, {**WHO, "prompt": "another"})
    assert Image.open(tmp_path / "out" / path).size == (4, 4)
    data = bytearray((tmp_path / "out" / path).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "out" / path).write_bytes(data)
    assert not again.has(path, WHO)
    folder.block(path, WHO, "because", seed=6, attempt=2)
    assert PictureFolder(tmp_path / "out", about("a")).has(path, WHO)
    assert not (tmp_path / "out" / path).exists()


def test_a_whole_file_without_a_row_is_taken_in_a_strange_one_is_not(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, about("a"))
    folder.write("000-a/000000.png", WHO, picture(), seed=5, attempt=1, size=8)
    (tmp_path / "manifest.jsonl").unlink()
    found = PictureFolder(tmp_path, about("a"))
    assert not found.has("000-a/000000.png", WHO, adopt=False)
    assert not found.has("000-a/000000.png", {**WHO, "prompt": "another"})
    assert found.has("000-a/000000.png", WHO)
    (row,) = read_manifest(tmp_path)
    assert (row["seed"], row["attempt"], row["prompt"], row["status"]) == (5, 1, "a", "made")
    (tmp_path / "manifest.jsonl").unlink()
    data = (tmp_path / "000-a/000000.png").read_bytes()
    picture().save(tmp_path / "000-a/000000.png")
    for content in (data[: len(data) // 2], b"", (tmp_path / "000-a/000000.png").read_bytes()):
        (tmp_path / "000-a/000000.png").write_bytes(content)
        assert not PictureFolder(tmp_path, about("a")).has("000-a/000000.png", WHO)


def test_another_run_is_refused_or_removed(tmp_path: Path) -> None:
    first = PictureFolder(tmp_path, about("a", "b"))
    first.write(first.path(1, 0), {**WHO, "class_id": 1, "class": "b"}, picture(), seed=1, attempt=0, size=8)
    first.compact()
    (tmp_path / "000-mine").mkdir()
    (tmp_path / "000-mine" / "keep.png").write_bytes(b"mine")
    for other, said in ((about("b", "a"), "other classes"), (about("a", "b", k=2), r"settings \(k: 1, now 2\)")):
        with pytest.raises(UsageError, match=said):
            PictureFolder(tmp_path, other)
    PictureFolder(tmp_path, about("b", "a"), overwrite=True)
    assert read_manifest(tmp_path) == []
    assert not (tmp_path / "001-b").exists()
    assert not (tmp_path / TABLE).exists()
    assert (tmp_path / "000-mine" / "keep.png").read_bytes() == b"mine"


def test_a_part_removes_nothing_of_the_others(tmp_path: Path) -> None:
    other = PictureFolder(tmp_path, about("a"), shard=(2, 2))
    other.write("000-a/000000.png", WHO, picture(), seed=1, attempt=0, size=8)
    with pytest.raises(UsageError, match="would remove what other parts made"):
        PictureFolder(tmp_path, about("b"), shard=(1, 2), overwrite=True)
    assert PictureFolder(tmp_path, about("a"), shard=(1, 2)).has("000-a/000000.png", WHO)


def test_scores_are_kept_with_the_content_they_are_of(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, about("a"))
    folder.write("000-a/000000.png", WHO, picture(), seed=1, attempt=0, size=8)
    sha = folder.rows[0]["sha256"]
    folder.score([{"path": "000-a/000000.png", "sha256": sha, "confidence": 0.5, "kept": False}])
    assert read_manifest(tmp_path)[0]["kept"] is False
    folder.write("000-a/000000.png", WHO, picture(99), seed=1, attempt=0, size=8)
    assert "kept" not in read_manifest(tmp_path)[0]


def test_pictures_are_cut_square_before_they_shrink() -> None:
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255
    assert np.asarray(square(Image.fromarray(wide), 10)).min() == 255
    assert square(Image.fromarray(wide), 5).size == (5, 5)
    same = Image.fromarray(wide[:, :10])
    assert square(same, 10) is same
