"""Where a model runs and in what precision, and batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch

from clipwright.core.errors import BackboneError, UsageError

DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}
_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name, or the best there is: cuda, then mps, then cpu.

    Raises:
        UsageError: there is no such device here.
    """
    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device {name!r}: choose cuda, cuda:N, mps or cpu.") from error
    present = {
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if not present.get(device.type, False):
        raise UsageError(f"this machine (or this build of torch) has no device {name!r}: use --device cpu.")
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The floating-point type of that name, or the device's default: bf16 on a GPU that computes in it, else fp32.

    Raises:
        UsageError: unknown name.
    """
    if name is not None and name != "auto":
        if name not in DTYPES:
            raise UsageError(f"there is no dtype {name!r}: choose fp32, bf16 or fp16.")
        return DTYPES[name]
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """The short name of a floating-point type: fp32, bf16 or fp16."""
    return _NAMES[dtype]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a smaller batch might fit: on CUDA, MPS or the CPU."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    signs = ("out of memory", "not enough memory", "allocate memory")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


class Batcher:
    """Runs a function over rows in batches, and halves the batch for good whenever memory runs out.

    Attributes:
        limit: the largest batch that may be tried, or None before memory ever ran out.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def run(self, compute: Callable[[int, int], None], rows: int, batch_size: int) -> None:
        """Call ``compute(start, stop)`` until all rows are done; it may be called again on part of a failed range.

        Raises:
            BackboneError: not even one row fits.
        """
        start = 0
        while start < rows:
            size = min(batch_size, self.limit or batch_size, rows - start)
            try:
                compute(start, start + size)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise BackboneError(
                        "there is not enough memory for a single row: use a smaller model, dtype bf16 or device cpu."
                    ) from error
            else:
                start += size
                continue
            # Outside the handler: the traceback no longer holds the tensors that are to be freed.
            self.limit = size // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
