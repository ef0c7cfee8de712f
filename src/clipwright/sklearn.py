"""The scikit-learn face of clipwright: any of its methods as a classifier on image features.

In pipelines, grid searches and cross-validation `CLIPClassifier` behaves as scikit-learn's own estimators do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from clipwright.core.errors import ClipwrightError, UsageError
from clipwright.methods.base import Method
from clipwright.protocol.auto import configured
from clipwright.protocol.calibrate import temperature
from clipwright.task import Features, Task, TextFeatures

_ROWS: dict[str, Any] = {"dtype": (np.float64, np.float32), "order": "C"}  # other dtypes become the first


class CLIPClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Classifier on image features of a vision-language model, with or without text features of the classes.

    Rows are image features as the model gives them. Most methods scale them to length 1, so leave them raw: a
    `StandardScaler` before it moves images away from the texts.

    Args:
        method: a method's name (`clipwright.methods.names()`), a configured method such as ``TaskRes(alpha=1.0)``, or
            ``"auto"``: what the labels and texts allow. The default needs no text.
        hyper_parameters: of the method that is named, such as ``{"C": 10.0}``; None = its defaults.
        text_features: (C, D) one text feature per class, (P, C, D) for P prompts, a `TextFeatures`, or None.
        text_classes: (C,) the label that each class of `text_features` stands for, in any order. None: they stand in
            the order of `classes_`, and there must be as many. Give it where a part of the labels may lack a class,
            as in cross-validation: texts of absent classes are then left out.
        logit_scale: what multiplies cosines, positive; 100 for CLIP.
        unlabeled: the label that marks rows without one, which go to the method as unlabeled data; among text labels
            also its spelling, ``"-1"``. None = every row is labelled: say so if -1 is a class of yours.
        calibrate: whether `temperature_` is fitted on out-of-fold logits, which takes up to five more fits.
        random_state: where randomness comes from; a whole number is the `seed` of clipwright's other fits.

    Attributes:
        classes_: (C,) sorted labels that occur in `y`; where no row is labelled, those of `text_classes`.
        method_: the configured method that was fitted.
        fitted_: what its `fit` returned.
        trace_: how each hyper-parameter was found, losses, seconds.
        temperature_: what logits were divided by; 1.0 where they aren't calibrated.
        n_features_in_: D.
        feature_names_in_: (D,) column names, where `X` had any.

    Examples:
        >>> import numpy as np
        >>> from clipwright.sklearn import CLIPClassifier
        >>> X = np.array([[1.0, 0.1], [2.0, -0.1], [0.1, 1.0], [-0.2, 3.0], [0.2, 1.5]])
        >>> y = ["cat", "cat", "dog", "dog", "-1"]
        >>> CLIPClassifier(random_state=0).fit(X, y).predict([[5.0, 1.0]])
        array(['cat'], dtype='<U3')
        >>> names_only = CLIPClassifier("ZeroShot", text_features=[[0, 1], [1, 0]], text_classes=["dog", "cat"])
        >>> names_only.fit(X, ["-1"] * 5).predict(X)
        array(['cat', 'cat', 'dog', 'dog', 'dog'], dtype='<U3')
    """

    def __init__(
        self,
        method: str | Method = "auto",
        *,
        hyper_parameters: Mapping[str, Any] | None = None,
        text_features: ArrayLike | TextFeatures | None = None,
        text_classes: ArrayLike | None = None,
        logit_scale: float = 100.0,
        unlabeled: Any = -1,
        calibrate: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.hyper_parameters = hyper_parameters
        self.text_features = text_features
        self.text_classes = text_classes
        self.logit_scale = logit_scale
        self.unlabeled = unlabeled
        self.calibrate = calibrate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the method on labelled rows, unlabeled rows and texts.

        Args:
            X: (n, D) finite image features; float32 and float64 stay, other numbers become float64.
            y: (n,) labels: strings, integers or booleans; `unlabeled` marks rows without one.

        Returns:
            itself.

        Raises:
            ValueError: parameters, features, labels or texts that can't be used, a single class, or something that
                the method needs and lacks. Errors of clipwright become ValueErrors with the same message.
        """
        rows, labels = validate_data(self, X, y, **_ROWS)
        try:
            classes, task = self._task(rows, labels)
            method = self._method()
            fitted = method.fit(task)
            found, reason = temperature(method, task, fitted=fitted) if self.calibrate else (None, "")
        except ClipwrightError as error:
            raise ValueError(str(error)) from error
        if self.calibrate and found is None:
            warnings.warn(reason, UserWarning, stacklevel=2)
        self.classes_, self.method_, self.fitted_, self.trace_ = classes, method, fitted, fitted.trace
        self.temperature_ = 1.0 if found is None else found.value
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Logits divided by the temperature: their softmax is `predict_proba`.

        Args:
            X: (m, D) finite image features.

        Returns:
            (m, C), columns in the order of `classes_`; with two classes (m,), second minus first.
        """
        logits = self._logits(X)
        return (logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(m,) most probable labels; `X` as in `decision_function`."""
        best = self._logits(X).argmax(1).numpy()
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """(m, C) probabilities, columns in the order of `classes_`; `X` as in `decision_function`."""
        return torch.softmax(self._logits(X), dim=1).numpy()

    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """(m, C) logarithms of `predict_proba`; `X` as in `decision_function`."""
        return torch.log_softmax(self._logits(X), dim=1).numpy()

    def _logits(self, X: ArrayLike) -> torch.Tensor:
        """(m, C) in the dtype that the fit computed in."""
        check_is_fitted(self, "fitted_")
        rows = validate_data(self, X, **_ROWS, reset=False)
        logits: torch.Tensor = self.fitted_(Features(rows))
        return logits / self.temperature_

    def _task(self, X: Any, y: NDArray[Any]) -> tuple[NDArray[Any], Task]:
        """(C,) classes, and what the method may see."""
        self._check_parameters()
        labelled = ~_marked(y, self.unlabeled)
        if labelled.any():
            check_classification_targets(y[labelled])
            classes, index = np.unique(y[labelled], return_inverse=True)
        elif self.text_classes is not None:
            classes, index = np.unique(column_or_1d(self.text_classes)), np.empty(0, dtype=np.int64)
        else:
            raise UsageError("y has no labelled row: label some, or say in text_classes what the texts stand for.")
        if len(classes) < 2:
            aside = "" if labelled.all() else f", besides {self.unlabeled!r}, which marks rows without a label"
            raise UsageError(f"Classifier can't train when only one class is present: {classes.tolist()}{aside}.")
        task = Task(
            tuple(str(label) for label in classes.tolist()),
            self._texts(classes),
            Features(X[labelled], torch.from_numpy(index)) if labelled.any() else None,
            unlabeled=None if labelled.all() else Features(X[~labelled]),
            logit_scale=float(self.logit_scale),
            seed=self._seed(),
        )
        return classes, task

    def _check_parameters(self) -> None:
        """Refuse what neither the catalogue nor the task would."""
        given: dict[str, Any] = self.get_params(deep=False)
        if not isinstance(given["method"], str | Method):
            raise UsageError(f"method must be a name or a configured method, such as TaskRes(); it is {self.method!r}.")
        if not isinstance(given["hyper_parameters"], Mapping | None):
            raise UsageError(f"hyper_parameters must be a dict or None; it is {self.hyper_parameters!r}.")
        if self.hyper_parameters and not isinstance(self.method, str):
            raise UsageError("hyper_parameters belong to a method that you name: give its name as method.")
        if isinstance(given["logit_scale"], bool) or not isinstance(given["logit_scale"], Real):
            raise UsageError(f"logit_scale must be a positive number; it is {self.logit_scale!r}.")
        if not isinstance(given["calibrate"], bool | np.bool_):
            raise UsageError(f"calibrate must be True or False; it is {self.calibrate!r}.")
        if self.text_classes is not None and self.text_features is None:
            raise UsageError("text_classes say what text_features stand for: give text_features too.")

    def _seed(self) -> int:
        given: Any = self.random_state
        generator = check_random_state(given)
        if isinstance(given, Integral):
            return int(given)
        return int(generator.randint(np.iinfo(np.int32).max))

    def _method(self) -> Method:
        if isinstance(self.method, Method):
            return self.method
        return configured(self.method, **(self.hyper_parameters or {}))

    def _texts(self, classes: NDArray[Any]) -> TextFeatures | None:
        """Texts of the classes, in their order."""
        given = self.text_features
        if given is None:
            return None
        if not isinstance(given, TextFeatures):
            given = TextFeatures(check_array(given, **_ROWS, allow_nd=True, input_name="text_features"))
        if self.text_classes is None:
            if given.n_classes != len(classes):
                raise UsageError(
                    f"text_features hold texts of {given.n_classes} classes but y has {len(classes)}: "
                    "say in text_classes which label each of them stands for."
                )
            return given
        labels = column_or_1d(self.text_classes).tolist()
        if len(labels) != given.n_classes:
            raise UsageError(f"text_classes has {len(labels)} labels for texts of {given.n_classes} classes.")
        place = {label: number for number, label in enumerate(labels)}
        if len(place) < len(labels):
            raise UsageError("a label appears twice in text_classes: give several texts of a class as (P, C, D).")
        missing = [label for label in classes.tolist() if label not in place]
        if missing:
            raise UsageError(
                f"text_classes lack labels of y: {missing[:5]}. An estimator around this one may have numbered the "
                "classes from 0; give it numbers and text_classes=range(C)."
            )
        return given.of_classes(place[label] for label in classes.tolist())


def _marked(y: NDArray[Any], marker: Any) -> NDArray[np.bool_]:
    """(n,) which rows carry the marker, or its spelling where labels are text: NumPy makes text of mixed lists."""
    if marker is None:
        return np.zeros(len(y), dtype=bool)
    found = np.asarray(y == marker, dtype=bool)
    return found | np.asarray(y == str(marker), dtype=bool) if y.dtype.kind in "OUT" else found
