"""ZeroShot against plain arithmetic and against published accuracies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.heads.linear import LinearHead
from clipwright.methods.example import example
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import AveragingRule, Features, Need, Task, TextFeatures

ENCODERS = {"clip_rn50": 71.54, "clip_vitb32": 81.29, "remoteclip_vitb32": 95.22, "georsclip_vitl14": 88.46}


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


@pytest.mark.parametrize("rule", ["raw_mean", "unit_mean", "mean_unit_renorm"])
def test_logits_are_scaled_cosines(rule: AveragingRule) -> None:
    case = example({Need.TEXT})
    assert case.task.text is not None
    prompts = case.task.text.x.numpy().reshape(3, 5, 16)
    centre = unit((prompts if rule == "raw_mean" else unit(prompts)).mean(0))
    found = ZeroShot(averaging=rule).fit(case.task)(case.test)
    np.testing.assert_allclose(found.numpy(), 100 * unit(case.test.x.numpy()) @ centre.T, rtol=0, atol=1e-12)


def test_the_head_is_the_unit_texts_at_the_tasks_scale() -> None:
    task = Task(("a", "b"), TextFeatures(torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)), logit_scale=12.5)
    head = ZeroShot().fit(task).head
    assert isinstance(head, LinearHead)
    assert float(head.scale) == 12.5
    assert head.weight.tolist() == [[0.6, 0.8], [0.0, 1.0]]


def test_no_label_is_counted_as_used() -> None:
    case = example({Need.TEXT, Need.LABELS})
    assert ZeroShot().fit(case.task).trace.labels_per_class == (0, 0, 0, 0, 0)


def test_only_template_rows_count_where_a_class_has_them() -> None:
    x = torch.eye(4, dtype=torch.float64)
    text = TextFeatures(x, torch.tensor([0, 0, 1, 1]), ("template", "attribute", "attribute", "attribute"))
    head = ZeroShot().fit(Task(("a", "b"), text)).head
    torch.testing.assert_close(
        head.state_dict()["weight"], torch.tensor([[1, 0, 0, 0], [0, 0, 0.5**0.5, 0.5**0.5]], dtype=torch.float64)
    )


def test_a_class_without_text_is_named() -> None:
    text = TextFeatures(torch.eye(2), torch.tensor([0, 2]))
    with pytest.raises(DataError, match="class number 1 has no text"):
        ZeroShot().fit(Task(("a", "b", "c"), text))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_published_average_prompt_accuracies(shared: Path, encoder: str) -> None:
    """All 1,005 images of WHU-RS19, 106 prompts averaged; published by the source of these features."""
    with np.load(shared / "realdata" / f"whurs19_{encoder}.npz") as bundle:
        names, y = tuple(map(str, bundle["class_names"])), bundle["labels"]
        task = Task(names, TextFeatures(bundle["text_features"]), logit_scale=float(bundle["logit_scale"]))
        predicted = ZeroShot().fit(task)(Features(bundle["image_features"])).argmax(1).numpy()
    accuracy = 100 * float((predicted == y).mean())
    published = json.loads((shared / "realdata" / "whurs19_published.json").read_text())[encoder]
    assert round(accuracy, 2) == ENCODERS[encoder]
    assert accuracy == pytest.approx(published["zero_shot_average_prompt"], abs=1e-9)
