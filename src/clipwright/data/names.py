"""Class names: cleaning them, reading the user's list of them, and tying labels to them by name or number.

Labels arrive as *keys*: the name of a class folder, or what stands in a table's label column. `resolve` ties each key
to a class by the first of these rules that fits, and refuses with one sentence what none of them explains:

1. No list: every key is a class. All-numeric keys are ordered by number, others by name.
2. Every key is a name of the list (underscores, case, dashes and Unicode form don't matter): the list's order counts.
3. The list is a file, and every key begins one of its lines: ``<folder> <class name>``, split at a tab or white space.
4. Every key is a number: it is the index into the list, from 0 (or from 1, where the numbers are exactly 1..C).

A position in sorted order decides a label nowhere, except for numbers that have gaps: there a note says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipwright.core.errors import DataError
from clipwright.core.spelling import clean_name, match_key

Classes = str | Path | Sequence[str] | Mapping[str, str]

_NUMBER = re.compile(r"[0-9]+")
_WORDNET = re.compile(r"[a-z][0-9]{8}")


@dataclass(frozen=True)
class ClassList:
    """What the user says about the classes.

    Attributes:
        lines: names in index order, or the lines of a file whose meaning the data decides.
        where: what messages call it, such as ``names.txt``.
        mapping: class name of each key, where the user gave a mapping outright.
        is_file: whether `lines` may hold ``<folder> <class name>``.
    """

    lines: tuple[str, ...]
    where: str = "classes"
    mapping: Mapping[str, str] | None = None
    is_file: bool = False


@dataclass(frozen=True)
class Resolved:
    """Class names in index order, the class of each key, and what the user should know."""

    class_names: tuple[str, ...]
    index: Mapping[str, int]
    notes: tuple[str, ...] = field(default=())


def is_number(key: str) -> bool:
    """Whether a key is made of the digits 0 to 9 alone."""
    return _NUMBER.fullmatch(key) is not None


def quoted(items: Iterable[str], most: int = 3) -> str:
    """The first few of `items` in quotation marks, for messages."""
    shown = list(items)
    text = ", ".join(repr(item) for item in shown[:most])
    return text + (f" and {len(shown) - most} more" if len(shown) > most else "")


def counted(n: int, one: str, many: str = "") -> str:
    """A number and what it counts, such as ``1 image`` or ``3 images``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def read_classes(classes: Classes | None) -> ClassList | None:
    """Take the user's `classes` argument: a file, names in index order, or a mapping from folder to name.

    Raises:
        DataError: the file is missing, isn't UTF-8 text, or holds nothing.
    """
    if classes is None:
        return None
    if isinstance(classes, str | Path):
        return ClassList(_file_lines(Path(classes).expanduser()), where=Path(classes).name, is_file=True)
    if isinstance(classes, Mapping):
        return ClassList(tuple(map(str, classes.values())), mapping={str(k): str(v) for k, v in classes.items()})
    if not classes:
        raise DataError("classes is empty: give at least one class name.")
    return ClassList(tuple(map(str, classes)))


def _file_lines(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the class file {path} is not UTF-8 text: save it as UTF-8.") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(
            f"the class file {path} can't be read ({why}): give the path of a text file with one name on each line."
        ) from error
    lines = text.replace("\r\n", "\n").rstrip().split("\n")
    if lines == [""]:
        raise DataError(f"the class file {path} is empty: write one class name on each line.")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise DataError(f"line {number} of {path} is empty, which would shift the classes after it: remove it.")
    return tuple(line.strip() for line in lines)


def resolve(
    keys: Collection[str], classes: ClassList | None = None, *, what: str = "folder", clean: bool = True
) -> Resolved:
    """Tie label keys to classes by the rules above.

    Args:
        keys: distinct labels as they stand in the data.
        classes: the user's list, or None.
        what: what a key is called in messages: ``folder`` or ``label``.
        clean: whether class names are cleaned by `clean_name`.

    Raises:
        DataError: a key fits no rule, or two classes would have the same name.
    """
    if classes is None:
        return _from_keys(keys, what, clean)
    if classes.mapping is not None:
        return _from_mapping(keys, classes.mapping, classes.where, what, clean)
    return _from_list(keys, classes, what, clean)


def _from_list(keys: Collection[str], classes: ClassList, what: str, clean: bool) -> Resolved:
    by_key = by_name(keys, classes.lines)
    mapping = _as_mapping(keys, classes) if classes.is_file else {}
    if not keys and _looks_mapped(classes):
        pairs = [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in classes.lines]
        return _from_mapping((), dict(pairs), classes.where, what, clean)
    if len(by_key) == len(keys):
        return named(classes.lines, by_key, classes.where, clean)
    if all(key in mapping for key in keys):
        return _from_mapping(keys, mapping, classes.where, what, clean)
    if all(map(is_number, keys)):
        return _by_number(keys, classes, what, clean)
    raise _unmatched(keys, by_key, mapping, classes.where, what)


