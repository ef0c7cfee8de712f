"""CLIPLoRA against a step written out in NumPy, on towers of all kinds, and from a folder of images to predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.backbones.conftest import ARCHITECTURES
from torch import nn

import clipwright as cw
from clipwright.backbones import resolve
from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.core.rng import generator
from clipwright.methods.clip_lora import CLIPLoRA, cosine_rates, default_iterations, update_attention
from clipwright.methods.conformance import seen
from clipwright.methods.example import Example, ExampleTower, example
from clipwright.task import Need, Task, TextFeatures
from clipwright.training.low_rank import factors

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")

OPTIONS: dict[str, Any] = {"rank": 2, "alpha": 1.0, "dropout": 0.0, "stabilised": False, "seed": 0}


class Reader(nn.Module):
    """A text tower with attention, of a few lines."""

    def __init__(self, letters: np.ndarray) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(*letters.shape).requires_grad_(False)
        self.embedding.weight.copy_(torch.from_numpy(letters))
        self.attn = nn.MultiheadAttention(letters.shape[1], 2, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        made: torch.Tensor = (x + self.attn(x, x, x, need_weights=False)[0]).mean(1)
        return made


class ReadingTower(ExampleTower):
    """The example's tower with a text tower that can be updated; it counts what it is asked for."""

    def __init__(self, dim: int, seed: int = 0, most: int | None = None) -> None:
        super().__init__(dim, seed)
        self.most, self.asked, self.read = most, 0, [""]

    def text_module(self) -> nn.Module:
        return Reader(self.letters)

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        self.read = list(texts)
        return super().tokens(texts)

    def pixels(self, image: Any, recipe: str | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
        self.asked += 1
        if self.most is not None and self.asked > self.most:
            raise DataError("the disk is gone.")
        return super().pixels(image, recipe, rng)


def reading(made: Example, **options: Any) -> tuple[Task, ReadingTower]:
    """The example's task with prompts that a text tower reads, two of each class."""
    tower = ReadingTower(made.test.dim, **options)
    names = made.task.class_names
    texts = [form.format(name) for form in ("a photo of a {}.", "{}") for name in names]
    with torch.no_grad():
        x = tower.text_module()(tower.tokens(texts)).double()
    text = TextFeatures(x, torch.arange(len(names)).repeat(2), texts=tuple(texts))
    return replace(made.task, text=text, access=tower), tower


def by_hand(made: Example, steps: int, rate: float) -> np.ndarray:
    """(D, 192) change of the example's linear tower after some AdamW steps on all rows, in float64."""
    task, tower = made.task, made.task.access
    assert isinstance(tower, ExampleTower)
    assert task.support is not None
    assert task.support.source is not None
    assert task.text is not None
    layer = tower.image_module()[1].double()  # type: ignore[index]
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    p = np.stack([tower.pixels(task.support.source(i)) for i in range(len(task.support))]).reshape(
        len(task.support), -1
    )
    y, t = task.support.labels.numpy(), task.text.classifier().double().numpy()
    up, bound = np.zeros((len(w), 2)), 1 / np.sqrt(w.shape[1])
    down = generator(task.seed, "low-rank", "1.weight").uniform(-bound, bound, (1, 2, w.shape[1]))[0]
    moments = [np.zeros((2, *part.shape)) for part in (up, down)]
    for step in range(steps):
        lr = 1e-6 + (rate - 1e-6) / 2 * (1 + np.cos(np.pi * step / steps))
        x = p @ (w + 0.5 * up @ down).T + b
        length = np.linalg.norm(x, axis=1, keepdims=True)
        v = x / length
        logits = task.logit_scale * v @ t.T
        q = np.exp(logits - logits.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        q[np.arange(len(y)), y] -= 1
        dv = task.logit_scale * q @ t / len(y)
        dw = 0.5 * ((dv - v * (v * dv).sum(1, keepdims=True)) / length).T @ p
        for part, gradient, m in zip((up, down), (dw @ down.T, up.T @ dw), moments, strict=True):
            m[0] = 0.9 * m[0] + 0.1 * gradient
            m[1] = 0.999 * m[1] + 0.001 * gradient**2
            first, second = m[0] / (1 - 0.9 ** (step + 1)), m[1] / (1 - 0.999 ** (step + 1))
            part[:] = (1 - lr * 0.01) * part - lr * first / (np.sqrt(second) + 1e-8)
    return np.asarray(0.5 * up @ down)


@pytest.mark.parametrize("steps", [1, 5])
def test_steps_are_those_written_out(steps: int) -> None:
    made = example({Need.TEXT, Need.LABELS, Need.IMAGES}, weights=True)
    fitted = CLIPLoRA(iterations=steps, dropout=0, recipe=None, learning_rate=0.01).fit(made.task)
    assert fitted.tower is not None
    up, down = fitted.tower.factors["1.weight"]
    expected = by_hand(made, steps, 0.01)
    np.testing.assert_allclose((up @ down).numpy(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_defaults_are_the_papers() -> None:
    assert default_iterations(100 * 16, 100, 32) == 500 * 16
    assert default_iterations(100, 100, 32) == 500
    assert default_iterations(2 * 16, 2, 32) <= 500  # a single batch is passed over 500 times at most
    assert default_iterations(1, 1000, 32) == 1
    rates = cosine_rates(2e-4, 1e-6, 10)
    assert rates[0] == 2e-4
    assert rates[5] == pytest.approx((2e-4 + 1e-6) / 2)
    assert 1e-6 < rates[-1] < rates[-2]


def test_the_scale_of_the_released_code() -> None:
    tower = ExampleTower(4).image_module()
    update_attention(tower, **OPTIONS | {"stabilised": True, "rank": 4})
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if ".up." in name:
                parameter.fill_(1.0)
    assert float(factors(tower)["1.weight"][0].max()) == pytest.approx(1 / 2)


@pytest.fixture(scope="module")
def made() -> Example:
    return example({Need.TEXT, Need.LABELS, Need.IMAGES}, weights=True)


def test_each_encoder_changes_its_side(made: Example) -> None:
    task, tower = reading(made)
    before = torch.nn.functional.normalize(task.text.classifier().float(), dim=1)  # type: ignore[union-attr]
    for encoder in ("both", "vision", "text"):
        fitted = CLIPLoRA(encoder=encoder, iterations=20, learning_rate=0.01).fit(task)
        moved = float((fitted.head.weight - before).abs().max())  # type: ignore[operator]
        assert (fitted.tower is not None) == (encoder != "text")
        assert (moved > 1e-4) if encoder != "vision" else (moved < 1e-6)
        if fitted.tower is not None:
            assert float((fitted.tower.factors["1.weight"][0]).abs().max()) > 0
    assert len(tower.read) == len(set(tower.read)) == 10
    both = CLIPLoRA(iterations=60, learning_rate=0.01).fit(task)
    assert both.trace.losses[-1] < 0.5 * CLIPLoRA(iterations=1).fit(task).trace.losses[0]


def test_prompts_that_were_not_kept_are_asked_for(made: Example) -> None:
    task, _ = reading(made)
    bare = replace(task, text=replace(task.text, texts=None))  # type: ignore[type-var]
    with pytest.raises(NeedsError, match="encoder = vision"):
        CLIPLoRA(iterations=1).fit(bare)
    CLIPLoRA(iterations=1, encoder="vision").fit(bare)


def test_a_text_tower_without_layers_stays_and_says_so(made: Example) -> None:
    fitted = CLIPLoRA(iterations=1).fit(made.task)
    assert any("text tower has no layer" in note for note in fitted.trace.notes)
    with pytest.raises(UsageError, match="choose the other encoder"):
        CLIPLoRA(iterations=1, encoder="text").fit(made.task)


def test_micro_batches_change_nothing_without_dropout(made: Example) -> None:
    task, _ = reading(made)
    whole = CLIPLoRA(iterations=10, dropout=0, learning_rate=0.01)
    a, b = (method.fit(task) for method in (whole, replace(whole, micro_batch_size=4)))
    torch.testing.assert_close(a.head.weight, b.head.weight, rtol=1e-3, atol=1e-4)
    logits = [fitted(seen(fitted, made.test, task)) for fitted in (a, b)]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_a_fit_that_broke_goes_on_where_it_was(made: Example, tmp_path: Path) -> None:
    method, rows = CLIPLoRA(iterations=240), 15
    whole = method.fit(reading(made)[0])
    broken, _ = reading(made, most=130 * rows)
    with pytest.raises(DataError, match="disk"):
        method.fit(replace(broken, workspace=tmp_path))
    task, tower = reading(made)
    again = method.fit(replace(task, workspace=tmp_path))
    assert tower.asked == 140 * rows  # the first hundred steps were kept
    assert torch.equal(again.head.weight, whole.head.weight)  # type: ignore[arg-type]
    assert again.tower is not None
    assert whole.tower is not None
    assert again.tower.digest == whole.tower.digest
    assert again.trace.losses == whole.trace.losses
    other = replace(task, workspace=tmp_path, seed=1)
    assert method.fit(other).tower.digest != whole.tower.digest  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Small open_clip models with random weights, as files."""
    import open_clip
    from safetensors.torch import save_file

    folder, found = tmp_path_factory.mktemp("models"), {}
    for name in ("small-vit", "small-resnet"):
        (folder / f"lora-{name}.json").write_text(json.dumps(ARCHITECTURES[name]))
        open_clip.add_model_config(folder / f"lora-{name}.json")
        torch.manual_seed(7)
        model = open_clip.create_model(f"lora-{name}", load_weights=False, pretrained_text=False)
        path = folder / f"{name}.safetensors"
        save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, path)
        found[name] = f"openclip:lora-{name}@{path}"
    return found


def test_attention_is_updated_where_blocks_have_it(specs: dict[str, str]) -> None:
    vit, resnet = (resolve(spec, device="cpu").load().image_module() for spec in specs.values())  # type: ignore[attr-defined]
    assert update_attention(vit, **OPTIONS)
    assert all(name.endswith("attn.in_proj_weight") for name in factors(vit))
    assert len(factors(vit)) == 2
    assert not update_attention(resnet, **OPTIONS)
    names = set(factors(resnet))
    assert sum("conv" in name for name in names) > 5
    assert any("attnpool" in name for name in names)
    before, after = (resolve(specs["small-resnet"], device="cpu").load().image_module(), resnet)  # type: ignore[attr-defined]
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.manual_seed(0))
    torch.testing.assert_close(after.eval()(pixels), before.eval()(pixels))
    assert update_attention(resolve("tiny", device="cpu").load().text_module(), **OPTIONS)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of each of three digits in class folders."""
    root = tmp_path_factory.mktemp("data") / "photos"
    data = cw.open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    for index, name in enumerate(data.class_names[:3]):
        (root / name).mkdir(parents=True)
        for number, row in enumerate((data.labels == index).nonzero()[0][:6]):
            data.reader.read(sources[row]).image.save(root / name / f"{number}.png")
    return root


@pytest.mark.slow
def test_from_a_folder_to_predictions(specs: dict[str, str], photos: Path, tmp_path: Path) -> None:
    settings = {"iterations": 12, "learning_rate": 0.01, "batch_size": 6}
    for spec in (specs["small-vit"], "tiny"):
        fitted = cw.fit(
            photos, backbone=spec, method="CLIPLoRA", shots=4, hyper_parameters=settings, device="cpu", quiet=True
        )
        folder = fitted.save(tmp_path / spec.split(":")[-1].partition("@")[0])
        images = sorted(photos.rglob("*.png"))
        expected = fitted.predict_proba(images)
        np.testing.assert_array_equal(cw.Classifier.load(folder, device="cpu").predict_proba(images), expected)
        alone = cw.fit(photos, backbone=spec, method="ZeroShot", device="cpu", quiet=True).predict_proba(images)
        assert np.abs(alone - expected).max() > 1e-3
