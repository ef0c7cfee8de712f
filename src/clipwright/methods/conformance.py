"""What every method keeps: run these checks on a method of your own, as this project does on each of its methods.

    from clipwright.methods.conformance import check_method
    check_method(MyMethod())

A check that can't hold for a method by its nature is named in the method's tags, with the reason.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.core.errors import ClipwrightError, DataError, NeedsError
from clipwright.core.rng import generator
from clipwright.fitted import Fitted
from clipwright.heads.io import load_head, save_head
from clipwright.methods.base import SUPPLY, Method
from clipwright.methods.example import Example, example
from clipwright.task import Access, BlackBox, Features, Need, Task, TextFeatures, Tower

EXACT = 1e-6
"""Relative to the largest logit: what reordered float64 sums may change."""

TRAINED = 1e-4
"""The same for methods that train a tower, which is done in float32."""

_ROWS = ("support", "validation", "unlabeled", "query")


class ConformanceError(AssertionError):
    """A method breaks what every method keeps."""


class Subject:
    """A method under test, and the example tasks it is tried on."""

    def __init__(self, method: Method, access: Tower | BlackBox | None = None, task_type: type[Task] = Task) -> None:
        self.method, self.access, self.task_type = method, access, task_type

    @property
    def trained(self) -> bool:
        """Whether the method asks for a model's weights."""
        return Access.WEIGHTS in self.method.requires().access

    @property
    def exact(self) -> float:
        """How far equal answers may lie apart, relative to the largest logit."""
        return TRAINED if self.trained else EXACT

    @property
    def prompted(self) -> bool:
        """Whether the method asks a black box with soft prompts."""
        return Access.SOFT_PROMPT in self.method.requires().access

    def example(self, *, optional: bool = False, **options: Any) -> Example:
        """An example that meets the method's needs, and its optional needs where asked."""
        wants = self.method.requires()
        needs = wants.needs | (wants.optional if optional else frozenset())
        made = example(needs, access=self.access, soft_prompts=self.prompted, weights=self.trained, **options)
        fields = {f.name: getattr(made.task, f.name) for f in dataclasses.fields(Task)}
        return Example(self.task_type(**fields), made.test)

    def answer(self, case: Example) -> torch.Tensor:
        """(m, C) logits of the test rows, and below them those of the query rows where the method answers them."""
        return answers(self.method.fit(case.task), case)


def seen(fitted: Fitted, rows: Features, task: Task) -> Features:
    """Rows as a fit's head takes them: by the image tower that it changed, if it did."""
    if fitted.tower is None:
        return rows
    tower, source = task.access, rows.source
    assert isinstance(tower, Tower)  # noqa: S101 - what a method was given that changed one
    assert source is not None  # noqa: S101 - it needs images
    module = tower.image_module().eval()
    fitted.tower.apply(module.state_dict())
    pixels = torch.from_numpy(np.stack([tower.pixels(source(i)) for i in range(len(rows))])) if len(rows) else None
    with torch.no_grad():
        x = rows.x[:0] if pixels is None else module(pixels).to(rows.x.dtype)
    return dataclasses.replace(rows, x=x, views=None, tower=fitted.tower.digest)


def answers(fitted: Fitted, case: Example) -> torch.Tensor:
    """(m, C) logits of the test rows, and below them those of the task's query rows where there are any."""
    logits = fitted(seen(fitted, case.test, case.task))
    return logits if fitted.query_logits is None else torch.cat([logits, fitted.query_logits.to(logits.dtype)])


def _demand(held: object, message: str) -> None:
    if not held:
        raise ConformanceError(message)


def _close(found: torch.Tensor, expected: torch.Tensor, tolerance: float, what: str) -> None:
    _demand(found.shape == expected.shape, f"{what}: shapes {tuple(found.shape)} and {tuple(expected.shape)}.")
    _finite(found, what)
    gap = float((found.double() - expected.double()).abs().max()) if found.numel() else 0.0
    largest = max(1.0, float(expected.abs().max()) if expected.numel() else 0.0)
    _demand(gap <= tolerance * largest, f"{what}: logits differ by {gap:.3g}, the largest is {largest:.3g}.")


def _finite(logits: torch.Tensor, what: str) -> None:
    _demand(torch.isfinite(logits).all(), f"{what}: logits hold NaN or infinity.")


