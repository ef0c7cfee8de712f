"""Which texts help: found without labels, by agreement with the class's name and redundancy, or with a few labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.methods.coder_texts import prompts
from clipwright.task import Features, TextFeatures

SAME = 0.98
"""Cosine from which two texts of a class count as one."""


SHARE = 0.5
"""Of the distance between a class's name and the nearest other name: what a text must agree to be kept by ``auto``."""


def agreement(text: TextFeatures) -> torch.Tensor:
    """How much nearer each text is to its own class's name than to the nearest other class's name.

    A text below 0 is nearer to another class by its own words: it can be true and still mislead. For a one-vs-one text
    the other class is its rival.

    Args:
        text: T rows; a class's name is the mean of its prompt templates, or of its ``name`` rows, or of all its texts.

    Returns:
        (T,) differences of cosines, -2..2; 0 where there is no other class.

    Raises:
        DataError: a class has no text.
    """
    names = unit_rows(prompts(text).classifier("mean_unit_renorm"))
    cosines = unit_rows(text.x).to(names.dtype) @ names.T
    own = cosines.gather(1, text.classes[:, None])[:, 0]
    if len(names) == 1:
        return torch.zeros_like(own)
    others = cosines.scatter(1, text.classes[:, None], -torch.inf)
    rival = cosines.gather(1, text.rivals.clamp(min=0)[:, None])[:, 0]
    return own - torch.where(text.rivals >= 0, rival, others.amax(1))


def redundancy(text: TextFeatures) -> torch.Tensor:
    """The largest cosine of each text with an earlier text that says the same: of its class, and of its rival if any.

    Of two equal texts only the second is redundant, so that dropping what is redundant leaves one.

    Args:
        text: T rows.

    Returns:
        (T,) cosines, -1 where there is no earlier text.
    """
    rows = unit_rows(text.x)
    found = rows.new_full((len(text),), -1.0)
    about = text.classes * (text.n_classes + 1) + text.rivals + 1
    for group in torch.unique(about).tolist():
        members = (about == group).nonzero()[:, 0]
        cosines = rows[members] @ rows[members].T
        earlier = torch.ones_like(cosines, dtype=torch.bool).tril(-1)
        found[members] = cosines.masked_fill(~earlier, -1.0).amax(1)
    return found


@dataclass(frozen=True, eq=False)
class Gain:
    """What each text adds to the labelled rows, all others staying.

    Attributes:
        rows: (T,) int64 rows classified right with the text, less those without it.
        nats: (T,) mean log-probability of the true class with the text, less that without it.
    """

    rows: torch.Tensor
    nats: torch.Tensor


def leave_one_out_gain(text: TextFeatures, labelled: Features, scale: float = 100.0) -> Gain:
    """Drop each text in turn from the mean of its class's cosines, and see what that does to labelled rows.

    No text is fitted to the rows, so the numbers are honest for each text by itself; a choice of the best of many
    texts on few rows is not. One-vs-one texts, and the only text of a class, gain 0: they are in no mean, or can't be
    dropped.

    Args:
        text: T rows.
        labelled: N rows with labels.
        scale: the logit scale.

    Raises:
        DataError: there are no labelled rows, or a class has no text.
    """
    labels = labelled.labels
    if not len(labelled) or int(labels.min()) < 0 or int(labels.max()) >= text.n_classes:
        raise DataError("what texts gain is measured on labelled rows of their classes: give at least one.")
    alone = text.rivals < 0
    counts = torch.bincount(text.classes[alone], minlength=text.n_classes)
    x = labelled.unit_x().double()
    cosines = x @ unit_rows(text.x).double().T  # (N, T)
    mean = text[alone].classifier("unit_mean").double()
    logits = scale * (x @ mean.T)
    kept, own = logits.log_softmax(1).gather(1, labels[:, None])[:, 0], logits.argmax(1) == labels
    gain = Gain(torch.zeros(len(text), dtype=torch.int64), torch.zeros(len(text), dtype=torch.float64))
    for t in (alone & (counts[text.classes] > 1)).nonzero()[:, 0].tolist():
        c = int(text.classes[t])
        without = logits.clone()
        without[:, c] = (logits[:, c] * counts[c] - scale * cosines[:, t]) / (counts[c] - 1)
        gain.rows[t] = int(own.sum()) - int((without.argmax(1) == labels).sum())
        gain.nats[t] = (kept - without.log_softmax(1).gather(1, labels[:, None])[:, 0]).mean()
    return gain


def name_margins(text: TextFeatures) -> torch.Tensor:
    """(C,) how far the name of each class is from the nearest other class's name: 1 less their cosine."""
    names = unit_rows(prompts(text).classifier("mean_unit_renorm"))
    return agreement(TextFeatures(names))


def helpful(text: TextFeatures, *, least: float | Literal["auto"] = 0.0, same: float = SAME) -> torch.Tensor:
    """(T,) texts worth keeping, told without labels: nearer to their class than to others, and no repetition.

    What names a class is always kept, and so is the text of a class that agrees most, where nothing else would be left.

    Args:
        text: T rows.
        least: smallest `agreement`; ``auto`` = `SHARE` of how far the class's name is from other names, which means
            the same for every model, however close together it puts all texts.
        same: smallest `redundancy` of a repetition.
    """
    agreed = agreement(text)
    naming = torch.tensor([kind in {"name", "template"} for kind in text.kind], dtype=torch.bool) & (text.rivals < 0)
    enough = SHARE * name_margins(text)[text.classes] if least == "auto" else torch.full_like(agreed, least)
    kept = naming | ((agreed >= enough) & (redundancy(text) < same))
    for c in range(text.n_classes):
        own = (text.classes == c) & (text.rivals < 0)
        if not bool((own & kept).any()):
            best = agreed.masked_fill(~own, -torch.inf).argmax()
            kept[best] = True
    return kept
