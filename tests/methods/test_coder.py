"""CODER against the released code's arrays, its recorded runs on real features, and an independent reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.whurs19 import ENCODERS, Recorded

from clipwright.core.errors import DataError, NeedsError
from clipwright.heads.coder import CoderHead
from clipwright.heads.metric_cache import MetricCacheHead
from clipwright.heads.rerank import RerankHead
from clipwright.methods.coder import ANCHOR, CODER, ONE_SHOT
from clipwright.methods.conformance import CHECKS, run_check
from clipwright.methods.example import example
from clipwright.methods.text_value import helpful
from clipwright.task import Features, Need, Task, TextFeatures

Arrays = dict[str, Any]
NAMES = tuple("abcdefgh")
THRESHOLDS = ("0.05", "0.1", "0.3", "0.6")


@pytest.fixture
def arrays(golden: Path) -> Arrays:
    with np.load(golden / "coder.npz") as file:
        return {n: file[n] for n in file.files}


def bank(a: Arrays, *kinds: str) -> TextFeatures:
    """The golden texts of some kinds."""
    rows: list[Any] = [a["name_texts"]]
    classes, marks, rivals = [np.arange(8)], ["name"] * 8, [np.full(8, -1)]
    for kind, name in (("attribute", "att"), ("analogue", "ana"), ("synonym", "syno")):
        if kind in kinds:
            rows.append(a[f"{name}_rows"])
            classes.append(np.repeat(np.arange(8), a[f"{name}_counts"]))
            marks += [kind] * len(a[f"{name}_rows"])
            rivals.append(np.full(len(a[f"{name}_rows"]), -1))
    if "one-vs-one" in kinds:
        owner, rival = np.repeat(a["ovo_pairs"], a["ovo_counts"], axis=0).T
        rows.append(a["ovo_rows"])
        classes.append(owner)
        marks += ["one-vs-one"] * len(owner)
        rivals.append(rival)
    x, of, against = (torch.from_numpy(np.concatenate(part)) for part in (rows, classes, rivals))
    return TextFeatures(x, of, tuple(marks), against)


ALL = ("attribute", "analogue", "synonym")


# ---- without labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kinds", "wanted"), [(ALL, "all"), (ALL[:2], "no_syno"), ((), "name_only")])
def test_golden_scores(arrays: Arrays, kinds: tuple[str, ...], wanted: str) -> None:
    fitted = CODER().fit(Task(NAMES, bank(arrays, *kinds)))
    assert isinstance(fitted.head, CoderHead)
    logits = fitted(Features(arrays["image_features"]))
    np.testing.assert_allclose(logits, arrays[f"logits_{wanted}"], rtol=0, atol=1e-10)
    assert fitted.trace.chosen["kinds"] == kinds


def test_golden_scores_in_single_precision(arrays: Arrays) -> None:
    text = bank(arrays, *ALL)
    text = dataclasses.replace(text, x=text.x.float())
    logits = CODER().fit(Task(NAMES, text))(Features(arrays["image_features"].astype(np.float32)))
    np.testing.assert_allclose(logits, arrays["logits_all_fp32"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_golden_decisions_of_the_second_stage(arrays: Arrays, threshold: str) -> None:
    fitted = CODER(gap=float(threshold)).fit(Task(NAMES, bank(arrays, *ALL, "one-vs-one")))
    assert isinstance(fitted.head, RerankHead)
    found = fitted(Features(arrays["image_features"])).argmax(1).numpy()
    np.testing.assert_array_equal(found, arrays[f"rerank_pred_thr{threshold}"])
    changed = arrays["softmax_gap"] < float(threshold)
    assert changed.sum() == arrays[f"n_reranked_thr{threshold}"]
    np.testing.assert_array_equal(found[~changed], arrays["logits_all"].argmax(1)[~changed])


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_looking_at_labels_would_not_have_changed_the_accuracy(arrays: Arrays, threshold: str) -> None:
    gated, labels = arrays[f"rerank_pred_labelgated_thr{threshold}"], arrays["labels"]
    assert (gated == labels).sum() == (arrays[f"rerank_pred_thr{threshold}"] == labels).sum()


def test_single_precision_decides_alike(arrays: Arrays) -> None:
    text = bank(arrays, *ALL, "one-vs-one")
    narrow = dataclasses.replace(text, x=text.x.float())
    x = arrays["image_features"]
    for gap in (0.1, 0.6):
        wide = CODER(gap=gap).fit(Task(NAMES, text))(Features(x)).argmax(1)
        single = CODER(gap=gap).fit(Task(NAMES, narrow))(Features(x.astype(np.float32))).argmax(1)
        assert torch.equal(wide, single)


def test_texts_that_agree_too_little_can_be_left_out(arrays: Arrays) -> None:
    text = bank(arrays, *ALL, "one-vs-one")
    fitted = CODER(agreement=0.3).fit(Task(NAMES, text))
    kept = helpful(text, least=0.3, same=np.inf)
    assert 8 < int(kept.sum()) < len(text) - 8
    assert bool(kept[:8].all()), "names stay"
    x = Features(arrays["image_features"])
    torch.testing.assert_close(fitted(x), CODER().fit(Task(NAMES, text[kept]))(x))
    assert fitted.trace.notes[0] == f"{int((~kept).sum())} of {len(text)} texts agree too little and were left out."
    assert torch.equal(CODER(agreement=-2).fit(Task(NAMES, text))(x), CODER().fit(Task(NAMES, text))(x))


def test_texts_of_a_class_may_stand_in_any_order(arrays: Arrays) -> None:
    text = bank(arrays, *ALL, "one-vs-one")
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(text)))
    x = Features(arrays["image_features"])
    logits = [CODER(gap=0.6).fit(Task(NAMES, t))(x) for t in (text, text[order])]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-10)


def test_reordered_classes_are_compared_alike(arrays: Arrays) -> None:
    text, order = bank(arrays, *ALL, "one-vs-one"), [5, 2, 7, 0, 1, 6, 3, 4]
    x = Features(arrays["image_features"])
    before = CODER(gap=0.6).fit(Task(NAMES, text))(x)
    after = CODER(gap=0.6).fit(Task(tuple(NAMES[c] for c in order), text.of_classes(order)))(x)
    torch.testing.assert_close(after, before[:, order], rtol=0, atol=1e-9)


def test_some_of_the_classes_are_the_classifier_of_these_alone(arrays: Arrays) -> None:
    text, some = bank(arrays, *ALL, "one-vs-one"), [6, 1, 3, 0]
    x = Features(arrays["image_features"])
    whole = CODER(gap=0.6).fit(Task(NAMES, text))
    alone = CODER(gap=0.6).fit(Task(tuple("pqrs"), text.of_classes(some)))
    found = whole.head.restrict(torch.tensor(some))(x.x)
    torch.testing.assert_close(found, alone(x), rtol=0, atol=1e-9)
    assert not torch.allclose(found, whole(x)[:, some])


def test_covered_and_missing_pairs_are_counted(arrays: Arrays) -> None:
    note = CODER().fit(Task(NAMES, bank(arrays, *ALL, "one-vs-one"))).trace
    pairs = {tuple(p) for p in arrays["ovo_pairs"].tolist()}
    both = sum((b, a) in pairs for a, b in pairs if a < b)
    alone = sum((b, a) not in pairs for a, b in pairs)
    said = (
        f"One-vs-one texts compare {both} of 28 pairs of classes; {28 - both} are missing, {alone} of them with texts "
        "in one direction only, and a missing pair counts 0."
    )
    assert note.notes == [said]
    assert note.chosen["rerank"] is True
    assert note.how["rerank"] == "rule"


def test_the_second_stage_can_be_switched_off_and_asked_for(arrays: Arrays) -> None:
    task = Task(NAMES, bank(arrays, *ALL, "one-vs-one"))
    assert isinstance(CODER(rerank=False).fit(task).head, CoderHead)
    assert isinstance(CODER(kinds=("attribute",)).fit(task).head, CoderHead)
    with pytest.raises(DataError, match="no pair of classes has them"):
        CODER(rerank=True).fit(Task(NAMES, bank(arrays, *ALL)))


def test_pairs_with_one_direction_alone_are_not_compared(arrays: Arrays) -> None:
    text = bank(arrays, "one-vs-one")
    text = text[(text.rivals < 0) | (text.classes < text.rivals)]
    fitted = CODER().fit(Task(NAMES, text))
    assert isinstance(fitted.head, CoderHead)
    assert "compare 0 of 28 pairs" in fitted.trace.notes[0]


def test_templates_name_the_classes_where_nothing_else_does() -> None:
    case = example({Need.TEXT})
    assert case.task.text is not None
    expected = 100 * case.test.unit_x() @ case.task.text.classifier().T
    torch.testing.assert_close(CODER().fit(case.task)(case.test), expected)


def test_a_class_without_a_name_is_its_descriptions_alone(arrays: Arrays) -> None:
    text = bank(arrays, "attribute")
    of_first = (text.classes == 0) & torch.tensor([k == "attribute" for k in text.kind])
    text = text[(text.classes != 0) | of_first]
    x = arrays["image_features"]
    logits = CODER().fit(Task(NAMES, text))(Features(x))
    np.testing.assert_allclose(logits[:, 0], 100 * (x @ text.x[text.classes == 0].numpy().T).mean(1), atol=1e-10)


def test_a_class_without_any_text_that_is_read_is_named(arrays: Arrays) -> None:
    text = bank(arrays)
    text = dataclasses.replace(text, kind=("name",) * 7 + ("caption",))
    with pytest.raises(DataError, match="class 'h' has no text that CODER reads"):
        CODER().fit(Task(NAMES, text))


# ---- with labels -------------------------------------------------------------------------------------------------


def few_shot_task(a: Arrays) -> Task:
    """Text and support of the golden file; the zero-shot texts are templates, so that names don't stand in."""
    rows = np.concatenate([a["fs_S_no_syno"], a["fs_text_DxC"].T])
    counts = a["att_counts"] + a["ana_counts"] + 1
    kinds = [kind for n in counts for kind in ("attribute",) * (n - 1) + ("name",)]
    classes = torch.from_numpy(np.concatenate([np.repeat(np.arange(8), counts), np.arange(8)]))
    text = TextFeatures(torch.from_numpy(rows), classes, (*kinds, *["template"] * 8))
    views = torch.from_numpy(a["fs_support_views"]).transpose(0, 1)
    support = Features(views[:, 0], a["fs_support_labels"], views=views)
    return Task(NAMES, text, support, Features(a["fs_val"], a["fs_val_labels"]))


