"""LabelPropagation: what it gains, later images, files, its needs, and the variant without the shared part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.methods.test_transductive import pile, right

from clipwright.core.errors import NeedsError
from clipwright.heads.io import load_head, save_head
from clipwright.methods.conformance import CHECKS, run_check
from clipwright.methods.example import example
from clipwright.methods.label_propagation import LabelPropagation
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task, TextFeatures

SHARED = LabelPropagation(remove_shared=True)


@pytest.mark.parametrize("method", [LabelPropagation(), SHARED], ids=["plain", "shared part removed"])
def test_unlabeled_images_help_and_serve_later_images(method: LabelPropagation, tmp_path: Path) -> None:
    task, images = pile()
    first, later = images[::2], images[1::2]
    zero = right(ZeroShot().fit(task)(later), later.labels)
    fitted = method.fit(replace(task, unlabeled=first))
    assert fitted.query_logits is None
    assert right(fitted(later), later.labels) > zero
    looked_at = method.fit(replace(task, query=later)).query_logits
    assert looked_at is not None
    assert right(looked_at, later.labels) > zero
    save_head(fitted.head, tmp_path / "head.safetensors")
    again = replace(fitted, head=load_head(tmp_path / "head.safetensors"))
    assert torch.equal(again(later), fitted(later))


def test_a_chain_of_images_carries_a_label_around_the_bend() -> None:
    """Two half circles: the far end of each is nearer to the other's text, and only neighbours tell."""
    angles = torch.linspace(0, 2.6, 40, dtype=torch.float64)
    one = torch.stack([angles.cos(), angles.sin(), 0.7 * torch.ones(40)], 1)
    other = torch.stack([angles.cos(), angles.sin(), -0.7 * torch.ones(40)], 1)
    text = torch.stack([one[0], other[0]])
    text[0, 2] -= 0.6  # texts that hardly tell the two apart
    y = torch.arange(2).repeat_interleave(40)
    query = Features(torch.cat([one, other]), y)
    task = Task(("one", "other"), TextFeatures(text), query=query, logit_scale=10.0)
    found = LabelPropagation(neighbours=2, links=1).fit(task).query_logits
    assert found is not None
    assert right(found, y) == 80


def test_query_and_unlabeled_images_are_one_graph() -> None:
    task, images = pile()
    together = LabelPropagation().fit(replace(task, query=images)).query_logits
    apart = LabelPropagation().fit(replace(task, unlabeled=images[:100], query=images[100:])).query_logits
    assert together is not None
    torch.testing.assert_close(apart, together[100:], rtol=0, atol=1e-6)


def test_permuted_images_get_permuted_answers() -> None:
    task, images = pile()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(images)))
    whole = LabelPropagation().fit(replace(task, query=images)).query_logits
    moved = LabelPropagation().fit(replace(task, query=images[order])).query_logits
    assert whole is not None
    torch.testing.assert_close(moved, whole[order], rtol=0, atol=1e-6)


def test_needs() -> None:
    both = example({Need.TEXT, Need.UNLABELED, Need.QUERY}).task
    fitted = LabelPropagation().fit(replace(both, unlabeled=None))
    with pytest.raises(NeedsError, match="needs unlabeled images"):
        LabelPropagation().fit(replace(both, unlabeled=None, query=None))
    with pytest.raises(NeedsError, match="fit it anew"):
        LabelPropagation().extend(fitted, both)


@pytest.mark.parametrize("check", CHECKS)
def test_the_variant_conforms_too(check: str) -> None:
    run_check(check, SHARED)
