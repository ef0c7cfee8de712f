"""The diffusers path, run for real on a tiny pipeline of random weights."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic.generators.tiny_pipeline import SIDE, build_pipeline

from clipwright.core.errors import BackboneError, UsageError
from clipwright.data import open_data
from clipwright.synthetic.generating import generate_images
from clipwright.synthetic.generators import BLOCKED, Diffusion, Picture, Request

needs_diffusers = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None,
    reason="diffusers isn't installed: pip install 'clipwright[generate]'",
)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pipeline(tmp_path_factory.mktemp("random"))


def pixels(picture: Picture) -> np.ndarray:
    assert picture.image is not None
    return np.asarray(picture.image).astype(int)


@needs_diffusers
@pytest.mark.slow
def test_the_seed_decides_the_image_whatever_the_batch(pipeline: Path) -> None:
    maker = Diffusion(str(pipeline), steps=2, size=SIDE, device="cpu", negative="blur", batch_size=2)
    wanted = [Request("cat", "a photo of a cat.", 1), Request("dog", "a photo of a dog.", 2)]
    wanted += [Request("cat", "a photo of a cat.", 3)]
    made = dict(maker.make(wanted))
    assert pixels(made[0]).shape == (SIDE, SIDE, 3)
    assert pixels(made[0]).std() > 5
    assert np.abs(pixels(made[0]) - pixels(made[2])).max() > 5  # another seed, another image
    ((_, alone),) = maker.make(wanted[1:2])
    assert np.abs(pixels(alone) - pixels(made[1])).max() <= 1  # last bits may differ between batch sizes
    told = maker.settings()
    assert (told["pipeline"], told["sampler"]) == ("StableDiffusionPipeline", "DDIMScheduler")
    assert told["safety_checker"] == "none in the model"
    json.dumps(told)


@needs_diffusers
@pytest.mark.slow
def test_a_blocked_class_is_recorded_and_the_checker_can_be_left_out(tmp_path: Path) -> None:
    place = build_pipeline(tmp_path, checker=True)
    request = [Request("cat", "a cat", 1)]
    maker = Diffusion(str(place), steps=1, size=SIDE, device="cpu")
    assert maker.settings()["safety_checker"] == "on"
    assert [p for _, p in maker.make(request)] == [Picture(None, BLOCKED)]
    checker = place / "safety_checker" / "model.safetensors"
    checker.rename(checker.with_suffix(".bin"))
    with pytest.raises(BackboneError, match=r"safety_checker of .* no pickled weights"):
        Diffusion(str(place)).check(["cat"])
    free = Diffusion(str(place), steps=1, size=SIDE, device="cpu", safety="off")
    assert free.settings()["safety_checker"] == "off"
    ((_, picture),) = free.make(request)
    assert picture.image is not None


@needs_diffusers
@pytest.mark.slow
def test_a_folder_is_filled_and_continued_with_the_same_bytes(pipeline: Path, tmp_path: Path) -> None:
    def run(out: Path, per_class: int = 2) -> dict[str, bytes]:
        done = generate_images(
            ["great grey owl", "ant"],
            out,
            generator=Diffusion(str(pipeline), steps=1, size=SIDE, device="cpu", batch_size=3),
            per_class=per_class,
            templates="a photo of a {}, a type of animal.",
            quiet=True,
        )
        assert done.summary["blocked"] == 0
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.png")}

    whole = run(tmp_path / "a")
    assert sorted(whole) == [f"{c}/{i:06d}.png" for c in ("000-great-grey-owl", "001-ant") for i in (0, 1)]
    data = open_data(tmp_path / "a")
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.reader is not None
    assert data.reader.read(data.ids[0]).image.size == (224, 224)
    (tmp_path / "a" / "001-ant" / "000000.png").unlink()  # its batch of three is made again, one file is written
    (tmp_path / "a" / "000-great-grey-owl" / "000001.png").write_bytes(b"\x89PNG cut short")
    assert run(tmp_path / "a") == whole


@needs_diffusers
@pytest.mark.slow
def test_what_is_no_safe_pipeline_is_refused(pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"has no model_index\.json"):
        Diffusion(str(tmp_path)).check(["a"])
    copy = Path(shutil.copytree(pipeline, tmp_path / "copy"))
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))  # pickled, or not downloaded yet
    with pytest.raises(BackboneError, match=r"unet of .* no pickled weights"):
        Diffusion(str(copy)).check(["a"])
    index = json.loads((pipeline / "model_index.json").read_text())
    odd = Path(shutil.copytree(pipeline, tmp_path / "odd"))
    (odd / "model_index.json").write_text(json.dumps({**index, "unet": ["evil", "Evil"]}))
    (odd / "unet" / "evil.py").write_text("raise SystemExit('code of the repository ran')")
    with pytest.raises(BackboneError, match="doesn't load as a text-to-image pipeline"):
        list(Diffusion(str(odd), device="cpu").make([Request("a", "a", 1)]))
    with pytest.raises(UsageError, match="is a folder"):
        Diffusion(str(copy), revision="main")


@needs_diffusers
@pytest.mark.slow
def test_a_pinned_snapshot_in_the_cache_needs_no_network(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0" * 39 + "1"
    snapshot = tmp_path / "models--me--model" / "snapshots" / commit
    shutil.copytree(pipeline, snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    maker = Diffusion("me/model", commit, steps=1, size=SIDE, device="cpu")
    maker.check(["a"])
    maker.prepare()
    assert maker.folder == snapshot
    assert maker.model == f"me/model@{commit}"
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").unlink()  # a download that was interrupted
    with pytest.raises(BackboneError, match=r"can't be downloaded \(HF_HUB_OFFLINE .*\): copy the repository's files"):
        Diffusion("me/model", commit).check(["a"])


def test_without_the_library_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)  # what Python finds where a package can't be imported
    with pytest.raises(BackboneError, match=r"pip install 'clipwright\[generate\]'"):
        Diffusion(str(tmp_path)).check(["a"])
