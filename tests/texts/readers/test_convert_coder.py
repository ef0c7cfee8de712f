"""tools/convert_coder.py: CODER's pickles become JSON, and no pickle gets to run anything."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from tools.convert_coder import RefusedError, Unpickler, check_instructions, lists_of_texts, main

from clipwright.texts import open_bank

REPO = Path(__file__).parent.parent.parent.parent


class Bomb:
    """What unpickling in the usual way would run."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.place}",))


class BombList(list[str]):
    """A list with a class of its own."""


@pytest.mark.parametrize("protocol", range(6))
def test_lists_of_texts_in_every_protocol(protocol: int) -> None:
    value = [["a", "ä" * 300, "a"], [], ("x", None), ["it's", "one \\ two\n"]]
    value.append(value[0])
    assert lists_of_texts(pickle.dumps(value, protocol)) == [list(item) for item in value]


def test_a_python_2_pickle() -> None:
    assert lists_of_texts(b"(lp0\n(lp1\nS'fur'\np2\naa.") == [["fur"]]


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    data = pickle.dumps([["a"], Bomb(marker)])
    pickle.loads(data)  # noqa: S301 - shows that the test's pickle does run something
    assert marker.exists()
    marker.unlink()
    with pytest.raises(RefusedError, match="instruction"):
        lists_of_texts(data)
    with pytest.raises(RefusedError, match=r"asks for (posix|nt)\.system"):  # the second lock holds without the first
        Unpickler(io.BytesIO(data)).load()
    assert not marker.exists()


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (pickle.dumps([BombList(["a"])]), "instruction"),
        (pickle.dumps([OrderedDict(a=1)]), "instruction"),
        (pickle.dumps([{"a": 1}]), "instruction EMPTY_DICT"),
        (pickle.dumps([[1]]), "instruction BININT1"),
        (pickle.dumps([[b"a"]]), "instruction"),
        (pickle.dumps([[1.5]]), "instruction BINFLOAT"),
        (pickle.dumps("text"), "it holds str, not a list"),
        (pickle.dumps(None), "it holds NoneType"),
        (pickle.dumps(["text"]), "item 0 is str"),
        (pickle.dumps([["a"], None]), "item 1 is NoneType"),
        (pickle.dumps([["a", ["b"]]]), "item 0 holds list"),
        (b"", "damaged"),
        (b"no pickle", "damaged"),
        (pickle.dumps([["abc"]])[:-4], "damaged"),
        (b"(lp0\nP1\n.", "PERSID"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "LONG_BINPUT 2147483647, which only wastes memory"),
        (b"cos\nsystem\n(S'true'\ntR.", "instruction GLOBAL"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "instruction STACK_GLOBAL"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"(i__main__\nBomb\n.", "instruction INST"),
        (b"\x80\x02]q\x00]q\x00e.", "damaged"),
    ],
)
def test_what_is_refused(data: bytes, wrong: str) -> None:
    with pytest.raises(RefusedError, match=wrong):
        lists_of_texts(data)


def test_a_list_that_stands_in_many_places_is_bounded() -> None:
    one = ["x"] * 3000
    with pytest.raises(RefusedError, match="more than 2,000,000 texts"):
        lists_of_texts(pickle.dumps([one] * 1000))
    round_trip: list[Any] = []
    round_trip.append(round_trip)
    with pytest.raises(RefusedError, match="item 0 holds list"):
        lists_of_texts(pickle.dumps(round_trip))


def test_nothing_is_looked_up_by_name() -> None:
    for module, name in (("builtins", "list"), ("os", "system"), ("collections", "OrderedDict")):
        with pytest.raises(RefusedError, match=f"{module}.{name}"):
            Unpickler(io.BytesIO(b"")).find_class(module, name)
    with pytest.raises(RefusedError):
        Unpickler(io.BytesIO(b"")).persistent_load("x")
    check_instructions(pickle.dumps([["a"]]))


def test_the_command_line_writes_what_is_read(knowledge: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "tools" / "convert_coder.py"), str(knowledge), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "attribute" / "small.json").read_text())[0] == [
        "a bushy tail",
        "pointed ears",
    ]
    assert open_bank(tmp_path / "out").counts["one-vs-one"] == 3


def test_one_bad_file_and_nothing_is_written(knowledge: Path, tmp_path: Path) -> None:
    (knowledge / "simile_class" / "small.pkl").write_bytes(pickle.dumps([Bomb(tmp_path / "ran")]))
    with pytest.raises(SystemExit, match=r"small\.pkl is not read: it has the instruction"):
        main([str(knowledge), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "ran").exists()
    with pytest.raises(SystemExit, match="give CODER's expert_knowledge"):
        main([str(tmp_path / "datasets"), str(tmp_path / "out")])
    (knowledge / "simile_class" / "small.pkl").unlink()
    (knowledge / "synonym" / "small.json").write_text("{")
    with pytest.raises(SystemExit, match="is not JSON"):
        main([str(knowledge), str(tmp_path / "out")])
