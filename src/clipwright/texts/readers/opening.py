"""One door for every format of texts: what a file or folder is, told by its form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clipwright.core.errors import DataError, UsageError
from clipwright.texts.bank import TextBank
from clipwright.texts.bank_file import is_bank, parse_bank, read_bank
from clipwright.texts.embedded import bank_of, is_embedded
from clipwright.texts.files import read_json, texts_by_class
from clipwright.texts.readers.by_class import are_sentences, read_cupl, read_dclip
from clipwright.texts.readers.class_list import read_class_list
from clipwright.texts.readers.coder import is_coder_folder, read_coder

FORMS = ("bank", "cupl", "dclip", "names", "coder", "embedded")
"""What a source may be said to be, as in ``dclip:descriptors.json``."""


def open_bank(source: str | Path, *, class_names: Sequence[str] | None = None) -> TextBank:
    """Read texts of classes, whatever their format.

    - a JSON file with ``format`` and ``rows``: a bank that clipwright wrote;
    - a JSON file ``{class: [text, ...]}``: CuPL's sentences or DCLIP's descriptors, told apart by whether most texts
      name their class or end a sentence;
    - a text file: a list of class names;
    - CODER's ``expert_knowledge`` folder, or ``<that folder>/<data set>`` where it knows several;
    - the name of an embedded data set, such as ``digits``.

    A form in front says it outright: ``bank:``, ``cupl:``, ``dclip:``, ``names:``, ``coder:`` or ``embedded:``.

    Args:
        source: the file, folder or name.
        class_names: the classes whose texts are wanted, which the bank then has in this order; needed for a CODER
            folder without CODER's list of classes, whose order they must then have.

    Raises:
        DataError: it can't be read, has another form, or lacks texts of some classes.
        FormatError: a bank that is damaged or newer than this clipwright.
        UsageError: there is no such thing, or it may be several.
    """
    form, place = _split(source)
    path = Path(place).expanduser()
    form = form or _form(path, place)
    if form == "coder":
        bank = _open_coder(path, class_names)
    elif form == "embedded":
        bank = bank_of(place)
    else:
        readers: Mapping[str, Callable[[Path], TextBank]] = {
            "bank": read_bank,
            "cupl": read_cupl,
            "dclip": read_dclip,
            "names": read_class_list,
            "json": _open_json,
        }
        bank = readers[form](path)
    return bank if class_names is None else bank.for_classes(class_names, partial=True)


def _split(source: str | Path) -> tuple[str, str]:
    text = str(source)
    form, colon, rest = text.partition(":")
    return (form, rest) if colon and form in FORMS and isinstance(source, str) else ("", text)


def _form(path: Path, name: str) -> str:
    if path.is_dir() or is_coder_folder(path.parent):
        return "coder"
    if path.is_file():
        return "json" if path.suffix.lower() == ".json" else "names"
    if is_embedded(name):
        return "embedded"
    raise UsageError(f"there are no texts at {name}: give a file, CODER's expert_knowledge folder or an embedded name.")


def _open_json(path: Path) -> TextBank:
    raw = read_json(path)
    if is_bank(raw):
        return parse_bank(raw, str(path))
    if isinstance(raw, dict) and set(raw) >= {"format"} and not isinstance(raw["format"], list):
        raise DataError(f'{path} has a "format" but no "rows", so it is no bank of texts: give another file.')
    return (read_cupl if are_sentences(texts_by_class(path), path) else read_dclip)(path)


def _open_coder(path: Path, class_names: Sequence[str] | None) -> TextBank:
    if is_coder_folder(path):
        folder, dataset = path, None
    elif is_coder_folder(path.parent):
        folder, dataset = path.parent, path.name
    else:
        raise DataError(f"{path} is a folder, but not CODER's expert_knowledge: give that, or a file of texts.")
    try:
        return read_coder(folder, dataset)
    except DataError as error:
        if class_names is None or "order of the classes" not in str(error):
            raise
    return read_coder(folder, dataset, class_names)
