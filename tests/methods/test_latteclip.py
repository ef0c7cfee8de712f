"""LatteCLIP: the released code's numbers, a training followed image by image, and what must hold besides."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.backbones.conftest import ARCHITECTURES
from tests.methods.latte_lookup import Lookup, dying, lookup_task, made_task

from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Requirements
from clipwright.methods.conformance import CHECKS, run_check, seen
from clipwright.methods.example import example
from clipwright.methods.latte_mixing import FLOOR
from clipwright.methods.latte_prototypes import LattePrototypes
from clipwright.methods.latte_texts import Found
from clipwright.methods.latteclip import LatteCLIP, LatteStep
from clipwright.methods.latteclip_fit import Tuning, recompute_layers
from clipwright.task import Access, Features, Need, Task, TextFeatures
from clipwright.training.full_batch import Stream, full_batch_backward
from clipwright.training.towers import Batch

NEEDS = {Need.TEXT, Need.UNLABELED, Need.IMAGES, Need.CAPTIONS}
MODES: dict[str, dict[str, bool]] = {
    "fixed": {},
    "legacy": {"mixer_legacy_broadcast": True, "z_uses_f_weights": True},
    "zF": {"z_uses_f_weights": True},
}
STILL = LatteCLIP(steps=12, batch_size=8, learning_rate=1e-300, weight_decay=0, alpha=0.1)


def prototypes(method: LatteCLIP | LattePrototypes, task: Task) -> torch.Tensor:
    head = method.fit(task).head
    assert isinstance(head, LinearHead)
    return head.weight


class Recorded(LatteStep):
    """A step that keeps what it gives."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.losses: list[dict[str, float]] = []
        self.history: list[torch.Tensor] = []

    def loss(self, *given: Any) -> dict[str, torch.Tensor]:
        parts = super().loss(*given)
        self.losses.append({name: float(part.detach()) for name, part in parts.items()})
        return parts

    def after(self, batch: Batch) -> None:
        super().after(batch)
        self.history.append(self.prototypes)


@dataclasses.dataclass
class Golden:
    given: dict[str, torch.Tensor]
    tuning: Tuning
    step: Recorded


def golden_run(folder: Path, mode: str) -> Golden:
    with np.load(folder / "latteclip.npz", allow_pickle=False) as stored:
        given = {name: torch.from_numpy(stored[name]) for name in stored.files}
    once = given["yZ"]
    task = lookup_task(given["Z"], given["A"][None], given["U"], given["G"], once)
    method = LatteCLIP(batch_size=64, steps=4, alpha=float(given["alpha"]), **MODES[mode])  # type: ignore[arg-type] # switches
    tuning = Tuning.of(method, task, image_captions=True, group_captions=True)
    tuning.labels = once  # the vectors' pseudo-labels aren't those of these images

    def draws(batch: Batch) -> torch.Tensor:
        """Numbers that fall on the group captions of the vectors."""
        picked = given["group_idx"][batch.step].tolist()
        members = [(once == once[g]).nonzero()[:, 0].tolist() for g in picked]
        places = [(own.index(g) + 0.5) / len(own) for own, g in zip(members, picked, strict=True)]
        return torch.tensor(places, dtype=torch.float64)

    return Golden(given, tuning, Recorded(method, tuning, draws))


