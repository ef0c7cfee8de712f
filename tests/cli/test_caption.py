from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.synthetic.scripted import ScriptedServer, failed
from tests.synthetic.viewer import photos, viewer

import clipwright
from clipwright.cli.app import run
from clipwright.synthetic.captions import read_captions

KEY = "sk-very-secret-123"

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    photos(tmp_path / "photos")
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    return tmp_path


def test_help_imports_neither_torch_nor_open_clip() -> None:
    program = "from clipwright.cli import main\nassert main(['caption', '--help']) == 0\nimport sys\n"
    program += "assert not {'torch', 'open_clip', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_phrases_are_the_default_and_zero_shot_says_what_belongs_together(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["caption", "photos", "--classes", "names.txt", "--backbone", "tiny", "--out", "said", "--groups", "2"]
    assert run([*wanted, "--dry-run"]) == 0
    assert capsys.readouterr().out == "18 captions to write at most: 12 images and up to 6 groups, 0 there\n"
    assert not Path("said").exists()
    assert run(wanted) == 0
    told = capsys.readouterr()
    assert "12 images and " in told.out
    assert "captions written" in told.out
    assert "captions to write, of" in told.err
    found = read_captions("said")
    assert found.missing == []
    assert found.groups
    assert found.settings["captioner"] == "phrases"
    said = " ".join(str(found.text(name)) for name in found.ids)
    assert not {"red", "green", "blue"} & set(said.replace(".", " ").replace(",", " ").split())
    assert run([*wanted, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 0
    assert run([*wanted, "--groups", "3", "--quiet"]) == 0  # more groups may be asked for later
    assert run(["caption", "digits", "--backbone", "tiny", "--out", "said"]) == 2
    assert "holds a run with another data" in capsys.readouterr().err


def test_captions_that_python_made_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    clipwright.caption("photos", "said", classes="names.txt", backbone="tiny", groups=2, quiet=True)
    wanted = ["caption", "photos", "--classes", "names.txt", "--backbone", "tiny", "--out", "said", "--groups", "2"]
    assert run([*wanted, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 0


def test_a_server_captions_and_its_failures_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    wanted = ["caption", "photos", "--classes", "names.txt", "--backbone", "tiny", "--out", "said", "--groups", "0"]
    wanted += ["--captioner", "endpoint", "--model", "m", "--size", "24", "--concurrency", "1", "--base-url"]
    with ScriptedServer(lambda body, n: viewer(body, n) if n < 5 else failed(401, KEY)) as server:
        assert run([*wanted, server.base_url]) == 1
        err = capsys.readouterr().err
        assert "refused the API key" in err
    with ScriptedServer(viewer) as server:
        assert run([*wanted, server.base_url, "--price-prompt", "2"]) == 0
        told = capsys.readouterr()
        assert "calls, " in told.out
        assert ", cost 0.0" in told.out
        assert "captions, " in told.err  # rate and time left
        assert len(server.requests) == 12 - 5
    assert read_captions("said").missing == []
    everything = [err, told.out, told.err, *(p.read_text(errors="replace") for p in Path().rglob("*") if p.is_file())]
    assert KEY not in "".join(everything)


def test_missing_images_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/red-0.png").write_bytes(b"nothing")
    assert run(["caption", "photos", "--classes", "names.txt", "--backbone", "tiny", "--out", "said"]) == 0
    told = capsys.readouterr()
    assert "Missing: red-0.png (this is not an image in a format that can be read)" in told.out
    assert "Warning: 1 image can't be captioned: 'red-0.png'" in told.err
    assert "can't be captioned" in Path("said/log.txt").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--out is missing"),
        (["--out", "x", "--groups", "many"], "--groups must be a number or all"),
        (["--out", "x", "--model", "m"], "--captioner phrases takes no --model"),
        (["--out", "x", "--base-url", "http://127.0.0.1:9/v1"], "takes no --base-url"),
        (["--out", "x", "--captioner", "endpoint"], "needs --base-url and --model"),
        (["--out", "x", "--captioner", "transformers"], "needs --model"),
        (["--out", "x", "--captioner", "transformers", "--model", "owner/name"], "needs --revision"),
        (["--out", "x", "--kind", "clouds"], "no kind of data 'clouds'"),
        (["--out", "x", "--shard", "3/2"], "no part 3 of 2"),
    ],
)
def test_mistakes_are_one_sentence(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["caption", "photos", "--classes", "names.txt", "--backbone", "tiny", *more]) in {1, 2}
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
