"""OpenAI's sets of prompt templates: 80 for ImageNet, and those of other data sets, which follow a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from types import MappingProxyType

IMAGENET_80 = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)
"""CLIP's templates for ImageNet (Radford et al., ICML 2021), in the order of its release; to be averaged by
``mean_unit_renorm``."""

_ARTICLES = ("a", "the")


def _each(patterns: Iterable[str]) -> tuple[str, ...]:
    """Every pattern with "a", then every one with "the", in place of its ``<a>``."""
    return tuple(pattern.replace("<a>", article) for article, pattern in product(_ARTICLES, tuple(patterns)))


_FORMS = (
    *(
        "a photo of <a> {}.",
        "a painting of <a> {}.",
        "<a> plastic {}.",
        "a sculpture of <a> {}.",
        "a sketch of <a> {}.",
    ),
    *("a tattoo of <a> {}.", "<a> toy {}.", "a rendition of <a> {}.", "<a> embroidered {}.", "<a> cartoon {}."),
    *("<a> {} in a video game.", "<a> plushie {}.", "<a> origami {}.", "art of <a> {}.", "graffiti of <a> {}."),
    *("a drawing of <a> {}.", "a doodle of <a> {}."),
)
_MEDIA = ("photo", "video", "example", "demonstration")
_DOING = ("", "using ", "doing ", "during ", "performing ", "practicing ")
_TEXTURED = ("texture", "pattern", "thing", "object")
_OWN_CARS = ("dirty", "clean", "new", "old")

OPENAI_TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ImageNet": IMAGENET_80,
        "Caltech101": _each(_FORMS),
        "DescribableTextures": _each(
            f"a photo of <a> {{}} {what}." for what in ("texture", "pattern", "thing", "object")
        ),
        "EuroSAT": ("a centered satellite photo of {}.", *_each(["a centered satellite photo of <a> {}."])),
        "FGVCAircraft": _each(["a photo of <a> {}, a type of aircraft."]),
        "Food101": ("a photo of {}, a type of food.",),
        "OxfordFlowers": ("a photo of a {}, a type of flower.",),
        "OxfordPets": ("a photo of a {}, a type of pet.",),
        "StanfordCars": (
            *_each(["a photo of <a> {}."]),
            *("a photo of my {}.", "i love my {}!"),
            *(f"a photo of my {state} {{}}." for state in _OWN_CARS),
        ),
        "SUN397": _each(["a photo of <a> {}."]),
        "UCF101": tuple(
            f"a {medium} of {article} person {doing}{{}}."
            for doing, article, medium in product(_DOING, _ARTICLES, _MEDIA)
        ),
    }
)
"""CLIP's templates by data set, called ``openai-<data set>``, such as ``openai-dtd``."""
