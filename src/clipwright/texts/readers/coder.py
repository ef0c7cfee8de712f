"""CODER's ``expert_knowledge`` folder: attributes, look-alikes, synonyms and one-vs-one phrases of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clipwright.core.errors import DataError, UsageError
from clipwright.core.spelling import match_key
from clipwright.texts.bank import ANALOGUE, ATTRIBUTE, NAME, ONE_VS_ONE, SYNONYM, Row, TextBank
from clipwright.texts.files import limit_texts, read_json
from clipwright.texts.phrasings import phrasing_name
from clipwright.texts.readers.class_list import class_lines

FOLDERS = {ATTRIBUTE: "attribute", ANALOGUE: "simile_class", SYNONYM: "synonym", ONE_VS_ONE: "ovo_attribute"}
"""The folder of each kind; all hold one file for each data set."""

_CONVERTER = "tools/convert_coder.py"


def is_coder_folder(folder: Path) -> bool:
    """Whether a folder has at least one of the four."""
    return any((folder / name).is_dir() for name in FOLDERS.values())


def coder_datasets(folder: Path) -> tuple[str, ...]:
    """Names of the data sets that a folder has files of."""
    found = {p.stem for name in FOLDERS.values() for p in folder.glob(f"{name}/*") if p.suffix in {".json", ".pkl"}}
    return tuple(sorted(found))


def read_coder(
    folder: str | Path, dataset: str | None = None, class_names: str | Path | Sequence[str] | None = None
) -> TextBank:
    """What CODER knows of the classes of one data set.

    ``attribute``, ``simile_class`` and ``synonym`` are lists in the order of the classes, so that order must be known:
    it comes from CODER's own list of classes, ``datasets/class_name/<data set>.txt``, which is looked for beside the
    folder, inside it, and in the folders around them. The two kinds that are released as pickles are read once
    `tools/convert_coder.py` has turned them into JSON.

    Args:
        folder: the ``expert_knowledge`` folder; any of the four kinds may be missing.
        dataset: as the files are called, such as ``caltech-101``; not needed where there is only one.
        class_names: the classes in CODER's order, or a file of them, where CODER's list isn't beside the folder.

    Raises:
        DataError: files are missing, damaged, unconverted, or don't fit the classes.
        UsageError: it is not said which data set is meant.
    """
    place = Path(folder)
    name = _dataset(place, dataset)
    classes = _classes(place, name, class_names)
    rows = [Row(c, NAME, c, source=f"CODER's list of classes of {name}") for c in classes]
    for kind, inner in FOLDERS.items():
        path = place / inner / f"{name}.json"
        if not path.exists():
            _refuse_pickle(path)
            continue
        raw = read_json(path)
        found = list(_pairs(raw, classes, path) if kind == ONE_VS_ONE else _listed(raw, classes, path, kind))
        limit_texts(len(found), path)
        source = f"CODER {inner}/{name}"
        rows += [Row(c, kind, phrase, rival, source=source) for c, rival, phrase in found]
    try:
        return TextBank.gather(classes, rows, phrasing=phrasing_name(name))
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _dataset(folder: Path, dataset: str | None) -> str:
    known = coder_datasets(folder)
    if not known:
        raise DataError(
            f"{folder} has no {', '.join(FOLDERS.values())} with files: give CODER's expert_knowledge folder."
        )
    if dataset is None:
        if len(known) > 1:
            raise UsageError(f"{folder} knows {', '.join(known)}: say which, as {folder / known[0]}.")
        return known[0]
    fitting = [name for name in known if match_key(name) == match_key(dataset)]
    if not fitting:
        raise UsageError(f"{folder} has no data set {dataset!r}: choose one of {', '.join(known)}.")
    return dataset if dataset in fitting else fitting[0]


def _classes(folder: Path, dataset: str, given: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    if given is not None and not isinstance(given, str | Path):
        return tuple(given)
    if given is not None:
        return tuple(class_lines(Path(given)))
    for above in (folder, *list(folder.resolve().parents)[:2]):
        for inner in ("datasets/class_name", "class_name"):
            path = above / inner / f"{dataset}.txt"
            if path.is_file():
                return tuple(class_lines(path))
    raise DataError(
        f"the order of the classes of {dataset} is not known: put CODER's class list at "
        f"{folder.parent / 'datasets' / 'class_name' / f'{dataset}.txt'}, or give it."
    )


def _refuse_pickle(path: Path) -> None:
    pickled = path.with_suffix(".pkl")
    if pickled.exists():
        raise DataError(
            f"{pickled} is a pickle, which could run anything and is not read: make JSON of it with {_CONVERTER}."
        )


def _listed(raw: Any, classes: Sequence[str], path: Path, kind: str) -> Iterator[tuple[str, str, Any]]:
    """Rows of a list with an item for each class: a list of phrases, or for synonyms an object that has one."""
    if not isinstance(raw, list) or len(raw) != len(classes):
        what = f"a list of {len(raw)}" if isinstance(raw, list) else "no list"
        raise DataError(f"{path} holds {what}, but there are {len(classes)} classes: give the list that belongs to it.")
    for name, item in zip(classes, raw, strict=True):
        phrases = item.get("syno") if kind == SYNONYM and isinstance(item, dict) else item
        if phrases is not None and not isinstance(phrases, list):
            form = "an object with a list 'syno'" if kind == SYNONYM else "a list of texts"
            raise DataError(f"{path} holds {item!r:.40} for the class {name!r}: it must be {form}.")
        yield from ((name, "", phrase) for phrase in phrases or ())


def _pairs(raw: Any, classes: Sequence[str], path: Path) -> Iterator[tuple[str, str, Any]]:
    """Rows of ``{class: {rival: [phrase, ...]}}``."""
    if not isinstance(raw, dict):
        raise DataError(f"{path} must hold a JSON object, {{class: {{other class: [text, ...]}}}}.")
    known = {match_key(name): name for name in classes} | {name: name for name in classes}
    for first, others in raw.items():
        if not isinstance(others, dict):
            raise DataError(f"{path} holds {others!r:.40} for the class {first!r}: it must be an object of its rivals.")
        for second, phrases in others.items():
            pair = [known.get(name) or known.get(match_key(name)) for name in (first, second)]
            if None in pair or pair[0] == pair[1]:
                raise DataError(
                    f"{path} has the pair {first!r}, {second!r}, which isn't two of the classes: correct it."
                )
            if not isinstance(phrases, list):
                raise DataError(
                    f"{path} holds {phrases!r:.40} for {first!r} and {second!r}: it must be a list of texts."
                )
            yield from ((str(pair[0]), str(pair[1]), phrase) for phrase in phrases)