def _changed(
    case: Example,
    rows: Callable[[Features], Features] | None = None,
    text: Callable[[TextFeatures], TextFeatures] | None = None,
    **fields: Any,
) -> Example:
    """The example with every set of rows (test rows too) and the texts passed through functions."""
    task, test = case.task, case.test
    if rows is not None:
        fields |= {n: rows(f) for n in _ROWS if (f := getattr(task, n)) is not None}
        test = rows(test)
    if text is not None and task.text is not None:
        fields["text"] = text(task.text)
    return Example(dataclasses.replace(task, **fields), test)


def class_permutation(subject: Subject) -> None:
    """Reordering the classes reorders the logits."""
    case = subject.example()
    old_of_new = torch.tensor([3, 0, 4, 1, 2])
    new_of_old = old_of_new.argsort()

    def relabel(rows: Features) -> Features:
        scores = None if rows.scores is None else rows.scores[..., old_of_new]
        return dataclasses.replace(rows, y=None if rows.y is None else new_of_old[rows.y], scores=scores)

    def retext(text: TextFeatures) -> TextFeatures:
        return dataclasses.replace(text, class_index=new_of_old[text.classes])

    names = tuple(case.task.class_names[c] for c in old_of_new)
    box = _box_of(case, old_of_new.tolist())
    groups = None if case.task.group_captions is None else retext(case.task.group_captions)
    fields = {"class_names": names, "access": box, "group_captions": groups}
    other = subject.answer(_changed(case, relabel, retext, **fields))
    _close(other, subject.answer(case)[:, old_of_new], subject.exact, "reordered classes")


def _box_of(case: Example, numbers: list[int]) -> Any:
    """The model behind an example, of other classes where it knows how."""
    of_classes = getattr(case.task.access, "of_classes", None)
    return case.task.access if of_classes is None else of_classes(numbers)


def sample_permutation(subject: Subject) -> None:
    """Reordering support, validation, unlabeled and query rows changes no answer."""
    case = subject.example()

    def order(rows: Features) -> torch.Tensor:
        return torch.from_numpy(generator(1, "order").permutation(len(rows)))

    fields = {n: f[order(f)] for n in _ROWS if (f := getattr(case.task, n)) is not None}
    text = case.task.text
    if text is not None:
        fields["text"] = text[torch.from_numpy(generator(1, "order").permutation(len(text)))]
    moved = subject.method.fit(dataclasses.replace(case.task, **fields))
    if moved.query_logits is not None and case.task.query is not None:
        back = order(case.task.query).argsort()
        moved = dataclasses.replace(moved, query_logits=moved.query_logits[back])
    _close(answers(moved, case), subject.answer(case), subject.exact, "reordered rows")


def image_scale(subject: Subject) -> None:
    """A factor on all image features changes no answer."""
    case = subject.example(optional=True)

    def scaled(rows: Features) -> Features:
        names = ("x", "views", "pre_projection", "second")
        return dataclasses.replace(rows, **{n: 3.7 * v for n in names if (v := getattr(rows, n)) is not None})

    _close(subject.answer(_changed(case, scaled)), subject.answer(case), subject.exact, "image features times 3.7")


def text_scale(subject: Subject) -> None:
    """A factor on all text features changes no answer."""
    case = subject.example()
    scaled = _changed(case, text=lambda text: dataclasses.replace(text, x=3.7 * text.x))
    _close(subject.answer(scaled), subject.answer(case), subject.exact, "text features times 3.7")


def one_class(subject: Subject) -> None:
    """A single class gives one finite column."""
    case = subject.example(classes=1)
    logits = subject.answer(case)
    _demand(logits.shape[1] == 1, f"one class: logits have {logits.shape[1]} columns.")
    _finite(logits, "one class")


def one_sample(subject: Subject) -> None:
    """One labelled row per class is enough; no row or a single row can be predicted, as in a batch."""
    case = subject.example(shots=1)
    fitted = subject.method.fit(case.task)
    test = seen(fitted, case.test, case.task)
    logits = fitted(test)
    _finite(logits, "one sample per class")
    _demand(fitted(test[:0]).shape == (0, case.task.n_classes), "no rows to predict: the shape must be (0, C).")
    alone = torch.cat([fitted(test[[i]]) for i in range(len(test))])
    _close(alone, logits, subject.exact, "rows predicted one by one")


