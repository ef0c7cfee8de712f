"""CLIPClassifier is a scikit-learn classifier, and fits what the methods themselves fit."""

from __future__ import annotations

import doctest
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic.dataclasses import dataclass
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import clipwright.sklearn
from clipwright.core.errors import ClipwrightError, NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods import make
from clipwright.methods.base import Method, Requirements
from clipwright.methods.linear_probe import LinearProbe
from clipwright.methods.nearest_mean import NearestMean
from clipwright.methods.taskres import TaskRes
from clipwright.protocol.calibrate import temperature
from clipwright.sklearn import CLIPClassifier
from clipwright.task import Features, Need, Task, TextFeatures

NAMES = ("ant", "bee", "cat")
DIM = 8
CENTRES = np.random.default_rng(7).standard_normal((len(NAMES), DIM))

MINUS_ONE = {"check_classifiers_classes": "its labels are -1 and 1, and here -1 marks rows without a label"}
VARIANTS = [
    CLIPClassifier(),
    CLIPClassifier(unlabeled=None),
    CLIPClassifier("NearestMean", calibrate=True, unlabeled=None),
    CLIPClassifier(LinearProbe(C=100.0), unlabeled=None),
]


def failures(estimator: CLIPClassifier) -> dict[str, str]:
    return MINUS_ONE if estimator.unlabeled == -1 else {}


def rows(per_class: int = 8, noise: float = 0.6, classes: int = len(NAMES), seed: int = 0) -> tuple[Any, Any]:
    """Rows in an order that mixes the classes, and their class numbers."""
    y = np.tile(np.arange(classes), per_class)
    return CENTRES[y] + noise * np.random.default_rng(seed).standard_normal((len(y), DIM)), y


X, Y = rows()
NEW, NEW_Y = rows(seed=1)
NAMED = np.array(NAMES)[Y]
TEXT = CENTRES + 0.2


@parametrize_with_checks(VARIANTS, expected_failed_checks=failures)  # type: ignore[untyped-decorator] # no types there
def test_it_is_a_scikit_learn_classifier(estimator: CLIPClassifier, check: Any) -> None:
    check(estimator)


def test_the_example_runs() -> None:
    found = doctest.testmod(clipwright.sklearn)
    assert found.attempted
    assert not found.failed


# --- what is fitted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [TaskRes(epochs=3), *map(make, ("LinearProbe", "NearestMean", "ZeroShot", "GDA"))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_fits_what_the_method_fits(method: Method, dtype: type[np.floating]) -> None:
    x, text, new = (part.astype(dtype) for part in (X, TEXT, NEW))
    found = CLIPClassifier(method, text_features=text, logit_scale=30.0, random_state=3).fit(x, NAMED)
    task = Task(
        NAMES,
        TextFeatures(torch.from_numpy(text)),
        Features(torch.from_numpy(x), torch.from_numpy(Y)),
        logit_scale=30.0,
        seed=3,
    )
    logits = method.fit(task)(Features(torch.from_numpy(new))).numpy()
    np.testing.assert_array_equal(found.decision_function(new), logits)
    np.testing.assert_allclose(found.predict_proba(new), softmax(logits, axis=1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found.predict(new), np.array(NAMES)[logits.argmax(1)])
    assert found.predict_proba(new).dtype == found.predict_log_proba(new).dtype == dtype
    assert found.method_ is method
    assert found.trace_ is found.fitted_.trace
    assert found.temperature_ == 1.0


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8])
def test_other_numbers_become_float64(dtype: type) -> None:
    x = (10 * abs(X)).astype(dtype)
    found, same = CLIPClassifier("NearestMean").fit(x, Y), CLIPClassifier("NearestMean").fit(x.astype(float), Y)
    assert found.predict_proba(x).dtype == np.float64
    np.testing.assert_array_equal(found.predict_proba(x), same.predict_proba(x.astype(float)))


