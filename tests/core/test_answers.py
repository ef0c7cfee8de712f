from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clipwright.core.answers import Answers, answer_key
from clipwright.core.home import home


def test_what_was_put_is_there_for_others_too() -> None:
    key = answer_key("digest", "/scores", b"body")
    assert Answers().get(key) is None
    Answers().put(key, b"answer")
    assert Answers().get(key) == b"answer"
    Answers().put(key, b"")
    assert Answers().get(key) == b""
    assert (home() / "answers" / key[:2] / key).is_file()


def test_keys_tell_everything_apart() -> None:
    asked = [
        ("a", "b"),
        ("ab",),
        ("a", "b", ""),
        (b"a", "b"),
        ("a", b"b"),
        (["a", "b"],),
        ({"a": 1, "b": 2},),
        ({"a": 1, "b": 3},),
        (1,),
        ("1",),
        (b"1",),
    ]
    assert len({answer_key(*parts) for parts in asked}) == len(asked)
    assert answer_key({"a": 1, "b": 2}) == answer_key({"b": 2, "a": 1})
    assert answer_key(bytearray(b"x")) == answer_key(b"x")


def test_a_damaged_answer_is_asked_for_again() -> None:
    answers, key = Answers(), answer_key("x")
    answers.put(key, b"good")
    path = answers.folder / key[:2] / key
    for damage in (path.read_bytes()[:-1], b"", b"\0" * 40):
        path.write_bytes(damage)
        assert answers.get(key) is None
        assert not path.exists()
    answers.put(key, b"good")
    assert answers.get(key) == b"good"


def test_what_was_unused_for_longest_makes_room(tmp_path: Path) -> None:
    answers = Answers(tmp_path, most=1000)
    keys = [answer_key(i) for i in range(6)]
    for age, key in enumerate(keys[:5]):
        answers.put(key, b"x" * 168)  # 200 bytes each, with the checksum
        os.utime(tmp_path / key[:2] / key, (age, age))
    assert answers.get(keys[0]) is not None  # used just now
    answers.put(keys[5], b"x" * 168)
    left = {key for key in keys if answers.get(key) is not None}
    assert left == {keys[0], keys[3], keys[4], keys[5]}


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    note = tmp_path / "sent" / "x.jsonl"
    note.parent.mkdir()
    note.write_text("x" * 5000)
    answers = Answers(tmp_path, most=100)
    answers.put(answer_key(1), b"x" * 200)
    assert note.exists()


def test_a_folder_that_can_not_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answers = Answers(tmp_path / "file")
    with pytest.warns(UserWarning, match="answers can't be kept in .*file.*, so a run that is continued"):
        answers.put(answer_key(1), b"x")
    assert answers.get(answer_key(1)) is None


def test_a_killed_process_leaves_what_it_put(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal\n"
        "from clipwright.core.answers import Answers, answer_key\n"
        f"answers = Answers(pathlib.Path({str(tmp_path)!r}))\n"
        "answers.put(answer_key('x'), b'paid')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode < 0
    assert Answers(tmp_path).get(answer_key("x")) == b"paid"
