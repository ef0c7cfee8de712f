"""CLAP's penalties against the published code's arrays, and its rules; its fit is tested beside ZSLP's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.methods.whurs19 import close, load_golden

from clipwright.methods.clap import CLAP, clap_penalty
from clipwright.methods.example import example
from clipwright.methods.zslp import ZSLP, penalty_step, prototypes_fit
from clipwright.task import Features, Need, Task


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
class TestGolden:
    """The published code's arrays."""

    def test_penalty(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        arrays = load_golden(golden / "clap.npz", dtype)
        x, y, texts = arrays["image_features"], arrays["labels"], arrays["base_text"]
        close(clap_penalty(x, y, texts), arrays["lambda_k"], tolerance)

    def test_outer_step(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        arrays = load_golden(golden / "clap.npz", dtype)
        distance = (arrays["W"] - arrays["base_text"]).square().sum(1)
        penalty, rho = penalty_step(arrays["lambda_k"], arrays["alm_rho_in"], distance)
        close(penalty, arrays["alm_lambda_after_outer"], tolerance)
        close(rho, arrays["alm_rho_after_outer"], tolerance)

    def test_the_loss_is_the_published_one(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        """One step at rate 1 from T, without momentum, moves by the gradient; the loss at T is the cross-entropy."""
        arrays = load_golden(golden / "clap.npz", dtype)
        _, losses = prototypes_fit(
            arrays["image_features"],
            arrays["labels"],
            arrays["base_text"],
            batches=[[torch.arange(35)]],
            learning_rates=[1.0],
            penalty=arrays["lambda_k"],
        )
        assert losses[0] == pytest.approx(float(arrays["sgd_losses_10"][0]), rel=tolerance)


def case(counts: tuple[int, ...] = (3, 3, 3, 3, 3)) -> Task:
    made = example({Need.TEXT, Need.LABELS}).task
    assert made.support is not None
    rows = torch.cat([torch.arange(3 * c, 3 * c + n) for c, n in enumerate(counts)])
    return Task(made.class_names, made.text, made.support[rows])


def test_penalties_of_unequal_classes_are_means_of_their_own_rows() -> None:
    task = case((3, 1, 2, 1, 3))
    assert task.support is not None
    assert task.text is not None
    texts = task.text.classifier()
    found = clap_penalty(task.support.x, task.support.labels, texts, logit_scale=20.0)
    for c in range(5):
        own = task.support[task.support.labels == c]
        unit = own.x / own.x.norm(dim=1, keepdim=True)
        expected = torch.stack([torch.exp(20 * texts @ v)[c] / torch.exp(20 * texts @ v).sum() for v in unit]).mean()
        assert float(found[c]) == pytest.approx(float(expected), rel=1e-12)


def test_all_views_count_for_the_penalty() -> None:
    made = example({Need.TEXT, Need.LABELS, Need.VIEWS}).task
    assert made.support is not None
    assert made.support.views is not None
    flat = Features(made.support.views.flatten(0, 1), made.support.labels.repeat_interleave(4))
    a = CLAP().fit(made).head.state_dict()["weight"]
    b = CLAP().fit(Task(made.class_names, made.text, flat)).head.state_dict()["weight"]
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_prototypes_stay_nearer_to_the_texts_than_without_the_penalty() -> None:
    task = case()
    assert task.text is not None
    texts = task.text.classifier()
    cosines = [(m.fit(task).head.state_dict()["weight"] * texts).sum(1) for m in (CLAP(), ZSLP())]
    assert bool((cosines[0] >= cosines[1] - 1e-12).all())
    assert float(cosines[0].mean()) > float(cosines[1].mean())


def test_adaptive_penalties_hold_more_firmly_and_the_first_epochs_are_the_same() -> None:
    task = case((1, 3, 2, 3, 1))
    plain, adaptive = CLAP().fit(task), CLAP(adaptive=True).fit(task)
    assert plain.trace.losses[:2] == adaptive.trace.losses[:2]
    assert adaptive.trace.losses[-1] > plain.trace.losses[-1]
    assert adaptive.trace.how["adaptive"] == "user"