def test_the_default_needs_no_text_and_may_use_it() -> None:
    assert CLIPClassifier().fit(X, Y).trace_.chosen["method"] == "LinearProbe"
    assert "ZeroShot" in {row["method"] for row in CLIPClassifier(text_features=TEXT).fit(X, Y).trace_.candidates}
    assert CLIPClassifier().fit(X, Y).score(NEW, NEW_Y) > 0.8


def test_hyper_parameters_go_to_the_method_that_is_named() -> None:
    found = CLIPClassifier("linear-probe", hyper_parameters={"C": 3.0}).fit(X, Y)
    assert found.method_ == LinearProbe(C=3.0)
    assert found.trace_.how["C"] == "user"


def test_randomness_comes_from_random_state() -> None:
    def weights(random_state: Any) -> np.ndarray:
        fitted = CLIPClassifier(TaskRes(epochs=2, batch_size=4), text_features=TEXT, random_state=random_state)
        return fitted.fit(X, Y).decision_function(NEW)

    np.testing.assert_array_equal(weights(1), weights(np.int64(1)))
    np.testing.assert_array_equal(weights(np.random.RandomState(1)), weights(np.random.RandomState(1)))
    assert (weights(1) != weights(2)).any()
    np.random.seed(5)  # noqa: NPY002 - scikit-learn's convention for None
    first = weights(None)
    assert (first != weights(None)).any()
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(first, weights(None))


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [["no", "yes"], [False, True], [3, 7], [-5, 0], [0.0, 1.0], np.array(["a", "b"], dtype=object)], ids=str
)
def test_two_classes_of_any_kind(labels: Any) -> None:
    x, y = rows(classes=2)
    named = np.asarray(labels)[y]
    found = CLIPClassifier().fit(x, named)
    np.testing.assert_array_equal(found.classes_, labels)
    assert found.classes_.dtype == found.predict(x).dtype == named.dtype
    decision = found.decision_function(x)
    assert decision.shape == (len(x),)
    np.testing.assert_allclose(found.predict_proba(x)[:, 1], expit(decision), atol=1e-12)
    np.testing.assert_array_equal(found.predict(x), np.asarray(labels)[(decision > 0).astype(int)])
    assert found.score(x, named) > 0.8


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"only one class is present: \['ant'\]\.$"):
        CLIPClassifier().fit(X, ["ant"] * len(X))
    with pytest.raises(ValueError, match=r"only one class is present: \[1\], besides -1, which marks rows without"):
        CLIPClassifier().fit(X, np.where(Y == 0, -1, 1))
    assert CLIPClassifier(unlabeled=None).fit(X, np.where(Y == 0, -1, 1)).classes_.tolist() == [-1, 1]


# --- rows without a label -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountsUnlabeled(Method):
    """The nearest mean, with a note of how many unlabeled rows there were."""

    title: ClassVar[str] = "CountsUnlabeled"
    summary: ClassVar[str] = "for tests"

    def requires(self) -> Requirements:
        return Requirements(needs=frozenset({Need.LABELS, Need.UNLABELED}))

    def fit(self, task: Task) -> Fitted:
        self.check(task)
        assert task.unlabeled is not None
        fitted = NearestMean().fit(task)
        fitted.trace.notes.append(str(task.unlabeled.x.tolist()))
        return fitted


@pytest.mark.parametrize(
    ("y", "marker"),
    [
        (np.where(np.arange(len(Y)) < 6, Y, -1), -1),
        (np.where(np.arange(len(Y)) < 6, Y, -1).tolist(), -1),
        (np.where(np.arange(len(Y)) < 6, Y + 0.0, -1.0), -1),
        ([*NAMED[:6], *[-1] * (len(Y) - 6)], -1),  # NumPy reads this as text
        (np.array([*NAMED[:6].tolist(), *[-1] * (len(Y) - 6)], dtype=object), -1),
        (np.array([*NAMED[:6].tolist(), *["-1"] * (len(Y) - 6)], dtype=object), -1),
        (np.where(np.arange(len(Y)) < 6, NAMED, "?"), "?"),
        (np.where(np.arange(len(Y)) < 6, Y, 99), 99),
    ],
    ids=["ints", "list", "floats", "mixed list", "mixed objects", "text objects", "text", "another number"],
)
def test_rows_without_a_label_go_to_the_method_as_such(y: Any, marker: Any) -> None:
    found = CLIPClassifier(CountsUnlabeled(), unlabeled=marker).fit(X, y)
    assert len(found.classes_) == len(NAMES)
    assert found.trace_.notes == [str(X[6:].tolist())]
    alone = CLIPClassifier("NearestMean").fit(X[:6], Y[:6])
    np.testing.assert_array_equal(found.decision_function(NEW), alone.decision_function(NEW))


