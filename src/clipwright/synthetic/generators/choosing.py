"""From what a user says to a generator: options that don't belong to it are refused, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipwright.core.errors import UsageError
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.generators.base import ImageGenerator
from clipwright.synthetic.generators.diffusion import Diffusion
from clipwright.synthetic.generators.endpoint import ImagesEndpoint
from clipwright.synthetic.generators.renderer import Renderer

GENERATORS = ("renderer", "diffusers", "endpoint")

_TAKES: Mapping[str, frozenset[str]] = {
    "renderer": frozenset(),
    "diffusers": frozenset(
        {"model", "revision", "steps", "guidance", "size", "negative", "dtype", "device", "safety", "batch_size"}
    ),
    "endpoint": frozenset({"endpoint", "size", "negative"}),
}
_SAID = {"endpoint": "--base-url", "negative": "--negative", "batch_size": "--batch-size"}


def choose_generator(name: str, options: Mapping[str, Any]) -> ImageGenerator:
    """The generator of that name.

    Args:
        name: ``renderer``, ``diffusers`` or ``endpoint``.
        options: of `Diffusion` (its `source` is called ``model``) or `ImagesEndpoint`; None where nothing was said.

    Raises:
        UsageError: no such generator, an option that it doesn't take, or one that it needs and doesn't have.
    """
    if name not in GENERATORS:
        raise UsageError(f"there is no generator {name!r}: choose {', '.join(GENERATORS)}.")
    given = {key: value for key, value in options.items() if value is not None and value != ""}
    if strange := sorted(given.keys() - _TAKES[name] - {"device"}):
        raise UsageError(
            f"--generator {name} takes no {_SAID.get(strange[0], '--' + strange[0])}: leave it out, or choose another "
            "generator."
        )
    if name == "renderer":
        return Renderer()
    if name == "diffusers":
        if "model" not in given:
            raise UsageError("--generator diffusers needs --model: a local folder, or OWNER/NAME with --revision.")
        return Diffusion(str(given.pop("model")), **given)
    endpoint = given.get("endpoint")
    if not isinstance(endpoint, Endpoint):
        raise UsageError("--generator endpoint needs --base-url and --model.")
    return ImagesEndpoint(endpoint, size=given.get("size"), negative=given.get("negative", ""))
