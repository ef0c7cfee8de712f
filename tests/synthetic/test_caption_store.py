from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.synthetic.caption_groups import Group
from clipwright.synthetic.caption_store import CaptionFolder, caption_key, one_line
from clipwright.synthetic.captions import read_captions

VIEW, SETTINGS = {"view": "thumbnail", "side": 336}, {"model": "m", "max_tokens": 77}
ROW: dict[str, Any] = {"id": "a", "size": 3, "mtime_ns": 5, "content": "c", "key": "k"}


def test_a_key_follows_everything_that_a_caption_follows() -> None:
    keys = {
        caption_key(["a"], "p", VIEW, SETTINGS),
        caption_key(["b"], "p", VIEW, SETTINGS),
        caption_key(["a", "b"], "p", VIEW, SETTINGS),
        caption_key(["b", "a"], "p", VIEW, SETTINGS),
        caption_key(["a"], "q", VIEW, SETTINGS),
        caption_key(["a"], "p", {**VIEW, "side": 24}, SETTINGS),
        caption_key(["a"], "p", VIEW, {**SETTINGS, "model": "n"}),
    }
    assert len(keys) == 7
    assert caption_key(["a"], "p", dict(reversed(VIEW.items())), SETTINGS) in keys


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "journal.jsonl").read_text().splitlines()]


def test_rows_that_say_nothing_new_are_not_written_again(tmp_path: Path) -> None:
    folder = CaptionFolder(tmp_path, ["x"], {})
    group = Group(0, 0, ("a",))
    for _ in range(2):
        folder.note_images([ROW])
        folder.note_groups({group: "g"})
    assert len(lines(tmp_path)) == 2
    folder.note_images([{**ROW, "problem": "cut short"}])
    folder.note_images([ROW])
    folder.note_groups({group: "h"})
    assert len(lines(tmp_path)) == 5
    again = CaptionFolder(tmp_path, ["x"], {})
    again.note_images([ROW])
    assert len(lines(tmp_path)) == 5
    assert "problem" not in again.rows.images["a"]


def test_a_content_is_known_as_long_as_the_file_looks_the_same(tmp_path: Path) -> None:
    folder = CaptionFolder(tmp_path, ["x"], {})
    folder.note_images([ROW, {**ROW, "id": "b", "mtime_ns": 0}])
    assert folder.content("a", 3, 5) == "c"
    assert folder.content("a", 4, 5) is None
    assert folder.content("a", 3, 6) is None
    assert folder.content("b", 3, 0) is None  # no time of change is no sign
    assert folder.content("nobody", 3, 5) is None


def test_parts_keep_journals_of_their_own(tmp_path: Path) -> None:
    for part in (1, 2):
        folder = CaptionFolder(tmp_path, ["x"], {}, shard=(part, 2))
        folder.want(["a", "b"])
        folder.note_images([{**ROW, "id": "ab"[part - 1], "key": f"k{part}"}])
        folder.keep([{"kind": "image", "key": f"k{part}", "text": f"{part}", "finish": "stop"}])
    assert {p.name for p in tmp_path.glob("journal*")} == {"journal-1of2.jsonl", "journal-2of2.jsonl"}
    folder.compact()  # begun before the other part ended, it counts what that wrote
    assert read_captions(tmp_path).texts("ab") == ["1", "2"]


def test_other_settings_or_classes_are_refused_and_overwrite_removes_ours_alone(tmp_path: Path) -> None:
    folder = CaptionFolder(tmp_path, ["x"], {"model": "m"})
    folder.want(["a"])
    folder.keep([{"kind": "image", "key": "k", "text": "t", "finish": "stop"}])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"by other settings \(model: 'm', now 'n'\)"):
        CaptionFolder(tmp_path, ["x"], {"model": "n"})
    with pytest.raises(UsageError, match="of other classes"):
        CaptionFolder(tmp_path, ["y"], {"model": "m"})
    fresh = CaptionFolder(tmp_path, ["y"], {"model": "n"}, overwrite=True)
    assert not fresh.is_known("k")
    assert {p.name for p in tmp_path.iterdir()} == {"captions.json", "notes.txt"}


def test_a_part_removes_nothing_of_the_others(tmp_path: Path) -> None:
    other = CaptionFolder(tmp_path, ["x"], {}, shard=(2, 2))
    other.keep([{"kind": "image", "key": "k", "text": "t", "finish": "stop"}])
    with pytest.raises(UsageError, match="would remove what other parts made"):
        CaptionFolder(tmp_path, ["x"], {}, shard=(1, 2), overwrite=True)
    assert CaptionFolder(tmp_path, ["x"], {}, shard=(1, 2)).is_known("k")
    assert not CaptionFolder(tmp_path / "new", ["x"], {}, shard=(1, 2), overwrite=True).is_known("k")


def test_an_id_of_several_images_is_refused(tmp_path: Path) -> None:
    folder = CaptionFolder(tmp_path, ["x"], {})
    with pytest.raises(DataError, match="'a' is the id of several images"):
        folder.want(["a", "b", "a"])


def test_a_caption_is_one_printable_line() -> None:
    assert one_line("  A\tdog \r\n on\x1b grass.\n") == "A dog on grass."
    assert one_line("\ud800 caf\u0065\u0301") == "? café"
