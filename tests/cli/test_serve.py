from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tests.serve.made import NAMES, connect, pictures, prompts, tiny

from clipwright.cli.app import run
from clipwright.core.backoff import Patience

SECRET, OTHER = "kept-to-itself", "another"


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A server in a process of its own, and what it printed once it was ready."""
    command = [sys.executable, "-m", "clipwright.cli", "serve", "--backbone", "tiny", "--json", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert process.stdout is not None
        lines = ""
        while not lines.rstrip().endswith("}") or lines.count("{") != lines.count("}"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            lines += line
        yield process, json.loads(lines)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_when_asked_to(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    arguments = ["--token-file", str(tmp_path / "token"), "--access", "scores, labels", "--max-batch", "7"]
    with started("--port", "0", *arguments, CLIPWRIGHT_TOKEN=OTHER) as (process, said):
        assert said["url"].startswith("http://127.0.0.1:")
        assert said["access"] == ["labels", "scores"]
        assert said["limits"]["images"] == 7
        assert said["digest"] == tiny().digest
        right = {"authorization": f"Bearer {SECRET}"}
        assert httpx.get(f"{said['url']}/info", headers=right, trust_env=False).json()["access"] == said["access"]
        assert httpx.get(f"{said['url']}/info", trust_env=False).status_code == 401
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0
        assert out == ""
        assert err.splitlines()[-1] == "Stopped."
        assert "Traceback" not in err
        assert SECRET not in err


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIPWRIGHT_TOKEN", raising=False)
    pixels, contexts = pictures(6), prompts(6)
    local = tiny().soft_prompts(NAMES)
    with started("--port", "0") as (process, said):
        backbone = connect(said["url"], Patience(first=0.2, longest=0.5, total=200, connect=1, read=30))
        handles = backbone.upload(pixels)
        box = backbone.soft_prompts(NAMES)
        first = box.prompt_scores(contexts[:3], handles)
        process.kill()
        process.wait()
        port = said["url"].rsplit(":", 1)[1]
        command = [sys.executable, "-m", "clipwright.cli", "serve", "--backbone", "tiny", "--port", port]
        again = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = box.prompt_scores(contexts, handles)  # waits until it is back, and sends the images again
        finally:
            again.kill()
            again.wait()
    local.features.update(zip(handles, tiny().images(pixels).x, strict=True))
    torch.testing.assert_close(found, local.prompt_scores(contexts, handles))
    assert torch.equal(found[:3], first)
    assert box.spent.prompts == 6
    assert backbone.spent.images == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the model to serve: --backbone tiny"),
        (
            ["--backbone", "tiny", "--access", "scores,gradients", "--port", "0"],
            "--access must name one or more of",
        ),
        (["--backbone", "tiny", "--access", "weights", "--port", "0"], "--access must name one or more of"),
        (["--backbone", "tiny", "--access", ",", "--port", "0"], "--access must name one or more of"),
        (["--backbone", "tiny", "--host", "no.such.host.invalid"], "can't be bound"),
        (["--backbone", "tiny", "--port", "70000"], "--port"),
        (["--backbone", "tiny", "--token-file", "missing"], "--token-file missing can't be read: No such file"),
        (["--backbone", "nothing"], "there is no backbone 'nothing': write one of"),
    ],
)
def test_bad_usage_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLIPWRIGHT_TOKEN", raising=False)
    assert run(["serve", "--port", "0", *arguments]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("Error: ")
    assert message in err


@pytest.mark.parametrize("content", ["", "  \n", "two words"])
def test_a_token_file_must_hold_a_token(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    assert run(["serve", "--backbone", "tiny", "--port", "0", "--token-file", str(file)]) == 2
    err = capsys.readouterr().err
    assert str(file) in err
    assert "two words" not in err


def test_a_server_that_all_can_reach_without_a_token_is_warned_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLIPWRIGHT_TOKEN", raising=False)
    arguments = ["serve", "--backbone", "tiny", "--access", "weights", "--port", "0"]  # ends before it serves
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run([*arguments, "--host", "0.0.0.0"])  # noqa: S104 - what is tested
        assert "Warning: whoever reaches 0.0.0.0 may ask this server: set CLIPWRIGHT_TOKEN" in capsys.readouterr().err
        run(arguments)
        assert "whoever reaches" not in capsys.readouterr().err
        monkeypatch.setenv("CLIPWRIGHT_TOKEN", SECRET)
        run([*arguments, "--host", "0.0.0.0"])  # noqa: S104 - what is tested
        err = capsys.readouterr().err
        assert "whoever reaches" not in err
        assert SECRET not in err
