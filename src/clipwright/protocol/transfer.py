"""A finished classifier on data of other classes: some of its own in any order, or ones that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipwright import methods as catalogue
from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.core.spelling import match_key
from clipwright.data.benchmarks import benchmarks, find_benchmark, listed_classes, read_indices
from clipwright.data.names import quoted
from clipwright.fitted import Fitted
from clipwright.methods.base import Method
from clipwright.protocol.auto import NAME
from clipwright.task import Task, TextFeatures

if TYPE_CHECKING:
    from clipwright.classifier import Classifier

Ints = NDArray[np.int64]
ClassIndex = str | Path | Sequence[int]


def read_class_index(given: ClassIndex) -> tuple[int, ...]:
    """The classifier's class number of each class of the data.

    Args:
        given: the numbers, from 0; a text file of them; or ``imagenet-a`` or ``imagenet-r``, whose lists are known.

    Raises:
        DataError: the file can't be read, or holds anything but distinct class numbers.
    """
    if not isinstance(given, str | Path):
        return read_indices(" ".join(str(number) for number in given), "the class index")
    path = Path(given).expanduser()
    if path.is_file():
        try:
            return read_indices(path.read_text(encoding="utf-8-sig"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the class index {path} can't be read as text ({error}): give a text file.") from error
    names = [b.name for b in benchmarks() if b.index]
    try:
        known = listed_classes(find_benchmark(str(given)))
    except UsageError:
        known = ()
    if not known:
        raise DataError(
            f"there is no class index {given}: give a file of class numbers, or one of {', '.join(names)}, "
            "whose lists are known."
        )
    return known


def map_classes(names: Sequence[str], known: Sequence[str], index: Sequence[int] | None = None) -> Ints:
    """The classifier's class of each class of the data.

    By name, exact spelling first, then without regard to underscores, case, dashes and Unicode form; or by `index`.

    Args:
        names: K class names of the data.
        known: C class names of the classifier.
        index: K numbers of the classifier's classes, in place of the names.

    Returns:
        (K,) column numbers, all distinct.

    Raises:
        DataError: a class is unknown, may be several, or shares its counterpart with another.
    """
    if index is not None:
        return _by_index(names, known, index)
    exact = {name: i for i, name in enumerate(known)}
    loose: dict[str, list[int]] = {}
    for i, name in enumerate(known):
        loose.setdefault(match_key(name), []).append(i)
    columns: list[int] = []
    for name in names:
        candidates = [exact[name]] if name in exact else loose.get(match_key(name), [])
        if len(candidates) != 1:
            raise _unmatched(name, candidates, names, known)
        if (column := candidates[0]) in columns:
            both = quoted([names[columns.index(column)], name])
            raise DataError(
                f"the classes {both} of the data are one class of the classifier, {known[column]!r}: merge them."
            )
        columns.append(column)
    return np.array(columns, dtype=np.int64)


def _by_index(names: Sequence[str], known: Sequence[str], index: Sequence[int]) -> Ints:
    if len(index) != len(names):
        raise DataError(
            f"the class index has {len(index)} numbers but the data has {len(names)} classes: give one for each, "
            "in the order of the data's classes."
        )
    if min(index) < 0 or max(index) >= len(known):
        raise DataError(
            f"the class index goes up to {max(index)} but the classifier has {len(known)} classes: "
            f"numbers run from 0 to {len(known) - 1}."
        )
    return np.array(index, dtype=np.int64)


def _unmatched(name: str, columns: list[int], names: Sequence[str], known: Sequence[str]) -> DataError:
    # ImageNet's list has names that stand for two classes, told apart by what follows in brackets.
    alike = [known[i] for i in columns] or [k for k in known if match_key(k.rpartition(" (")[0]) == match_key(name)]
    if alike:
        return DataError(
            f"the class {name!r} may be any of the classifier's {quoted(alike)}: say which with --class-index FILE, "
            "the classifier's number of each class of the data."
        )
    keys = {match_key(k) for k in known}
    strangers = sum(match_key(n) not in keys for n in names)
    return DataError(
        f"the classifier does not know the class {name!r} ({strangers} unknown): rename the classes with --classes so "
        f"that they match its {len(known)} names, or give their numbers with --class-index."
    )


def knows_none(classifier: Classifier, names: Sequence[str]) -> bool:
    """Whether none of the classes is one of the classifier's."""
    known = {match_key(name) for name in classifier.class_names}
    return not any(match_key(name) in known for name in names)


def extending_method(classifier: Classifier) -> Method:
    """The method that fitted a classifier, where it can make a classifier of other classes from their texts.

    Raises:
        NeedsError: it can't.
        UsageError: the classifier doesn't say which method fitted it.
    """
    name = classifier.card.get("method")
    if name == NAME:
        name = classifier.card.get("picked")
        if name not in catalogue.names():
            raise NeedsError(
                f"auto picked {name}, which can't score classes that it was not fitted on: score the classes of the "
                "fit alone (--classes-subset base), or fit ZeroShot."
            )
    if not isinstance(name, str) or name not in catalogue.names():
        raise UsageError(
            "the classifier doesn't say which method fitted it, so it can't be given new classes: fit it again."
        )
    trace = classifier.fitted.trace
    given: dict[str, Any] = {key: trace.chosen[key] for key, how in trace.how.items() if how == "user"}
    method = catalogue.make(name, **given)
    if type(method).extend is Method.extend:
        method.extend(classifier.fitted, Task(classifier.class_names))  # says that it can't
    return method


def extended(classifier: Classifier, names: Sequence[str], text: TextFeatures | None, logit_scale: float) -> Fitted:
    """The classifier of classes that this one was not fitted on.

    Args:
        classifier: fitted by a method that `extending_method` gives.
        names: K names of the other classes.
        text: their texts, by the same backbone and templates.
        logit_scale: what multiplies cosines.

    Raises:
        NeedsError: there are no texts.
    """
    task = Task(tuple(names), text, logit_scale=logit_scale)
    return extending_method(classifier).extend(classifier.fitted, task)
