from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.synthetic.generators.test_endpoint import painted, serving
from tests.synthetic.scripted import failed

from clipwright.cli.app import run
from clipwright.data import open_data

KEY = "sk-very-secret-123"

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "names.txt").write_text("great grey owl\nF-16A/B\n")
    return tmp_path


def test_a_folder_is_filled_told_continued_and_opened(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["generate", "shapes", "--per-class", "2", "--out", "made"]
    assert run([*wanted, "--dry-run"]) == 0
    assert "28 images to make: at most " in capsys.readouterr().out
    assert not Path("made").exists()
    assert run(wanted) == 0
    told = capsys.readouterr()
    assert "made: 14 classes, 28 images made, 0 there before." in told.out
    assert "28 images to make: at most " in told.err
    assert run([*wanted, "--quiet", "--json", "--per-class", "3"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["made"], again["there"]) == (14, 28)
    assert open_data("made").counts().tolist() == [3] * 14
    assert run(["generate", "digits", "--out", "made"]) == 2
    assert "holds a run with another names" in capsys.readouterr().err
    assert run([*wanted, "--seed", "1"]) == 2
    assert run([*wanted, "--seed", "1", "--overwrite", "--quiet"]) == 0
    assert open_data("made").counts().tolist() == [2] * 14
    assert run(["generate", "--config", "made/config.json", "shapes", "--out", "made", "--quiet"]) == 0


@pytest.mark.parametrize(
    "wanted", [["generate", "shapes", "--per-class", "2"], ["caption", "shapes", "--backbone", "tiny", "--groups", "0"]]
)
def test_one_part_of_several_removes_nothing(capsys: pytest.CaptureFixture[str], wanted: list[str]) -> None:
    wanted = [*wanted, "--out", "made", "--quiet", "--shard", "1/9"]
    assert run([*wanted, "--overwrite"]) == 0  # nothing is there yet
    before = {path: path.stat().st_mtime_ns for path in Path("made").rglob("*")}
    capsys.readouterr()
    assert run([*wanted, "--seed", "1", "--overwrite"]) == 2
    assert "would remove what other parts made in made" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path("made").rglob("*")} == before


def test_scores_and_the_gap_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["generate", "digits", "--per-class", "3", "--out", "made", "--backbone", "tiny", "--agree"]
    assert run([*wanted, "--real", "digits", "--sheet", "sheet.png"]) == 0
    told = capsys.readouterr()
    assert "of 30 images are kept." in told.out
    assert "told from real ones with an AUC of" in told.out
    assert "Warning: The generated images look unlike the real ones" in told.err
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "look unlike" in Path("made/log.txt").read_text()


def test_a_server_paints_and_its_failures_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda body, n: painted(body) if n != 2 else failed(401, KEY)) as server:
        wanted = ["generate", "names.txt", "--per-class", "2", "--generator", "endpoint", "--base-url", server.base_url]
        wanted += ["--model", "painter", "--template", "a {}!", "--out", "made", "--concurrency", "1"]
        assert run(wanted) == 1
        err = capsys.readouterr().err
        assert "refused the API key" in err
        assert run([*wanted, "--json"]) == 0
        done = json.loads(capsys.readouterr().out)
        assert done["made"] + done["there"] == 4
        assert done["there"] >= 2  # what came before the failure, or was in flight beside it, isn't paid again
        assert done["calls"] == done["made"] == len(server.requests) - 1 - done["there"]
        assert {r["prompt"] for r in server.requests} == {"a great grey owl!", "a F-16A/B!"}
    everything = [err, *(p.read_text(errors="replace") for p in Path("made").rglob("*") if p.is_file())]
    assert KEY not in "".join(everything)
    assert open_data("made").class_names == ("great grey owl", "F-16A/B")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--out is missing"),
        (["--out", "x"], "the renderer draws digits"),
        (["--out", "x", "--base-url", "http://127.0.0.1:9/v1"], "takes no --base-url"),
        (["--out", "x", "--generator", "endpoint"], "needs --base-url and --model"),
        (["--out", "x", "--generator", "diffusers", "--model", "owner/name"], "needs --revision"),
        (["--out", "x", "--steps", "5"], "takes no --steps"),
        (["--out", "x", "--shard", "3/2"], "no part 3 of 2"),
    ],
)
def test_mistakes_are_one_sentence(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "names.txt", *more]) in {1, 2}
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
