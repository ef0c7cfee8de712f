"""The runner: what is run, what methods get to see, and that test labels reach none of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from clipwright import methods as catalogue
from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.core.metrics import score_rows
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements
from clipwright.methods.example import ExamplePrompts, ExampleTower
from clipwright.methods.taskres import TaskRes
from clipwright.methods.zero_shot import ZeroShot
from clipwright.protocol.auto import configured
from clipwright.protocol.draws import support_draw
from clipwright.protocol.prepare import Prepared
from clipwright.protocol.results import Results
from clipwright.protocol.runner import run
from clipwright.task import Access, Features, Need, Task

Make = Callable[..., Prepared]


@dataclass(frozen=True)
class Means(Method):
    """Nearest class mean; keeps the tasks it was given."""

    title: ClassVar[str] = "Means"
    summary: ClassVar[str] = "class means"
    wants: frozenset[Need] = frozenset({Need.LABELS})
    may: frozenset[Need] = frozenset()
    seen: list[Task] = field(default_factory=list, repr=False)
    heads: list[torch.Tensor] = field(default_factory=list, repr=False)

    def requires(self) -> Requirements:
        return Requirements(needs=self.wants, optional=self.may)

    def fit(self, task: Task) -> Fitted:
        self.seen.append(task)
        assert task.support is not None
        y = task.support.labels
        means = torch.stack([task.support.x[y == c].mean(0) for c in range(task.n_classes)])
        self.heads.append(means)
        trace = FitTrace(chosen={"k": len(self.seen)}, how={"k": "rule"}, notes=["a note"])
        return Fitted(LinearHead(means, scale=5.0), trace=trace)


def _run(prepared: Prepared, methods: Any, shots: Sequence[int] = (1, 4), draws: int = 3, **more: Any) -> Results:
    return run(prepared, methods, shots, draws, quiet=True, **more)


def test_every_cell_once_and_names_alone_once(make_prepared: Make) -> None:
    results = _run(make_prepared(test=5), [ZeroShot(), TaskRes(epochs=2)])
    rows = results.cells.to_pylist()
    keys = [(r["method"], r["shots"], r["draw"]) for r in rows]
    assert sorted(keys) == [("TaskRes", s, d) for s in (1, 4) for d in range(3)] + [("ZeroShot", 0, 0)]
    assert {r["n_test"] for r in rows} == {15}
    assert {r["dataset"] for r in rows} == {"gauss"}
    assert {r["backbone"] for r in rows} == {"bundle"}
    assert all(0 <= r["top1"] <= 1 and r["seconds_fit"] > 0 and r["temperature"] is None for r in rows)
    assert [r["labels_per_class"] for r in rows if r["shots"] == 4] == [[4, 4, 4]] * 3
    assert next(r for r in rows if r["shots"] == 0)["labels_per_class"] == [0, 0, 0]


def test_a_cell_is_what_fitting_and_scoring_by_hand_gives(make_prepared: Make) -> None:
    prepared = make_prepared(test=5)
    row = next(r for r in _run(prepared, [Means()], (4,), seed=3).cells.to_pylist() if r["draw"] == 2)
    dataset = prepared.dataset
    pool = np.where(dataset.splits == "train", dataset.labels, -1)
    support = support_draw(pool, 4, 2, 3, ids=dataset.ids)
    assert (dataset.splits[support] == "train").all()
    fitted = Means().fit(prepared.task(support))
    test = np.flatnonzero(dataset.splits == "test")
    expected = score_rows(fitted(prepared.rows(test)), dataset.labels[test]).summary()
    for name in ("top1", "macro", "nll", "ece", "brier"):
        assert row[name] == pytest.approx(expected[name])
    assert json.loads(row["chosen"]) == {"k": 3}
    assert json.loads(row["how"]) == {"k": "rule"}
    assert row["notes"] == ["a note"]


def test_methods_of_a_cell_get_the_same_support_and_seed_and_draws_are_nested(make_prepared: Make) -> None:
    one, other = Means(), Means()
    _run(make_prepared(test=5), {"a": one, "b": other}, (2, 4))
    for mine, theirs in zip(one.seen, other.seen, strict=True):
        assert mine.support is not None
        assert theirs.support is not None
        assert mine.support.ids == theirs.support.ids
        assert mine.seed == theirs.seed
    few, many = one.seen[0].support, one.seen[1].support
    assert few is not None
    assert many is not None
    assert set(few.ids or ()) < set(many.ids or ())
    assert len({task.seed for task in one.seen}) == len(one.seen)


def _poisoned(prepared: Prepared, rows: np.ndarray) -> Prepared:
    """The same data with the labels of some rows wrong."""
    dataset = prepared.dataset
    labels = dataset.labels.copy()
    labels[rows] = (labels[rows] + 1) % len(dataset.class_names)
    import pyarrow as pa

    table = dataset.table.set_column(2, dataset.table.schema.field("label"), pa.array(labels, pa.int32()))
    features = replace(prepared.features, y=torch.from_numpy(labels))
    return replace(prepared, dataset=replace(dataset, table=table), features=features)


def _granted(method: Method, task: Task) -> Task:
    """The task with a black box behind it, or a tower and images, where the method asks for them."""
    if task.text is None:
        return task
    if Access.SOFT_PROMPT in method.requires().access:
        return replace(task, access=ExamplePrompts(task.text.classifier()))
    if Access.WEIGHTS not in method.requires().access:
        return task
    tower = ExampleTower(int(task.text.x.shape[1]))

    def seen(rows: Features | None) -> Features | None:
        if rows is None:
            return None
        pixels = tower.images(rows.x.double().numpy())
        return replace(rows, source=lambda i: Image.fromarray(pixels[i].transpose(1, 2, 0)))

    text = replace(task.text, texts=tuple(f"text {i}" for i in range(len(task.text))))
    support, validation, unlabeled = map(seen, (task.support, task.validation, task.unlabeled))
    return replace(task, access=tower, text=text, support=support, validation=validation, unlabeled=unlabeled)


class Spy:
    """Wraps a method so that the weights of every head it fits are kept."""

    def __init__(self, method: Method) -> None:
        self.states: list[dict[str, torch.Tensor]] = []
        spy = self

        class Wrapped(type(method)):  # type: ignore[misc] # the class is known only here
            def missing(self, task: Task) -> Any:
                return super().missing(_granted(method, task))

            def fit(self, task: Task) -> Fitted:
                fitted: Fitted = super().fit(_granted(method, task))
                changed = {} if fitted.tower is None else fitted.tower.flat()
                spy.states.append(fitted.head.state_dict() | changed)
                return replace(fitted, tower=None)  # a bundle's images can't be encoded anew

        self.method: Method = Wrapped(**method.hyper_parameters())


QUICK: dict[str, dict[str, Any]] = {
    "RegFT": {"epochs": 1},
    "CLIPLoRA": {"iterations": 2},
    "LatteCLIP": {"steps": 2},
    "FLYP": {"steps": 2},
}


@pytest.mark.parametrize("shots", [2, 6])
@pytest.mark.parametrize("name", ["auto", *catalogue.names()])
def test_wrong_test_labels_change_no_fitted_head(make_prepared: Make, name: str, shots: int) -> None:
    clean = make_prepared((16, 16, 16), test=5)
    poisoned = _poisoned(clean, np.flatnonzero(clean.dataset.splits == "test"))
    heads, scores = [], []
    for prepared in (clean, poisoned):
        spy = Spy(configured(name, **QUICK.get(name, {})))
        scores.append(_run(prepared, {name: spy.method}, (0, shots), 1, validation="few-shot", calibrate=True))
        heads.append(spy.states)
    assert len(heads[0]) == len(heads[1]) > 0
    for one, other in zip(*heads, strict=True):
        assert all(torch.equal(one[k], other[k]) for k in one)
    assert scores[0].cells["top1"] != scores[1].cells["top1"], "the poison must show in the scores"


def test_the_poison_test_would_catch_a_leak(make_prepared: Make) -> None:
    clean = make_prepared(test=5)
    poisoned = _poisoned(clean, np.flatnonzero(clean.dataset.splits == "train"))
    heads = []
    for prepared in (clean, poisoned):
        method = Means()
        _run(prepared, [method], (2,), 1)
        heads.append(method.heads[0])
    assert not torch.equal(*heads)


def test_queries_and_unlabeled_images_come_without_labels(make_prepared: Make) -> None:
    method = Means(wants=frozenset({Need.LABELS, Need.QUERY, Need.UNLABELED}), may=frozenset({Need.VALIDATION}))
    prepared = make_prepared(test=5)
    _run(prepared, [method], (2,), 1, validation="few-shot")
    task = next(task for task in method.seen if task.validation is not None)
    assert task.query is not None
    assert task.unlabeled is not None
    assert task.validation is not None
    assert task.support is not None
    parts = [set(f.ids or ()) for f in (task.support, task.validation, task.unlabeled, task.query)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(prepared.dataset)
    assert (task.query.labels == -1).all()
    assert (task.unlabeled.labels == -1).all()
    assert len(task.validation) == 6


VALIDATING = frozenset({Need.VALIDATION})


def test_a_method_that_can_use_validation_labels_is_run_with_and_without(make_prepared: Make) -> None:
    """And the others at as many labels in all, so that no column compares unequal labels unsaid."""
    methods = {"plain": Means(), "chooser": Means(may=VALIDATING)}
    results = _run(make_prepared(test=4), methods, (1, 3), 1, validation="few-shot")
    found = {(r["method"], r["shots"]): r for r in results.cells.to_pylist()}
    assert set(found) == {
        *(("plain", k) for k in (1, 2, 3, 6)),
        *(("chooser", k) for k in (1, 2, 3, 6)),
        *(("chooser+val", k) for k in (1, 3)),
    }
    for k, total in ((1, 2), (3, 6)):
        assert found["chooser+val", k]["labels_per_class"] == [total] * 3 == found["plain", total]["labels_per_class"]
    assert {(m, r["validation"]) for (m, _), r in found.items()} == {
        ("plain", "none"),
        ("chooser", "none"),
        ("chooser+val", "few-shot"),
    }
    assert results.runs[0]["equal_labels"] == {"1": 2, "3": 6}


def test_equal_labels_beyond_what_classes_have_are_left_out(make_prepared: Make) -> None:
    results = _run(make_prepared((12, 12, 12), test=5), {"m": Means()}, (2, 4), 1, validation="few-shot")
    assert {r["shots"] for r in results.cells.to_pylist()} == {2, 4}
    with pytest.raises(DataError, match="4 shots and 4 for validation"):
        _run(make_prepared((10, 10, 10), test=4), {"m": Means(may=VALIDATING)}, (2, 4), 1, validation="few-shot")


def test_full_validation_is_the_whole_split_and_refused_without_one(make_prepared: Make) -> None:
    method = Means(may=VALIDATING)
    results = _run(make_prepared(val=5, test=4), {"m": method}, (2,), 1, validation="full")
    assert {(r["method"], r["validation"]): r["labels_per_class"] for r in results.cells.to_pylist()} == {
        ("m", "none"): [2, 2, 2],
        ("m+val", "full"): [7, 7, 7],
    }
    with pytest.raises(UsageError, match="no validation split"):
        _run(make_prepared(test=4), {"m": method}, (2,), 1, validation="full")


def test_without_a_test_split_each_draw_is_scored_on_what_it_leaves(make_prepared: Make) -> None:
    prepared = make_prepared(unlabeled=4)
    method = Means(wants=frozenset({Need.LABELS, Need.UNLABELED, Need.QUERY}))
    results = _run(prepared, [ZeroShot(), method], (1, 4), 3)
    rows = results.cells.to_pylist()
    assert {r["n_test"] for r in rows} == {32 - 12}
    assert sorted(r["draw"] for r in rows if r["shots"] == 0) == [0, 1, 2]
    for task in method.seen:
        query, used = task.query, task.unlabeled
        assert query is not None
        assert used is not None
        assert task.support is not None
        seen = set(task.support.ids or ()) | set(used.ids or ())
        assert not seen & set(query.ids or ())
    with pytest.raises(DataError, match="8 shots take every labelled image of gauss"):
        _run(make_prepared((8, 8)), [Means()], (8,))


def test_a_temperature_mends_calibration_and_leaves_accuracy(make_prepared: Make) -> None:
    prepared = replace(make_prepared((60, 60, 60), test=40, noise=1.0), logit_scale=80.0)
    plain = _run(prepared, [ZeroShot(), TaskRes(epochs=10)], (16,), 2)
    tempered = _run(prepared, [ZeroShot(), TaskRes(epochs=10)], (16,), 2, calibrate=True)
    assert plain.cells["top1"].equals(tempered.cells["top1"])
    rows = tempered.cells.to_pylist()
    assert all(r["temperature"] is None for r in rows if r["shots"] == 0), "names alone have no labels to calibrate on"
    for row in rows:
        if row["shots"]:
            assert row["temperature"] > 1
            assert row["nll_calibrated"] < row["nll"]
            assert row["ece_calibrated"] < row["ece"]


def test_runs_repeat_exactly(make_prepared: Make) -> None:
    same = [_run(make_prepared(test=5), [TaskRes(epochs=3)], seed=4).cells for _ in range(2)]
    other = _run(make_prepared(test=5), [TaskRes(epochs=3)], seed=5).cells
    assert same[0]["nll"].equals(same[1]["nll"])
    assert not same[0]["nll"].equals(other["nll"])


def test_predictions_of_the_first_draws_are_kept(make_prepared: Make) -> None:
    prepared = make_prepared(test=5)
    results = _run(prepared, [ZeroShot(), Means()], (1, 4), 3, keep=2)
    table = results.predictions.to_pylist()
    assert len(table) == 15 * (1 + 2 * 2)
    cell = next(r for r in results.cells.to_pylist() if (r["method"], r["shots"], r["draw"]) == ("Means", 4, 1))
    mine = [r for r in table if (r["method"], r["shots"], r["draw"]) == ("Means", 4, 1)]
    assert np.mean([r["label"] == r["predicted"] for r in mine]) == cell["top1"]
    assert {r["id"] for r in mine} == set(np.array(prepared.dataset.ids)[prepared.dataset.splits == "test"])
    assert not _run(prepared, [Means()], keep=0).predictions.num_rows


def test_finished_cells_are_handed_over_as_they_come(make_prepared: Make) -> None:
    found: list[dict[str, Any]] = []
    results = _run(make_prepared(test=5), [Means()], on_cell=found.append)
    assert [r["top1"] for r in found] == results.cells["top1"].to_pylist()


def test_small_classes_are_refused_or_give_all_they_have(make_prepared: Make) -> None:
    prepared = make_prepared((12, 12, 7), test=5)
    with pytest.raises(DataError, match="class 'class 2' has 2 labelled images"):
        _run(prepared, [Means()], (4,))
    rows = _run(prepared, [Means()], (4,), short="all").cells.to_pylist()
    assert {tuple(r["labels_per_class"]) for r in rows} == {(4, 4, 2)}


def test_what_can_t_run_is_refused_before_anything_is_fitted(make_prepared: Make) -> None:
    method = Means(wants=frozenset({Need.LABELS, Need.SECOND}))
    counted = Means()
    with pytest.raises(NeedsError, match="second backbone"):
        _run(make_prepared(test=5), {"a": counted, "b": method})
    assert not counted.seen


@pytest.mark.parametrize(
    ("methods", "shots", "draws", "says"),
    [
        ([], (1,), 1, "no methods"),
        ([ZeroShot(), ZeroShot()], (1,), 1, "need names"),
        ([Means()], (1,), 0, "at least one draw"),
        ([Means()], (), 1, "shots must be"),
        ([Means()], (-1,), 1, "none negative"),
        ([Means()], (0,), 1, "every method needs labels"),
    ],
)
def test_bad_plans_are_refused(make_prepared: Make, methods: Any, shots: Any, draws: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _run(make_prepared(test=5), methods, shots, draws)


def test_the_configuration_says_what_was_run(make_prepared: Make) -> None:
    (config,) = _run(make_prepared(test=5), {"quick": TaskRes(epochs=2)}, seed=9).runs
    assert config == json.loads(json.dumps(config))
    assert config["methods"]["quick"]["method"] == "TaskRes"
    assert config["methods"]["quick"]["hyper_parameters"]["epochs"] == 2
    assert (config["shots"], config["draws"], config["seed"], config["test"]) == ([1, 4], 3, 9, 15)
    assert config["class_names"] == ["class 0", "class 1", "class 2"]
    assert {"clipwright", "torch", "numpy", "python"} <= set(config["versions"])
