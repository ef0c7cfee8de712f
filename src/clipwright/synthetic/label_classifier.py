"""A classifier that is a prompt: a multimodal model behind a server answers with a label, and nothing else is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipwright.core.atomic import write_json
from clipwright.core.errors import FormatError, UsageError
from clipwright.data.dataset import UnreadableImageError
from clipwright.data.images import FileReader
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.label_answers import read_label
from clipwright.synthetic.messages import image_url
from clipwright.synthetic.wording import LabelPrompt

FORMAT, KIND = 1, "labels-only classifier"
MAX_TOKENS, MAX_SIDE = 64, 512


@dataclass(frozen=True)
class LabelPrediction:
    """What a model says of one image.

    Attributes:
        path: of the image; empty where it wasn't a file.
        label: the class, or None.
        answer: the model's words.
        error: why there is no label, or None.
    """

    path: str
    label: str | None
    answer: str = ""
    error: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    kind: str
    model: str
    class_names: tuple[str, ...] = Field(min_length=1)
    system: str
    instruction: str
    words: tuple[str, ...]
    order: tuple[int, ...]
    max_tokens: int = Field(ge=1)
    max_side: int = Field(ge=1)
    card: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class LabelClassifier:
    """A prompt, the model that it was tuned for, and how it came about.

    It needs no backbone and no weights, only a server that has the model: the server's address and key aren't kept.

    Attributes:
        prompt: what the model is told and shown, with the class names.
        model: what servers call the model.
        max_tokens: limit on an answer.
        max_side: longer images are scaled down to this many pixels.
        card: JSON: the search's settings, accuracy on its support images, what it cost.
    """

    prompt: LabelPrompt
    model: str
    max_tokens: int = MAX_TOKENS
    max_side: int = MAX_SIDE
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names."""
        return self.prompt.class_names

    def ask(self, chat: Chat, image: Image.Image) -> LabelPrediction:
        """Ask about one image.

        Raises:
            EndpointError: the server refused, or didn't answer.
        """
        url = image_url(image, max_side=self.max_side)
        answer = chat.ask(self.prompt.messages(url), max_tokens=self.max_tokens).spoken
        found = read_label(answer, self.class_names)
        if found is not None:
            return LabelPrediction("", self.class_names[found], answer)
        return LabelPrediction("", None, answer, no_class(answer, len(self.class_names)))

    def predict(self, images: Iterable[str | Path | Image.Image], chat: Chat) -> Iterator[LabelPrediction]:
        """Ask about images, several at a time; predictions come in the order of the images.

        An image that can't be read, or an answer that is no class, gives a prediction without a label that says why.

        Args:
            images: files, or images.
            chat: the server, with the model that the prompt was tuned for.

        Raises:
            EndpointError: the server refused, or didn't answer; what it answered is kept.
        """
        given = list(images)
        waiting: dict[int, LabelPrediction] = {}
        following = 0
        with closing(chat.each(given, lambda image: self._one(chat, image))) as predictions:
            for number, prediction in predictions:
                waiting[number] = prediction
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1

    def _one(self, chat: Chat, image: str | Path | Image.Image) -> LabelPrediction:
        if isinstance(image, Image.Image):
            return self.ask(chat, image)
        path = str(image)
        try:
            decoded = FileReader().read(path).image
        except UnreadableImageError as error:
            return LabelPrediction(path, None, error=str(error))
        found = self.ask(chat, decoded)
        return LabelPrediction(path, found.label, found.answer, found.error)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        file = _File(
            format=FORMAT,
            kind=KIND,
            model=self.model,
            class_names=self.class_names,
            system=self.prompt.system,
            instruction=self.prompt.instruction,
            words=self.prompt.words,
            order=self.prompt.order,
            max_tokens=self.max_tokens,
            max_side=self.max_side,
            card=dict(self.card),
        )
        write_json(Path(path), file.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> LabelClassifier:
        """Read what `save` wrote.

        Raises:
            FormatError: it is something else, damaged, or newer than this clipwright.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no JSON"
            raise FormatError(f"{path} can't be read as a labels-only classifier ({reason}).") from error
        if not isinstance(value, dict) or value.get("kind") != KIND:
            raise FormatError(f"{path} is no labels-only classifier: 'clipwright tune-prompt' writes them.")
        if isinstance(value.get("format"), int) and value["format"] > FORMAT:
            raise FormatError(f"{path} has format {value['format']}: update clipwright to read it.")
        try:
            file = _File.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise FormatError(f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
        classes = len(file.class_names)
        if len(file.words) != classes or sorted(file.order) != list(range(classes)):
            raise FormatError(f"{path} is damaged: words and order don't fit its {classes} classes.")
        prompt = LabelPrompt(file.system, file.instruction, file.class_names, file.words, file.order)
        return cls(prompt, file.model, file.max_tokens, file.max_side, file.card)


def predict_labels(
    classifier: LabelClassifier, images: Iterable[str | Path | Image.Image], endpoint: Endpoint
) -> Iterator[LabelPrediction]:
    """What a labels-only classifier says of images, asking the model behind `endpoint`; see `LabelClassifier.predict`.

    Raises:
        UsageError: the endpoint is asked for another model than the prompt was tuned for.
        EndpointError: the server refused, or didn't answer.
    """
    if endpoint.model != classifier.model:
        raise UsageError(
            f"the prompt was tuned for the model {classifier.model!r}, not for {endpoint.model!r}: ask for that one, "
            "or tune a prompt for this one."
        )
    return classifier.predict(images, Chat(endpoint))


def no_class(answer: str, classes: int) -> str:
    """One sentence about an answer that names none of the classes."""
    said = " ".join(answer.split())
    shown = repr(said if len(said) <= 80 else said[:77] + "...") if said else "nothing"
    return f"the model answered {shown}, which is none of the {classes} classes"
