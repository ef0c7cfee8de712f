"""The offline generator: the embedded classes, in a style that the embedded model never saw."""

from __future__ import annotations

import numpy as np
import pytest

from clipwright.assets.datasets import poster
from clipwright.core.errors import DataError
from clipwright.data.embedded import load_embedded
from clipwright.synthetic.generators import Renderer, Request
from clipwright.synthetic.generators.renderer import figure


def test_every_class_of_digits_letters_and_shapes_has_a_figure() -> None:
    for name in ("digits", "letters", "shapes"):
        names = load_embedded(name).class_names
        Renderer().check(names)
        assert len({figure(n) for n in names}) == len(names)
    assert (figure("seven"), figure("7"), figure("Q"), figure("star"), figure("owl")) == ("7", "7", "Q", "star", None)
    with pytest.raises(DataError, match=r"not 'owl'.*choose --generator diffusers"):
        Renderer().check(["star", "owl"])


def test_an_image_depends_on_class_and_seed_alone() -> None:
    wanted = [Request("seven", "any prompt", 11), Request("star", "", 12), Request("Q", "", 13)]
    together = dict(Renderer().make(wanted))
    for number, request in enumerate(wanted):
        ((_, alone),) = Renderer().make([request])
        assert alone.image is not None
        pixels = np.asarray(alone.image)
        assert np.array_equal(pixels, np.asarray(together[number].image))
        assert np.array_equal(pixels, poster.draw(str(figure(request.class_name)), request.seed))
