"""FLYP without labels: a training followed by hand, and the classifier made of the tuned texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.latte_lookup import dying, made_task

from clipwright.core.errors import NeedsError
from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.methods.conformance import seen
from clipwright.methods.example import example
from clipwright.methods.flyp import FLYP
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Need, Task

NEEDS = {Need.TEXT, Need.UNLABELED, Need.IMAGES}
QUICK = FLYP(steps=6, batch_size=8, learning_rate=1e-3)


def by_hand(task: Task, method: FLYP) -> tuple[torch.Tensor, torch.Tensor]:
    """CLIP's loss on two tables: the class texts after it, and the table of images."""
    rows, text, tower = task.unlabeled, task.text, task.access
    assert rows is not None
    assert text is not None
    made: Any = tower
    images, texts = made.image_module().table, made.text_module().table
    prompts = len(text) // task.n_classes
    once = (rows.unit_x() @ unit_rows(text.classifier()).T).argmax(1)
    optimizer = torch.optim.AdamW([images, texts], betas=(0.9, 0.98), eps=1e-6, weight_decay=method.weight_decay)

    def classes() -> torch.Tensor:
        unit = torch.nn.functional.normalize(texts[: len(text)], dim=1).view(prompts, task.n_classes, -1)
        return torch.nn.functional.normalize(unit.mean(0), dim=1)

    per_epoch = len(rows) // method.batch_size
    for s in range(method.steps):
        epoch, place = divmod(s, per_epoch)
        order = generator(task.seed, "latte", "order", epoch).permutation(len(rows))
        batch = torch.from_numpy(order[place * method.batch_size :][: method.batch_size])
        rest = (1 + np.cos(np.pi * (s - per_epoch) / (method.steps - per_epoch))) / 2
        optimizer.param_groups[0]["lr"] = method.learning_rate * ((s + 1) / per_epoch if s < per_epoch else rest)
        z = torch.nn.functional.normalize(images[batch], dim=1)
        logits = task.logit_scale * z @ classes()[once[batch]].T
        loss = -(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()).mean() / 2
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return classes().detach(), images.detach()


def test_a_training_followed_by_hand() -> None:
    task = made_task()
    method = FLYP(steps=6, batch_size=7, learning_rate=0.02)
    classes, images = by_hand(task, method)
    fitted = method.fit(task)
    assert fitted.tower is not None
    torch.testing.assert_close(fitted.head.state_dict()["weight"], classes, rtol=0, atol=1e-9)
    torch.testing.assert_close(fitted.tower.tensors["table"], images, rtol=0, atol=1e-9)
    assert not torch.allclose(classes, unit_rows(task.text.classifier()), atol=1e-2)  # type: ignore[union-attr] # texts
    assert set(fitted.trace.loss_parts) == {"contrastive"}
    assert len(fitted.trace.losses) == 2
    assert fitted.trace.chosen["epochs"] == 2
    other = replace(method, positives="label").fit(task)
    assert not torch.equal(other.head.state_dict()["weight"], fitted.head.state_dict()["weight"])


def test_towers_that_stay_are_zero_shot() -> None:
    made = example(NEEDS, weights=True, dtype=torch.float32)
    task = made.task
    tower: Any = task.access
    assert task.text is not None
    x = tower.text_module()(tower.tokens(task.text.texts)).detach()
    honest = replace(task, text=replace(task.text, x=x))  # features that are indeed those of the texts
    fitted = FLYP(steps=3, learning_rate=1e-30, weight_decay=0).fit(honest)
    assert fitted.tower is None
    torch.testing.assert_close(fitted(made.test), ZeroShot().fit(honest)(made.test), rtol=1e-5, atol=1e-4)


def test_one_class_one_image_and_no_words() -> None:
    one = example(NEEDS, weights=True, classes=1, dtype=torch.float32)
    fitted = QUICK.fit(one.task)
    assert torch.isfinite(fitted(seen(fitted, one.test, one.task))).all()
    task = example(NEEDS, weights=True, dtype=torch.float32).task
    assert task.unlabeled is not None
    assert task.text is not None
    assert np.isfinite(QUICK.fit(replace(task, unlabeled=task.unlabeled[[2]])).trace.losses).all()
    with pytest.raises(NeedsError, match="the texts of the class names and not only their features"):
        QUICK.fit(replace(task, text=replace(task.text, texts=None)))
    with pytest.raises(NeedsError, match="FLYP can't score classes"):
        QUICK.extend(fitted, task)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_killed_and_started_again_it_ends_the_same(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = example(NEEDS, weights=True, dtype=torch.float32).task
    expected = QUICK.fit(task)
    monkeypatch.setattr("clipwright.methods.latteclip_fit.REST", 0.0)
    kept = replace(task, workspace=tmp_path)
    with monkeypatch.context() as patch:
        dying(at, patch)
        with pytest.raises(KeyboardInterrupt):
            QUICK.fit(kept)
    found = QUICK.fit(kept)
    assert torch.equal(found.head.state_dict()["weight"], expected.head.state_dict()["weight"])
    assert found.trace.losses == expected.trace.losses
    assert not list(tmp_path.iterdir())