@pytest.mark.parametrize("mode", MODES)
def test_four_steps_of_the_released_code(golden: Path, mode: str) -> None:
    run = golden_run(golden, mode)
    batches = list(run.given["batch_idx"])
    run.tuning.train(run.step, weights=run.step.weights, batches=lambda _: batches, rates=[0.0] * 4)
    for name in ("loss_F", "loss_Z"):
        found = torch.tensor([parts[name] for parts in run.step.losses], dtype=torch.float64)
        torch.testing.assert_close(found, run.given[f"{mode}_{name}"], rtol=1e-9, atol=1e-9)
    found = torch.stack(run.step.history)
    torch.testing.assert_close(found, run.given[f"{mode}_prototypes"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("mode", ["fixed", "legacy"])
@pytest.mark.parametrize("micro", [None, 17])
def test_gradients_of_the_released_code_reach_both_towers(golden: Path, mode: str, micro: int | None) -> None:
    run = golden_run(golden, mode)
    tuning, step, rows = run.tuning, run.step, run.given["batch_idx"][0]
    batch = Batch(0, 0, rows, rows)
    needed: list[torch.Tensor] = []

    def tokens(embeddings: list[torch.Tensor]) -> torch.Tensor:
        needed.append(step.wanted(embeddings[0], batch))
        return tuning.texts.tokens(needed[0])

    full_batch_backward(
        [Stream(tuning.image, rows[:, None]), Stream(tuning.text, tokens, whole=True)],
        lambda made: step.loss(torch.nn.functional.normalize(made[0], dim=1), Found(needed[0], made[1]), batch),
        weights=step.weights,
        micro_batch_size=micro,
    )
    assert isinstance(tuning.image, Lookup)
    assert isinstance(tuning.text, Lookup)
    expected = torch.cat([run.given[f"{mode}_grad_{name}_step0"] for name in "AUG"])
    # The vectors' gradients are those of unit rows; the towers' pass through their scaling to length 1.
    for found, wanted, table in (
        (tuning.image.table.grad, run.given[f"{mode}_grad_Z_step0"], tuning.image.table),
        (tuning.text.table.grad, expected, tuning.text.table),
    ):
        along = (wanted * table).sum(1, keepdim=True) * table
        assert found is not None
        torch.testing.assert_close(found, (wanted - along).detach(), rtol=1e-8, atol=1e-10)


def by_hand(task: Task, method: LatteCLIP) -> tuple[torch.Tensor, list[torch.Tensor], list[float]]:
    """The published method, image by image, on the tables of a lookup task."""
    rows, groups, text = task.unlabeled, task.group_captions, task.text
    assert rows is not None
    assert rows.caption_texts is not None
    assert groups is not None
    assert groups.texts is not None
    assert text is not None
    assert text.texts is not None
    tower: Any = task.access
    tables = [tower.image_module().table, tower.text_module().table]
    number = tower.numbers
    optimizer = torch.optim.AdamW(tables, betas=(0.9, 0.98), eps=1e-6, weight_decay=method.weight_decay)
    p = unit_rows(text.classifier())
    once = (rows.unit_x() @ p.T).argmax(1)
    n, per_epoch, losses = len(rows), len(rows) // method.batch_size, []
    for s in range(method.steps):
        epoch, place = divmod(s, per_epoch)
        if place == 0:
            start, total = p, 0.0
            order = generator(task.seed, "latte", "order", epoch).permutation(n)
            draws = generator(task.seed, "latte", "groups", epoch).random(n)
        batch = order[place * method.batch_size :][: method.batch_size].tolist()
        warm = min(1.0, (s + 1) / per_epoch)
        rest = (1 + np.cos(np.pi * (s - per_epoch) / (method.steps - per_epoch))) / 2 if s >= per_epoch else 1.0
        optimizer.param_groups[0]["lr"] = method.learning_rate * warm * rest
        z, t = (torch.nn.functional.normalize(table, dim=1) for table in tables)

        def weight(vector: torch.Tensor, start: torch.Tensor = start) -> float:
            first, second = (start @ vector.detach()).sort(descending=True).values[:2].tolist()
            return float(first - second + FLOOR)

        found: list[list[torch.Tensor]] = [[] for _ in p]
        loss = torch.zeros((), dtype=torch.float64)
        for branch in "FZ":
            targets = []
            for i in batch:
                y = int((p @ z[i].detach()).argmax()) if branch == "F" else int(once[i])
                own = torch.stack([t[number[x]] for x, c in zip(text.texts, text.classes, strict=True) if c == y])
                parts = [torch.nn.functional.normalize(own.mean(0), dim=0)]
                if rows.caption_texts[i]:
                    parts.append(t[number[rows.caption_texts[i]]])
                pool = [x for x, c in zip(groups.texts, groups.classes, strict=True) if c == once[i]]
                if pool:
                    parts.append(t[number[pool[int(draws[i] * len(pool))]]])
                w = [weight(part) for part in parts]
                mixed = torch.stack([a * part for a, part in zip(w, parts, strict=True)]).sum(0) / sum(w)
                targets.append(p[y] + method.alpha * (mixed - p[y]))
                found[y].append(targets[-1].detach())
            logits = task.logit_scale * z[batch] @ torch.stack(targets).T
            both = (logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()) / 2
            loss = loss - both.mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        p = unit_rows(torch.stack([torch.stack(q).mean(0) if q else old for q, old in zip(found, p, strict=True)]))
        optimizer.step()
        total += float(loss.detach()) / per_epoch
        if place == per_epoch - 1:
            losses.append(total)
    return p, [table.detach() for table in tables], losses


def test_a_training_followed_by_hand() -> None:
    task = made_task()
    method = LatteCLIP(steps=6, batch_size=7, learning_rate=0.02, weight_decay=0.5, alpha=0.2)
    expected, tables, losses = by_hand(task, method)
    fitted = method.fit(task)
    assert fitted.tower is not None
    torch.testing.assert_close(fitted.head.state_dict()["weight"], expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(fitted.tower.tensors["table"], tables[0], rtol=0, atol=1e-8)
    assert fitted.trace.losses == pytest.approx(losses, rel=1e-8)
    # As far as towers move, it matters.
    assert not torch.allclose(expected, prototypes(replace(method, learning_rate=1e-300), task), atol=1e-3)
    assert not torch.allclose(tables[0], task.unlabeled.x, atol=1e-2)  # type: ignore[union-attr] # there are images


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 100},
        {"snapshot": "step", "group_label": "branch"},
        {"mask_wrong_captions": True, "double_count": False},
        {"renorm_target": True, "mixer": False},
        {"mixer_legacy_broadcast": True, "z_uses_f_weights": True, "batch_size": 7},
        {"image_captions": False},
        {"group_captions": False},
    ],
    ids=str,
)
def test_with_towers_that_stay_it_is_latte_prototypes(changes: dict[str, Any]) -> None:
    task = made_task()
    method = replace(STILL, **changes)
    shared = {f.name for f in dataclasses.fields(LattePrototypes)} & {f.name for f in dataclasses.fields(LatteCLIP)}
    frozen = LattePrototypes(**{name: getattr(method, name) for name in shared})
    fitted = method.fit(task)
    assert fitted.tower is None
    torch.testing.assert_close(fitted.head.state_dict()["weight"], prototypes(frozen, task), rtol=0, atol=1e-10)


