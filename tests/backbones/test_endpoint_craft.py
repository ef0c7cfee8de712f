"""CraFT against a served model: as good as in process, resumable, and silent about labels."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.serve.made import Watched, connect, served, serving, tiny

import clipwright
from clipwright.backbones.endpoint import EndpointBackbone
from clipwright.backbones.preprocess import Preprocess
from clipwright.fitted import Fitted
from clipwright.methods import make
from clipwright.task import Access, BlackBox, Features, Task

CLASSES, SHOTS = (0, 1, 7), 4
SETTINGS: dict[str, Any] = {"budget": 48, "popsize": 8, "intrinsic_dim": 16}
GRANTED = frozenset({Access.SCORES, Access.SOFT_PROMPT})


def digits(
    first: int, count: int, preprocess: Preprocess | None = None
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Pixels, labels and class names of some images of three digits, class after class."""
    data = clipwright.open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    pixels, labels = [], []
    for label, index in enumerate(CLASSES):
        for row in (data.labels == index).nonzero()[0][first : first + count]:
            pixels.append((preprocess or tiny().preprocess).clean(data.reader.read(sources[row]).image))
            labels.append(label)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels), [data.class_names[i] for i in CLASSES]


def fit(
    box: BlackBox, handles: list[str], labels: torch.Tensor, names: list[str], workspace: Path | None = None
) -> Fitted:
    support = Features(torch.zeros(len(handles), 0), labels, handles=tuple(handles))
    task = Task(tuple(names), None, support, access=box, workspace=workspace)
    return make("CraFT", **SETTINGS).fit(task)


def accuracy(fitted: Fitted, box: BlackBox, handles: list[str], labels: torch.Tensor) -> float:
    assert fitted.prompt is not None
    scores = box.prompt_scores(torch.as_tensor(fitted.prompt)[None].float(), handles)[0]
    logits = fitted.head(scores[:, None] if fitted.head.inputs == ("scores",) and scores.ndim == 2 else scores)
    return float((logits.argmax(-1) == labels).float().mean())


def remote(watched: Watched, names: list[str], pixels: torch.Tensor) -> tuple[EndpointBackbone, BlackBox, list[str]]:
    backbone = connect(watched.url)
    return backbone, backbone.soft_prompts(names), backbone.upload(pixels)


def test_as_good_as_in_process() -> None:
    (pixels, labels, names), (others, truth, _) = digits(0, SHOTS), digits(20, 30)
    local = tiny().soft_prompts(names)
    with serving(served(GRANTED)) as watched:
        backbone, box, handles = remote(watched, names, pixels)
        more = backbone.upload(others)
        local.features.update(zip(handles + more, tiny().images(torch.cat([pixels, others])).x, strict=True))
        local.access = GRANTED
        here, there = fit(local, handles, labels, names), fit(box, handles, labels, names)
        assert accuracy(there, box, more, truth) == accuracy(here, local, more, truth) > 0.5
        torch.testing.assert_close(there.prompt, here.prompt, rtol=1e-3, atol=1e-4)
        spent = there.trace.spent
        assert spent["prompts"] >= SETTINGS["budget"]
        assert spent["requests"] <= 2 * SETTINGS["budget"] / SETTINGS["popsize"] + 2
        assert spent["bytes_sent"] > 0
        assert backbone.spent.images == len(pixels) + len(others)


def test_labels_never_leave_the_client() -> None:
    """What is asked before fitness has told one candidate from another is the same whatever the labels are."""
    pixels, labels, names = digits(0, SHOTS)
    first: list[list[tuple[str, dict[str, Any]]]] = []
    for given in (labels, labels.flip(0), (labels + 1) % 3):
        os.environ["CLIPWRIGHT_HOME"] += "-another"  # put back by the fixture of all tests
        with serving(served(GRANTED)) as watched:
            _, box, handles = remote(watched, names, pixels)
            fit(box, handles, given, names)
            allowed = {
                "/images": {"pixels"},
                "/embed/words": {"words"},
                "/scores": {"handles", "names", "contexts"},
            }
            for path, values in watched.asked:
                assert set(values) == allowed[path]
                if path == "/scores":
                    order = [bytes(row) for row in values["handles"]]
                    assert order == sorted(order)  # not class after class, as the images were given
                    assert values["names"] == names
            paths = [path for path, _ in watched.asked]
            first.append(watched.asked[: paths.index("/scores") + 1])
            texts = repr([{k: v for k, v in h.items() if k != "content-length"} for h in watched.headers])
            assert not any(name in texts for name in names)
    for other in first[1:]:
        assert [path for path, _ in other] == [path for path, _ in first[0]]
        for (_, mine), (_, reference) in zip(other, first[0], strict=True):
            assert all(np.array_equal(mine[name], reference[name]) for name in reference)
    sent = first[0][0][1]["pixels"]
    assert not np.array_equal(sent, pixels.numpy())  # in an order of its own


PROGRAM = """
import os, pathlib, signal, sys
from tests.backbones.test_endpoint_craft import connect, digits, fit, SHOTS

url, workspace, limit = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
backbone = connect(url)
pixels, labels, names = digits(0, SHOTS, backbone.preprocess)
assert "open_clip" not in sys.modules  # no model here
box, calls = backbone.soft_prompts(names), 0
ask = box.prompt_scores

def counted(contexts, handles):
    global calls
    calls += 1
    if calls > limit:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(contexts, handles)

box.prompt_scores = counted
fitted = fit(box, backbone.upload(pixels), labels, names, workspace)
print(fitted.prompt.double().sum().item(), backbone.spent.images, sep="\\n")
"""


def client(url: str, workspace: Path, limit: int) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", PROGRAM, url, str(workspace), str(limit)]
    root = Path(__file__).parent.parent.parent
    return subprocess.run(arguments, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_killed_fit_goes_on_and_asks_nothing_again(tmp_path: Path) -> None:
    pixels, labels, names = digits(0, SHOTS)
    with serving(served(GRANTED)) as watched:
        killed = client(watched.url, tmp_path / "work", 7)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        before = len(watched.asked)
        assert watched.count("/scores") == 7
        done = client(watched.url, tmp_path / "work", 10_000)
        assert done.returncode == 0, done.stderr
        total, images = done.stdout.split()[-2:]
        assert int(images) == 0
        assert {path for path, _ in watched.asked[before:]} == {"/scores"}
        asked = [context.tobytes() for path, v in watched.asked if path == "/scores" for context in v["contexts"]]
        assert len(asked) == len(set(asked))
    local = tiny().soft_prompts(names)
    handles = [f"{i:064x}" for i in range(len(pixels))]
    local.features.update(zip(handles, tiny().images(pixels).x, strict=True))
    local.access = GRANTED
    whole = fit(local, handles, labels, names)
    assert whole.prompt is not None
    assert float(total) == pytest.approx(float(torch.as_tensor(whole.prompt).double().sum()), rel=1e-3)