def ties(subject: Subject) -> None:
    """Two classes that look the same get the same logits."""
    case = _changed(subject.example(), _tied)

    def twin(rows: Features) -> Features:
        first, others = rows.labels == 0, rows.labels != 1
        clone = dataclasses.replace(rows[first], y=torch.ones(int(first.sum()), dtype=torch.int64))
        return _joined(rows[others], clone)

    def same(text: TextFeatures) -> TextFeatures:
        x = text.x.clone()
        x[text.classes == 1] = x[text.classes == 0]
        return dataclasses.replace(text, x=x)

    fields: dict[str, Any] = {n: twin(f) for n in ("support", "validation") if (f := getattr(case.task, n)) is not None}
    logits = subject.answer(_changed(case, text=same, access=_box_of(case, [0, 0, 2, 3, 4]), **fields))
    _close(logits[:, 1], logits[:, 0], subject.exact, "two classes that look the same")


def _tied(rows: Features) -> Features:
    """Rows that score the first two classes the same."""
    if rows.scores is None:
        return rows
    scores = rows.scores.clone()
    scores[..., 1] = scores[..., 0]
    return dataclasses.replace(rows, scores=scores)


def _joined(a: Features, b: Features) -> Features:
    def both(name: str) -> torch.Tensor | None:
        value = getattr(a, name)
        return None if value is None else torch.cat([value, getattr(b, name)])

    names = ("y", "views", "pre_projection", "second", "scores")
    source = None if a.source is None or b.source is None else _joined_source(a, b)
    return Features(torch.cat([a.x, b.x]), **{name: both(name) for name in names}, source=source)  # type: ignore[arg-type] # tensors


def _joined_source(a: Features, b: Features) -> Callable[[int], Any]:
    return lambda i: a.source(i) if i < len(a) else b.source(i - len(a))  # type: ignore[misc] # both have one


def empty_support(subject: Subject) -> None:
    """No labelled row, or a class without one, is refused in one sentence or answered with finite logits."""
    case = subject.example()
    support = case.task.support
    if Need.LABELS not in subject.method.requires().needs:
        empty = _changed(case, support=case.test[:0])
        _close(subject.answer(empty), subject.answer(case), 0.0, "an empty support set")
        return
    _demand(support is not None, "the example has no support set.")
    for what, rows in (("empty support", support[:0]), ("a class without labels", support[support.labels != 2])):  # type: ignore[index,union-attr] # checked
        try:
            logits = subject.answer(_changed(case, support=rows))
        except (NeedsError, DataError):
            continue
        except Exception as error:
            raise ConformanceError(f"{what}: {type(error).__name__} instead of one sentence: {error}") from error
        _demand(len(rows), "empty support: a method that needs labels was fitted without any.")
        _finite(logits, what)


def broken_rows(subject: Subject) -> None:
    """Rows of zeros, tiny and huge rows give finite logits; NaN is refused, never handed on."""
    case = subject.example()

    def odd(rows: Features) -> Features:
        x = rows.x.clone()
        x[::3] = 0
        x[1::3] *= 1e-6
        x[2::3] *= 1e6
        return dataclasses.replace(rows, x=x)

    _finite(subject.answer(_changed(case, odd)), "zero, tiny and huge rows")
    for name in ("text", *_ROWS):
        part = getattr(case.task, name)
        if part is None:
            continue
        task = dataclasses.replace(case.task)
        x = part.x.clone()
        x[0, 0] = math.nan
        spoilt = _smuggled(part, x)
        object.__setattr__(task, name, spoilt)  # past the checks of Features and Task
        try:
            logits = subject.answer(Example(task, case.test))
        except ClipwrightError:
            continue
        _finite(logits, f"NaN among the {name} features")


def _smuggled(part: Features | TextFeatures, x: torch.Tensor) -> Features | TextFeatures:
    copy = object.__new__(type(part))
    for f in dataclasses.fields(part):
        object.__setattr__(copy, f.name, getattr(part, f.name))
    object.__setattr__(copy, "x", x)
    return copy


def dtypes(subject: Subject) -> None:
    """Float32 agrees with float64, half precision gives finite logits, and float64 stays float64."""
    wide = subject.answer(subject.example(dtype=torch.float64))
    _demand(wide.dtype == torch.float64, f"float64 features gave {wide.dtype} logits.")
    single = subject.answer(subject.example(dtype=torch.float32))
    _demand(single.dtype == torch.float32, f"float32 features gave {single.dtype} logits.")
    _close(single, wide, subject.method.tags.tolerance, "float32 against float64")
    for half in (torch.float16, torch.bfloat16):
        _finite(subject.answer(subject.example(dtype=half)), str(half))