def test_lambdas_and_positives_change_the_towers_alone() -> None:
    task = made_task()
    method = LatteCLIP(steps=1, batch_size=23, learning_rate=0.01)
    plain = method.fit(task)
    for changes in ({"lambda_f": 0.0}, {"lambda_z": 0.0}, {"positives": "label"}):
        other = replace(method, **changes).fit(task)
        assert torch.equal(other.head.state_dict()["weight"], plain.head.state_dict()["weight"])
        assert other.tower is not None
        assert plain.tower is not None
        assert not torch.equal(other.tower.tensors["table"], plain.tower.tensors["table"])
    with pytest.raises(UsageError, match="no part of the loss"):
        replace(method, lambda_f=0, lambda_z=0).fit(task)


def test_alpha_0_leaves_the_prototypes_and_alpha_1_takes_the_mixes() -> None:
    task = made_task()
    start = unit_rows(task.text.classifier())  # type: ignore[union-attr] # it has texts
    torch.testing.assert_close(prototypes(replace(STILL, alpha=0), task), start, rtol=0, atol=1e-12)
    assert not torch.allclose(prototypes(replace(STILL, alpha=1), task), start, atol=0.05)


def test_no_steps_are_the_class_texts() -> None:
    task = made_task()
    fitted = replace(STILL, steps=0).fit(task)
    start = task.text.classifier()  # type: ignore[union-attr] # it has texts
    assert torch.equal(fitted.head.state_dict()["weight"], start)
    assert fitted.tower is None
    assert fitted.trace.losses == []


def test_micro_batches_change_nothing() -> None:
    task = made_task()
    whole = LatteCLIP(steps=5, batch_size=9, learning_rate=0.01, alpha=0.1)
    for size in (1, 4, 100):
        parts = prototypes(replace(whole, micro_batch_size=size), task)
        torch.testing.assert_close(parts, prototypes(whole, task), rtol=0, atol=1e-10)


def test_resampling_repeats_images() -> None:
    task = made_task()
    method = replace(STILL, sampler="resample")
    assert not torch.allclose(prototypes(method, task), prototypes(STILL, task), atol=1e-4)
    assert torch.equal(prototypes(method, task), prototypes(method, task))
    trace = method.fit(task).trace
    assert (trace.chosen["steps"], trace.chosen["epochs"]) == (12, 6)


def case(**options: Any) -> Any:
    return example(NEEDS, weights=True, dtype=torch.float32, **options)


