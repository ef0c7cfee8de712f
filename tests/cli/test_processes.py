"""Several processes under one command: what they read from the environment, and that they fit what one fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from clipwright.cli.app import run
from clipwright.cli.processes import Ranks, several_processes, world_of
from clipwright.core.errors import DataError, UsageError
from clipwright.core.journal import Journal

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}


def test_the_environment_says_who_is_there() -> None:
    assert world_of({}) == (0, 1)
    assert world_of({"RANK": "1", "WORLD_SIZE": "2"}) == (0, 1)  # some clusters set these for themselves
    assert world_of(TORCHRUN) == (1, 2)
    for wrong in ({"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}):
        with pytest.raises(UsageError, match="torchrun"):
            world_of({**TORCHRUN, **wrong})


def test_alone_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with several_processes() as ranks:
        assert not ranks.several
        assert not ranks.follows
        assert not torch.distributed.is_initialized()
        ranks.go()
        ranks.end(0)


def following(work: Callable[[], object], lead: Callable[[Ranks], None]) -> int:
    """The exit code of a process that follows `lead`, here a thread."""
    store = distributed.HashStore()  # type: ignore[attr-defined] # torch doesn't list it
    codes: list[object] = []

    def follow() -> None:
        try:
            Ranks(1, 2, store).follow(work)
            codes.append(0)
        except SystemExit as ended:
            codes.append(ended.code)

    thread = threading.Thread(target=follow)
    thread.start()
    lead(Ranks(0, 2, store))
    thread.join(timedelta(seconds=30).total_seconds())
    return int(str(codes[0]))


def test_those_that_follow_work_when_told_and_end_as_the_first_does() -> None:
    done: list[int] = []

    def fit(ranks: Ranks) -> None:
        ranks.go()
        ranks.end(0)

    assert following(lambda: done.append(1), fit) == 0
    assert done == [1]
    assert following(lambda: done.append(2), lambda ranks: ranks.end(2)) == 2
    assert following(lambda: done.append(3), lambda ranks: ranks.end(0)) == 0
    assert done == [1]

    def fail() -> None:
        raise DataError("both meet this one.")

    def both(ranks: Ranks) -> None:
        ranks.go()
        ranks.end(1)

    assert following(fail, both) == 1


def command(data: Path, out: Path, *more: str) -> list[str]:
    settings = ("epochs=2", "batch_size=12", "alpha=1", "learning_rate=0.001")
    asked = [part for setting in settings for part in ("--set", setting)]
    return ["fit", str(data), "--backbone", "tiny", "--method", "RegFT", "--shots", "8",
            "--device", "cpu", "--out", str(out), *asked, *more]  # fmt: skip


def started(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in two processes."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({} if home is None else {"CLIPWRIGHT_HOME": str(home)})
    line += ["-m", "clipwright.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.slow
def test_two_processes_fit_what_one_fits(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--views", "1", "--json")
    assert run(command(digits_folder, tmp_path / "one", *more)) == 0
    alone = json.loads(capsys.readouterr().out)
    done = started(*command(digits_folder, tmp_path / "two", *more), home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    together = json.loads(done.stdout)  # of the first process and no other
    assert together["evaluation"]["n"] == alone["evaluation"]["n"]
    compared = 0
    for one in sorted((tmp_path / "one").rglob("*.safetensors")):
        start = one.name.split("-")[0]  # a tower's file has its digest in its name
        expected, found = load_file(one), load_file(next((tmp_path / "two").rglob(f"{start}*.safetensors")))
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared > 5
    log = (tmp_path / "two" / "log.txt").read_text()
    assert log.count("fit: started") == log.count("finished") == 1
    journals = [Journal(path).rows() for path in (tmp_path / "home").rglob("*.jsonl")]
    assert len(journals) == 2  # the clean views and the augmented ones
    assert len({row["pid"] for rows in journals for row in rows if "pid" in row}) == 1


@pytest.mark.slow
def test_a_failure_is_said_once(digits_folder: Path, tmp_path: Path) -> None:
    done = started(*command(digits_folder, tmp_path / "out", "--set", "rank=3"))
    assert done.returncode != 0
    assert done.stderr.count("RegFT has no hyper-parameter 'rank'") == 1
    assert done.stderr.count("exitcode  : 2") >= 1
