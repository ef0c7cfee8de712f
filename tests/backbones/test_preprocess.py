from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipwright.backbones.hf import read_preprocess
from clipwright.backbones.preprocess import Mode, Preprocess, parse_recipe
from clipwright.core.errors import BackboneError, UsageError
from clipwright.core.rng import generator

SIZES = [(317, 211), (211, 317), (64, 64), (33, 47), (20, 300), (32, 32), (31, 40), (5, 5), (1, 90)]
TARGETS = [(32, 32), (33, 33), (24, 40), (41, 17)]
MODES: list[Mode] = ["shortest", "squash", "longest"]


def picture(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values, "RGB")


def wanted(size: tuple[int, int], **options: Any) -> Preprocess:
    return Preprocess(size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **options)


def open_clip_pixels(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    from open_clip.transform import image_transform

    transform = image_transform(
        preprocess.size,
        is_train=False,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize_mode=preprocess.mode,
        interpolation=preprocess.interpolation,
        fill_color=preprocess.fill,
    )
    pixels: torch.Tensor = transform(image) * 255
    return pixels.round().to(torch.uint8).numpy()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("target", TARGETS)
def test_clean_is_open_clips_test_transform(
    mode: Mode, interpolation: Literal["bicubic", "bilinear"], target: tuple[int, int]
) -> None:
    if mode == "shortest" and target[0] != target[1]:
        interpolation = "bicubic"  # open_clip ignores the option there
    preprocess = wanted(target, mode=mode, interpolation=interpolation, fill=9)
    for width, height in SIZES[: -1 if mode == "longest" else None]:
        image = picture(width, height)
        np.testing.assert_array_equal(preprocess.clean(image), open_clip_pixels(image, preprocess))


def test_a_thread_of_an_image_is_fitted_though_open_clip_would_fail() -> None:
    assert wanted((32, 32), mode="longest").clean(picture(1, 90)).shape == (3, 32, 32)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 400), height=st.integers(1, 400), side=st.integers(1, 60), mode=st.sampled_from(MODES))
def test_clean_is_open_clips_test_transform_at_any_size(width: int, height: int, side: int, mode: Mode) -> None:
    if mode == "longest" and min(width, height) * side < max(width, height):
        return  # one side would be resized to nothing, which Pillow refuses in the library as well
    preprocess = wanted((side, side), mode=mode)
    image = picture(width, height)
    np.testing.assert_array_equal(preprocess.clean(image), open_clip_pixels(image, preprocess))


@pytest.mark.parametrize(("edge", "crop"), [(32, 32), (40, 33), (37, 24), (24, 32)])
@pytest.mark.parametrize("resample", [2, 3])
def test_clean_is_transformers_clip_processor(edge: int, crop: int, resample: int) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    options = {
        "size": {"shortest_edge": edge},
        "crop_size": {"height": crop, "width": crop},
        "resample": resample,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
    }
    processor = CLIPImageProcessorPil(**options)
    preprocess = read_preprocess(options, "clip")
    for width, height in SIZES[:7] if crop <= edge else SIZES[:4]:
        image = picture(width, height)
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0]) * 255
        if crop > edge:
            assert preprocess.clean(image).shape == theirs.shape  # they pad off centre; no published model does this
        else:
            np.testing.assert_array_equal(preprocess.clean(image), theirs.round().astype(np.uint8))


def test_clean_is_transformers_siglip_processor() -> None:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    options = {"size": {"height": 24, "width": 40}, "resample": 3}
    processor = SiglipImageProcessorPil(**options)
    preprocess = read_preprocess(options, "siglip")
    assert preprocess.mean == preprocess.std == (0.5, 0.5, 0.5)
    for width, height in SIZES:
        image = picture(width, height)
        theirs = (np.asarray(processor(image, return_tensors="np")["pixel_values"][0]) * 0.5 + 0.5) * 255
        np.testing.assert_array_equal(preprocess.clean(image), theirs.round().astype(np.uint8))


def test_a_processor_that_does_something_else_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"preprocessor_config\.json"):
        read_preprocess({"do_normalize": False}, "clip")
    with pytest.raises(BackboneError, match="without cropping"):
        read_preprocess({"size": {"shortest_edge": 32}, "do_center_crop": False}, "clip")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_are_converted(mode: str) -> None:
    image = picture(50, 40)
    pixels = wanted((32, 32)).clean(image.convert(mode))
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == np.uint8
    assert pixels.flags["C_CONTIGUOUS"]


def test_json_round_trip() -> None:
    preprocess = wanted((24, 40), mode="longest", fill=3, interpolation="bilinear", resize_to=50, centre="floor")
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.as_json()))) == preprocess


def test_views_depend_on_their_generator_alone() -> None:
    preprocess, image = wanted((32, 32)), picture(317, 211)
    for recipe in ("crop(0.5,1)+flip", "crop(0.08,1)+flip"):
        first = preprocess.view(image, recipe, generator(0, "a", 3))
        preprocess.view(image, recipe, generator(0, "b", 1))
        np.random.seed(5)  # noqa: NPY002 - the global state must not matter
        torch.manual_seed(5)
        np.testing.assert_array_equal(first, preprocess.view(image, recipe, generator(0, "a", 3)))
        assert not np.array_equal(first, preprocess.view(image, recipe, generator(0, "a", 4)))
        assert first.shape == (3, 32, 32)
        assert first.dtype == np.uint8