def test_golden_logits_with_labels(arrays: Arrays) -> None:
    method = CODER(beta=float(arrays["fs_beta"]), alpha=float(arrays["fs_alpha"]))
    fitted = method.fit(few_shot_task(arrays))
    assert isinstance(fitted.head, MetricCacheHead)
    assert len(fitted.head.projection) == 40, "46 texts in 40 dimensions"
    logits = fitted(Features(arrays["fs_test"]))
    np.testing.assert_allclose(logits, arrays["fs_logits"], rtol=0, atol=1e-9)
    assert fitted.trace.labels_per_class == (4,) * 8
    assert fitted.trace.how["beta"] == "user"
    assert "set few_shot to false" in CODER(rerank=True, beta=1, alpha=1).fit(few_shot_task(arrays)).trace.notes[0]


def test_validation_chooses_at_least_as_well_as_the_coarse_grid(arrays: Arrays) -> None:
    task = few_shot_task(arrays)
    assert task.validation is not None
    fitted = CODER().fit(task)
    right = int((fitted(task.validation).argmax(1) == task.validation.labels).sum())
    assert right >= arrays["fs_rounds_beta_alpha_acc"][:, 2].max() / 100 * 64 - 1e-9
    assert fitted.trace.how["beta"] == fitted.trace.how["alpha"] == "validation"
    assert fitted.trace.labels_per_class == (12,) * 8
    assert fitted.trace.notes == ["Images are compared by their cosines with 46 texts, in 40 dimensions."]


