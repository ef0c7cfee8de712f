"""Which backbones there are, and which can be used without a network."""

from __future__ import annotations

from dataclasses import dataclass

from clipwright.backbones import openclip_tables as tables
from clipwright.backbones.identifiers import DEFAULT, FORMS
from clipwright.backbones.openclip_weights import find_weights


@dataclass(frozen=True)
class BackboneRow:
    """One line of ``clipwright backbones``.

    Attributes:
        spec: what to type.
        available: whether its weights are on this machine.
        note: one short remark, or empty.
    """

    spec: str
    available: bool
    note: str = ""


def list_backbones(contains: str = "") -> list[BackboneRow]:
    """The default, the embedded model, and everything that open_clip lists; neither loads weights nor asks a network.

    What timm lists, models of images alone, is shown where it is asked for: timm takes seconds to import.

    Args:
        contains: keep identifiers that contain this text, case ignored; with ``timm`` in front, timm's.
    """
    if contains.lower().startswith("timm"):
        from clipwright.backbones.timm_images import models

        return [BackboneRow(spec, here, note="images alone") for spec, here in models(contains)]
    rows = [BackboneRow("tiny", available=True, note="embedded; knows only digits, letters and shapes")]
    for architecture in tables.architectures():
        for tag in tables.tags(architecture):
            config = tables.tag_config(architecture, tag)
            spec = f"openclip:{architecture}@{tag}"
            row = BackboneRow(spec, find_weights(config) is not None, "default" if spec == DEFAULT else "")
            rows.insert(0, row) if spec == DEFAULT else rows.append(row)
    return [row for row in rows if contains.lower() in row.spec.lower()]


def forms() -> str:
    """How a backbone may be named, for help texts."""
    return FORMS
