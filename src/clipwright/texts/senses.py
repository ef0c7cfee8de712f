"""Which of the meanings of its name a class has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.core.errors import UsageError
from clipwright.core.spelling import match_key
from clipwright.core.tensors import unit_rows
from clipwright.texts.class_names import clean_names
from clipwright.texts.features import encode_cached
from clipwright.texts.lexicon import Sense
from clipwright.texts.templates import DEFAULT_TEMPLATE

Rule = Literal["fields", "first", "glosses", "name"]
"""How a meaning is chosen; see `choose_senses`."""


def choose_senses(
    classes: Sequence[str],
    senses: Sequence[Sequence[Sense]],
    backbone: Backbone | BackboneRef | None = None,
    *,
    domain: str | None = None,
    rule: Rule | None = None,
) -> list[int | None]:
    """Which of its meanings each class has.

    Meanings for which the name is spelled with a capital are set aside where the class is written without one and other
    meanings are left (the first meaning of "crane" is a writer). Of the others the rule chooses; of equals the first
    wins, which is the most frequent one:

    - ``first``: the first.
    - ``fields``: the one whose field (``noun.animal``, ``noun.artifact``, ...) has the most votes; each other class has
      one vote for each field that any meaning of its name has. So among birds a crane is a bird. Needs no backbone.
    - ``glosses``: the one whose gloss has the highest cosine with the text `domain`; where none is given, with the mean
      over the other classes of the mean unit feature of their glosses (of a single class, as by ``name``).
    - ``name``: the one whose gloss has the highest cosine with ``a photo of a <class>.``, as in CODER's generator.

    Glosses are encoded as they are, without a template.

    Returns:
        For each class the number of the meaning, None where there is none.

    Raises:
        UsageError: a rule or a domain without the backbone that it needs.
    """
    rule = rule or ("fields" if backbone is None else "glosses")
    able = [_common_nouns(name, several) for name, several in zip(classes, senses, strict=True)]
    if rule in {"glosses", "name"}:
        if backbone is None:
            raise UsageError(f"the rule {rule!r} compares meanings by a text tower: name a backbone, or use 'fields'.")
        return _nearest(classes, senses, able, backbone, domain if rule == "glosses" else None, by_name=rule == "name")
    if domain is not None:
        raise UsageError("a domain is compared with meanings by a text tower: name a backbone too, or leave it out.")
    if rule == "first":
        return [numbers[0] if numbers else None for numbers in able]
    fields = [{sense.field for sense in several} - {""} for several in senses]
    votes = Counter(field for own in fields for field in own)
    # its own vote is the same for all meanings of a class, so it needn't be taken out; max takes the first of equals
    return [
        max(numbers, key=lambda i: votes[several[i].field]) if numbers else None
        for numbers, several in zip(able, senses, strict=True)
    ]


def _nearest(
    classes: Sequence[str],
    senses: Sequence[Sequence[Sense]],
    able: Sequence[Sequence[int]],
    backbone: Backbone | BackboneRef,
    domain: str | None,
    *,
    by_name: bool,
) -> list[int | None]:
    """The meaning of each class whose gloss is nearest to what speaks for it."""
    glosses = [[several[i].gloss or several[i].lemmas[0] for i in n] for several, n in zip(senses, able, strict=True)]
    flat = [gloss for listed in glosses for gloss in listed]
    if not flat:
        return [None for _ in classes]
    features = torch.split(unit_rows(encode_cached(backbone, flat)).double(), [len(listed) for listed in glosses])
    if domain is not None:
        contexts = [unit_rows(encode_cached(backbone, [domain])).double()[0]] * len(classes)
    elif by_name or sum(map(bool, glosses)) == 1:
        prompts = [DEFAULT_TEMPLATE.replace("{}", spoken(name)) for name in classes]
        contexts = list(unit_rows(encode_cached(backbone, prompts)).double())
    else:
        means = [mine.mean(0) if len(mine) else mine.new_zeros(mine.shape[1]) for mine in features]
        contexts = [torch.stack(means).sum(0) - mean for mean in means]  # the sum over others: the mean up to its scale
    return [
        numbers[int((mine @ context).argmax())] if numbers else None
        for numbers, mine, context in zip(able, features, contexts, strict=True)
    ]


def _common_nouns(name: str, senses: Sequence[Sense]) -> list[int]:
    """Numbers of the meanings that a class of this name may have."""
    everything = list(range(len(senses)))
    if name != name.lower():
        return everything
    key = match_key(spoken(name))
    proper = {i for i, s in enumerate(senses) if any(match_key(w) == key and w != w.lower() for w in s.lemmas)}
    return [i for i in everything if i not in proper] or everything


def spoken(name: str) -> str:
    """A class name without what stands in brackets at its end."""
    (clean,) = clean_names([name])
    return clean.partition("(")[0].strip() or clean
