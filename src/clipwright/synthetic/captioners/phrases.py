"""Captions without a captioner: of a fixed vocabulary, the phrases that a backbone finds most like the image."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.backbones.device import Batcher
from clipwright.core.errors import BackboneError, UsageError
from clipwright.core.tensors import unit_rows
from clipwright.data.dataset import UnreadableImageError
from clipwright.engine import cpu_count
from clipwright.engine.pool import ordered
from clipwright.synthetic.captioners.base import Finished, Job, Said
from clipwright.synthetic.captioners.vocabulary import Vocabulary, vocabulary
from clipwright.synthetic.collage import THUMBNAIL

_BATCH = 64
_MOST_READERS = 8
SURE = 0.4
"""Probability within its slot from which a phrase is said."""


@dataclass(frozen=True)
class PhraseCaptioner:
    """Says of each slot of a vocabulary the phrase with the largest cosine, where the backbone is sure enough of it.

    Sure enough: the phrase stands out from the others of its slot, and fits the image better than "a photo of
    something", which says nothing.

    Needs no other model than the backbone itself, so that everything that uses captions can be tried offline. A group
    is captioned by the mean cosines of its members: what they have in common. Neither prompt nor view count.

    Attributes:
        ref: the backbone.
        class_names: names of which no word is said.
        avoid: further words that aren't said, such as synonyms.
        sure: probability within its slot from which a phrase is said, in [0, 1]; the head is always said.

    Raises:
        UsageError: a number out of range.
    """

    ref: BackboneRef
    class_names: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    sure: float = SURE
    name: str = "phrases"
    side: int = THUMBNAIL
    asks: bool = False
    _known: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False, compare=False)
    _batcher: Batcher = field(default_factory=Batcher, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.sure <= 1:
            raise UsageError(f"a phrase can be as sure as 0 to 1; {self.sure} is neither.")

    @property
    def model(self) -> str:
        """The backbone."""
        return self.ref.spec

    @cached_property
    def words(self) -> Vocabulary:
        """The phrases that may be said."""
        return vocabulary().without((*self.class_names, *self.avoid))

    def settings(self) -> dict[str, Any]:
        """Backbone and vocabulary."""
        return {
            "captioner": self.name,
            "model": self.model,
            "digest": self.ref.digest,
            "vocabulary": self.words.hash,
            "sure": self.sure,
        }

    def prepare(self) -> None:
        """Load the backbone and encode the phrases."""
        _ = self._texts

    @cached_property
    def _backbone(self) -> Backbone:
        found = self.ref.load()
        if "features" not in {granted.value for granted in found.access}:
            raise BackboneError(
                f"{self.ref.spec} gives no features, which --captioner phrases needs: name another backbone."
            )
        return found

    @cached_property
    def _texts(self) -> torch.Tensor:
        """(P + 1, D) unit features of what images are compared with."""
        return unit_rows(self._backbone.texts(self.words.sentences).float())

    def caption(self, jobs: Sequence[Job]) -> Generator[Finished, None, None]:
        """Compare and say, some images at a time; an image that was compared before isn't decoded again."""
        for start in range(0, len(jobs), _BATCH):
            part = jobs[start : start + _BATCH]
            problems = self._compare(part)
            yield [(start + i, self._say(job, problems)) for i, job in enumerate(part)]

    def _compare(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Compute cosines of the images that weren't seen before; returns why some can't be, by content."""
        wanted = {c: (job, i) for job in jobs for i, c in enumerate(job.contents) if c not in self._known}
        pixels: list[np.ndarray] = []
        names: list[str] = []
        problems: dict[str, str] = {}
        decoded = ordered(_decoded, list(wanted.values()), workers=min(cpu_count(), _MOST_READERS), ahead=_BATCH)
        for content, image in zip(wanted, decoded, strict=True):
            if isinstance(image, str):
                problems[content] = image
            else:
                names.append(content)
                pixels.append(self._backbone.preprocess.clean(image))

        def compute(start: int, stop: int) -> None:
            features = self._backbone.images(torch.from_numpy(np.stack(pixels[start:stop]))).x
            cosines = unit_rows(features.float()) @ self._texts.T
            self._known.update(zip(names[start:stop], cosines.numpy(), strict=True))

        self._batcher.run(compute, len(pixels), _BATCH)
        return problems

    def _say(self, job: Job, problems: dict[str, str]) -> Said:
        if lost := [problems[c] for c in job.contents if c in problems]:
            return Said(problem=lost[0])
        cosines = np.stack([self._known[c] for c in job.contents]).astype(np.float64).mean(0)
        return Said(sentence(self.words, cosines, self._backbone.logit_scale, self.sure, of_all=len(job.contents) > 1))

    def meter(self) -> str:
        """Costs time alone."""
        return ""

    def usage(self) -> dict[str, Any]:
        """Nothing is counted."""
        return {}


def _decoded(wanted: tuple[Job, int]) -> Image.Image | str:
    job, number = wanted
    try:
        return job.read(number)
    except UnreadableImageError as error:
        return str(error) or "unreadable"


def sentence(
    words: Vocabulary, cosines: NDArray[np.float64], logit_scale: float, sure: float, *, of_all: bool = False
) -> str:
    """The caption that cosines give.

    Args:
        words: P phrases in slots.
        cosines: (P + 1,) similarity of the image to each of `Vocabulary.sentences`.
        logit_scale: what multiplies cosines.
        sure: probability (softmax within the slot) from which a phrase is said; the head is always said.
        of_all: whether it is said of a group.
    """
    head, rest, start = words.plain[0], [], 0
    for slot in words.slots:
        logits = logit_scale * cosines[start : start + len(slot.options)]
        start += len(slot.options)
        best = int(logits.argmax())
        if slot.name == "kind":
            head = slot.options[best]
        elif 1.0 / np.exp(logits - logits[best]).sum() >= sure and logits[best] > logit_scale * cosines[-1]:
            rest.append((slot.say_of_all if of_all else slot.say).format(slot.options[best]))
    return " ".join((head, ", ".join(rest))).strip() + "."