def determinism(subject: Subject) -> None:
    """The task's seed decides everything: two fits are equal bit for bit, and global generators are left alone."""
    case = subject.example(optional=True)
    first = subject.answer(case)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        states = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is meant
        second = subject.answer(case)
        after = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002
    _demand(torch.equal(first, second), "two fits on one task differ.")
    kept = torch.equal(states[0], after[0]) and str(states[1]) == str(after[1])
    _demand(kept, "the fit drew from a global random generator.")


def restriction(subject: Subject) -> None:
    """A head restricted to some classes gives those columns."""
    case = subject.example()
    fitted = subject.method.fit(case.task)
    index = torch.tensor([4, 1, 2])
    small = dataclasses.replace(fitted, head=fitted.head.restrict(index))
    test = seen(fitted, case.test, case.task)
    _close(small(test), fitted(test)[:, index], subject.exact, "a restricted head")


def untouched_inputs(subject: Subject) -> None:
    """A fit and a prediction leave all inputs as they were."""
    case = subject.example(optional=True)
    before = [tensor.clone() for tensor in _tensors(case)]
    subject.answer(case)
    for old, new in zip(before, _tensors(case), strict=True):
        _demand(torch.equal(old, new), "the fit changed its inputs.")


def _tensors(case: Example) -> list[torch.Tensor]:
    parts = [case.test, case.task, case.task.text, *(getattr(case.task, n) for n in _ROWS)]
    values = [getattr(part, f.name) for part in parts if part is not None for f in dataclasses.fields(part)]
    return [value for value in values if isinstance(value, torch.Tensor)]


def round_trip(subject: Subject) -> None:
    """A head that was saved and loaded gives the same logits bit for bit."""
    case = subject.example()
    fitted = subject.method.fit(case.task)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.safetensors"
        save_head(fitted.head, path)
        again = dataclasses.replace(fitted, head=load_head(path))
    test = seen(fitted, case.test, case.task)
    _demand(torch.equal(again(test), fitted(test)), "a saved and loaded head answers differently.")


def hidden_labels(subject: Subject) -> None:
    """Labels that come with unlabeled or query rows change nothing, and -1 is no label of the support set."""
    case = subject.example()
    marked = {
        n: dataclasses.replace(f, y=torch.arange(len(f)) % case.task.n_classes)
        for n in ("unlabeled", "query")
        if (f := getattr(case.task, n)) is not None
    }
    changed = subject.answer(_changed(case, **marked))
    _demand(torch.equal(changed, subject.answer(case)), "labels of unlabeled or query rows changed the answer.")
    if case.task.support is not None:
        rows = dataclasses.replace(case.task.support, y=torch.full((len(case.task.support),), -1))
        try:
            subject.answer(_changed(case, support=rows))
        except DataError:
            return
        raise ConformanceError("a support set labelled -1 was fitted.")


def validation_is_named(subject: Subject) -> None:
    """Validation labels change nothing, unless the method's optional needs name them."""
    wants = subject.method.requires()
    if Need.VALIDATION in wants.needs | wants.optional:
        return
    case = subject.example()
    rows = example({Need.VALIDATION}).task.validation
    assert rows is not None  # noqa: S101 - it was asked for
    changed = subject.answer(_changed(case, validation=rows))
    _demand(torch.equal(changed, subject.answer(case)), "validation labels changed the answer: name the need.")


def needs_messages(subject: Subject) -> None:
    """Whatever is missing is named, with how to supply it and which methods would run."""
    from clipwright.methods import runnable

    needs = subject.method.requires().needs
    for need in sorted(needs):
        case = example(needs - {need}, access=subject.access, soft_prompts=subject.prompted, weights=subject.trained)
        if need in case.task.supplies():  # implied by another need
            continue
        try:
            subject.method.fit(case.task)
        except NeedsError as error:
            said = str(error)
        except Exception as error:
            raise ConformanceError(f"without {need}: {type(error).__name__} instead of NeedsError.") from error
        else:
            raise ConformanceError(f"without {need}: the method was fitted although it says that it needs it.")
        for part in (subject.method.title, SUPPLY[need], *runnable(case.task)):
            _demand(part in said, f"without {need}: the message doesn't say {part!r}.")