def test_a_method_that_wants_unlabeled_rows_says_so() -> None:
    with pytest.raises(ValueError, match="CountsUnlabeled needs unlabeled images"):
        CLIPClassifier(CountsUnlabeled()).fit(X, Y)


def test_texts_alone_are_enough_for_a_method_that_needs_no_label() -> None:
    nothing = np.full(len(X), -1)
    found = CLIPClassifier("ZeroShot", text_features=TEXT[::-1], text_classes=NAMES[::-1]).fit(X, nothing)
    assert found.classes_.tolist() == list(NAMES)
    assert found.score(NEW, np.array(NAMES)[NEW_Y]) > 0.8
    with pytest.raises(ValueError, match="no labelled row"):
        CLIPClassifier("ZeroShot", text_features=TEXT).fit(X, nothing)
    with pytest.raises(ValueError, match="LinearProbe needs labelled images"):
        CLIPClassifier("LinearProbe", text_features=TEXT, text_classes=NAMES).fit(X, nothing)


# --- texts ----------------------------------------------------------------------------------------------------------


def zero_shot_weights(found: CLIPClassifier) -> np.ndarray:
    head = found.fitted_.head
    assert isinstance(head, LinearHead)
    return head.weight.numpy()


@pytest.mark.parametrize("form", ["dense", "prompts", "list", "flat"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_texts_stand_by_their_labels(form: str, order: list[int]) -> None:
    dense = TEXT[order]
    text: Any = {
        "dense": dense,
        "prompts": np.stack([dense, dense]),
        "list": dense.tolist(),
        "flat": TextFeatures(torch.from_numpy(dense)),
    }[form]
    found = CLIPClassifier("ZeroShot", text_features=text, text_classes=np.array(NAMES)[order]).fit(X, NAMED)
    expected = unit_rows(torch.from_numpy(TEXT)).numpy()
    np.testing.assert_allclose(zero_shot_weights(found), expected, atol=1e-12)
    if order == [0, 1, 2]:
        plain = CLIPClassifier("ZeroShot", text_features=text).fit(X, NAMED)
        np.testing.assert_array_equal(zero_shot_weights(plain), zero_shot_weights(found))


def test_texts_of_classes_that_a_part_of_the_labels_lacks_are_left_out() -> None:
    y = NAMED.copy()
    y[y == "bee"] = "ant"
    y[0] = "bee"  # the first fold trains without it
    x = X.copy()
    estimator = CLIPClassifier("ZeroShot", text_features=TEXT, text_classes=NAMES)
    fits = cross_validate(estimator, x, y, cv=KFold(3), return_estimator=True, error_score="raise")["estimator"]
    assert [fit.classes_.tolist() for fit in fits] == [["ant", "cat"], list(NAMES), list(NAMES)]
    expected = unit_rows(torch.from_numpy(TEXT[[0, 2]])).numpy()
    np.testing.assert_allclose(zero_shot_weights(fits[0]), expected, atol=1e-12)
    for scored in (estimator, clone(estimator).set_params(method="LinearProbe", hyper_parameters={"init": "text"})):
        assert np.isfinite(cross_val_score(scored, x, y, cv=KFold(3), error_score="raise")).all()
    with pytest.raises(ValueError, match="texts of 3 classes but y has 2: say in text_classes"):
        cross_val_score(clone(estimator).set_params(text_classes=None), x, y, cv=KFold(3), error_score="raise")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"text_features": TEXT[:2]}, "texts of 2 classes but y has 3"),
        ({"text_features": TEXT, "text_classes": NAMES[:2]}, "2 labels for texts of 3 classes"),
        ({"text_features": TEXT, "text_classes": ["ant", "bee", "bee"]}, "a label appears twice"),
        ({"text_features": TEXT, "text_classes": ["ant", "bee", "dog"]}, r"lack labels of y: \['cat'\]"),
        ({"text_features": TEXT, "text_classes": [0, 1, 2]}, r"lack labels of y: \['ant', 'bee', 'cat'\]"),
        ({"text_features": TEXT, "text_classes": [NAMES]}, "1d array"),
        ({"text_classes": NAMES}, "give text_features too"),
        ({"text_features": TEXT[:, :5]}, "same width"),
        ({"text_features": TEXT[0]}, "2D array"),
        ({"text_features": TEXT[None, None]}, "2 or 3 dimensions"),
        ({"text_features": np.where(TEXT > 1, np.nan, TEXT)}, "text_features contains NaN"),
    ],
)
def test_texts_that_do_not_fit_are_refused(texts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CLIPClassifier("ZeroShot", **texts).fit(X, NAMED)


# --- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "nonsense"}, "there is no method 'nonsense'"),
        ({"method": LinearProbe}, "method must be a name or a configured method"),
        ({"method": "LinearProbe", "hyper_parameters": {"c": 1.0}}, "no hyper-parameter 'c'"),
        ({"method": "LinearProbe", "hyper_parameters": {"C": -1.0}}, "C = -1.0 is not allowed"),
        ({"method": "LinearProbe", "hyper_parameters": [1.0]}, "hyper_parameters must be a dict"),
        ({"hyper_parameters": {"C": 1.0}}, "auto has no hyper-parameter 'C'"),
        ({"method": LinearProbe(), "hyper_parameters": {"C": 1.0}}, "belong to a method that you name"),
        ({"method": "TaskRes"}, "TaskRes needs text features"),
        ({"logit_scale": 0.0}, "logit_scale must be positive"),
        ({"logit_scale": np.inf}, "logit_scale must be positive and finite"),
        ({"logit_scale": "100"}, "logit_scale must be a positive number"),
        ({"logit_scale": True}, "logit_scale must be a positive number"),
        ({"calibrate": "yes"}, "calibrate must be True or False"),
        ({"random_state": "0"}, "cannot be used to seed"),
    ],
)
def test_parameters_that_can_not_be_used_are_refused_by_fit_alone(parameters: dict[str, Any], message: str) -> None:
    estimator = CLIPClassifier(**parameters)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_what_clipwright_says_is_kept_as_the_cause() -> None:
    with pytest.raises(ValueError, match="text features") as caught:
        CLIPClassifier("ZeroShot").fit(X, Y)
    assert not isinstance(caught.value, ClipwrightError)
    assert isinstance(caught.value.__cause__, NeedsError)
    assert str(caught.value) == str(caught.value.__cause__)


