"""Decoding and views, without any model."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from clipwright.backbones.preprocess import Preprocess
from clipwright.core.rng import generator
from clipwright.data.dataset import Dataset
from clipwright.engine import wire
from clipwright.features.decode import Decoder

_PREPROCESS = Preprocess((16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def decoder(images: Dataset, views: int = 0, seed: int = 0) -> Decoder:
    assert images.reader is not None
    return Decoder(images.reader, _PREPROCESS, views, "crop(0.08,1)+flip", seed)


def test_pixels_are_those_of_the_preprocessing(images: Dataset) -> None:
    sources = images.table["source"].to_pylist()[:6]
    decoded = decoder(images, 2, 9)(sources)
    readable = [s for s in sources if "broken" not in s]
    assert decoded.pixels.shape == (len(readable), 3, 3, 16, 16)
    assert decoded.pixels.dtype == np.uint8
    for pixels, source in zip(decoded.pixels, readable, strict=True):
        image = images.reader.read(source)  # type: ignore[union-attr]
        assert np.array_equal(pixels[0], _PREPROCESS.clean(image.image))
        for number in range(2):
            view = _PREPROCESS.view(image.image, "crop(0.08,1)+flip", generator(9, "view", image.content, number))
            assert np.array_equal(pixels[1 + number], view)


def test_each_image_is_decoded_alike_alone_and_among_others(images: Dataset) -> None:
    sources = images.table["source"].to_pylist()
    together = decoder(images, 3)(sources)
    alone = [decoder(images, 3)([source]) for source in reversed(sources)]
    assert np.array_equal(together.pixels, np.concatenate([d.pixels for d in reversed(alone)]))
    assert together.content == [c for d in reversed(alone) for c in d.content]
    fewer = decoder(images, 1)(sources)
    assert np.array_equal(together.pixels[:, :2], fewer.pixels)


def test_reasons_stand_where_pixels_are_missing(images: Dataset) -> None:
    decoded = decoder(images)([s for s in images.table["source"].to_pylist() if "broken" in s])
    assert decoded.pixels.shape == (0, 1, 3, 16, 16)
    assert decoded.content == [None, None]
    assert all(decoded.problems)


def test_a_decoder_travels_to_another_process(images: Dataset) -> None:
    made = wire.pack(decoder(images, 1))[0]
    program = (
        "import sys\nfrom clipwright.engine import wire\n"
        "d = wire.unpack([bytes.fromhex(sys.stdin.readline())])\n"
        "print(d(sys.stdin.read().split('\\0')).pixels.tobytes().hex())"
    )
    sources = images.table["source"].to_pylist()[3:6]
    text = bytes(made).hex() + "\n" + "\0".join(sources)
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == decoder(images, 1)(sources).pixels.tobytes().hex()
