"""Captions by a multimodal model behind an OpenAI-compatible server, such as ``vllm serve``."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL import Image

from clipwright.core.errors import UsageError
from clipwright.synthetic.captioners.base import MAX_TOKENS, Finished, Job, Said
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.collage import THUMBNAIL
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.ledger import Ledger
from clipwright.synthetic.messages import Message, image_url
from clipwright.synthetic.transport import RefusedError

_REFUSALS = 8  # requests refused, and none answered, after which it is the server that is wrong, not the pictures


@dataclass(frozen=True)
class CaptionEndpoint:
    """Asks a server, several requests at a time; images are decoded and shown by the threads that ask.

    A thumbnail travels as PNG, which loses nothing; a picture of any size as JPEG, since it is large.

    Attributes:
        endpoint: where to ask.
        max_tokens: new tokens of a caption.
        ledger: where paid answers are kept; ``chat`` below CLIPWRIGHT_HOME when left out.

    Raises:
        UsageError: a limit out of range.
    """

    endpoint: Endpoint
    max_tokens: int = MAX_TOKENS
    ledger: Ledger | None = None
    name: str = "endpoint"
    side: int = THUMBNAIL
    asks: bool = True
    _refused: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _answered: list[bool] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError("--max-tokens must be positive.")

    @property
    def model(self) -> str:
        """What the server calls the model; where it is asked doesn't matter."""
        return self.endpoint.model

    @cached_property
    def chat(self) -> Chat:
        """The client, with what it has cost."""
        return Chat(self.endpoint, ledger=self.ledger)

    def settings(self) -> dict[str, Any]:
        """Model and decoding."""
        return {"captioner": self.name, "model": self.model, "max_tokens": self.max_tokens, "temperature": 0.0}

    def prepare(self) -> None:
        """Nothing has to be loaded."""

    def caption(self, jobs: Sequence[Job]) -> Generator[Finished, None, None]:
        """Ask; answers come as they are finished. When one request fails for good, those in flight are waited for.

        Raises:
            EndpointError: the server refused, or didn't answer in all its attempts.
        """
        with closing(self.chat.each(jobs, self._one)) as answers:
            for number, said in answers:
                yield [(number, said)]

    def _one(self, job: Job) -> Said:
        picture = job.try_picture()
        if isinstance(picture, str):
            return Said(problem=picture)
        try:
            answer = self.chat.ask(
                [asking(job.prompt, picture, job.view.name == "thumbnail")], max_tokens=self.max_tokens
            )
        except RefusedError as error:  # a content filter, say: of this picture, unless it refuses them all
            self._refused.append(job.prompt)
            if len(self._refused) >= _REFUSALS and not self._answered:
                raise
            return Said(problem=str(error))
        self._answered.append(True)
        return Said(answer.spoken, "length" if answer.truncated else "stop", answer.model)

    def meter(self) -> str:
        """Calls, tokens and cost."""
        return self.chat.usage.meter(self.endpoint.prices)

    def usage(self) -> dict[str, Any]:
        """Calls, tokens and cost, and options that the server refused."""
        return {**self.chat.usage.as_json(self.endpoint.prices), "refused_options": list(self.chat.refused)}


def asking(prompt: str, picture: Image.Image, lossless: bool) -> Message:
    """The picture, then the question: the order that LLaVA was trained on."""
    url = image_url(picture, max_side=max(picture.size), style="png" if lossless else "jpeg")
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": prompt}]
    return {"role": "user", "content": parts}
