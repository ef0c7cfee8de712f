"""From what a user says to a captioner: options that don't belong to it are refused, not ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import UsageError
from clipwright.synthetic.captioners.base import Captioner
from clipwright.synthetic.captioners.endpoint import CaptionEndpoint
from clipwright.synthetic.captioners.phrases import PhraseCaptioner
from clipwright.synthetic.captioners.transformers_ import LocalCaptioner
from clipwright.synthetic.endpoint import Endpoint

CAPTIONERS = ("phrases", "transformers", "endpoint")

_TAKES: Mapping[str, frozenset[str]] = {
    "phrases": frozenset(),
    "transformers": frozenset({"model", "revision", "dtype", "batch_size", "max_tokens"}),
    "endpoint": frozenset({"endpoint", "max_tokens"}),
}


def choose_captioner(
    name: str,
    options: Mapping[str, Any],
    *,
    backbone: Callable[[], BackboneRef],
    class_names: Sequence[str] = (),
    view: str = "thumbnail",
    device: str | None = None,
) -> Captioner:
    """The captioner of that name.

    Args:
        name: ``phrases``, ``transformers`` or ``endpoint``.
        options: of `LocalCaptioner` (its `source` is called ``model``) or `CaptionEndpoint`; None where nothing was
            said.
        backbone: names the backbone of ``phrases``.
        class_names: names of which ``phrases`` says no word.
        view: how pictures will be shown.
        device: where a local model runs.

    Raises:
        UsageError: no such captioner, an option that it doesn't take, or one that it needs and doesn't have.
    """
    if name not in CAPTIONERS:
        raise UsageError(f"there is no captioner {name!r}: choose {', '.join(CAPTIONERS)}.")
    given = {key: value for key, value in options.items() if value is not None}
    if strange := sorted(given.keys() - _TAKES[name]):
        option = "base-url" if strange[0] == "endpoint" else strange[0].replace("_", "-")
        raise UsageError(f"--captioner {name} takes no --{option}: leave it out, or choose another captioner.")
    if name == "phrases":
        return PhraseCaptioner(backbone(), tuple(class_names))
    if name == "transformers":
        if "model" not in given:
            raise UsageError("--captioner transformers needs --model: a local folder, or OWNER/NAME with --revision.")
        return LocalCaptioner(str(given.pop("model")), device=device, view=view, **given)
    if not isinstance(given.get("endpoint"), Endpoint):
        raise UsageError("--captioner endpoint needs --base-url and --model.")
    return CaptionEndpoint(**given)
