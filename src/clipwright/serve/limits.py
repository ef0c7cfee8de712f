"""What one request, and all images together, may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from clipwright.core.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Upper ends; a client reads them from ``/info`` and keeps to them.

    Attributes:
        images: images in one upload, or whose features are asked for at once.
        handles: images that are scored at once.
        prompts: soft prompts in one request.
        texts: texts that one request has encoded: prompts times classes, templates times classes, or texts.
        bytes: of a body, packed and unpacked, and of the scores in an answer.
        kept: images that the server remembers.
    """

    images: int = 256
    handles: int = 16384
    prompts: int = 256
    texts: int = 65536
    bytes: int = 64 << 20
    kept: int = 1_000_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise UsageError(f"the limit on {name} must be at least 1; it is {value}.")

    @classmethod
    def of(cls, *, max_batch: int = 256, max_mb: int = 64, max_images: int = 1_000_000) -> Limits:
        """Limits from the three numbers that a user sets.

        Args:
            max_batch: images per upload and prompts per request; 64 times as many images are scored at once, and 256
                times as many texts encoded.
            max_mb: MiB of a body.
            max_images: images that are remembered.
        """
        if max_batch < 1 or max_mb < 1 or max_images < 1:
            raise UsageError("--max-batch, --max-mb and --max-images must be at least 1.")
        return cls(max_batch, 64 * max_batch, max_batch, 256 * max_batch, max_mb << 20, max_images)
