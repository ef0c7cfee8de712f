"""The fields of a request, from a stranger, as what the model takes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from clipwright.backbones.preprocess import Preprocess
from clipwright.core.errors import UsageError
from clipwright.core.payload import PayloadError, numbers
from clipwright.data.dataset import UnreadableImageError
from clipwright.data.images import decode
from clipwright.serve.limits import Limits
from clipwright.serve.refused import Refused, bad, too_many
from clipwright.texts.templates import DEFAULT_TEMPLATES, check_template

_HANDLE = re.compile(r"[0-9a-f]{64}")
_LONGEST = 4096  # characters of one text; no tower reads as many


class Fields:
    """Reads the fields of one request.

    Args:
        values: as `clipwright.core.payload.unpack` gives them.
        limits: what is refused.
    """

    def __init__(self, values: Mapping[str, Any], limits: Limits) -> None:
        self.values = values
        self.limits = limits

    def has(self, name: str) -> bool:
        """Whether a field was given."""
        return self.values.get(name) is not None

    def only(self, *names: str) -> None:
        """Refuse fields that the route doesn't know: a misspelled one would be passed over in silence.

        Raises:
            Refused: names the first of them.
        """
        for name in self.values:
            if name not in names:
                raise bad(f"there is no field {name[:60]!r} here: the fields are {', '.join(names)}.")

    def texts(self, name: str) -> list[str]:
        """A list of texts, one at least.

        Raises:
            Refused: missing, not a list of texts, too many, or one is too long or no valid Unicode.
        """
        found = self.values.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
            raise bad(f"{name} must be a list of texts, one at least.")
        if len(found) > self.limits.texts:
            raise too_many(name, len(found), self.limits.texts)
        for text in found:
            if len(text) > _LONGEST or "\0" in text:
                raise bad(f"one of {name} has more than {_LONGEST} characters, or a NUL: shorten it.")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise bad(f"one of {name} is no valid Unicode: correct it.") from error
        return found

    def names(self) -> list[str]:
        """``names``: C class names, none of them blank."""
        names = self.texts("names")
        if not all(name.strip() for name in names):
            raise bad("one of names is blank: name every class.")
        return names

    def templates(self) -> list[str]:
        """``templates``: sentences with one ``{}``, by default "a photo of a {}."."""
        if not self.has("templates"):
            return list(DEFAULT_TEMPLATES)
        templates = self.texts("templates")
        for template in templates:
            try:
                check_template(template)
            except UsageError as error:
                raise bad(str(error)) from error
        return templates

    def words(self) -> str:
        """``words``: one text."""
        words = self.values.get("words")
        if not isinstance(words, str) or not words.strip() or len(words) > _LONGEST:
            raise bad(f"words must be a text of at most {_LONGEST} characters, such as 'a photo of a'.")
        return words

    def handles(self, most: int | None = None) -> list[str]:
        """``handles``: n names of images; in an npz also (n, 32) uint8, the same as bytes.

        Raises:
            Refused: missing, too many, or not 64 hexadecimal digits each.
        """
        found = self.values.get("handles")
        if isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.ndim == 2 and found.shape[1] == 32:
            found = [row.tobytes().hex() for row in found]
        if not isinstance(found, list) or not found:
            raise bad("handles must be a list of what POST /images answered, one at least.")
        limit = self.limits.handles if most is None else most
        if len(found) > limit:
            raise too_many("handles", len(found), limit)
        if not all(isinstance(h, str) and _HANDLE.fullmatch(h) for h in found):
            raise bad("handles must be SHA-256 in 64 lower-case hexadecimal digits each, as POST /images answers them.")
        return found

    def contexts(self) -> torch.Tensor:
        """``contexts``: (P, m, d) float32 soft prompts without NaN; the width is the model's business.

        Raises:
            Refused: missing, another shape, NaN or infinity, or too many.
        """
        if not self.has("contexts"):
            raise bad("contexts are missing: give numbers of shape (P, m, d).")
        try:
            array = numbers(self.values["contexts"], np.float32, 3)
        except PayloadError as error:
            raise bad(f"contexts {error}: they are (P, m, d).") from error
        if 0 in array.shape:
            raise bad(f"contexts are empty: their shape is {array.shape}.")
        if len(array) > self.limits.prompts:
            raise too_many("prompts", len(array), self.limits.prompts)
        if not np.isfinite(array).all():
            raise bad("contexts hold NaN or infinity: send finite numbers.")
        return torch.from_numpy(np.ascontiguousarray(array))

    def pixels(self, preprocess: Preprocess) -> torch.Tensor:
        """(b, 3, H, W) uint8: ``pixels`` as they are, or ``images`` (base64 of files) decoded and preprocessed.

        Raises:
            Refused: both or neither, another shape, too many, or an image that can't be read.
        """
        if self.has("pixels") == self.has("images"):
            raise bad("give either pixels (uint8, preprocessed) or images (base64 of image files).")
        if self.has("images"):
            return torch.from_numpy(np.stack([preprocess.clean(image) for image in self._decoded()]))
        height, width = preprocess.size
        try:
            array = numbers(self.values["pixels"], np.uint8, 4)
        except PayloadError as error:
            raise bad(f"pixels {error}: they are uint8 (b, 3, {height}, {width}).") from error
        if array.shape[1:] != (3, height, width) or not len(array):
            raise bad(f"pixels must be (b, 3, {height}, {width}), preprocessed as /info says; they are {array.shape}.")
        if len(array) > self.limits.images:
            raise too_many("images", len(array), self.limits.images)
        return torch.from_numpy(np.ascontiguousarray(array))

    def _decoded(self) -> list[Any]:
        files = self.values["images"]
        if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
            raise bad("images must be a list of image files in base64, one at least.")
        if len(files) > self.limits.images:
            raise too_many("images", len(files), self.limits.images)
        found = []
        for number, file in enumerate(files):
            try:
                found.append(decode(base64.b64decode(file, validate=True)))
            except UnreadableImageError as error:
                raise Refused(422, "unreadable_image", f"image {number} can't be read: {error}.") from error
            except ValueError as error:  # letters that are none of base64, or too few
                raise bad(f"image {number} is no base64: encode the file's bytes.") from error
        return found