def test_a_full_crop_of_a_square_is_a_bicubic_resize_and_flips_half_of_the_time() -> None:
    image = picture(48, 48)
    plain = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    same = flipped = 0
    rng = generator(0, "flips")
    for _ in range(600):
        view = wanted((32, 32)).view(image, "crop(1,1)+flip", rng)
        same += np.array_equal(view, plain)
        flipped += np.array_equal(view, plain[:, :, ::-1])
    # An area of 1 fits only at an aspect of 1, so this is the centred fallback, which a square gives whole.
    assert same + flipped == 600
    assert abs(flipped - 300) < 62  # five standard deviations


@pytest.mark.parametrize(("recipe", "scale"), [("crop(0.5,1)", (0.5, 1.0)), ("crop(0.08,1)", (0.08, 1.0))])
def test_crops_are_distributed_as_torchvisions(recipe: str, scale: tuple[float, float]) -> None:
    from torchvision.transforms import RandomResizedCrop

    from clipwright.backbones.preprocess import _random_box

    width, height, draws = 300, 200, 4000
    rng = generator(1, "crops")
    ours = np.array([_random_box(width, height, scale, rng) for _ in range(draws)], dtype=float)
    ours[:, 2:] -= ours[:, :2]  # left, top, width, height
    torch.manual_seed(0)
    blank = torch.zeros(3, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(blank, list(scale), [3 / 4, 4 / 3]) for _ in range(draws)], dtype=float
    )[:, [1, 0, 3, 2]]
    assert parse_recipe(recipe) == (scale, False, False)
    for column in range(4):
        a, b = np.sort(ours[:, column]), np.sort(theirs[:, column])
        grid = np.concatenate([a, b])
        gap = np.abs(np.searchsorted(a, grid, "right") - np.searchsorted(b, grid, "right")).max() / draws
        assert gap < 1.95 * np.sqrt(2 / draws)  # Kolmogorov-Smirnov, one in a thousand


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 200), height=st.integers(1, 200), seed=st.integers(0, 2**31))
def test_views_of_any_image_have_the_size(width: int, height: int, seed: int) -> None:
    view = wanted((16, 24)).view(picture(width, height), "crop(0.08,1)+flip", generator(seed))
    assert view.shape == (3, 16, 24)


def test_flip_alone_mirrors_the_clean_view() -> None:
    image, preprocess = picture(50, 40), wanted((32, 32))
    clean = preprocess.clean(image)
    views = [preprocess.view(image, "flip", generator(s)) for s in range(20)]
    assert all(np.array_equal(v, clean) or np.array_equal(v, clean[:, :, ::-1]) for v in views)


@pytest.mark.parametrize(
    "recipe",
    [
        "", "crop", "crop(0,1)", "crop(0.9,0.5)", "crop(0.5,2)", "+flip", "crop(0.5,1)flip", "crop(a,b)", "cut",
        "crop(0.5,1)jitter", "jitterflip", "flip+jitter", "+jitter", "crop(0.5,1)+",
    ],
)  # fmt: skip
def test_recipes_that_cant_be_read(recipe: str) -> None:
    with pytest.raises(UsageError, match="view recipe"):
        wanted((8, 8)).view(picture(9, 9), recipe, generator(0))


def test_colours_change_in_the_view_that_a_recipe_without_them_gives() -> None:
    from clipwright.backbones.jitter import jitter

    image, preprocess = picture(50, 40), wanted((32, 32))
    assert parse_recipe("crop(0.9,1)+jitter+flip") == ((0.9, 1.0), True, True)
    assert parse_recipe("jitter") == (None, True, False)
    for number in range(5):
        rng, same = generator(0, "colours", number), generator(0, "colours", number)
        plain = preprocess.view(image, "crop(0.5,1)", rng)
        expected = np.asarray(jitter(Image.fromarray(plain.transpose(1, 2, 0)), rng)).transpose(2, 0, 1)
        np.testing.assert_array_equal(preprocess.view(image, "crop(0.5,1)+jitter", same), expected)


def test_a_strip_is_not_blown_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a few kilobytes must not ask for the memory of 224 x 224 times its length."""
    preprocess = Preprocess((224, 224), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def noted(image: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *args)

    monkeypatch.setattr(Image.Image, "resize", noted)
    for size in ((1, 300_000), (300_000, 1)):
        assert preprocess.clean(Image.new("RGB", size, (9, 8, 7)))[:, 0, 0].tolist() == [9, 8, 7]
    assert max(max(size) for size in sizes) < 20_000


@pytest.mark.parametrize("size", [(4, 300), (2, 257), (290, 4)])
def test_the_middle_of_a_strip_is_that_of_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess((32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    whole = preprocess.clean(Image.fromarray(noise)).astype(int)
    monkeypatch.setattr("clipwright.backbones.preprocess._MOST_PIXELS", 0)
    found = preprocess.clean(Image.fromarray(noise)).astype(int)
    assert np.abs(found - whole).max() <= 2