def _unmatched(
    keys: Collection[str], by_name: Collection[str], mapping: Mapping[str, str], where: str, what: str
) -> DataError:
    """Tell the keys that the better of two readings of the list lacks."""
    known = by_name if len(by_name) >= sum(key in mapping for key in keys) else mapping
    missing = sorted(key for key in keys if key not in known)
    return DataError(
        f"{len(missing)} of {len(keys)} {what}s have no class in {where} ({quoted(missing)}): add them to it, "
        f"or write a file with '<{what}> <class name>' on each line."
    )


def _from_keys(keys: Collection[str], what: str, clean: bool) -> Resolved:
    numeric = bool(keys) and all(map(is_number, keys))
    ordered = sorted(keys, key=(lambda key: (int(key), key)) if numeric else None)
    notes = []
    if numeric:
        notes.append(
            f"The {what}s are numbers, which say nothing to a text encoder: "
            "name the classes with --classes names.txt (one name per line, in order)."
        )
    found = named(ordered, {key: i for i, key in enumerate(ordered)}, f"the {what}s", clean)
    return Resolved(found.class_names, found.index, (*found.notes, *notes))


def named(names: Sequence[str], index: Mapping[str, int], where: str, clean: bool) -> Resolved:
    """Class names in this order, cleaned and checked."""
    final = [clean_name(name) if clean else name for name in names]
    if not final:
        raise DataError(f"there are no classes in {where}: give at least one class name.")
    spelled: defaultdict[str, list[str]] = defaultdict(list)
    for name, result in zip(names, final, strict=True):
        if not result.strip():
            raise DataError(f"the class name {name!r} in {where} has nothing left after cleaning: rename it.")
        spelled[result].append(name)
    if twice := [name for name, originals in spelled.items() if len(originals) > 1]:
        origin = next(originals for originals in spelled.values() if len(originals) > 1)
        raise DataError(
            f"{where} would give {quoted(twice, 5)} to more than one class "
            f"({quoted(origin, 2)} are the same after cleaning): make the names differ."
        )
    changed = [(name, result) for name, result in zip(names, final, strict=True) if name != result]
    notes: tuple[str, ...] = ()
    if changed:
        notes = (f"Cleaned {counted(len(changed), 'class name')}, such as {changed[0][0]!r} to {changed[0][1]!r}.",)
    return Resolved(tuple(final), index, notes)


def by_name(keys: Collection[str], names: Sequence[str]) -> dict[str, int]:
    """Class of each key that is a name; exact spelling wins over a loose match, ambiguous keys are left out.

    Raises:
        DataError: two keys mean one class.
    """
    exact = {clean_name(name): i for i, name in enumerate(names)}
    loose: defaultdict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        loose[match_key(name)].append(i)
    found: dict[str, int] = {}
    for key in keys:
        if (position := exact.get(clean_name(key))) is not None:
            found[key] = position
        elif len(candidates := loose.get(match_key(key), [])) == 1:
            found[key] = candidates[0]
    if len(set(found.values())) < len(found):
        owners: defaultdict[int, list[str]] = defaultdict(list)
        for key, i in sorted(found.items()):
            owners[i].append(key)
        which, several = next((i, several) for i, several in owners.items() if len(several) > 1)
        raise DataError(f"{quoted(several)} all mean the class {names[which]!r}: merge or rename them.")
    return found


def _as_mapping(keys: Collection[str], classes: ClassList) -> dict[str, str]:
    """``<folder> <class name>`` lines as a mapping, empty where a line has one word; folders may hold spaces."""
    spelled = {unicodedata.normalize("NFC", key): key for key in keys}
    most = max((key.count(" ") for key in keys), default=0)
    mapping: dict[str, str] = {}
    for number, line in enumerate(classes.lines, 1):
        folder, name = _split_line(line, spelled, most)
        if not name:
            return {}
        folder = spelled.get(folder, folder)
        if folder in mapping and folder in keys:
            raise DataError(
                f"line {number} of {classes.where} names {folder!r} a second time: remove one of the lines."
            )
        mapping[folder] = name
    return mapping


def _split_line(line: str, folders: Mapping[str, str], most_spaces: int) -> tuple[str, str]:
    if "\t" in line:
        folder, _, name = line.partition("\t")
        return unicodedata.normalize("NFC", folder.strip()), name.strip()
    words = unicodedata.normalize("NFC", line).split(" ")
    for size in range(min(len(words) - 1, most_spaces + 1), 1, -1):
        if (folder := " ".join(words[:size])) in folders:
            return folder, " ".join(words[size:]).strip()
    folder, _, name = unicodedata.normalize("NFC", line).partition(" ")
    return folder, name.strip()


