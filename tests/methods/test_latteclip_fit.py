"""How LatteCLIP and FLYP train, wherever they do: two processes give what one gives."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.methods import latte_processes
from tests.methods.latte_lookup import made_task

from clipwright.methods.latteclip import LatteCLIP
from clipwright.methods.latteclip_fit import Sampler, Tuning, batches_of, in_order, recompute_layers
from clipwright.task import Features


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    root = str(Path(latte_processes.__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    command = [sys.executable, "-m", "tests.methods.latte_processes", str(tmp_path), "1", "2"]
    other = subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.PIPE, text=True)
    try:
        latte_processes.main(tmp_path, 0, 1)
        latte_processes.main(tmp_path, 0, 2)
        _, said = other.communicate(timeout=60)
        assert other.returncode == 0, said
    finally:
        other.kill()
    first, second, one = (load_file(tmp_path / f"{name}.safetensors") for name in ("0-of-2", "1-of-2", "0-of-1"))
    for name, expected in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=1e-9, atol=1e-10, msg=name)


def test_batches_are_full_and_fixed_by_the_seed() -> None:
    method = LatteCLIP(batch_size=10)
    samplers: tuple[Sampler, ...] = ("permutation", "resample")
    for sampler in samplers:
        batches = batches_of(35, replace(method, sampler=sampler), 0)
        rows = torch.cat(batches(0))
        assert [len(batch) for batch in batches(0)] == [10, 10, 10]
        assert torch.equal(rows, torch.cat(batches(0)))
        assert not torch.equal(rows, torch.cat(batches(1)))
        assert (len(rows.unique()) == 30) is (sampler == "permutation")  # type: ignore[no-untyped-call] # torch
        assert [len(batch) for batch in batches_of(7, replace(method, sampler=sampler), 0)(0)] == [7]


def test_rows_are_ordered_by_their_ids() -> None:
    rows = Features(torch.arange(6.0).view(3, 2), ids=("b", "c", "a"))
    assert in_order(rows).ids == ("a", "b", "c")
    bare = replace(rows, ids=None)
    assert in_order(bare) is bare


def test_the_length_of_a_training() -> None:
    def length(**fields: Any) -> tuple[int, int]:
        return Tuning.of(LatteCLIP(**fields), made_task(n=23)).length()

    assert length() == (900, 1)
    assert length(batch_size=5) == (900, 4)
    assert length(batch_size=5, epochs=3) == (12, 4)


def test_a_checkpoint_belongs_to_its_fit(tmp_path: Path) -> None:
    task, method = replace(made_task(), workspace=tmp_path), LatteCLIP()
    assert task.unlabeled is not None
    assert task.unlabeled.caption_texts is not None
    other = replace(task.unlabeled, caption_texts=("other", *task.unlabeled.caption_texts[1:]))
    tower = task.access
    assert tower is not None
    tower.numbers["other"] = 0  # type: ignore[union-attr] # a lookup tower
    digests = set()
    for given, kind in (
        (task, method),
        (replace(task, seed=1), method),
        (replace(task, unlabeled=other), method),
        (replace(task, unlabeled=task.unlabeled[:20]), method),
        (replace(task, group_captions=None), method),
        (task, replace(method, alpha=0.1)),
    ):
        checkpoint = Tuning.of(kind, given, image_captions=True, group_captions=True).checkpoint()
        assert checkpoint is not None
        digests.add(checkpoint.digest)
    assert len(digests) == 6
    assert Tuning.of(method, replace(task, workspace=None)).checkpoint() is None


@pytest.mark.slow
def test_layers_of_transformers_are_recomputed_with_the_same_gradient() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPVisionConfig(**sizes, image_size=16, patch_size=8, projection_dim=8)
    tower = transformers.CLIPVisionModelWithProjection(config).train()
    pixels = torch.randn(2, 3, 16, 16)
    gradients = []
    for again in (False, True):
        assert not again or recompute_layers(tower)
        tower.zero_grad()
        tower(pixel_values=pixels).image_embeds.square().sum().backward()
        gradients.append([p.grad.clone() for p in tower.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)
