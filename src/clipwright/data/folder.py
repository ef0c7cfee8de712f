"""Folders of images.

The rules, for a root folder; every rule looks at folders that hold images only:

- Split folders: where they are all named as parts of a data set (train, training, val, valid, validation, test,
  testing, in any case; `unlabeled` may stand beside them), those are the splits, and those inside the classes.
- Class folders: otherwise the folders of the root are the classes. Deeper folders belong to the class they are in.
- Unlabeled: a folder named unlabeled or unlabelled, in place of a class, and images that lie beside class folders.
- A folder of images without class folders is unlabeled altogether, and needs a list of classes.
- `labels=False` takes every image as unlabeled, whatever the folders are called.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipwright.core.errors import DataError
from clipwright.data.checks import notes_of
from clipwright.data.dataset import SPLITS, Dataset, Split, manifest, split_array
from clipwright.data.images import FileReader
from clipwright.data.names import ClassList, Resolved, counted, quoted, resolve
from clipwright.data.scan import Group, Scan, scan
from clipwright.data.splits import ALIASES, FOLDERS

_UNLABELED = frozenset({"unlabeled", "unlabelled"})


@dataclass(frozen=True)
class Place:
    """What a group of rows is: its split, and its label key or None."""

    split: Split
    key: str | None


def is_unlabeled(name: str) -> bool:
    """Whether a folder or label says that there is no label."""
    return name.strip().strip("_").casefold() in _UNLABELED


def open_folder(
    root: Path, classes: ClassList | None, *, reader: FileReader, name: str, clean: bool = True, labels: bool = True
) -> Dataset:
    """The data set of a folder, by the rules above.

    Raises:
        DataError: no images, folders that contradict each other or `classes`, or a folder that can't be read.
    """
    found = scan(root)
    if not len(found.ids):
        raise DataError(_no_images(root, found))
    counts = np.bincount(found.group, minlength=len(found.groups))
    places = arrange(found.groups, counts, root)
    if not labels:
        places = [Place(place.split, None) for place in places]
    keys = {place.key for place, n in zip(places, counts, strict=True) if n and place.key is not None}
    resolved = _resolve(root, keys, classes, clean)
    index = np.array([-1 if place.key not in keys else resolved.index[place.key] for place in places], dtype=np.int32)
    parts = np.array([SPLITS.index(place.split) for place in places], dtype=np.int8)
    table = manifest(
        found.ids, index[found.group], split_array(parts[found.group]), sizes=found.sizes, mtimes=found.mtimes
    )
    data = Dataset(name, resolved.class_names, table, reader, root=root, notes=resolved.notes)
    return data.with_notes(*_folder_notes(root, found, places, counts, keys), *notes_of(data))


def _resolve(root: Path, keys: set[str], classes: ClassList | None, clean: bool) -> Resolved:
    if not keys and classes is None:
        raise DataError(
            f"the images in {root} have no labels: name the classes with --classes names.txt (one name per line), "
            "or put the images of each class into a folder that bears its name."
        )
    return resolve(keys, classes, clean=clean)


def arrange(groups: list[Group], counts: np.ndarray, root: Path) -> list[Place]:
    """Decide what each group of rows is.

    Args:
        groups: the top folders of the rows.
        counts: (len(groups),) images in each.
        root: for messages.

    Raises:
        DataError: split folders and other folders of images lie side by side.
    """
    tops = {group[0] for group, n in zip(groups, counts, strict=True) if n and group}
    parts = {top for top in tops if top.casefold() in FOLDERS}
    others = sorted(top for top in tops - parts if not is_unlabeled(top))
    if len({ALIASES[part.casefold()] for part in parts}) > 1 and others:
        raise DataError(
            f"{root} holds both split folders ({quoted(sorted(parts))}) and other folders of images "
            f"({quoted(others)}): put the others inside the split folders, or move them away."
        )
    split_tree = bool(parts) and not others
    return [_place(group, split_tree) for group in groups]


def _place(group: Group, split_tree: bool) -> Place:
    split: Split = ""
    if split_tree:
        # What has no label can only be trained on, so it counts as training material.
        split = ALIASES.get(group[0].casefold(), "train") if group else "train"
        group = group[1:] if group and group[0].casefold() in FOLDERS else ()
    return Place(split, None if not group or is_unlabeled(group[0]) else group[0])


def _no_images(root: Path, found: Scan) -> str:
    if found.others:
        return (
            f"{root} holds {found.others} files but no image (such as {found.example!r}): "
            "give a folder of .jpg, .png, .webp, .tif or similar files."
        )
    return f"{root} holds no images: put some in, one folder per class, or give another folder."


def _folder_notes(root: Path, found: Scan, places: list[Place], counts: np.ndarray, keys: set[str]) -> list[str]:
    notes = []
    if found.undecodable:
        cure = "rename them" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1, as names are UTF-8"
        notes.append(f"Skipped {counted(found.undecodable, 'name')} in no valid UTF-8 below {root}: {cure}.")
    if found.broken:
        notes.append(f"Skipped {counted(found.broken, 'image')} behind broken links or no ordinary file.")
    if found.others:
        notes.append(f"Skipped {counted(found.others, 'file')} without the extension of an image ({found.example!r}).")
    beside = sum(int(n) for group, n in zip(found.groups, counts, strict=True) if not group)
    if beside and keys:
        notes.append(f"Took {counted(beside, 'image')} beside the class folders as unlabeled.")
    full = {(p.split, p.key) for p, n in zip(places, counts, strict=True) if n}
    empty = sorted({p.key for p in places if p.key is not None and (p.split, p.key) not in full} - keys)
    if empty and keys:
        notes.append(
            f"Left out {counted(len(empty), 'folder')} without images ({quoted(empty)}): put some in to make a class."
        )
    return notes + _shape_notes(found, places, counts, keys)


def _shape_notes(found: Scan, places: list[Place], counts: np.ndarray, keys: set[str]) -> list[str]:
    """Notes on trees that may not mean what the rules make of them."""
    split_tree = any(place.split for place in places)
    below = [g[1] for g, n in zip(found.groups, counts, strict=True) if n and len(g) > 1] if not split_tree else []
    if len(keys) == 1 and len(set(below)) > 1:
        (only,) = keys
        return [
            f"The only class folder, {only!r}, holds folders itself: if those are the classes, open {only!r} instead."
        ]
    if below and len(keys) > 1 and all(name.casefold() in FOLDERS for name in below):
        return [
            (
                f"The class folders hold folders named as splits ({quoted(sorted(set(below)))}), not told apart: "
                "put the split folders outside, the class folders inside."
            )
        ]
    return []
