"""LatteCLIP's mathematics against the released code's numbers, a reference of plain loops, and what must hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError, UsageError
from clipwright.core.tensors import unit_rows
from clipwright.methods.latte_mixing import (
    FLOOR,
    Branch,
    Captions,
    Mixing,
    branches,
    contrastive_loss,
    cosines,
    margins,
    moved_prototypes,
    sums_and_counts,
)

MODES = {
    "fixed": Mixing(),
    "legacy": Mixing(mixer_legacy_broadcast=True, z_uses_f_weights=True),
    "zF": Mixing(z_uses_f_weights=True),
}


def close(found: torch.Tensor, expected: Any, tolerance: float = 1e-10) -> None:
    wanted = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


def printed(found: torch.Tensor, expected: Any) -> None:
    """Equal to numbers with six digits behind the point."""
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), rtol=0, atol=6e-7)


@pytest.fixture
def latte(golden: Path) -> dict[str, torch.Tensor]:
    with np.load(golden / "latteclip.npz", allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.mark.parametrize("mode", MODES)
def test_four_steps_of_the_released_code(latte: dict[str, torch.Tensor], mode: str) -> None:
    images, once, texts = latte["Z"], latte["yZ"], latte["A"]
    prototypes, alpha, scale = texts, float(latte["alpha"]), float(latte["logit_scale"])
    for step, (rows, groups) in enumerate(zip(latte["batch_idx"], latte["group_idx"], strict=True)):
        z = images[rows]
        now = cosines(z, prototypes).argmax(1)
        assert torch.equal(now, latte[f"{mode}_yF"][step])
        captions = [Captions(latte["U"][rows]), Captions(latte["G"][groups])]
        pair = branches(
            (now, once[rows]), texts, (captions, captions), prototypes, alpha=alpha, snapshot=texts, how=MODES[mode]
        )
        for name, branch in zip("FZ", pair, strict=True):
            close(contrastive_loss(z, branch.targets, scale), latte[f"{mode}_loss_{name}"][step])
            if step == 0:
                close(branch.mixed, latte[f"{mode}_T_{name}_step0"])
                close(branch.targets, latte[f"{mode}_q_{name}_step0"])
                close(branch.weights.sum(1), latte[f"total_w_{name}"])
                for k, column in enumerate((f"w_class_{name}", "w_image", "w_group")):
                    close(branch.weights[:, k], latte[column])
        prototypes = moved_prototypes(prototypes, *sums_and_counts(pair, len(texts)))
        close(prototypes, latte[f"{mode}_prototypes"][step])


@pytest.mark.parametrize("mode", ["fixed", "legacy"])
def test_gradients_of_the_released_code(latte: dict[str, torch.Tensor], mode: str) -> None:
    tables = {name: latte[name].clone().requires_grad_() for name in "ZAUG"}
    rows, groups, prototypes = latte["batch_idx"][0], latte["group_idx"][0], latte["A"]
    z = tables["Z"][rows]
    captions = [Captions(tables["U"][rows]), Captions(tables["G"][groups])]
    labels = cosines(z, prototypes).argmax(1), latte["yZ"][rows]
    pair = branches(labels, tables["A"], (captions, captions), prototypes, alpha=0.01, how=MODES[mode])
    total = sum(contrastive_loss(z, branch.targets, 100.0) for branch in pair)
    assert isinstance(total, torch.Tensor)
    for name, found in zip("ZAUG", torch.autograd.grad(total, list(tables.values())), strict=True):
        close(found, latte[f"{mode}_grad_{name}_step0"])


def tiny() -> tuple[torch.Tensor, ...]:
    """Three images of three dimensions: the vector that can be checked by hand."""
    rows = (
        [[1, 0, 0], [0, 1, 0], [0.6, 0.6, 0.5]],
        [[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.5, 0.4, 0.6]],
        [[0.95, 0.1, 0.05], [0.05, 0.9, 0.2], [0.5, 0.6, 0.6]],
        [[0.8, 0.3, 0.2], [0.2, 0.7, 0.4], [0.3, 0.5, 0.7]],
        [[0.9, 0.1, 0.3], [0.4, 0.6, 0.5], [0.55, 0.55, 0.6]],
    )
    return tuple(unit_rows(torch.tensor(x, dtype=torch.float64)) for x in rows)


def test_a_vector_small_enough_to_check_by_hand() -> None:
    p, z, a, u, v = tiny()
    once = torch.tensor([0, 2, 2])
    now = cosines(z, p).argmax(1)
    assert now.tolist() == [0, 1, 2]
    printed(margins(a[now], p), [0.297891, 0.237969, 0.380484])
    printed(margins(a[once], p), [0.297891, 0.380484, 0.380484])
    printed(margins(u, p), [0.032294, 0.061827, 0.376204])
    printed(margins(v, p), [0.145178, 0.299768, 0.432367])
    captions = [Captions(u), Captions(v)]

    def run(how: Mixing) -> tuple[tuple[Branch, Branch], list[float], torch.Tensor]:
        pair = branches((now, once), a, (captions, captions), p, alpha=0.01, how=how)
        losses = [float(contrastive_loss(z, branch.targets, 100.0)) for branch in pair]
        return pair, losses, moved_prototypes(p, *sums_and_counts(pair, 3))

    pair, losses, new = run(Mixing())
    printed(pair[0].mixed[1], [0.274232, 0.815649, 0.420519])
    printed(pair[1].mixed[1], [0.464499, 0.658779, 0.582653])
    assert losses == pytest.approx([1.61365e-6, 2.840330], rel=1e-5)
    printed(new, [[0.999998, 0.001208, 0.001443], [0.002747, 0.999987, 0.004213], [0.607959, 0.609287, 0.509074]])
    pair, losses, new = run(MODES["legacy"])
    printed(pair[0].mixed[1], [0.279645, 0.815649, 0.472007])
    printed(pair[1].mixed[1], [0.407995, 0.541781, 0.582653])
    assert losses[1] == pytest.approx(2.846226, rel=1e-6)
    printed(new[2], [0.608017, 0.608892, 0.509477])


def batch(rng: np.random.Generator, n: int = 40, classes: int = 6, dim: int = 9) -> dict[str, Any]:
    """A random batch; some images have no captions, and one class no image."""

    def rows(m: int) -> torch.Tensor:
        return unit_rows(torch.from_numpy(rng.standard_normal((m, dim))))

    labels = tuple(torch.from_numpy(rng.integers(0, classes - 1, n)) for _ in range(2))
    captions = [Captions(rows(n), torch.from_numpy(rng.random(n) < 0.7)), Captions(rows(n))]
    return {
        "labels": labels,
        "class_texts": rows(classes),
        "captions": (captions, captions),
        "prototypes": rows(classes),
    }


def plain(made: dict[str, Any], *, alpha: float, how: Mixing, double_count: bool) -> tuple[np.ndarray, np.ndarray]:
    """Targets (2, B, D) and new prototypes, image by image with numpy."""
    a, p = made["class_texts"].numpy(), made["prototypes"].numpy()
    labels = [y.numpy() for y in made["labels"]]

    def weight(t: np.ndarray) -> tuple[float, int]:
        order = np.argsort(-(p @ t))
        return (float((p @ t)[order[0]] - (p @ t)[order[1]]) + FLOOR if how.mixer else 1.0), int(order[0])

    targets, groups = np.zeros((2, len(labels[0]), p.shape[1])), [[] for _ in p]  # type: ignore[var-annotated] # below
    for b in (0, 1):
        for i, y in enumerate(labels[b]):
            top = bottom = weight(a[y])[0]
            top = (weight(a[labels[0][i]])[0] if b and how.z_uses_f_weights else top) * a[y]
            for caption in made["captions"][b]:
                w, nearest = weight(caption.x[i].numpy())
                if (caption.there is None or caption.there[i]) and not (how.mask_wrong_captions and nearest != y):
                    top, bottom = top + w * caption.x[i].numpy(), bottom + w
            q = p[y] + alpha * (top / bottom - p[y])
            targets[b, i] = q / np.linalg.norm(q) if how.renorm_target else q
            share = 0.5 if not double_count and labels[0][i] == labels[1][i] else 1.0
            groups[y].append((share, targets[b, i]))
    new = p.copy()
    for c, found in enumerate(groups):
        if found:
            mean = sum(s * q for s, q in found) / sum(s for s, _ in found)
            new[c] = mean / np.linalg.norm(mean)
    return targets, new


@pytest.mark.parametrize("double_count", [True, False])
@pytest.mark.parametrize(
    "how",
    [
        Mixing(),
        Mixing(mixer=False),
        Mixing(mask_wrong_captions=True),
        Mixing(renorm_target=True),
        Mixing(z_uses_f_weights=True),
        Mixing(mixer=False, mask_wrong_captions=True, renorm_target=True, z_uses_f_weights=True),
    ],
)
def test_against_plain_loops(rng: np.random.Generator, how: Mixing, *, double_count: bool) -> None:
    made = batch(rng)
    pair = branches(**made, alpha=0.2, how=how)
    targets, new = plain(made, alpha=0.2, how=how, double_count=double_count)
    close(torch.stack([branch.targets for branch in pair]), targets, 1e-12)
    close(moved_prototypes(made["prototypes"], *sums_and_counts(pair, 6, double_count=double_count)), new, 1e-12)


def test_an_image_whose_labels_agree_counts_once_if_asked(rng: np.random.Generator) -> None:
    made = batch(rng)
    made["labels"] = (made["labels"][0], made["labels"][0])
    made["captions"] = (made["captions"][0], [replace(made["captions"][1][0], there=None), made["captions"][1][1]])
    pair = branches(**made, alpha=0.5)
    sums, counts = sums_and_counts(pair, 6, double_count=False)
    assert float(counts.sum()) == 40
    close(sums.sum(0), (pair[0].targets + pair[1].targets).sum(0) / 2, 1e-12)


def test_alpha_0_leaves_prototypes_and_alpha_1_gives_the_means(rng: np.random.Generator) -> None:
    made = batch(rng)
    still = branches(**made, alpha=0.0)
    close(moved_prototypes(made["prototypes"], *sums_and_counts(still, 6)), made["prototypes"], 1e-14)
    pair = branches(**made, alpha=1.0)
    new = moved_prototypes(made["prototypes"], *sums_and_counts(pair, 6))
    for c in range(5):
        mean = torch.cat([branch.mixed[branch.labels == c] for branch in pair]).mean(0)
        close(new[c], mean / mean.norm(), 1e-12)
    assert torch.equal(new[5], made["prototypes"][5])  # no image has this label


def test_equal_labels_give_equal_branches(rng: np.random.Generator) -> None:
    made = batch(rng)
    made["labels"] = (made["labels"][1], made["labels"][1])
    f, z = branches(**made, alpha=0.01)
    assert torch.equal(f.targets, z.targets)
    images = unit_rows(torch.from_numpy(rng.standard_normal((40, 9))))
    assert torch.equal(contrastive_loss(images, f.targets, 50.0), contrastive_loss(images, z.targets, 50.0))


def test_weights_are_a_convex_mix(rng: np.random.Generator) -> None:
    made = batch(rng)
    for branch in branches(**made, alpha=0.01):
        shares = branch.weights / branch.weights.sum(1, keepdim=True)
        assert bool((branch.weights >= 0).all())
        close(shares.sum(1), torch.ones(40), 1e-14)
        same = [Captions(made["class_texts"][branch.labels], c.there) for c in branch.captions]
        close(replace(branch, captions=same).mixed, made["class_texts"][branch.labels], 1e-14)


def test_the_order_of_a_batch_does_not_matter_and_parts_add_up(rng: np.random.Generator) -> None:
    made = batch(rng)

    def part(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        captions = [Captions(c.x[rows], None if c.there is None else c.there[rows]) for c in made["captions"][0]]
        labels = made["labels"][0][rows], made["labels"][1][rows]
        pair = branches(labels, made["class_texts"], (captions, captions), made["prototypes"], alpha=0.3)
        return sums_and_counts(pair, 6)

    order = torch.from_numpy(rng.permutation(40))
    whole = part(torch.arange(40))
    for one, other, wanted in zip(part(order[:15]), part(order[15:]), whole, strict=True):
        close(one + other, wanted, 1e-13)


def test_margins_of_few_classes_and_of_narrow_features(rng: np.random.Generator) -> None:
    x = unit_rows(torch.from_numpy(rng.standard_normal((5, 4))).float())
    assert torch.equal(margins(x, x[:1]), torch.ones(5))
    tied = margins(x, x[[0, 0]])
    assert torch.equal(tied, torch.full((5,), FLOOR))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = margins(x, x[:2])
    assert inside.dtype == torch.float32
    assert torch.equal(inside, margins(x, x[:2]))
    assert not margins(x.clone().requires_grad_(), x[:2]).requires_grad


def test_prototypes_learn_nothing_by_gradient(rng: np.random.Generator) -> None:
    made = batch(rng)
    made["prototypes"].requires_grad_()
    made["class_texts"].requires_grad_()
    f, _ = branches(**made, alpha=0.01)
    tables = made["prototypes"], made["class_texts"]
    gradients: tuple[torch.Tensor | None, ...] = torch.autograd.grad(f.targets.sum(), tables, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [True, False]


def test_targets_that_cancel_leave_the_prototype() -> None:
    p = torch.eye(2)
    sums, counts = torch.zeros(2, 2), torch.tensor([2.0, 0.0])
    assert torch.equal(moved_prototypes(p, sums, counts), p)


def test_positives_of_one_label_against_a_plain_loss(rng: np.random.Generator) -> None:
    z, q = (unit_rows(torch.from_numpy(rng.standard_normal((12, 5)))) for _ in range(2))
    y = torch.from_numpy(rng.integers(0, 3, 12))
    logits = (20 * z @ q.T).numpy()
    total = 0.0
    for table in (logits, logits.T):
        log = table - np.log(np.exp(table).sum(1, keepdims=True))
        total += float(np.mean([-log[i][(y == y[i]).numpy()].mean() for i in range(12)])) / 2
    assert float(contrastive_loss(z, q, 20.0, y)) == pytest.approx(total, rel=1e-12)
    alone = contrastive_loss(z, q, 20.0, torch.arange(12))
    close(alone, contrastive_loss(z, q, 20.0), 1e-14)


def test_identical_targets_put_a_floor_under_the_diagonal_loss() -> None:
    z = torch.eye(4, dtype=torch.float64).repeat_interleave(8, 0)
    assert float(contrastive_loss(z, z, 100.0)) == pytest.approx(np.log(8))
    labels = torch.arange(4).repeat_interleave(8)
    flat = contrastive_loss(z, z, 100.0, labels)
    assert float(flat) == pytest.approx(np.log(8))  # equal shares are the best answer then, and the gradient is 0


def test_what_does_not_fit_is_refused(rng: np.random.Generator) -> None:
    made = batch(rng)
    with pytest.raises(UsageError, match=r"as many images as features have dimensions \(9\); this one has 40"):
        branches(**made, alpha=0.01, how=MODES["legacy"])
    with pytest.raises(DataError, match="in pairs"):
        contrastive_loss(torch.zeros(3, 2), torch.zeros(2, 2), 1.0)
