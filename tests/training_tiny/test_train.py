import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from training.tiny.export import answers, half
from training.tiny.merges import cut
from training.tiny.model import CONFIG, build, config_text, encode, tokenizer
from training.tiny.train import Recipe, Trainer, native_precision

from clipwright.assets import tiny


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_step_is_repeatable_and_moves_both_towers() -> None:
    recipe = Recipe(steps=4, batch=16, warm_up=1)
    trainers = [Trainer(recipe), Trainer(recipe)]
    before = [p.detach().clone() for p in trainers[0].model.parameters()]
    losses = [[trainer.step()["loss"] for _ in range(2)] for trainer in trainers]
    assert losses[0] == losses[1]
    moved = [not torch.equal(a, b) for a, b in zip(before, trainers[0].model.parameters(), strict=True)]
    assert all(moved)


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    recipe = Recipe(steps=5, batch=16, warm_up=1)
    whole, first, second = Trainer(recipe), Trainer(recipe), Trainer(recipe)
    losses = [whole.step()["loss"] for _ in range(4)]
    for _ in range(2):
        first.step()
    first.save(tmp_path / "checkpoint.safetensors")
    second.load(tmp_path / "checkpoint.safetensors")
    assert [second.step()["loss"] for _ in range(2)] == losses[2:]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, second.parameters, strict=True))
    with pytest.raises(ValueError, match="another recipe"):
        Trainer(Recipe(steps=6, batch=16, warm_up=1)).load(tmp_path / "checkpoint.safetensors")


def test_cut_texts_are_encoded_as_whole_ones() -> None:
    torch.manual_seed(0)
    model = build().eval()
    texts = [
        "a seven",
        "a photo of the digit seven with a flat top on a red background",
        "x",
        "a ring.",
        "the letter Q",
    ]
    tokens = tokenizer()(texts)
    with torch.inference_mode():
        assert torch.allclose(encode(model, tokens, groups=2), model.encode_text(tokens), atol=1e-5)


def test_committed_merges_and_configuration_are_the_trained_ones() -> None:
    assert tiny.files().merges.read_bytes() == cut(CONFIG["model_cfg"]["text_cfg"]["vocab_size"])
    assert tiny.files().config.read_text(encoding="utf-8") == config_text()


def test_committed_answers_are_the_committed_models() -> None:
    model, tokenizer, _ = tiny.load()
    known = json.loads(tiny.files().known_answers.read_text(encoding="utf-8"))
    found = answers(model, tokenizer)
    for name in ("pre_projection", "image_features", "text_features"):
        for a, b in zip(found[name], known[name], strict=True):
            assert a["first"] == pytest.approx(b["first"], abs=1e-5 * b["norm"])
    assert {k: found[k] for k in ("texts", "tokens", "images")} == {k: known[k] for k in ("texts", "tokens", "images")}


def test_numbers_too_large_for_half_precision_are_refused() -> None:
    model = build()
    with torch.no_grad():
        model.logit_scale.fill_(1e6)
    with pytest.raises(ValueError, match="logit_scale"):
        half(model)


@pytest.mark.slow
def test_the_command_makes_a_model_that_open_clip_loads(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "training.tiny", "--out", str(tmp_path), "--steps", "10", "--batch", "32"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[0]["steps"] == 10
    assert [line["step"] for line in lines[1:]] == list(range(1, 11))
    assert {"digits", "shapes"} <= set(lines[-1]["development"])
    assert {"first", "all", "sentences", "parts"} <= set(lines[-1]["development"]["digits"])
    tiny.register()
    model = open_clip.create_model(f"local-dir:{tmp_path}")
    assert model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 128)


def test_half_precision_is_the_default_only_where_it_is_native(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("flags\t\t: fpu avx2 avx512f\n")
    new.write_text("flags\t\t: fpu avx2 avx512_bf16 amx_tile\n")
    assert native_precision("cpu", old) == "float32"
    assert native_precision("cpu", new) == "bfloat16"
    assert native_precision("cpu", tmp_path / "none") == "float32"
    assert native_precision("cuda", old) == "bfloat16"
