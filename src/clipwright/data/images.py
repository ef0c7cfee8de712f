"""From a file's bytes to an upright RGB image, whatever wrote the file.

Rules: EXIF rotation is applied; the first frame of an animation or page of a TIFF counts; transparency is laid on
white, as a viewer would show it; CMYK is converted without its colour profile; greyscale of more than 8 bits is scaled,
not clipped (16-bit over its whole range, see `_grey`). Pillow's global settings are neither relied on nor changed: the
limit on pixels is ours, and only formats that Pillow decodes itself are opened (no PostScript, which would start
Ghostscript).
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import (  # importing a plugin registers its format, and nothing else
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from clipwright.core.errors import UsageError
from clipwright.data.dataset import DecodedImage, UnreadableImageError

DEFAULT_MAX_PIXELS = 100_000_000  # 10,000 x 10,000; about 300 MB once decoded
MAX_PIXELS_VARIABLE = "CLIPWRIGHT_MAX_PIXELS"

# In the order they are tried; TGA, which has no signature, comes last.
_PLUGINS = {
    "JPEG": JpegImagePlugin,
    "PNG": PngImagePlugin,
    "WEBP": WebPImagePlugin,
    "GIF": GifImagePlugin,
    "BMP": BmpImagePlugin,
    "DIB": BmpImagePlugin,
    "TIFF": TiffImagePlugin,
    "PPM": PpmImagePlugin,
    "JPEG2000": Jpeg2KImagePlugin,
    "AVIF": AvifImagePlugin,
    "ICO": IcoImagePlugin,
    "TGA": TgaImagePlugin,
}
FORMATS = tuple(_PLUGINS)
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".tga", ".ico"}
)

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def default_max_pixels() -> int:
    """The limit of ``CLIPWRIGHT_MAX_PIXELS``, else 100 million pixels.

    Raises:
        UsageError: the variable isn't a positive whole number.
    """
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if not text:
        return DEFAULT_MAX_PIXELS
    try:
        return check_max_pixels(int(text))
    except ValueError:
        raise UsageError(f"{MAX_PIXELS_VARIABLE} must be a positive whole number; it is {text!r}.") from None


def check_max_pixels(limit: int) -> int:
    """`limit` itself.

    Raises:
        UsageError: it isn't positive.
    """
    if limit < 1:
        raise UsageError(f"the limit on pixels per image must be a positive whole number; it is {limit}.")
    return limit


@dataclass(frozen=True)
class FileReader:
    """Reads image files; a dataclass of plain fields, so that worker processes can be sent it.

    Attributes:
        root: the folder that relative sources start from, or None for the working folder.
        max_pixels: images with more pixels are refused unread.
    """

    root: Path | None = None
    max_pixels: int = field(default_factory=default_max_pixels)

    def path(self, source: str) -> Path:
        """Where a source lies."""
        return Path(source) if self.root is None else self.root / source

    def read(self, source: str) -> DecodedImage:
        """Decode one file, and hash its bytes (SHA-256).

        Raises:
            UnreadableImageError: missing, corrupt, truncated, no known image format, or over the pixel limit.
        """
        data = self._bytes(source)
        return DecodedImage(decode(data, max_pixels=self.max_pixels), hashlib.sha256(data).hexdigest())

    def content(self, source: str) -> str:
        """SHA-256 (hex) of a file's bytes, as `read` gives it, without decoding.

        Raises:
            UnreadableImageError: missing, or over what the pixel limit allows.
        """
        return hashlib.sha256(self._bytes(source)).hexdigest()

    def _bytes(self, source: str) -> bytes:
        try:
            with self.path(source).open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > 8 * self.max_pixels + (1 << 26):  # more than 64-bit pixels and metadata could ever need
                    raise UnreadableImageError(f"the file has {size:,} bytes; {_raise_limit(self.max_pixels)}")
                return stream.read()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UnreadableImageError(f"the file can't be opened ({why})") from error


def decode(data: bytes, *, max_pixels: int | None = None) -> Image.Image:
    """Decode an image's bytes to upright 8-bit RGB.

    Args:
        data: the encoded image.
        max_pixels: images with more pixels are refused unread; None for the default limit.

    Raises:
        UnreadableImageError: corrupt, truncated, no known image format, or over the pixel limit.
    """
    limit = default_max_pixels() if max_pixels is None else check_max_pixels(max_pixels)
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        image = _open(data)
        if image is not None and image.width * image.height <= limit:
            return upright_rgb(image)
    except Exception as error:  # on hostile bytes Pillow's plugins raise nearly anything
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UnreadableImageError(f"the image is damaged or cut short ({why})") from error
    if image is None:
        raise UnreadableImageError("this is not an image in a format that can be read")
    raise UnreadableImageError(f"the image has {image.width} x {image.height} pixels; {_raise_limit(limit)}")


def _raise_limit(limit: int) -> str:
    return f"the limit is {limit:,} pixels, raise it with max_pixels or {MAX_PIXELS_VARIABLE} if you trust the file"


def _open(data: bytes) -> Image.Image | None:
    """Read the header with the first format that takes the bytes, or None.

    `Image.open` would apply Pillow's own pixel limit, which can be lifted only for the whole process.
    """
    prefix = data[:16]
    failure: Exception | None = None
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        accepted = factory is not None and (accept is None or accept(prefix))
        if isinstance(accepted, str):  # Pillow says why this build lacks the format
            failure = failure or UnreadableImageError(accepted)
        elif accepted and factory is not None:
            try:
                return factory(io.BytesIO(data), "")
            except Exception as error:  # another format may take these bytes
                if accept is not None:  # else it takes any bytes and its complaint says nothing
                    failure = failure or error
    if failure is not None:
        raise failure
    return None


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image that Pillow opened, as `decode` gives it: upright 8-bit RGB, transparency on white."""
    image.load()
    return _upright(_rgb(image), image)


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    try:
        # Asked after loading: a TIFF is turned by Pillow itself, which then drops the tag.
        turn = _UPRIGHT.get(original.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata must not cost the picture
        turn = None
    return rgb if turn is None else rgb.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return Image.fromarray(_grey(image)).convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of a greyscale image of more than 8 bits.

    Integers inside 0..65535 are taken as 16-bit, floats inside 0..1 or 0..255 as what they are; anything else is
    stretched from its least to its greatest value.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    tops = (65535.0,) if image.mode != "F" else (1.0, 255.0)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        wide, top = wide - low, max(high - low, 1e-12)
    return np.rint(wide * (255.0 / top)).astype(np.uint8)
