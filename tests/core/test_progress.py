"""Progress: plain lines, a bar on a terminal, silence, and what the log keeps."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from clipwright.core import progress as module
from clipwright.core.progress import progress


def test_plain_lines_say_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PLAIN_EVERY", 0.0)
    with progress("extract pets", 10) as advance:
        advance(4)
        advance()
        advance(5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"extract pets: {n}/10 images" for n in (4, 5, 10)]
    assert all("/s, " in line and line.endswith(" left") for line in lines)
    assert lines[-1].endswith("0:00 left")


def test_lines_are_not_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("extract", 1000) as advance:
        for _ in range(1000):
            advance()
    assert len(capsys.readouterr().err.splitlines()) <= 2


def test_names_are_text_not_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("extract [/red]\x1b[2J", 1) as advance:
        advance()
    assert capsys.readouterr().err.startswith("extract [/red]?[2J: 1/1")


def test_a_meter_is_asked_when_progress_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PLAIN_EVERY", 0.0)
    counts = iter([3, 7])
    with progress("describe", 2, "texts", meter=lambda: f"{next(counts)} calls, cost 0.03") as advance:
        advance()
        advance()
    assert [line.split("left, ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "3 calls, cost 0.03",
        "7 calls, cost 0.03",
    ]


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("extract", 3, quiet=True) as advance:
        advance(3)
    with progress("extract", 0) as advance:
        advance(0)
    assert not capsys.readouterr().err


def test_the_log_keeps_numbers_also_when_quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress("extract", 3, unit="texts", quiet=True) as advance:
        advance(3)
    (record,) = caplog.records
    assert "extract: 3/3 texts" in record.getMessage()
    assert record.metrics["done"] == 3  # type: ignore[attr-defined]


def test_errors_pass_through() -> None:
    numbers: dict[str, int] = {}
    with pytest.raises(KeyError), progress("extract", 3) as advance:
        advance(numbers["missing"])


def test_durations() -> None:
    assert [module._duration(s) for s in (0, 59.6, 61, 3599, 3661)] == ["0:00", "1:00", "1:01", "59:59", "1:01:01"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no pseudo-terminals")
def test_a_bar_on_a_terminal() -> None:
    parent, child = os.openpty()
    program = (
        "from clipwright.core.progress import progress\n"
        "with progress('extract pets', 8) as advance:\n    advance(8)\n    print('done')"
    )
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=child, check=True, env=environment
    )
    os.close(child)
    said = os.read(parent, 1 << 16).decode()
    os.close(parent)
    assert done.stdout == b"done\n"
    assert "extract pets" in said
    assert "8/8 images" in said
