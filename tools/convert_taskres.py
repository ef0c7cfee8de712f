"""A released TaskRes checkpoint as a base for `TaskRes`: ``python tools/convert_taskres.py IN OUT [options]``.

IN is the tuned text projection of an enhanced base (``strong_base/<data set>/rn50_<n>shots/model.pth.tar``: the entry
``weight`` of its ``state_dict``, D x d_t). To use it, the texts must be taken back through the projection that they
were made with, so give the model's own with ``--original``: any state dict or safetensors file with ``text_projection``
(d_t x D), such as ``open_clip_model.safetensors`` of the same CLIP.

With ``--text KEY`` the entry named is taken as class vectors (C x D) instead, and with ``--residual KEY --alpha A`` too
A times that entry is added: a classifier that was trained with TaskRes. ``--classes FILE`` names the rows, one name a
line.

OUT ends in .safetensors or .npz. Checkpoints are read with weights_only=True: nothing in them is executed, and one that
holds more than tensors and plain values is refused.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by name, those below ``state_dict`` where there is one."""
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise SystemExit(f"{path} is no checkpoint of tensors and is not read any other way: {reason}") from error
    found = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def matrix(state: dict[str, torch.Tensor], key: str, path: Path) -> torch.Tensor:
    """One entry as a contiguous float32 matrix."""
    if key not in state or state[key].ndim != 2:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(state.items())[:8]) or "nothing"
        raise SystemExit(f"{path} has no matrix {key!r}; it holds {shapes}.")
    return state[key].float().contiguous()


def convert(options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """The arrays of the base."""
    state = state_dict(options.checkpoint)
    if options.text is not None:
        rows = matrix(state, options.text, options.checkpoint)
        if options.residual is not None:
            if options.alpha is None:
                raise SystemExit("give --alpha, the share of the residual: the checkpoint doesn't hold it.")
            rows = rows + options.alpha * matrix(state, options.residual, options.checkpoint)
        return {"text_features": rows}
    projection = matrix(state, options.key, options.checkpoint)
    if options.original is None:
        raise SystemExit("give --original, a file with the text_projection of the CLIP that the texts come from.")
    own = matrix(state_dict(options.original), "text_projection", options.original).T.contiguous()
    if own.shape != projection.shape:
        raise SystemExit(
            f"the projection is {tuple(projection.shape)} but that of {options.original.name} is {tuple(own.shape)}: "
            "they must belong to the same model."
        )
    return {"projection": projection, "original": own}


def write(path: Path, arrays: dict[str, torch.Tensor], names: Sequence[str] | None) -> None:
    """Write the base as the ending of `path` says."""
    if path.suffix == ".npz":
        found = {name: array.numpy() for name, array in arrays.items()}
        found |= {} if names is None else {"class_names": np.array(names)}
        np.savez(path, **found)  # type: ignore[arg-type] # arrays, not a flag
    elif path.suffix == ".safetensors":
        save_file(arrays, path, metadata=None if names is None else {"class_names": json.dumps(names)})
    else:
        raise SystemExit("the file to write must end in .safetensors or .npz.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="IN")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--key", default="weight", help="entry of the tuned projection (default: weight)")
    parser.add_argument("--original", type=Path, help="file with the model's own text_projection")
    parser.add_argument("--text", metavar="KEY", help="entry of the class vectors, instead of a projection")
    parser.add_argument("--residual", metavar="KEY", help="entry of the residual that is added to them")
    parser.add_argument("--alpha", type=float, help="share of the residual")
    parser.add_argument("--classes", type=Path, help="text file with the name of each row")
    options = parser.parse_args(arguments)
    names = None
    if options.classes is not None:
        names = [line.strip() for line in options.classes.read_text(encoding="utf-8").splitlines() if line.strip()]
    arrays = convert(options)
    if names is not None and len(names) != len(arrays.get("text_features", names)):
        raise SystemExit(f"{options.classes} names {len(names)} classes but there are {len(arrays['text_features'])}.")
    write(options.out, arrays, names)
    sys.stderr.write(f"{options.out}: " + ", ".join(f"{n} {tuple(a.shape)}" for n, a in arrays.items()) + "\n")


if __name__ == "__main__":
    main()
