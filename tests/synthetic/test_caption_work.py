"""What is looked at: nothing that is known is read again, and nothing at all is decoded before it is shown."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.synthetic.viewer import guesses, photos

from clipwright.data.dataset import Dataset, DecodedImage
from clipwright.data.images import FileReader
from clipwright.synthetic.caption_groups import draw_groups
from clipwright.synthetic.caption_prompts import CaptionPrompts
from clipwright.synthetic.caption_store import CaptionFolder
from clipwright.synthetic.caption_work import Files, Unit, Work, rows_of
from clipwright.synthetic.captioners import CaptionEndpoint, Said
from clipwright.synthetic.collage import View
from clipwright.synthetic.endpoint import Endpoint


@dataclass
class Watched:
    """A reader that remembers what it was asked for."""

    reader: FileReader
    hashed: list[str] = field(default_factory=list)
    decoded: list[str] = field(default_factory=list)

    def read(self, source: str) -> DecodedImage:
        self.decoded.append(source)
        return self.reader.read(source)

    def content(self, source: str) -> str:
        self.hashed.append(source)
        return self.reader.content(source)


def work_of(dataset: Dataset, reader: Watched, shard: tuple[int, int] = (1, 1), prompt: str = "What?") -> Work:
    captioner = CaptionEndpoint(Endpoint("http://127.0.0.1:1", "m"))
    taken = guesses(dataset)
    groups = draw_groups(taken, dataset.class_names, per_class=2)
    prompts = CaptionPrompts(prompt, "And these?")
    return Work(
        Files(dataset, reader), captioner, View("thumbnail", 24), prompts, dataset.class_names, taken, groups, shard
    )


def keep(folder: CaptionFolder, units: list[Unit]) -> None:
    folder.keep(rows_of(units, [(i, Said("x")) for i in range(len(units))], str.strip))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return photos(tmp_path / "photos")


def reader_of(data: Dataset) -> Watched:
    assert isinstance(data.reader, FileReader)
    return Watched(data.reader)


def test_nothing_is_read_twice_and_nothing_known_is_decoded(data: Dataset, tmp_path: Path) -> None:
    reader = reader_of(data)
    folder = CaptionFolder(tmp_path / "out", data.class_names, {})
    units = work_of(data, reader).lacking(folder, quiet=True)
    assert len(units) == 12 + 6
    assert sorted(reader.hashed) == sorted(data.ids)  # once each, members of groups too
    assert reader.decoded == []
    units[0].job.picture()
    assert reader.decoded == [units[0].image_id]
    keep(folder, units)
    again = reader_of(data)
    assert work_of(data, again).lacking(CaptionFolder(tmp_path / "out", data.class_names, {}), quiet=True) == []
    assert (again.hashed, again.decoded) == ([], [])


def test_a_touched_file_is_hashed_again_and_another_prompt_is_other_work(data: Dataset, tmp_path: Path) -> None:
    folder = CaptionFolder(tmp_path / "out", data.class_names, {})
    keep(folder, work_of(data, reader_of(data)).lacking(folder, quiet=True))
    os.utime(tmp_path / "photos" / "red-0.png", ns=(1, 1))
    touched = photos_again(data)
    reader = reader_of(touched)
    assert work_of(touched, reader).lacking(folder, quiet=True) == []  # the same bytes
    assert reader.hashed == ["red-0.png"]
    other = work_of(touched, reader_of(touched), prompt="A {class}?").lacking(folder, quiet=True)
    assert sorted(unit.job.prompt for unit in other) == ["A blue?"] * 4 + ["A green?"] * 4 + ["A red?"] * 4


def photos_again(data: Dataset) -> Dataset:
    from clipwright.data import open_data

    assert data.root is not None
    return open_data(data.root, list(data.class_names))


def test_parts_share_all_the_work_and_read_only_their_own(data: Dataset, tmp_path: Path) -> None:
    found: list[set[str]] = []
    for part in (1, 2, 3):
        reader = reader_of(data)
        work = work_of(data, reader, (part, 3))
        folder = CaptionFolder(tmp_path / str(part), data.class_names, {})
        found.append({unit.key for unit in work.lacking(folder, quiet=True)})
        members = {name for group in work.my_groups for name in group.members}
        assert set(reader.hashed) == {*work.my_images, *members}
    whole = work_of(data, reader_of(data)).lacking(CaptionFolder(tmp_path / "w", data.class_names, {}), quiet=True)
    assert found[0] | found[1] | found[2] == {unit.key for unit in whole}
    assert sum(map(len, found)) == len(whole)


def test_a_reader_that_can_not_hash_decodes(data: Dataset, tmp_path: Path) -> None:
    from clipwright.data import open_data

    embedded = open_data("digits").take(range(3))
    assert embedded.reader is not None
    files = Files(embedded, embedded.reader)
    assert files.content(embedded.ids[0]) == embedded.reader.read("0").content
    assert files.image(embedded.ids[0]).size == (32, 32)
    assert replace(embedded, name="x").ids == files.ids


def test_failed_jobs_give_no_rows(data: Dataset, tmp_path: Path) -> None:
    units = work_of(data, reader_of(data)).lacking(CaptionFolder(tmp_path, data.class_names, {}), quiet=True)
    rows = list(rows_of(units, [(0, Said(" a ", "length", "m-1")), (1, Said(problem="no"))], str.strip))
    assert rows == [
        {"kind": "image", "prompt": "What?", "key": units[0].key, "text": "a", "finish": "length", "answered_by": "m-1"}
    ]