def test_a_clone_has_the_same_parameters() -> None:
    for text in (TEXT, TextFeatures(torch.from_numpy(TEXT))):
        given = CLIPClassifier(TaskRes(alpha=2.0, epochs=2), text_features=text, text_classes=NAMES, random_state=0)
        copy = clone(given)
        assert copy.get_params() is not given.get_params()
        assert copy.method == given.method
        np.testing.assert_array_equal(copy.fit(X, NAMED).predict_proba(NEW), given.fit(X, NAMED).predict_proba(NEW))
        assert given.text_features is text
        assert given.text_classes is NAMES


# --- calibration ----------------------------------------------------------------------------------------------------


def test_a_temperature_comes_from_rows_that_a_fit_did_not_see() -> None:
    plain = CLIPClassifier("NearestMean", random_state=0).fit(X, Y)
    found = CLIPClassifier("NearestMean", calibrate=True, random_state=0).fit(X, Y)
    expected, _ = temperature(NearestMean(), Task(NAMES, support=Features(torch.from_numpy(X), torch.from_numpy(Y))))
    assert expected is not None
    assert found.temperature_ == expected.value != 1.0
    np.testing.assert_allclose(found.decision_function(NEW) * found.temperature_, plain.decision_function(NEW))
    np.testing.assert_array_equal(found.predict(NEW), plain.predict(NEW))
    np.testing.assert_allclose(softmax(found.decision_function(NEW), axis=1), found.predict_proba(NEW))


