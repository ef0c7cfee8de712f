"""Files from elsewhere: read whole, within limits, every failure one sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from clipwright.core.errors import DataError

MOST_BYTES = 256 << 20
"""The largest file that is read: far more than the texts of any list of classes."""

MOST_TEXTS = 2_000_000
"""The most texts that a file may hold."""


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: it is missing, no regular file, too large, or not UTF-8.
    """
    try:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no file" if path.exists() else "not there"
            raise DataError(f"{path} is {what}: give the path of a file of texts.")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise DataError(f"{path} has {size >> 20} MiB, more than the {MOST_BYTES >> 20} MiB allowed: split it.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror or error}): give yourself access to it.") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file, in which no object has a key twice.

    Raises:
        DataError: it can't be read, isn't JSON, is nested beyond reason, or has a key twice.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, path), parse_constant=_no_number)
    except DataError:
        raise
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to be a file of texts.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): correct it there.") from error


def texts_by_class(path: Path) -> dict[str, list[Any]]:
    """An object of lists, ``{class: [text, ...]}``; a single text may stand in place of its list, null for none.

    Raises:
        DataError: it has another form, or too many texts.
    """
    raw = read_json(path)
    if not isinstance(raw, dict) or not raw:
        raise DataError(f"{path} must hold a JSON object with the texts of each class, {{class: [text, ...]}}.")
    found: dict[str, list[Any]] = {}
    for name, texts in raw.items():
        if texts is not None and not isinstance(texts, str | list):
            raise DataError(f"the texts of {name!r} in {path} are {texts!r:.40}: write a list of texts.")
        found[name] = texts if isinstance(texts, list) else [] if texts is None else [texts]
    limit_texts(sum(map(len, found.values())), path)
    return found


def limit_texts(number: int, path: Path) -> None:
    """Refuse more texts than a file may hold.

    Raises:
        DataError: there are more.
    """
    if number > MOST_TEXTS:
        raise DataError(f"{path} has {number:,} texts, more than the {MOST_TEXTS:,} allowed: split it.")


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise DataError(f"{path} has {twice!r} twice in one object: keep one, or join their texts.")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
