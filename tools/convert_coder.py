"""CODER's knowledge as JSON: ``python tools/convert_coder.py expert_knowledge OUT``.

CODER's attributes and look-alikes are released as pickles (``attribute/<data set>.pkl``, ``simile_class/<data
set>.pkl``): lists with a list of texts for each class. A pickle can run anything when it is read in the usual way. This
tool reads none that holds more than lists, texts and None: first its instructions are listed, without following them,
and compared with the few that such a list needs; then an unpickler that knows no class and no function follows them.

OUT gets the same folders with JSON files, those that were JSON before included, and is what
``clipwright.texts.open_bank`` reads.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle  # the subclass below looks up nothing by name
import pickletools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from clipwright.core.atomic import write_json

MOST_BYTES, MOST_TEXTS = 256 << 20, 2_000_000
PICKLED, PLAIN = ("attribute", "simile_class"), ("synonym", "ovo_attribute")

# What lists of texts are pickled to, in protocols 0 to 5. Nothing here calls or looks up anything.
ALLOWED = frozenset(
    (
        *("PROTO", "FRAME", "MARK", "STOP", "NONE", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET"),
        *(
            "LONG_BINGET",
            "EMPTY_LIST",
            "LIST",
            "APPEND",
            "APPENDS",
            "EMPTY_TUPLE",
            "TUPLE",
            "TUPLE1",
            "TUPLE2",
            "TUPLE3",
        ),
        *(
            "TUPLE3",
            "UNICODE",
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BINUNICODE8",
            "STRING",
            "BINSTRING",
            "SHORT_BINSTRING",
        ),
    )
)


class RefusedError(Exception):
    """A pickle that is not read; the message says why."""


class Unpickler(pickle.Unpickler):
    """An unpickler that refuses every class, function and outside object."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        """Refuse.

        Raises:
            RefusedError: always.
        """
        raise RefusedError(f"it asks for {module_name}.{global_name}, and nothing by name is given to a pickle")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        """Refuse.

        Raises:
            RefusedError: always.
        """
        del pid
        raise RefusedError("it asks for an object outside itself")


def check_instructions(data: bytes) -> None:
    """List a pickle's instructions without following them, and compare them with those that lists of texts need.

    Raises:
        RefusedError: another instruction, a place in the memo far beyond what it can need, or no pickle at all.
    """
    number = 0
    try:
        for code, argument, _ in pickletools.genops(data):
            number += 1
            if code.name not in ALLOWED:
                raise RefusedError(f"it has the instruction {code.name}, which lists of texts don't need")
            if code.name.endswith("PUT") and int(argument or 0) > number:
                raise RefusedError(f"it has {code.name} {argument}, which only wastes memory")
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise RefusedError(f"it is damaged ({error})") from error


def lists_of_texts(data: bytes) -> list[list[str | None]]:
    """The list of lists of texts in a pickle.

    Raises:
        RefusedError: it may not be read, or holds something else.
    """
    check_instructions(data)
    try:
        found = Unpickler(io.BytesIO(data), encoding="utf-8").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"it is damaged ({error})") from error
    if not isinstance(found, list):
        raise RefusedError(f"it holds {type(found).__name__}, not a list with an item for each class")
    total = 0
    for number, item in enumerate(found):
        if not isinstance(item, list | tuple):
            raise RefusedError(f"item {number} is {type(item).__name__}, not a list of texts")
        total += len(item)
        if total > MOST_TEXTS:  # one list may stand in many places
            raise RefusedError(f"it holds more than {MOST_TEXTS:,} texts")
        if strange := [text for text in item if text is not None and not isinstance(text, str)]:
            raise RefusedError(f"item {number} holds {type(strange[0]).__name__}, not texts")
    return [list(item) for item in found]


def convert(source: Path, out: Path) -> list[Path]:
    """Write the JSON of every file in a knowledge folder; what can't be converted stops before anything is written.

    Raises:
        SystemExit: says which file and why.
    """
    found: dict[Path, Any] = {}
    for folder in (*PICKLED, *PLAIN):
        for path in sorted((source / folder).glob("*.*")):
            if path.suffix != ".json" and not (path.suffix == ".pkl" and folder in PICKLED):
                continue
            if path.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{path} is larger than {MOST_BYTES >> 20} MiB, so it is no list of texts.")
            try:
                value = lists_of_texts(path.read_bytes()) if path.suffix == ".pkl" else json.loads(path.read_bytes())
            except RefusedError as error:
                raise SystemExit(f"{path} is not read: {error}.") from error
            except (ValueError, RecursionError) as error:
                raise SystemExit(f"{path} is not JSON ({error}): download it again.") from error
            found[out / folder / f"{path.stem}.json"] = value  # a pickle comes after JSON of its name
    if not found:
        raise SystemExit(f"{source} has no {', '.join((*PICKLED, *PLAIN))} with files: give CODER's expert_knowledge.")
    for path, value in found.items():
        write_json(path, value)
    return list(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert a folder, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="CODER's expert_knowledge")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder to write to")
    options = parser.parse_args(arguments)
    written = convert(options.source, options.out)
    sys.stderr.write(json.dumps({"written": [str(path) for path in written]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
