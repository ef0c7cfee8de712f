"""Local captioning, run for real on tiny LLaVAs of random weights."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.synthetic.captioners.tiny_llava import SIDE, build_llava, build_llava_next

from clipwright.core.errors import BackboneError, UsageError
from clipwright.data.dataset import UnreadableImageError
from clipwright.synthetic.captioners import Job, LocalCaptioner, Said
from clipwright.synthetic.captioners.llava import save_single_tile
from clipwright.synthetic.collage import View

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers isn't installed: pip install 'clipwright[hf]'",
)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

ASKED = "describe concisely what you see in less than 20 words"
SIZES = [(28, 28), (40, 90), (100, 30), (64, 64), (56, 28), (31, 33), (90, 28)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed + 1000 * width + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def jobs_of(images: Sequence[Image.Image], view: View, prompts: Sequence[str] = (ASKED,)) -> list[Job]:
    return [Job(prompts[i % len(prompts)], (str(i),), partial(_only, im), view) for i, im in enumerate(images)]


def _only(image: Image.Image, _: int) -> Image.Image:
    return image


def said(captioner: LocalCaptioner, jobs: Sequence[Job]) -> list[Said]:
    found = dict(pair for part in captioner.caption(jobs) for pair in part)
    assert sorted(found) == list(range(len(jobs)))
    return [found[i] for i in range(len(jobs))]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def llava_next(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llava_next(tmp_path_factory.mktemp("next"))


@needs_transformers
@pytest.mark.slow
@pytest.mark.parametrize("view", ["thumbnail", "anyres"])
@pytest.mark.parametrize("model", ["llava", "llava_next"])
def test_captions_in_batches_equal_captions_one_by_one(model: str, view: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(model)
    images = [noise(*size) for size in SIZES]
    look = View("thumbnail", SIDE) if view == "thumbnail" else View("anyres", 200)
    prompts = (ASKED, "describe the colour", ASKED + " and what these have in common")  # rows of different lengths
    jobs = jobs_of(images, look, prompts)
    options: dict[str, Any] = {"device": "cpu", "max_tokens": 12, "view": view}
    together = said(LocalCaptioner(str(folder), batch_size=4, **options), jobs)
    alone = said(LocalCaptioner(str(folder), batch_size=1, **options), jobs)
    assert together == alone
    assert len({one.text for one in together}) == len(images)  # each sees its own picture
    assert all(len(one.text.split()) <= 12 for one in together)
    assert "[INST]" not in together[0].text


@needs_transformers
@pytest.mark.slow
def test_a_thumbnail_of_llava_next_is_the_first_tile_and_nothing_else(llava_next: Path, tmp_path: Path) -> None:
    """Against tile 0 of the original model, projected and spliced in by hand, decoded greedily in float64."""
    import transformers

    captioner = LocalCaptioner(str(llava_next), device="cpu", max_tokens=6)
    assert captioner.side == SIDE
    assert captioner.settings()["single_tile"]
    images = [noise(90, 40), noise(28, 28)]
    found = said(captioner, jobs_of(images, View("thumbnail", SIDE)))

    model = transformers.LlavaNextForConditionalGeneration.from_pretrained(llava_next).double().eval()
    processor = transformers.AutoProcessor.from_pretrained(llava_next)
    for image, one in zip(images, found, strict=True):
        tile = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(tile).transpose(2, 0, 1).copy()).double() / 255
        mean, std = (torch.tensor(v).double().view(3, 1, 1) for v in _norm(processor))
        with torch.inference_mode():
            hidden = model.model.vision_tower(((pixels - mean) / std)[None], output_hidden_states=True)
            visual = model.model.multi_modal_projector(hidden.hidden_states[-2][:, 1:])[0]
            tokens = processor.tokenizer(f"[INST] <image>\n{ASKED} [/INST]")["input_ids"]
            place = tokens.index(processor.tokenizer.convert_tokens_to_ids("<image>"))
            embed = model.get_input_embeddings()
            words: list[int] = []
            for _ in range(6):
                before, after = (embed(torch.tensor(part)) for part in (tokens[:place], [*tokens[place + 1 :], *words]))
                inputs = torch.cat([before, visual, after])[None]
                logits = model.lm_head(model.model.language_model(inputs_embeds=inputs).last_hidden_state[0, -1])
                words.append(int(logits.argmax()))
                if words[-1] == 2:
                    break
        assert one.text == processor.decode(words, skip_special_tokens=True)
        assert one.finish == ("stop" if words[-1] == 2 else "length")
    saved = LocalCaptioner(str(save_single_tile(str(llava_next), tmp_path / "one")), device="cpu", max_tokens=6)
    assert saved.settings()["type"] == "llava"  # any server that knows LLaVA 1.5 can serve it
    assert said(saved, jobs_of(images, View("thumbnail", SIDE))) == found
    with pytest.raises(BackboneError, match="is no LLaVA-NeXT"):
        save_single_tile(str(tmp_path / "one"), tmp_path / "two")


def _norm(processor: Any) -> tuple[list[float], list[float]]:
    return processor.image_processor.image_mean, processor.image_processor.image_std


@needs_transformers
@pytest.mark.slow
def test_the_limit_of_tokens_the_end_and_what_cannot_be_read(llava: Path) -> None:
    captioner = LocalCaptioner(str(llava), device="cpu", max_tokens=40, batch_size=8)

    def broken(_: int) -> Image.Image:
        raise UnreadableImageError("cut short")

    jobs = jobs_of([noise(28, 28, seed) for seed in range(20)], View("thumbnail", SIDE))
    jobs.insert(3, Job(ASKED, ("x",), broken, View("thumbnail", SIDE)))
    found = said(captioner, jobs)
    assert found[3] == Said(problem="cut short")
    rest = [one for one in found if not one.problem]
    assert {one.finish for one in rest} == {"stop", "length"}
    for one in rest:
        assert (len(one.text.split()) == 40) or one.finish == "stop"
    short = said(LocalCaptioner(str(llava), device="cpu", max_tokens=1), jobs[:3])
    assert [len(one.text.split()) for one in short] == [1, 1, 1]


@needs_transformers
@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = LocalCaptioner(str(llava), device="cpu", max_tokens=4, batch_size=8)
    jobs = jobs_of([noise(28, 28, seed) for seed in range(9)], View("thumbnail", SIDE))
    whole = said(captioner, jobs)
    tried: list[int] = []
    generate = LocalCaptioner._generate

    def scarce(self: LocalCaptioner, prompts: Sequence[str], pictures: Sequence[Image.Image]) -> list[Said]:
        tried.append(len(pictures))
        if len(pictures) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return generate(self, prompts, pictures)

    monkeypatch.setattr(LocalCaptioner, "_generate", scarce)
    assert said(captioner, jobs) == whole
    assert tried == [8, 4, 2, 2, 2, 2, 1]


@needs_transformers
@pytest.mark.slow
def test_half_precision_runs_and_is_told(llava: Path) -> None:
    captioner = LocalCaptioner(str(llava), device="cpu", dtype="bf16", max_tokens=4)
    assert captioner.settings()["dtype"] == "bf16"
    assert said(captioner, jobs_of([noise(28, 28)], View("thumbnail", SIDE)))[0].text
    assert captioner.settings()["files"] == LocalCaptioner(str(llava), device="cpu").settings()["files"]


@needs_transformers
@pytest.mark.slow
def test_nothing_of_a_repository_is_run_and_no_pickle_is_loaded(llava: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(llava, tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="no pickled weights"):
        LocalCaptioner(str(copy)).settings()
    odd = Path(shutil.copytree(llava, tmp_path / "odd"))
    (odd / "evil.py").write_text("raise SystemExit('code of the repository ran')")
    text = (odd / "config.json").read_text().replace('"model_type": "llava"', '"model_type": "evil"', 1)
    (odd / "config.json").write_text(text.replace("{", '{"auto_map": {"AutoConfig": "evil.Config"},', 1))
    with pytest.raises(BackboneError, match="doesn't load as a model of images and text"):
        LocalCaptioner(str(odd), device="cpu").prepare()
    (odd / "config.json").write_text("{")
    with pytest.raises(BackboneError, match=r"config\.json can't be read"):
        LocalCaptioner(str(odd), device="cpu").settings()


@needs_transformers
@pytest.mark.slow
def test_weights_that_do_not_fit_one_tile_are_refused(llava_next: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(llava_next, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if "projector" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match="don't fit a LLaVA of one tile"):
        LocalCaptioner(str(copy), device="cpu").prepare()


def test_what_is_missing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="needs --revision"):
        LocalCaptioner("owner/name")
    with pytest.raises(UsageError, match=r"no folder and no OWNER/NAME"):
        LocalCaptioner("./nowhere")
    with pytest.raises(UsageError, match="which has no --revision"):
        LocalCaptioner(str(tmp_path), "main")
    with pytest.raises(UsageError, match="no dtype '3bit'"):
        LocalCaptioner(str(tmp_path), dtype="3bit")
    with pytest.raises(UsageError, match="must be positive"):
        LocalCaptioner(str(tmp_path), batch_size=0)
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(BackboneError, match=r"--dtype 4bit needs the package bitsandbytes: pip install"):
            LocalCaptioner(str(tmp_path), dtype="4bit")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)  # what Python finds where a package can't be imported
    with pytest.raises(BackboneError, match=r"pip install 'clipwright\[hf\]'"):
        LocalCaptioner(str(tmp_path), device="cpu").prepare()
