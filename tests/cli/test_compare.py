"""``clipwright compare`` and ``clipwright report``, as a user runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import save_file
from tests.test_comparing import bundle

from clipwright import Results
from clipwright.cli.app import run
from clipwright.protocol.record import FILE

TIMES = {"seconds_fit", "seconds_predict", "peak_mib"}


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    return [str(bundle(tmp_path / f"{name}.npz", i)) for i, name in enumerate(("one", "two"))]


def compare(data: list[str], out: Path, *more: str) -> int:
    return run(
        ["compare", *data, "--methods", "ZeroShot,GDA,auto", "--shots", "1,4", "--draws", "3", "--out", str(out), *more]
    )


def figures(folder: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in Results.load(folder).cells.to_pylist()]


def test_a_run_ends_with_a_table_and_a_page(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert compare(data, out, "--quiet") == 0
    said = capsys.readouterr().out
    assert "one, bundle" in said
    assert "mean over 2 tasks (2 data sets)" in said
    assert {p.name for p in out.iterdir()} >= {"results.parquet", "runs.json", "config.json", "report.html", FILE}
    config = json.loads((out / "config.json").read_text())
    assert config["verb"] == "compare"
    assert config["shots"] == "1,4"
    assert len(figures(out)) == 2 * (3 + 2 * 2 * 3)  # without a test split, names are scored on what each draw leaves
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "one" in page
    assert "GDA" in page


def test_it_is_its_own_config_and_goes_on(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, again = tmp_path / "run", tmp_path / "again"
    assert compare(data[:1], out, "--quiet", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in found["accuracies"]} == {"ZeroShot", "GDA", "auto"}
    assert run(["compare", "--config", str(out / "config.json"), "--out", str(again), "--quiet", *data[:1]]) == 0
    assert figures(out) == figures(again)
    before = (out / FILE).read_bytes()
    assert compare(data[:1], out, "--quiet") == 0
    assert (out / FILE).read_bytes() == before
    assert compare(data[:1], out, "--quiet", "--seed", "1") == 2
    assert "another seed" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("cells", [1, 4])
def test_killed_and_started_again_it_gives_the_same_numbers(data: list[str], tmp_path: Path, cells: int) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    assert compare(data, whole, "--quiet") == 0
    words = ["compare", *data, "--methods", "ZeroShot,GDA,auto", "--shots", "1,4", "--draws", "3", "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "clipwright.cli", *words, "--out", str(out)])
    finished = out / FILE
    while process.poll() is None and (not finished.exists() or finished.read_bytes().count(b"\n") < cells):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = finished.read_bytes()
    assert kept.count(b"\n") >= cells
    assert compare(data, out, "--quiet") == 0
    assert finished.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert figures(out) == figures(whole)


@pytest.mark.slow
def test_generated_images_and_a_second_backbone(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timm = pytest.importorskip("timm")
    posters, out, weights = tmp_path / "posters", tmp_path / "run", tmp_path / "vit.safetensors"
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
    assert run(["generate", "digits", "--per-class", "2", "--out", str(posters), "--quiet"]) == 0
    words = ["compare", str(digits_folder), "--backbone", "tiny", "--generated", str(posters), "--shots", "0,1"]
    words += ["--draws", "1", "--quiet", "--out", str(out), "--methods", "ZeroShot,NearestMean,CaFo", "--second"]
    assert run([*words, f"timm:test_resnet@{weights}"]) == 0
    rows = figures(out)
    cells = {(row["method"], row["shots"]) for row in rows}
    assert cells == {("ZeroShot", 0), *((method, k) for method in ("NearestMean", "CaFo") for k in (0, 1))}
    assert all(row["labels_per_class"] == [row["shots"]] * 3 for row in rows)
    assert json.loads((out / "config.json").read_text())["second"] == f"timm:test_resnet@{weights}"
    assert "generated images of posters stand beside" in (out / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert run([*words, "tiny", "--overwrite"]) == 2
    assert "tiny is named as both backbones" in capsys.readouterr().err


def test_report_takes_several_runs(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [tmp_path / "a", tmp_path / "b"]
    for source, out in zip(data, runs, strict=True):
        assert compare([source], out, "--quiet") == 0
    page = tmp_path / "both.html"
    assert run(["report", *map(str, runs), "--out", str(page), "--title", "<Both>"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "&lt;Both&gt;" in text
    assert "<Both>" not in text
    capsys.readouterr()
    assert run(["report", str(runs[0]), str(runs[0])]) == 1
    assert "same cell" in capsys.readouterr().err
    assert run(["report", str(tmp_path / "nowhere")]) == 1
    assert "holds no results" in capsys.readouterr().err


def test_a_method_and_variants_of_it(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["compare", data[0], "--methods", "taskres, far = TaskRes", "--set", "far.alpha=1", "--shots", "1"]
    assert run([*words, "--draws", "2", "--quiet", "--out", str(out)]) == 0
    rows = Results.load(out).cells.to_pylist()
    chosen = {row["method"]: json.loads(row["chosen"])["alpha"] for row in rows}
    assert chosen == {"TaskRes": 0.5, "far": 1.0}
    assert "far" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shots", "1,x"], "must be numbers with commas"),
        (["--methods", "Nonsense"], "there is no method 'Nonsense'"),
        (["--methods", "GDA,GDA"], "--methods names GDA twice"),
        (["--methods", "GDA,gda"], "--methods names one method twice"),
        (["--set", "alpha=1"], "--set alpha must begin with one of --methods (GDA) and a dot"),
        (["--set", "TaskRes.alpha=1"], "--set TaskRes.alpha must begin with"),
        (["--set", "GDA.depth=1"], "GDA has no hyper-parameter 'depth'"),
        (["--validation", "full"], "no validation split"),
        (["--protocol", "coop"], "no test split"),
        (["--backbone", "tiny"], "bring their own features"),
    ],
)
def test_nonsense_is_one_sentence(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    given = ["compare", data[0], "--out", str(tmp_path / "run"), "--shots", "1", "--methods", "GDA", "--quiet", *words]
    assert run(given) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
