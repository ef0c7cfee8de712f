"""The protocol of what makes images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

BLOCKED = "blocked by the safety filter"


@dataclass(frozen=True)
class Request:
    """One image that is wanted.

    Attributes:
        class_name: of the class, as the data has it.
        prompt: what a text-to-image model reads.
        seed: in [0, 2**31); together with the prompt and the generator's settings it decides the image.
    """

    class_name: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Picture:
    """What came of a request.

    Attributes:
        image: in RGB, or None where a safety filter held it back.
        reason: why there is no image, in words.
    """

    image: Image.Image | None
    reason: str = ""


class ImageGenerator(Protocol):
    """Makes images; each depends on its request and on the generator's settings alone."""

    @property
    def name(self) -> str:
        """What users type."""

    @property
    def model(self) -> str:
        """What makes the images, for the manifest."""

    @property
    def batch_size(self) -> int:
        """How many images are made at a time."""

    @property
    def independent(self) -> bool:
        """Whether an image's bytes are the same whatever else is in its batch.

        Where they aren't, batches are always made whole, so that a continued run gives the bytes of an uninterrupted
        one.
        """

    @property
    def save_size(self) -> int:
        """Pixels per side of a saved image unless the user says otherwise."""

    def check(self, class_names: Sequence[str]) -> None:
        """Refuse, before anything is loaded or paid, what can't be made.

        Raises:
            DataError: classes that this generator doesn't know.
            UsageError: settings that don't fit together.
        """

    def prepare(self) -> None:
        """Load what making images needs, so that the time of the first image tells that of the others.

        Raises:
            BackboneError: it can't be had.
        """

    def settings(self) -> dict[str, Any]:
        """JSON: everything but prompt and seed that decides an image."""

    def make(self, requests: Sequence[Request]) -> Iterator[tuple[int, Picture]]:
        """Make images; each is given out as soon as it is there.

        Yields:
            (position in `requests`, the picture), in any order.

        Raises:
            BackboneError, EndpointError: it can't be made; what came before is given out first.
        """