def trace(subject: Subject) -> None:
    """The trace says the value of every hyper-parameter, where it came from, the labels used and the time."""
    case = subject.example()
    found = subject.method.fit(case.task).trace
    fields = set(subject.method.hyper_parameters())
    _demand(fields <= set(found.chosen), f"the trace lacks {sorted(fields - set(found.chosen))}.")
    _demand(set(found.chosen) == set(found.how), "the trace doesn't say where every value came from.")
    open_values = [name for name in fields if found.chosen[name] in {None, "auto"} and found.how[name] == "rule"]
    _demand(not open_values, f"the trace leaves {open_values} open.")
    json.dumps(found.chosen, allow_nan=False)
    labelled = Need.LABELS in subject.method.requires().needs
    _demand(len(found.labels_per_class) == case.task.n_classes, "labels_per_class must have one entry per class.")
    used = [n >= s for n, s in zip(found.labels_per_class, case.task.shots, strict=True)]
    _demand(all(used) if labelled else not any(found.labels_per_class), "labels_per_class is not what was used.")
    _demand(found.seconds > 0, "the trace has no wall time.")


def query_answers(subject: Subject) -> None:
    """A transductive method, and no other, answers the query: one row of logits for each of its rows."""
    case = subject.example(optional=True)
    given = subject.method.fit(case.task).query_logits
    if not subject.method.tags.transductive:
        _demand(given is None, "the method answers the query, but its tags don't say that it is transductive.")
        return
    _demand(given is not None and case.task.query is not None, "a transductive method must answer the query.")
    shape = (len(case.task.query), case.task.n_classes)  # type: ignore[arg-type] # checked
    _demand(given.shape == shape, f"the query's logits have shape {tuple(given.shape)}, not {shape}.")  # type: ignore[union-attr]


def described(subject: Subject) -> None:
    """The class is a frozen dataclass with title and summary, and its docstring explains every field."""
    kind = type(subject.method)
    parameters = getattr(kind, "__dataclass_params__", None)
    _demand(parameters is not None and parameters.frozen, "a method must be a frozen dataclass.")
    _demand(getattr(kind, "title", "") and getattr(kind, "summary", ""), "a method has a title and a summary.")
    for name in subject.method.hyper_parameters():
        _demand(f"{name}:" in (kind.__doc__ or ""), f"the docstring doesn't explain {name}.")
    unknown = set(kind.tags.exempt) - set(CHECKS)
    _demand(not unknown, f"the tags exempt {sorted(unknown)}, which no check is called.")


def _explained(check: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """The check, with whatever the method raises told as its failure."""

    @functools.wraps(check)
    def run(subject: Subject) -> None:
        try:
            check(subject)
        except ConformanceError:
            raise
        except Exception as error:
            raise ConformanceError(f"{check.__name__}: {type(error).__name__}: {error}") from error

    return run


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: _explained(check)
    for check in (
        class_permutation,
        sample_permutation,
        image_scale,
        text_scale,
        one_class,
        one_sample,
        ties,
        empty_support,
        broken_rows,
        dtypes,
        determinism,
        restriction,
        untouched_inputs,
        round_trip,
        hidden_labels,
        validation_is_named,
        needs_messages,
        trace,
        query_answers,
        described,
    )
}


def run_check(name: str, method: Method, access: Tower | BlackBox | None = None) -> None:
    """Run one check. One that the method's tags exempt must indeed fail, so that no exemption outlives its reason.

    Raises:
        ConformanceError: says what the method breaks.
    """
    reason = method.tags.exempt.get(name)
    try:
        CHECKS[name](Subject(method, access))
    except ConformanceError:
        if reason is None:
            raise
        return
    if reason is not None:
        raise ConformanceError(f"{name} holds: take its exemption out of the tags ({reason}).")


def check_method(method: Method, access: Tower | BlackBox | None = None) -> None:
    """Run all checks on a method in a configuration that fits in about a second.

    Args:
        method: the method under test.
        access: the model it needs beyond stored features, with the widths of `clipwright.methods.example`.

    Raises:
        ConformanceError: says what the method breaks.
    """
    for name in CHECKS:
        run_check(name, method, access)
