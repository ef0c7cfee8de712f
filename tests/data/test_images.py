"""Whatever a user's folder holds: upright RGB, or a reason."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from clipwright.core.errors import UsageError
from clipwright.data.dataset import UnreadableImageError
from clipwright.data.images import DEFAULT_MAX_PIXELS, EXTENSIONS, FORMATS, FileReader, decode, default_max_pixels
from clipwright.engine import wire


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def picture(rng: np.random.Generator) -> Image.Image:
    smooth = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    return smooth.resize((40, 30), Image.Resampling.BICUBIC)


def png_header(width: int, height: int, *, grey: bool = False) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if grey else 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\1\0IDAT"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "PPM", "TGA", "GIF", "ICO", "JPEG2000"])
def test_lossless_formats_come_back_exactly(kind: str, picture: Image.Image) -> None:
    picture = picture.resize((32, 32)).quantize(64).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    again = decode(encode(picture, kind, **options))
    assert again.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(again), np.asarray(picture))


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_lossy_formats_equal_pillows_own_reading(kind: str, picture: Image.Image) -> None:
    if kind == "AVIF" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow was built without AVIF")
    data = encode(picture, kind)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied_once(orientation: int, kind: str, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert decode(data).size == ((40, 30) if orientation < 5 else (30, 40))
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(expected))


def test_damaged_exif_does_not_cost_the_picture(picture: Image.Image) -> None:
    data = encode(picture, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow complains about the metadata
        assert decode(data).size == (40, 30)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    got = np.asarray(decode(encode(Image.fromarray(ramp), kind)))
    assert got.shape == (64, 64, 3)
    np.testing.assert_array_equal(got[..., 0], np.rint(ramp / 257).astype(np.uint8))
    assert len(np.unique(got)) == 256


@pytest.mark.parametrize("top", [1.0, 255.0, 4095.0])
def test_float_grey_uses_its_range(top: float) -> None:
    ramp = np.linspace(0, top, 256, dtype=np.float32).reshape(16, 16)
    ramp[0, 0] = np.nan if top == 1.0 else 0
    got = np.asarray(decode(encode(Image.fromarray(ramp), "TIFF")))[..., 0]
    np.testing.assert_allclose(got.ravel(), np.arange(256), atol=1)


@pytest.mark.parametrize(("low", "high"), [(0, 65535), (-1000, 3000), (0, 1 << 20)])
def test_32_bit_integers_are_16_bit_or_stretched(low: int, high: int) -> None:
    ramp = np.linspace(low, high, 256).astype(np.int32).reshape(16, 16)
    got = np.asarray(decode(encode(Image.fromarray(ramp), "TIFF")))[..., 0]
    np.testing.assert_allclose(got.ravel(), np.arange(256), atol=1)


def test_cmyk_is_converted(picture: Image.Image) -> None:
    data = encode(picture.convert("CMYK"), "JPEG", quality=100, subsampling=0)
    difference = np.abs(np.asarray(decode(data)).astype(int) - np.asarray(picture).astype(int))
    assert difference.mean() < 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB"])
def test_transparency_lies_on_white(mode: str) -> None:
    """Fully clear pixels are white whatever colour hides in them, opaque ones stay."""
    if mode in {"RGBA", "LA"}:
        image = Image.new("RGBA", (2, 1), (0, 0, 0, 0)).convert(mode)
        image.putpixel((1, 0), (9, 9, 9, 255) if mode == "RGBA" else (9, 255))
        data = encode(image)
    else:
        image = Image.new("L", (2, 1), 0)
        image.putpixel((1, 0), 9)
        image = {"L": image, "RGB": image.convert("RGB")}.get(mode) or image.convert("P")
        data = encode(image, transparency=(0, 0, 0) if mode == "RGB" else 0)
    np.testing.assert_array_equal(np.asarray(decode(data)), [[[255] * 3, [9] * 3]])


def test_half_transparency_is_mixed() -> None:
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert abs(decode(encode(image)).getpixel((0, 0))[0] - 127) <= 1  # type: ignore[index] # RGB pixels are tuples


def test_palette_and_bilevel_are_rgb(picture: Image.Image) -> None:
    for image in (picture.quantize(16), picture.convert("1"), picture.convert("L")):
        np.testing.assert_array_equal(np.asarray(decode(encode(image))), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    image = decode(data)
    assert image.getpixel((3, 3)) == (255, 0, 0)
    assert len(image.getcolors() or []) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000"])
def test_cut_short_is_refused(kind: str, rng: np.random.Generator) -> None:
    noise = Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    data = encode(noise, kind)
    with pytest.raises(UnreadableImageError, match=r"damaged or cut short|not an image"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"\xff\xd8\xff\xe0", "damaged or cut short"),
    ],
)
def test_what_is_no_image_says_so(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        decode(data)
    assert not str(caught.value).endswith(".")


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"\xff\xd8\xff"])
)
def test_any_bytes_give_an_image_or_a_reason(data: bytes, start: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(UnreadableImageError):
            assert decode(start + data, max_pixels=1 << 20).mode == "RGB"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flipped_bytes_give_an_image_or_a_reason(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]))
    noise = np.random.default_rng(0).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    whole = bytearray(encode(Image.fromarray(noise), kind))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        whole[place] ^= data.draw(st.integers(1, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(UnreadableImageError):
            assert decode(bytes(whole), max_pixels=1 << 20).mode == "RGB"


def test_bombs_are_refused_unread_and_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = png_header(30_000, 30_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImageError, match=r"30000 x 30000 pixels.*limit is 100,000,000.*max_pixels"):
            decode(bomb)
    small = encode(Image.new("RGB", (20, 20)))
    with pytest.raises(UnreadableImageError, match="20 x 20"):
        decode(small, max_pixels=399)
    assert decode(small, max_pixels=400).size == (20, 20)
    monkeypatch.setenv("CLIPWRIGHT_MAX_PIXELS", "399")
    with pytest.raises(UnreadableImageError, match="CLIPWRIGHT_MAX_PIXELS"):
        decode(small)
    assert decode(small, max_pixels=400).size == (20, 20)


def test_a_raised_limit_goes_beyond_pillows_own_and_leaves_it_alone() -> None:
    """With the limit raised, the header is accepted and only the missing pixels are complained of."""
    side = 13_400  # 179.6 million pixels
    data = png_header(side, side, grey=True)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImageError, match=r"cut short"):
            decode(data, max_pixels=side * side)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e9"])
def test_a_bad_limit_is_a_usage_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPWRIGHT_MAX_PIXELS", text)
    with pytest.raises(UsageError, match=r"positive whole number; it is .*\."):
        default_max_pixels()
    monkeypatch.delenv("CLIPWRIGHT_MAX_PIXELS")
    assert default_max_pixels() == DEFAULT_MAX_PIXELS
    with pytest.raises(UsageError):
        decode(b"x", max_pixels=0)


def test_file_reader_hashes_the_bytes_and_travels(tmp_path: Path, picture: Image.Image) -> None:
    data = encode(picture, "JPEG")
    (tmp_path / "bäd\n'name'.jpg").write_bytes(data)
    reader = wire.unpack(wire.pack(FileReader(tmp_path)))
    decoded = reader.read("bäd\n'name'.jpg")
    assert decoded.content == hashlib.sha256(data).hexdigest()
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(decode(data)))
    absolute = str(tmp_path / "bäd\n'name'.jpg")
    assert FileReader(Path("elsewhere")).read(absolute).content == decoded.content


@pytest.mark.parametrize("source", ["no.jpg", "", ".", "a\0b.jpg", "x" * 5000])
def test_a_file_that_cannot_be_opened_is_unreadable(source: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="can't be opened"):
        FileReader(tmp_path).read(source)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(1 << 40)  # sparse
    with pytest.raises(UnreadableImageError, match="bytes; the limit"):
        FileReader(tmp_path).read("huge.png")


def test_no_more_formats_than_meant() -> None:
    assert {"EPS", "PSD", "WMF"}.isdisjoint(FORMATS)
    assert all(extension.startswith(".") and extension.islower() for extension in EXTENSIONS)
    assert "PIL" in sys.modules
