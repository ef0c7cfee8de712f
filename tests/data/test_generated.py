"""Folders of generated images: labels come from the manifest, whatever folders are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipwright.core.errors import DataError, FormatError
from clipwright.core.journal import Journal
from clipwright.data import open_data
from clipwright.data.generated import FILE, TABLE, Generated, is_generated, read_generated, read_manifest, table_bytes

NAMES = ("zebra", "F-16A/B", "ant")  # neither sorted nor fit for folders


def row(class_id: int, index: int = 0, **more: Any) -> dict[str, Any]:
    path = f"{2 - class_id:03d}-x/{index:06d}.png"  # folders sort against the labels
    known = {"event": "made", "status": "made", "sha256": f"{class_id}{index}", "class": NAMES[class_id]}
    return {"path": path, "class_id": class_id, "index": index, **known, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "made"
    about = Generated(NAMES, NAMES, ("002-x", "001-x", "000-x"), ("a {}.",), {"generator": "renderer"})
    root.mkdir()
    (root / FILE).write_text(json.dumps(about.as_json()))
    rows = [row(c, i) for i in range(2) for c in range(3)]
    for entry in rows:
        path = root / entry["path"]
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (80 * entry["class_id"], 0, 0)).save(path)
    Journal(root / "manifest.jsonl").extend(rows)
    return root


def test_labels_are_those_of_the_manifest(folder: Path) -> None:
    assert is_generated(folder)
    data = open_data(folder)
    assert data.class_names == NAMES
    assert data.templates == ("a {}.",)
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.rows("generated").tolist() == [0, 1, 2, 3, 4, 5]
    assert data.is_generated.all()
    assert data.is_training.all()  # there is nothing else to draw from
    assert data.reader is not None
    for source, label in zip(data.table["source"].to_pylist(), data.labels, strict=True):
        assert np.asarray(data.reader.read(source).image)[0, 0, 0] == 80 * label
    assert not open_data(folder, labels=False).is_labelled.any()
    assert open_data(folder, ["a", "b", "c"]).class_names == ("a", "b", "c")


def test_dropped_lost_and_blocked_images_are_left_out_and_told(folder: Path) -> None:
    journal = Journal(folder / "manifest.jsonl")
    dropped, lost = row(0), row(1)
    journal.append({"event": "scored", "path": dropped["path"], "sha256": dropped["sha256"], "kept": False})
    journal.append({"event": "scored", "path": lost["path"], "sha256": "of another content", "kept": False})
    (folder / lost["path"]).unlink()
    journal.append({**row(2, 2), "status": "blocked", "event": "blocked"})
    data = open_data(folder)
    assert data.counts().tolist() == [1, 1, 2]
    notes = " ".join(data.notes)
    assert "Left out 1 generated image that a filter dropped." in notes
    assert "Skipped 1 generated image: no such file." in notes
    assert "A safety filter blocked 1 generated image ('ant')." in notes


def test_parts_are_read_together_and_the_latest_row_counts(folder: Path) -> None:
    newer, older = row(0, date="2026-02-02"), row(0, date="2026-01-01")
    Journal(folder / "manifest-2of2.jsonl").extend([row(2, 7), {**newer, "sha256": "new"}])
    Journal(folder / "manifest-1of2.jsonl").extend([{**older, "sha256": "old"}])
    rows = read_manifest(folder)
    assert len(rows) == 7
    assert rows[0]["sha256"] == "new"


def test_the_table_says_what_the_journals_say(folder: Path) -> None:
    rows = read_manifest(folder)
    (folder / TABLE).write_bytes(table_bytes([{**r, "settings": {"a": 1}} for r in rows]))
    assert pq.read_table(folder / TABLE)["class_id"].to_pylist() == [0, 0, 1, 1, 2, 2]
    (folder / "manifest.jsonl").unlink()
    again = read_manifest(folder)
    assert [r["path"] for r in again] == [r["path"] for r in rows]
    assert again[0]["settings"] == {"a": 1}
    assert open_data(folder).labels.tolist() == [0, 0, 1, 1, 2, 2]
    (folder / TABLE).write_bytes(b"no table")
    with pytest.raises(FormatError, match="is damaged"):
        open_data(folder)


@pytest.mark.parametrize("path", ["../../etc/x.png", "/etc/x.png", "a/b/c.png", "..", "../x.png", "a/.."])
def test_rows_that_lead_out_of_the_folder_are_passed_over(folder: Path, path: str) -> None:
    Journal(folder / "manifest.jsonl").append({**row(0, 9), "path": path})
    assert len(read_manifest(folder)) == 6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"format": 2}', "newer clipwright"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1, "class_names": ["a"]}', "is damaged"),
        (json.dumps(Generated(("a", "a"), ("a", "a"), ("0", "1"), (), {}).as_json()), "don't fit together"),
    ],
)
def test_damaged_and_newer_files_are_refused(folder: Path, content: str, said: str) -> None:
    (folder / FILE).write_text(content)
    with pytest.raises(FormatError, match=said):
        read_generated(folder)


def test_an_empty_folder_says_what_to_do(folder: Path) -> None:
    (folder / "manifest.jsonl").unlink()
    with pytest.raises(DataError, match="no generated image yet"):
        open_data(folder)