QUICK = LatteCLIP(steps=6, batch_size=8, learning_rate=1e-3, alpha=0.05)


def test_the_trace_says_what_was_mixed() -> None:
    made = case()
    fitted = QUICK.fit(made.task)
    trace = fitted.trace
    assert set(trace.loss_parts) == {"loss_F", "loss_Z"}
    assert [len(part) for part in (trace.losses, *trace.loss_parts.values())] == [3, 3, 3]
    assert (trace.chosen["epochs"], trace.how["epochs"], trace.how["steps"]) == (3, "rule", "user")
    said = trace.notes[-1]
    assert "class texts" in said
    assert "image captions" in said
    assert "group captions" in said
    assert "of images had the label that class texts alone give" in said
    assert fitted.tower is not None
    assert fitted(seen(fitted, made.test, made.task)).shape == (20, 5)
    by_epochs = replace(QUICK, epochs=3, steps=1).fit(made.task)
    assert (by_epochs.trace.chosen["steps"], by_epochs.trace.how["steps"]) == (6, "rule")
    assert torch.equal(by_epochs.head.state_dict()["weight"], fitted.head.state_dict()["weight"])


def test_missing_captions_are_told() -> None:
    made = case()
    rows = made.task.unlabeled
    some = replace(rows, caption_texts=tuple("" if i % 5 == 0 else t for i, t in enumerate(rows.caption_texts)))
    notes = QUICK.fit(replace(made.task, unlabeled=some)).trace.notes
    assert "4 of 20 images have no caption and count with their other texts." in notes
    bare = replace(made.task, unlabeled=replace(rows, captions=None, caption_texts=None), group_captions=None)
    notes = QUICK.fit(bare).trace.notes
    assert "No caption was used, so class texts alone move prototypes and towers: caption the images." in notes
    deaf = replace(QUICK, image_captions=False, group_captions=False)
    assert not deaf.requires().optional
    assert torch.equal(prototypes(deaf, made.task), prototypes(QUICK, bare))


def test_texts_must_be_known_by_their_words() -> None:
    task = case().task
    for spoilt, what in (
        (replace(task, text=replace(task.text, texts=None)), "class names"),
        (replace(task, group_captions=replace(task.group_captions, texts=None)), "group captions"),
        (replace(task, unlabeled=replace(task.unlabeled, caption_texts=None)), "captions"),
    ):
        with pytest.raises(NeedsError, match=f"the texts of the {what} and not only their features"):
            QUICK.fit(spoilt)
    with pytest.raises(NeedsError, match="fit it anew"):
        QUICK.extend(QUICK.fit(task), task)


def test_few_images_duplicates_and_a_single_class() -> None:
    task = case().task
    rows: Features = task.unlabeled
    anonymous = replace(rows, ids=None)
    for some in (rows[[0]], anonymous[[0, 0, 0, 1]], rows[[3, 1, 2]]):
        assert prototypes(QUICK, replace(task, unlabeled=some)).shape == (5, 16)
    one = case(classes=1)
    assert torch.isfinite(prototypes(QUICK, one.task)).all()
    # A class that no image is labelled with keeps its text.
    last = unit_rows(task.text.classifier())
    last[4] = -rows.unit_x().sum(0)
    elsewhere = rows[(rows.unit_x() @ unit_rows(last).T).argmax(1) != 4]
    far = replace(task, text=replace(task.text, x=last.repeat(3, 1)), unlabeled=elsewhere)
    fitted = QUICK.fit(far)
    torch.testing.assert_close(fitted.head.state_dict()["weight"][4], unit_rows(last)[4])
    assert any("of 5 classes are no image's label by the class texts." in note for note in fitted.trace.notes)


