"""Groups of images that are taken for one class: which images each has, drawn once and written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import FormatError, UsageError
from clipwright.core.rng import generator

FILE, FORMAT = "groups.json", 1
N_IMAGES = 4
PER_CLASS = 32


@dataclass(frozen=True)
class Group:
    """Some images of one pseudo-class.

    Attributes:
        class_index: the class that they are taken for.
        number: which of the class's groups.
        members: ids of the images, in the order of the collage; they repeat where the class has fewer.
    """

    class_index: int
    number: int
    members: tuple[str, ...]

    @property
    def id(self) -> str:
        """What the group is called."""
        return f"{self.class_index}/{self.number}"


def draw_groups(
    taken_for: Mapping[str, int],
    class_names: Sequence[str],
    *,
    n_images: int = N_IMAGES,
    per_class: int | None = PER_CLASS,
    seed: int = 0,
) -> tuple[Group, ...]:
    """Draw groups, each uniformly from the images of a pseudo-class (LatteCLIP).

    LatteCLIP draws one group for every image and then picks among those of a class at random, so a class's groups are
    exchangeable and a few of them do: more of them only make the average smoother. A group depends on the seed, the
    class's name, its own number and the class's ids; asking for more groups leaves the first ones as they are.

    Args:
        taken_for: class index by image id, such as zero-shot top-1; never a label. Negative: left out.
        class_names: C names.
        n_images: images of a group; drawn with replacement where the class has fewer.
        per_class: groups of a class, never more than it has images; None for as many as that.
        seed: of the draw.

    Returns:
        groups by class and number; a class without images has none.

    Raises:
        UsageError: a number out of range.
    """
    if n_images < 1 or (per_class is not None and per_class < 1):
        raise UsageError("--n-images and --groups must be positive.")
    ids: list[list[str]] = [[] for _ in class_names]
    for name, number in taken_for.items():
        if number >= len(class_names):
            raise UsageError(f"the image {name!r} is taken for class {number}, but there are {len(class_names)}.")
        if number >= 0:
            ids[number].append(name)
    found = []
    for index, (class_name, own) in enumerate(zip(class_names, ids, strict=True)):
        own.sort()
        for number in range(len(own) if per_class is None else min(per_class, len(own))):
            rng = generator(seed, "caption group", class_name, n_images, number)
            drawn = rng.choice(len(own), n_images, replace=len(own) < n_images)
            found.append(Group(index, number, tuple(own[i] for i in drawn.tolist())))
    return tuple(found)


def write_groups(folder: Path, groups: Sequence[Group], about: Mapping[str, Any]) -> None:
    """Write the manifest, whole or not at all; `about` says how it was drawn."""
    rows = [[group.class_index, group.number, list(group.members)] for group in groups]
    value = {"format": FORMAT, "about": dict(about), "groups": rows}
    write_bytes(folder / FILE, (json.dumps(value, ensure_ascii=False) + "\n").encode())


def read_groups(folder: Path) -> tuple[tuple[Group, ...], dict[str, Any]] | None:
    """The groups of a folder and how they were drawn, or None where there is no manifest.

    Raises:
        FormatError: damaged, or newer than this clipwright.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] > FORMAT:
            raise FormatError(f"{path} was written by a newer clipwright (format {value['format']}): update this one.")
        groups = tuple(Group(int(c), int(n), tuple(map(str, members))) for c, n, members in value["groups"])
        return groups, dict(value["about"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged ({type(error).__name__}): remove it and caption again.") from error