def by_hand(task: Task, support: Features, x: np.ndarray, beta: float, alpha: float) -> np.ndarray:
    """Logits of one unit row with all T cosines; one template per class, its own name."""
    assert task.text is not None
    texts = task.text.x.numpy() / np.linalg.norm(task.text.x, axis=1, keepdims=True)

    def seen(row: np.ndarray) -> np.ndarray:
        phi = texts @ row
        return np.asarray(phi / np.linalg.norm(phi))

    keys = support.unit_x().numpy()
    near = np.array([seen(x) @ seen(k) for k in keys])
    near = (near - near.min()) / (near.max() - near.min())
    logits = 100 * task.text.classifier().numpy() @ x
    for vote, c in zip(np.exp(-beta * (1 - near)), support.labels.tolist(), strict=True):
        logits[c] += alpha * vote
    return np.asarray(logits)


def test_logits_with_unequal_classes() -> None:
    task = example({Need.TEXT, Need.LABELS}).task
    assert task.support is not None
    support = task.support[[0, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14]]
    x = example().test
    found = CODER(beta=5.0, alpha=2.0).fit(dataclasses.replace(task, support=support))(x)
    expected = np.stack([by_hand(task, support, row, 5.0, 2.0) for row in x.unit_x().numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_one_shot_takes_the_fixed_pair() -> None:
    trace = CODER().fit(example({Need.TEXT, Need.LABELS}, shots=1).task).trace
    assert (trace.chosen["beta"], trace.chosen["alpha"]) == ONE_SHOT
    assert trace.how["beta"] == "rule"
    assert ANCHOR[0] == ONE_SHOT[0]


@pytest.mark.parametrize("given", [{"beta": 2.0}, {"alpha": 1.17}])
@pytest.mark.parametrize("legacy", [False, True])
def test_given_values_stay(given: dict[str, float], legacy: bool) -> None:
    task = example({Need.TEXT, Need.LABELS}).task
    trace = CODER(**given, legacy_search=legacy).fit(task).trace  # type: ignore[arg-type] # floats
    (name, value), other = next(iter(given.items())), ({"beta", "alpha"} - set(given)).pop()
    assert trace.chosen[name] == value
    assert trace.how[name] == "user"
    assert trace.how[other] == "cross-validation"


def test_labels_are_left_alone_where_told_so(arrays: Arrays) -> None:
    task = few_shot_task(arrays)
    fitted = CODER(few_shot=False).fit(task)
    assert isinstance(fitted.head, CoderHead)
    assert fitted.trace.labels_per_class == (0,) * 8
    with pytest.raises(NeedsError, match="labelled images"):
        CODER(few_shot=True).fit(Task(NAMES, task.text))


def test_other_classes_follow_from_texts_but_not_from_labels(arrays: Arrays) -> None:
    text = bank(arrays, *ALL)
    new = Task(("p", "q"), text.of_classes([3, 5]))
    x = Features(arrays["image_features"])
    plain = CODER().fit(Task(NAMES, text))
    torch.testing.assert_close(CODER().extend(plain, new)(x), plain(x)[:, [3, 5]])
    with pytest.raises(NeedsError, match="can't score classes that it was not fitted on"):
        CODER().extend(CODER().fit(few_shot_task(arrays)), new)


# ---- conformance of the other configurations ---------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS)
def test_conforms_with_labels(check: str) -> None:
    run_check(check, CODER(few_shot=True))


@pytest.mark.parametrize("check", ["dtypes", "determinism", "one_sample", "trace"])
def test_conforms_with_the_released_search(check: str) -> None:
    run_check(check, CODER(few_shot=True, legacy_search=True))


# ---- recorded runs of the published code on real features --------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs(shared: Path, encoder: str) -> None:
    """106 prompts per class, searched and released first pair: the very same number of images is right."""
    recorded = Recorded(shared, encoder, "coder_fewshot", "coder_fewshot_init")
    assert len(recorded.runs) == 10
    for run in recorded.runs:
        task = recorded.task(run, validation=True)
        test = recorded.test(run)
        fitted = CODER(beta=run["beta"], alpha=run["alpha"]).fit(task)
        assert int((fitted(test).argmax(1) == test.labels).sum()) == run["correct"], run
        if run["method"] == "coder_fewshot":  # plateaus: rounding may pick another point of the same height
            searched = CODER(legacy_search=True).fit(task)
            assert task.validation is not None
            right = int((searched(task.validation).argmax(1) == task.validation.labels).sum())
            assert 100 * right / 76 == pytest.approx(run["rounds"][-1][2])
            assert abs(int((searched(test).argmax(1) == test.labels).sum()) - run["correct"]) <= 2
