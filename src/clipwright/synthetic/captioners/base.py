"""The protocol of what writes captions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from clipwright.data.dataset import UnreadableImageError
from clipwright.synthetic.collage import View

MAX_TOKENS = 77
"""New tokens of a caption, at most: LatteCLIP's limit, and what a CLIP text tower reads."""


@dataclass(frozen=True)
class Job:
    """One caption that is wanted.

    Attributes:
        prompt: what the model is asked.
        contents: SHA-256 (hex) of each image: one, or the members of a group.
        read: decodes the member of that number.
        view: how they are shown.
    """

    prompt: str
    contents: tuple[str, ...]
    read: Callable[[int], Image.Image]
    view: View

    def members(self) -> list[Image.Image]:
        """The images.

        Raises:
            UnreadableImageError: one of them can't be decoded.
        """
        return [self.read(number) for number in range(len(self.contents))]

    def picture(self) -> Image.Image:
        """What the model is shown: the image, or the collage of the members.

        Raises:
            UnreadableImageError: one of them can't be decoded.
        """
        return self.view.show(self.members())

    def try_picture(self) -> Image.Image | str:
        """What the model is shown, or why there is nothing to show."""
        try:
            return self.picture()
        except UnreadableImageError as error:
            return str(error) or "unreadable"


@dataclass(frozen=True)
class Said:
    """What came of a job.

    Attributes:
        text: the caption as the model gave it.
        finish: why it ended: ``stop``, or ``length`` where it was cut off.
        model: what answered, as it calls itself; empty where that is the captioner's own model.
        problem: why there is no caption, or empty.
    """

    text: str = ""
    finish: str = "stop"
    model: str = ""
    problem: str = ""


Finished = list[tuple[int, Said]]
"""Jobs that ended together: (position, what was said)."""


class Captioner(Protocol):
    """Writes captions; each depends on its job and on the captioner's settings alone."""

    @property
    def name(self) -> str:
        """What users type."""

    @property
    def model(self) -> str:
        """What writes the captions, for the manifest."""

    @property
    def side(self) -> int:
        """Pixels per side of the thumbnail that the model takes."""

    @property
    def asks(self) -> bool:
        """Whether the prompt counts."""

    def settings(self) -> dict[str, Any]:
        """JSON: everything but prompt, view and images that decides a caption.

        Raises:
            BackboneError: the model isn't there.
        """

    def prepare(self) -> None:
        """Load what it needs.

        Raises:
            BackboneError: it can't be had.
        """

    def caption(self, jobs: Sequence[Job]) -> Generator[Finished, None, None]:
        """Write captions; what is given out is finished, and the caller keeps it before asking for more.

        Raises:
            BackboneError, EndpointError: it can't go on; what came before is given out first.
        """

    def meter(self) -> str:
        """What it has cost so far, in a few words, or nothing."""

    def usage(self) -> dict[str, Any]:
        """JSON: what it has cost so far; empty where nothing is counted."""
