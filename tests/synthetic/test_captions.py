from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import DataError, FormatError
from clipwright.synthetic.caption_groups import Group, write_groups
from clipwright.synthetic.caption_store import CaptionFolder
from clipwright.synthetic.captions import Caption, GroupCaption, is_captions, read_captions

V1 = Path(__file__).parent.parent / "data" / "captions_v1"
NAMES = ("great grey owl", "F-16A/B")
FIRST, SECOND = Group(0, 0, ("a", "b")), Group(0, 1, ("b", "b"))


def written(root: Path) -> Path:
    folder = CaptionFolder(root, NAMES, {"captioner": "x", "prompt": "What?"})
    folder.want(["a", "b", "c", "d", "e"])
    write_groups(root, [FIRST, SECOND], {})
    same: dict[str, Any] = {"size": 1, "mtime_ns": 2, "content": "cc"}
    folder.note_images([{"id": name, "key": f"k-{name}", **same} for name in "abcd"])
    folder.note_images([{"id": "e", "size": 1, "mtime_ns": 2, "problem": "the file is empty"}])
    folder.note_groups({FIRST: "k-g", SECOND: "k-h"})
    folder.keep([{"kind": "image", "key": "k-a", "text": "An owl.", "finish": "stop", "prompt": "What?"}])
    folder.keep([{"kind": "image", "key": "k-b", "text": "", "finish": "stop"}])
    folder.keep([{"kind": "image", "key": "k-c", "text": "A long", "finish": "length"}])
    folder.keep([{"kind": "group", "key": "k-g", "text": "Two owls.", "finish": "stop"}])
    folder.compact()
    return root


@pytest.mark.parametrize("by", ["journal", "table"])
def test_what_was_written_is_read(by: str, tmp_path: Path) -> None:
    root = written(tmp_path)
    if by == "table":
        (root / "journal.jsonl").unlink()
    assert is_captions(root)
    found = read_captions(str(root))
    assert (found.class_names, found.settings) == (NAMES, {"captioner": "x", "prompt": "What?"})
    assert found.ids == ("a", "b", "c", "d", "e")
    assert found.images["a"] == Caption("An owl.", "stop", "What?", "k-a")
    assert found.texts(["c", "a", "b", "d", "nobody"]) == ["A long", "An owl.", None, None, None]
    assert found.missing == ["d", "e"]
    assert found.problems == {"e": "the file is empty"}
    assert (found.flagged("empty"), found.flagged("truncated")) == (["b"], ["c"])
    assert found.groups == (
        GroupCaption(FIRST, Caption("Two owls.", "stop", "", "k-g")),
        GroupCaption(SECOND, None),
    )
    assert found.missing_groups == [SECOND]
    assert found.group_texts("Great-Grey_OWL") == ["Two owls."]
    assert found.group_texts("F-16A/B") == []
    assert found.classes_without_groups == ["F-16A/B"]
    with pytest.raises(DataError, match="know no class 'emu'"):
        found.group_texts("emu")


def test_the_first_version_loads_for_ever() -> None:
    found = read_captions(V1)
    assert found.class_names == NAMES
    assert found.text("a") == "An owl."
    assert found.group_texts("great grey owl") == ["Two owls."]
    assert (found.missing, found.problems) == (["d", "e"], {"e": "the file is empty"})
    assert [entry.group.members for entry in found.groups] == [("a", "b"), ("b", "b")]


def test_a_run_that_has_only_begun_is_read(tmp_path: Path) -> None:
    CaptionFolder(tmp_path, NAMES, {})
    found = read_captions(tmp_path)
    assert (found.ids, found.images, found.groups, found.missing) == ((), {}, (), [])


def test_what_is_not_whole_is_passed_over_and_later_rows_count(tmp_path: Path) -> None:
    root = written(tmp_path)
    more = [
        {"event": "caption", "key": "k-a", "text": "Later.", "date": "9999"},
        {"event": "caption", "key": "k-c", "text": "Earlier.", "date": "1000"},
        {"event": "caption", "key": 7, "text": "No key."},
        {"event": "caption", "key": "k-d"},
        {"event": "image", "key": "k-d"},
        {"event": "group", "members": "ab"},
        {"event": "something new"},
    ]
    lines = [json.dumps(row) for row in more] + ["[]", '{"event": "capt']
    (root / "journal-2of2.jsonl").write_text("\n".join(lines))
    found = read_captions(root)
    assert found.texts(["a", "c", "d"]) == ["Later.", "A long", None]
    shutil.copy(root / "journal.jsonl", root / "journal-1of2.jsonl")  # a part that was merged twice
    assert read_captions(root) == found


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("captions.json", None, "holds no captions: 'clipwright caption' writes them"),
        ("captions.json", "{", "damaged"),
        ("captions.json", '{"format": 2}', "update this one"),
        ("captions.json", '{"format": 1, "class_names": [1], "settings": {}}', "damaged"),
        ("images.json", '{"format": 2}', "update this one"),
        ("images.json", '{"format": 1, "ids": 3}', "damaged"),
        ("images.json", "[]", "damaged"),
        ("groups.json", '{"format": 1, "about": {}, "groups": [[7, 0, ["a"]]]}', "don't fit its classes"),
        ("captions.parquet", "PAR1", "damaged: copy the journals"),
    ],
)
def test_foreign_damaged_and_newer_files_are_refused(
    file: str, text: str | None, sentence: str, tmp_path: Path
) -> None:
    root = written(tmp_path)
    (root / "journal.jsonl").unlink()
    (root / file).unlink()
    if text is not None:
        (root / file).write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_captions(root)