def _looks_mapped(classes: ClassList) -> bool:
    """Whether lines are ``<folder> <class name>`` where no folder can tell: WordNet ids, or numbers from 0 or 1."""
    if not classes.is_file or any(len(line.split(None, 1)) < 2 for line in classes.lines):
        return False
    first = [line.split(None, 1)[0] for line in classes.lines]
    if all(map(_WORDNET.fullmatch, first)) and len(set(first)) == len(first):
        return True
    numbers = [int(word) for word in first] if all(map(is_number, first)) else []
    return len(numbers) > 1 and numbers in ([*range(len(first))], [*range(1, len(first) + 1)])


def _from_mapping(keys: Collection[str], mapping: Mapping[str, str], where: str, what: str, clean: bool) -> Resolved:
    missing = sorted(key for key in keys if key not in mapping)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(keys)} {what}s have no class in {where} ({quoted(missing)}): add them to it."
        )
    used = [key for key in mapping if key in keys] if keys else list(mapping)
    names, told = told_apart(used, [mapping[key] for key in used], clean)
    found = named(names, {key: i for i, key in enumerate(used)}, where, clean)
    notes = [*found.notes, *told]
    if left := len(mapping) - len(used):
        notes.append(f"Left out {counted(left, 'line')} of {where}: the data has no such {what}s.")
    return Resolved(found.class_names, found.index, tuple(notes))


def told_apart(keys: Sequence[str], names: Sequence[str], clean: bool) -> tuple[list[str], list[str]]:
    """Names that several folders share, with the folder behind each, and what to tell of it.

    ImageNet's own list has two such names, "missile" and "sunglasses".
    """
    spelled = [clean_name(name) if clean else name for name in names]
    often = {name for name, times in Counter(spelled).items() if times > 1}
    if not often:
        return list(names), []
    told = (
        f"{counted(len(often), 'class name')} stood for several folders ({quoted(sorted(often))}), so the folder was "
        "added to them: give names that differ if you can."
    )
    return [f"{n} ({k})" if s in often else n for k, n, s in zip(keys, names, spelled, strict=True)], [told]


def _by_number(keys: Collection[str], classes: ClassList, what: str, clean: bool) -> Resolved:
    """Numeric keys as indices into the list."""
    names, where = classes.lines, classes.where
    ordered = sorted(keys, key=int)
    numbers = [int(key) for key in ordered]
    note: tuple[str, ...] = ()
    if len(set(numbers)) < len(numbers):
        raise DataError(f"two {what}s have the same number, such as '1' and '01': merge or rename them.")
    if numbers[0] >= 1 and numbers[-1] == len(names):
        index = {key: int(key) - 1 for key in ordered}
    elif numbers[0] == 0 and numbers[-1] < len(names):
        index = {key: int(key) for key in ordered}
    elif len(numbers) == len(names):
        index = {key: i for i, key in enumerate(ordered)}
        note = (
            (
                f"The {what}s are numbers with gaps ({quoted(ordered)}): the names in {where} were tied to them "
                "in the order of the numbers."
            ),
        )
    else:
        raise DataError(
            f"{where} has {counted(len(names), 'name')} but the {what}s are numbers from {numbers[0]} to "
            f"{numbers[-1]}, so it is not clear whether counting begins at 0 or 1: "
            f"write a file with '<{what}> <class name>' on each line."
        )
    found = named(names, index, where, clean)
    return Resolved(found.class_names, found.index, (*found.notes, *note))


def rename(names: Sequence[str], classes: ClassList | None, *, clean: bool = True) -> tuple[str, ...]:
    """New names, in index order, for data whose labels are already indices (a bundle, an embedded data set).

    Raises:
        DataError: the number of names differs, or the same names stand in another order.
    """
    if classes is None:
        return tuple(names)
    if classes.mapping is not None:
        found = _from_mapping(names, classes.mapping, classes.where, "class", clean)
        by_old = {old: found.class_names[i] for old, i in found.index.items()}
        return tuple(by_old[name] for name in names)
    new = resolve((), classes, clean=clean).class_names
    if len(new) != len(names):
        raise DataError(
            f"{classes.where} has {len(new)} names but the data has {len(names)} classes: give one for each."
        )
    if sorted(map(match_key, new)) == sorted(map(match_key, names)) and [*map(match_key, new)] != [
        *map(match_key, names)
    ]:
        raise DataError(
            f"{classes.where} has the names of the data in another order, but its labels are numbers: "
            "leave the class list out, or put it in the data's order."
        )
    return new