@pytest.mark.parametrize(("steps", "rising"), [(1, 0), (4, 2), (6, 3), (8, 4), (20, 4)])
def test_the_warm_up_is_an_epoch_or_half_of_the_steps(steps: int, rising: int) -> None:
    task = made_task()
    assert task.unlabeled is not None
    method = LatteCLIP(steps=steps, batch_size=len(task.unlabeled) // 4, learning_rate=1e-3)
    rates = Tuning.of(method, task, image_captions=True, group_captions=True).rates()
    assert len(rates) == steps
    assert rates[: rising + 1] == pytest.approx([1e-3 * (s + 1) / rising for s in range(rising)] + [1e-3])
    assert sorted(rates[rising:], reverse=True) == rates[rising:]


def test_batches_must_fit_the_released_mistake() -> None:
    with pytest.raises(UsageError, match="mixer_legacy_broadcast needs batches of as many images"):
        replace(QUICK, mixer_legacy_broadcast=True).fit(case().task)


@pytest.mark.parametrize("every", [300.0, 0.0], ids=["after epochs", "after steps"])
@pytest.mark.parametrize("at", range(6))
def test_killed_and_started_again_it_ends_the_same(
    at: int, every: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functools import partial

    from clipwright.training.towers import train_tower

    made = case()
    expected = QUICK.fit(made.task)
    task = replace(made.task, workspace=tmp_path)
    monkeypatch.setattr("clipwright.methods.latteclip_fit.REST", 0.0)
    monkeypatch.setattr("clipwright.methods.latteclip_fit.train_tower", partial(train_tower, every=every))
    with monkeypatch.context() as patch:
        dying(at, patch)
        with pytest.raises(KeyboardInterrupt):
            QUICK.fit(task)
    if at == 5:  # the last file is damaged as well: the one before it is taken up
        (tmp_path / "latteclip.safetensors").write_bytes(b"half")
    found = QUICK.fit(task)
    assert torch.equal(found.head.state_dict()["weight"], expected.head.state_dict()["weight"])
    assert found.tower is not None
    assert expected.tower is not None
    assert found.tower.digest == expected.tower.digest
    assert found.trace.loss_parts == expected.trace.loss_parts
    assert found.trace.notes == expected.trace.notes
    assert not list(tmp_path.iterdir())


class Heard(LatteCLIP):
    """LatteCLIP that asks for captions, so that every check's example has them."""

    __doc__ = LatteCLIP.__doc__

    def requires(self) -> Requirements:
        return Requirements(frozenset(NEEDS), access=frozenset({Access.WEIGHTS, Access.FEATURES}))


@pytest.mark.parametrize("check", CHECKS)
def test_conforms_with_captions(check: str) -> None:
    run_check(check, Heard(steps=10))


@pytest.mark.slow
def test_layers_of_real_towers_are_recomputed(tmp_path: Path) -> None:
    import json

    import open_clip
    from PIL import Image
    from safetensors.torch import save_file

    from clipwright.backbones import resolve

    (tmp_path / "latte-vit.json").write_text(json.dumps(ARCHITECTURES["small-vit"]))
    open_clip.add_model_config(tmp_path / "latte-vit.json")
    torch.manual_seed(7)
    model = open_clip.create_model("latte-vit", load_weights=False, pretrained_text=False)
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, tmp_path / "vit.safetensors")
    tower: Any = resolve(f"openclip:latte-vit@{tmp_path / 'vit.safetensors'}", device="cpu").load()
    names, rng = ("two", "star", "house"), np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), "RGB") for _ in range(6)]
    texts = tuple(f"a photo of a {name}." for name in names)
    said = tuple(f"it has {'very ' * i}many colours" for i in range(6))
    x = tower.images(torch.from_numpy(np.stack([tower.pixels(picture) for picture in pictures]))).x
    rows = Features(x, captions=tower.texts(said), caption_texts=said, source=pictures.__getitem__)
    task = Task(names, TextFeatures(tower.texts(texts), texts=texts), unlabeled=rows, access=tower)
    method = LatteCLIP(steps=2, learning_rate=1e-4)
    plain = method.fit(task)
    again = replace(method, gradient_checkpointing=True, micro_batch_size=4).fit(task)
    assert plain.tower is not None
    assert again.tower is not None
    before = tower.image_module().state_dict()
    assert all(not torch.equal(tensor, before[name]) for name, tensor in plain.tower.tensors.items())
    for name, tensor in plain.tower.tensors.items():
        torch.testing.assert_close(again.tower.tensors[name], tensor, rtol=1e-4, atol=2e-5, msg=name)
    assert not any("recomputed" in note for note in again.trace.notes)
    modules = tower.image_module(), tower.text_module()
    assert all(recompute_layers(module) for module in modules)
    flags = [getattr(part, "grad_checkpointing", None) for module in modules for part in module.modules()]
    assert flags.count(True) >= 2
    assert not flags.count(False)


def test_towers_without_layers_say_so() -> None:
    notes = replace(QUICK, gradient_checkpointing=True).fit(case().task).trace.notes
    assert "Not both towers have layers that can be recomputed: gradient_checkpointing saves less." in notes
