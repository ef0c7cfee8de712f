"""Prompt templates with random words and characters in the place of a description: WaffleCLIP's texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipwright.core.errors import UsageError
from clipwright.core.rng import generator
from clipwright.texts.class_names import clean_names
from clipwright.texts.templates import DEFAULT_TEMPLATE, Prompt, check_template, render

PAIRS = 15
"""Of random words and random characters, as published."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"

_WORDS = (
    "anchor apple april arrow autumn badge baker balance barrel basket beacon bell bench berry blanket board bottle "
    "branch brass bread breeze bridge brush bucket button cabin candle canvas carpet castle cedar chain chalk charm "
    "cherry circle cloud clover coast coin copper corner cotton crown current dance dawn desk diary dinner door dream "
    "drum early east echo edge ember engine evening fabric faith feather fence field flame floor flute forest fork "
    "fountain frame frost garden gate ginger glass glove grain grape green habit hammer harbour hazel hedge hill honey "
    "hour island ivory jacket journey juice kettle keen kitchen ladder lake lantern leaf ledger lemon letter light "
    "linen little lock loud maple marble market meadow melody metal mild minute mirror modern moon morning motion "
    "mountain narrow needle nine noble north novel ocean office olive orange orbit paper path pearl pencil pepper "
    "piano pillow pilot planet plate pocket polite powder prince quarter quiet quilt rain rapid reason ribbon river "
    "road roof root round saddle salt sand season second shadow sharp shelf silver simple smoke soft song south spark "
    "spoon spring square stable star steady stone story street sudden sugar summer table tall tea thread thunder "
    "ticket tide timber tower town train travel trust tulip valley velvet village violin walnut warm water wave west "
    "wheel white wide willow window winter wonder wooden yellow young zero"
)
WORDS = tuple(_WORDS.split())
"""What words are drawn from where none are given."""


def waffle_templates(
    class_names: Sequence[str],
    pairs: int = PAIRS,
    seed: int = 0,
    *,
    template: str = DEFAULT_TEMPLATE,
    words: Sequence[str] = WORDS,
) -> tuple[str, ...]:
    """Templates like ``a photo of a {}, which has river oak.`` and ``a photo of a {}, which has ufbz, qwat.``, in turn.

    Each pair is one of words and one of characters. There are as many words, or groups of characters, as a class name
    has on average, and as many letters; longer words are cut, as published. All classes share the templates, so that
    what is random speaks for none of them.

    Args:
        class_names: C names, of which only the lengths matter.
        pairs: how many of each sort, at least 1.
        seed: other seeds draw others; the first templates don't depend on how many are asked for.
        template: what the random text is put behind, before its full stop.
        words: what words are drawn from.

    Returns:
        2 * pairs templates, which may be given wherever templates are: to `text_features`, ``--template``.

    Raises:
        UsageError: no pairs, no words or a bad template.
        DataError: empty or repeated names.

    Source: Roth et al. 2023, section 3.2.
    """
    check_template(template)
    if pairs < 1 or not words:
        raise UsageError("random texts need at least one pair and one word to draw from.")
    names = [name.split() for name in clean_names(class_names)]
    count = max(1, round(float(np.mean([len(name) for name in names]))))
    length = max(2, round(float(np.mean([len(word) for name in names for word in name]))))
    stem = template.rstrip().removesuffix(".")
    found = []
    for pair in range(pairs):
        rng = generator(seed, "waffle", pair)
        chosen = [words[int(i)][:length] for i in rng.integers(len(words), size=count)]
        letters = ["".join(LETTERS[int(i)] for i in rng.integers(len(LETTERS), size=length)) for _ in range(count)]
        found += [f"{stem}, which has {said}." for said in (" ".join(chosen), ", ".join(letters))]
    for made in found:
        check_template(made)
    return tuple(found)


def waffle_texts(
    class_names: Sequence[str], pairs: int = PAIRS, seed: int = 0, *, underscores: bool = True
) -> list[Prompt]:
    """`waffle_templates` filled with every class name, template by template.

    Args:
        class_names: C names.
        pairs: how many of each sort, at least 1.
        seed: other seeds draw others.
        underscores: whether underscores in names become spaces.

    Raises:
        UsageError: no pairs, or names that read the same.
        DataError: empty or repeated names.
    """
    return render(waffle_templates(class_names, pairs, seed), class_names, underscores=underscores)
