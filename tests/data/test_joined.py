"""Generated images beside a data set's own: ids, readers, classes; what doesn't fit is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipwright.core.errors import DataError, UsageError
from clipwright.core.journal import Journal
from clipwright.data import open_data
from clipwright.data.dataset import Dataset
from clipwright.data.generated import FILE, Generated
from clipwright.data.joined import JoinedReader, join_generated, read_folder
from clipwright.engine.wire import pack, unpack

NAMES = ("red thing", "blue", "green")


def generate(root: Path, names: Sequence[str] = NAMES, images: Sequence[int] = (2, 2, 2)) -> Path:
    """A folder as generate writes it; the pixels of class c are c, 9, 9."""
    root.mkdir()
    folders = tuple(f"{c:03d}-x" for c in range(len(names)))
    (root / FILE).write_text(json.dumps(Generated(tuple(names), tuple(names), folders, (), {}).as_json()))
    rows = []
    for c, count in enumerate(images):
        for i in range(count):
            path = f"{folders[c]}/{i:06d}.png"
            (root / path).parent.mkdir(exist_ok=True)
            Image.new("RGB", (4, 4), (c, 9, 9)).save(root / path)
            rows.append({"path": path, "class_id": c, "class": names[c], "index": i, "status": "made", "event": "made"})
    Journal(root / "manifest.jsonl").extend(rows)
    return root


@pytest.fixture
def real(tmp_path: Path) -> Dataset:
    root = tmp_path / "real"
    for c, name in enumerate(("blue", "green", "Red_thing")):
        for i in range(3):
            path = root / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (100 + c, i, 0)).save(path)
    return open_data(root)


def test_rows_classes_and_readers(real: Dataset, tmp_path: Path) -> None:
    joined = join_generated(real, read_folder(generate(tmp_path / "made")))
    assert joined.name == real.name
    assert joined.class_names == real.class_names
    assert joined.ids[: len(real)] == real.ids
    assert len(set(joined.ids)) == len(joined) == len(real) + 6
    assert joined.splits.tolist() == [""] * 9 + ["generated"] * 6
    assert joined.is_generated.tolist() == [False] * 9 + [True] * 6
    assert joined.is_training.tolist() == [True] * 9 + [False] * 6
    assert joined.counts("", "train").tolist() == [3, 3, 3]
    assert joined.reader is not None
    own = {"blue": 100, "green": 101, "Red thing": 102}
    made = {"Red thing": 0, "blue": 1, "green": 2}
    contents = set()
    for row, source in enumerate(joined.table["source"].to_pylist()):
        decoded = joined.reader.read(source)
        name = joined.class_names[joined.labels[row]]
        assert np.asarray(decoded.image)[0, 0, 0] == (made if joined.is_generated[row] else own)[name]
        assert joined.reader.content(source) == decoded.content  # type: ignore[attr-defined] # a JoinedReader
        contents.add(decoded.content)
    assert joined.digest != real.digest
    assert "6 generated images of made stand beside the data's own." in joined.notes


def test_the_reader_travels_to_workers(real: Dataset, tmp_path: Path) -> None:
    reader = join_generated(real, read_folder(generate(tmp_path / "made"))).reader
    assert unpack([bytes(part) for part in pack(reader)]) == reader


def test_embedded_data(tmp_path: Path) -> None:
    digits = open_data("digits")
    joined = join_generated(digits, read_folder(generate(tmp_path / "made", digits.class_names, (1,) * 10)))
    assert joined.counts("generated").tolist() == [1] * 10
    assert joined.templates == digits.templates
    assert joined.splits[: len(digits)].tolist() == digits.splits.tolist()
    sources = joined.table["source"].to_pylist()
    reader = joined.reader
    assert isinstance(reader, JoinedReader)
    for row in (0, len(joined) - 1):
        assert reader.content(sources[row]) == reader.read(sources[row]).content


def test_unlabeled_data(real: Dataset, tmp_path: Path) -> None:
    joined = join_generated(real.without_labels(), read_folder(generate(tmp_path / "made")))
    assert joined.counts().tolist() == [2, 2, 2]
    assert not joined.is_labelled[:9].any()


def test_identifiers_stay_unique(tmp_path: Path) -> None:
    for name in ("generated", "grown"):  # a class whose images are called like generated ones
        (tmp_path / "real" / name / "000-x").mkdir(parents=True)
        Image.new("RGB", (4, 4), (77, 7, 7)).save(tmp_path / "real" / name / "000-x" / "000000.png")
    joined = join_generated(
        open_data(tmp_path / "real"), read_folder(generate(tmp_path / "made", ("generated", "grown"), (1, 1)))
    )
    assert len(set(joined.ids)) == len(joined) == 4
    assert joined.reader is not None
    colours = [np.asarray(joined.reader.read(s).image)[0, 0, 0] for s in joined.table["source"].to_pylist()]
    assert colours == [77, 77, 0, 1]


def test_classes_without_images_and_classes_that_the_data_lack_are_told(real: Dataset, tmp_path: Path) -> None:
    joined = join_generated(real, read_folder(generate(tmp_path / "made", NAMES, (2, 0, 1))))
    assert "1 class has no generated image ('blue')." in joined.notes
    base = real.class_subset("base")
    halved = join_generated(base, read_folder(tmp_path / "made"))
    assert halved.class_names == ("Red thing", "blue")
    assert halved.counts("generated").tolist() == [2, 0]
    assert "Left out 1 generated image of 1 class that real doesn't have ('green')." in halved.notes
    whole = join_generated(real, read_folder(generate(tmp_path / "part", NAMES[:2], (1, 1))))
    assert "1 class has no generated image ('green')." in whole.notes


def test_what_does_not_fit_is_one_sentence(real: Dataset, tmp_path: Path) -> None:
    folder = read_folder(generate(tmp_path / "made", ("rouge", "blue", "green")))
    with pytest.raises(DataError, match=r"1 class of made \('rouge'\) can't be told among those of real"):
        join_generated(real, folder)
    good = read_folder(generate(tmp_path / "good"))
    with pytest.raises(DataError, match="other images than generated ones"):
        join_generated(real, real)
    with pytest.raises(UsageError, match="holds generated images already"):
        join_generated(join_generated(real, good), good)
    with pytest.raises(UsageError, match="holds generated images already"):
        join_generated(good, good)
    with pytest.raises(DataError, match=r"not written by 'clipwright generate' \(it has no generated.json\)"):
        read_folder(tmp_path / "real")
    empty = read_folder(generate(tmp_path / "half", ("red thing", "blue", "green"), (1, 0, 0)))
    with pytest.raises(DataError, match="holds no image of a class of real"):
        join_generated(real.class_subset("new"), empty)


def test_bundles_are_refused(real: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    np.savez(path, image_features=np.eye(3, dtype=np.float32), labels=[0, 1, 2], class_names=np.array(NAMES))
    with pytest.raises(UsageError, match="is a feature bundle, beside which images can't be put"):
        join_generated(open_data(path), read_folder(generate(tmp_path / "made")))


def test_a_bundle_may_say_which_rows_are_generated(tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    split = np.array(["train", "test", "generated"])
    np.savez(path, image_features=np.eye(3), labels=[0, 1, 2], class_names=np.array(NAMES), split=split)
    assert open_data(path).is_generated.tolist() == [False, False, True]