def test_too_few_labels_for_a_temperature_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="Calibration needs two labelled images of every class"):
        assert CLIPClassifier("NearestMean", calibrate=True).fit(X[:4], Y[:4]).temperature_ == 1.0


# --- inside other estimators ----------------------------------------------------------------------------------------


def test_it_works_at_the_end_of_a_pipeline() -> None:
    found = make_pipeline(StandardScaler(), CLIPClassifier()).fit(X, NAMED)
    assert found.score(NEW, np.array(NAMES)[NEW_Y]) > 0.8
    unit = make_pipeline(FunctionTransformer(lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)), CLIPClassifier())
    np.testing.assert_allclose(
        unit.set_params(clipclassifier__random_state=0).fit(X, Y).predict_proba(NEW),
        CLIPClassifier(random_state=0).fit(X, Y).predict_proba(NEW),
        atol=1e-6,
    )


def test_methods_and_hyper_parameters_can_be_searched() -> None:
    grid = [
        {"method": ["ZeroShot", "NearestMean", NearestMean(distance="euclidean")]},
        {"method": ["LinearProbe"], "hyper_parameters": [{"C": 1e-9, "intercept": False}, {"C": 100.0}]},
    ]
    search = GridSearchCV(CLIPClassifier(text_features=-TEXT, text_classes=NAMES), grid, cv=3, error_score="raise")
    search.fit(X, NAMED)
    assert len(search.cv_results_["params"]) == 5
    assert search.best_params_["method"] != "ZeroShot"  # the texts point the wrong way
    assert search.best_estimator_.score(NEW, np.array(NAMES)[NEW_Y]) > 0.8


def test_a_search_says_what_is_wrong_with_a_candidate() -> None:
    with pytest.raises(ValueError, match="TaskRes needs text features"):
        GridSearchCV(CLIPClassifier(), {"method": ["TaskRes"]}, cv=3, error_score="raise").fit(X, Y)


def test_estimators_that_number_the_classes_are_given_numbers() -> None:
    text: dict[str, Any] = {"text_features": TEXT, "text_classes": range(len(NAMES))}
    members = [("names", CLIPClassifier("ZeroShot", **text)), ("mean", CLIPClassifier("NearestMean"))]
    assert VotingClassifier(members, voting="soft").fit(X, Y).score(NEW, NEW_Y) > 0.8
    odds = cross_val_predict(CLIPClassifier("ZeroShot", **text), X, Y, cv=3, method="predict_proba")
    np.testing.assert_allclose(odds, CLIPClassifier("ZeroShot", **text).fit(X, Y).predict_proba(X))
    named = CLIPClassifier("ZeroShot", text_features=TEXT, text_classes=NAMES)
    with pytest.raises(ValueError, match=r"numbered the classes from 0; give it numbers and text_classes=range\(C\)"):
        cross_val_predict(named, X, NAMED, cv=3, method="predict_proba")


@pytest.mark.parametrize("ensemble", [True, False])
def test_scikit_learn_can_calibrate_it(ensemble: bool) -> None:
    text: dict[str, Any] = {"text_features": TEXT, "text_classes": range(len(NAMES))}
    found = CalibratedClassifierCV(CLIPClassifier("ZeroShot", **text), cv=3, ensemble=ensemble).fit(X, Y)
    assert found.predict_proba(NEW).shape == (len(NEW), len(NAMES))
    assert found.score(NEW, NEW_Y) > 0.8
