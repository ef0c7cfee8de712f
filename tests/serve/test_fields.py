from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.serve.made import tiny

from clipwright.core.payload import NPZ, pack, unpack
from clipwright.data.images import decode
from clipwright.serve.fields import Fields
from clipwright.serve.limits import Limits
from clipwright.serve.refused import Refused

HANDLE = "ab" * 32
LIMITS = Limits(images=3, handles=3, prompts=3, texts=3)


def fields(**values: Any) -> Fields:
    return Fields(values, LIMITS)


def picture(size: tuple[int, int] = (50, 40), kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.effect_mandelbrot(size, (-2, -1, 1, 1), 50).convert("RGB").save(stream, kind)
    return stream.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_what_is_right_is_read() -> None:
    context = [[[0.5, 1]]]
    good = fields(names=["a", "b"], handles=[HANDLE], contexts=context, words="a photo", templates=["a {}"])
    assert good.names() == ["a", "b"]
    assert good.handles() == [HANDLE]
    assert torch.equal(good.contexts(), torch.tensor(context))
    assert good.words() == "a photo"
    assert good.templates() == ["a {}"]
    assert fields().templates() == ["a photo of a {}."]


def test_handles_as_bytes() -> None:
    made = unpack(pack({"handles": np.frombuffer(bytes.fromhex(HANDLE), np.uint8)[None]}), NPZ)
    assert Fields(made, LIMITS).handles() == [HANDLE]


def test_image_files_are_decoded_and_preprocessed_as_for_features() -> None:
    files = [picture(), picture((31, 70), "JPEG")]
    found = fields(images=[encoded(file) for file in files]).pixels(tiny().preprocess)
    wanted = [tiny().preprocess.clean(decode(file)) for file in files]
    np.testing.assert_array_equal(found.numpy(), np.stack(wanted))


def test_pixels_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    for given in (pixels, pixels.tolist(), pixels.astype(np.int64)):
        np.testing.assert_array_equal(fields(pixels=given).pixels(tiny().preprocess).numpy(), pixels)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give either pixels"),
        ({"pixels": [[[[1]]]], "images": ["x"]}, "give either pixels"),
        ({"pixels": "x"}, "pixels must be numbers in 4 dimensions: they are uint8"),
        ({"pixels": np.zeros((1, 3, 31, 32))}, r"pixels must be \(b, 3, 32, 32\), preprocessed as /info says"),
        ({"pixels": np.zeros((0, 3, 32, 32))}, r"pixels must be \(b, 3, 32, 32\)"),
        ({"pixels": np.full((1, 3, 32, 32), 0.5)}, "pixels must be whole numbers that uint8 holds"),
        ({"pixels": np.full((1, 3, 32, 32), 256)}, "pixels must be whole numbers that uint8 holds"),
        ({"pixels": np.zeros((4, 3, 32, 32))}, "4 images at once are more than the limit of 3: send fewer"),
        ({"images": []}, "images must be a list of image files in base64"),
        ({"images": "x"}, "images must be a list of image files in base64"),
        ({"images": [7]}, "images must be a list of image files in base64"),
        ({"images": ["eA=="] * 4}, "4 images at once"),
        ({"images": ["?"]}, "image 0 is no base64"),
        ({"images": ["é"]}, "image 0 is no base64"),
        ({"images": [encoded(picture()), encoded(picture()[:300])]}, "image 1 can't be read"),
        ({"images": [encoded(b"x" * 100)]}, "image 0 can't be read"),
    ],
)
def test_images_that_can_not_be_used(values: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        Fields(values, LIMITS).pixels(tiny().preprocess)
    assert caught.value.status == 422


def test_a_picture_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPWRIGHT_MAX_PIXELS", "1000")
    with pytest.raises(Refused, match="the limit is 1,000 pixels"):
        fields(images=[encoded(picture())]).pixels(tiny().preprocess)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("names", None, "names must be a list of texts"),
        ("names", [], "names must be a list of texts"),
        ("names", "abc", "names must be a list of texts"),
        ("names", ["a", 1], "names must be a list of texts"),
        ("names", ["a", " "], "one of names is blank"),
        ("names", ["a"] * 4, "4 names at once"),
        ("names", ["a" * 5000], "more than 4096 characters"),
        ("names", ["a\0"], "or a NUL"),
        ("names", ["\ud800"], "no valid Unicode"),
        ("templates", ["a"], "has no {}"),
        ("templates", ["{} {x}"], "more than one place in braces"),
        ("handles", None, "handles must be a list of what POST /images answered"),
        ("handles", [], "handles must be a list"),
        ("handles", ["x"], "handles must be SHA-256"),
        ("handles", [HANDLE.upper()], "handles must be SHA-256"),
        ("handles", [1], "handles must be SHA-256"),
        ("handles", np.zeros((1, 31), np.uint8), "handles must be a list"),
        ("handles", [HANDLE] * 4, "4 handles at once"),
        ("contexts", None, "contexts are missing"),
        ("contexts", [[1.0]], "contexts must be numbers in 3 dimensions"),
        ("contexts", [[[]]], "contexts are empty"),
        ("contexts", [[[float("nan")]]], "contexts hold NaN or infinity"),
        ("contexts", [[[1e39]]], "contexts hold NaN or infinity"),
        ("contexts", [[[1.0]]] * 4, "4 prompts at once"),
        ("words", None, "words must be a text"),
        ("words", " ", "words must be a text"),
        ("words", ["a"], "words must be a text"),
        ("words", "a" * 5000, "words must be a text"),
    ],
)
def test_fields_that_can_not_be_used(name: str, value: Any, message: str) -> None:
    given = fields(**{name: value})
    with pytest.raises(Refused, match=message) as caught:
        getattr(given, name)()
    assert caught.value.status == 422
    assert "\n" not in str(caught.value)


def test_misspelled_fields_are_named() -> None:
    with pytest.raises(Refused, match="there is no field 'name' here: the fields are names, handles"):
        fields(name=["a"]).only("names", "handles")
