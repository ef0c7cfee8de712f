"""How often the right meaning of a class name is chosen: ``python benchmarks/senses.py [WordNet folder]``.

ImageNet's classes are meanings of WordNet 3.0, so which one a class name stands for is known. Counted are the names
(those that open_clip has) with several meanings, the right one among them. Needs WordNet 3.0's files; no model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from clipwright.core.errors import ClipwrightError
from clipwright.texts.senses import Rule, choose_senses
from clipwright.texts.wordnet import look_up, open_lexicon

RULES: tuple[Rule, ...] = ("first", "fields")
PARTS = {"all 1,000 classes": range(1000), "398 animals": range(398), "602 others": range(398, 1000)}


def imagenet() -> tuple[list[str], list[str]]:
    """WordNet ids and names of ImageNet's classes, from the packages that have them."""
    import timm
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    ids = (Path(timm.__file__).parent / "data" / "_info" / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return [f"{number[1:]}-n" for number in ids], list(IMAGENET_CLASSNAMES)


def measure(source: str | None = None) -> list[str]:
    """A line for each part of ImageNet."""
    lexicon = open_lexicon(source)
    keys, names = imagenet()
    lines = [f"{lexicon.name}; names with several meanings, the right one among them"]
    for part, numbers in PARTS.items():
        senses = [look_up(names[i], lexicon) for i in numbers]
        right = [[sense.key == keys[i] for sense in several] for i, several in zip(numbers, senses, strict=True)]
        counted = [place for place, marks in enumerate(right) if len(marks) > 1 and any(marks)]
        found = []
        for rule in RULES:
            chosen = choose_senses([names[i] for i in numbers], senses, rule=rule)
            found.append(f"{rule} {_hits(chosen, right, counted)}")
        lines.append(f"{part}: {len(counted)} names; right by {', '.join(found)}")
    return lines


def _hits(chosen: Sequence[int | None], right: Sequence[Sequence[bool]], counted: Sequence[int]) -> int:
    return sum(right[place][number] for place in counted if (number := chosen[place]) is not None)


if __name__ == "__main__":
    try:
        print("\n".join(measure(*sys.argv[1:2])))
    except ClipwrightError as error:
        print(f"not measured: {error}")
