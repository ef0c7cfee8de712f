"""What makes images of a class: the renderer, a diffusion pipeline, or a server; one protocol for all."""

from __future__ import annotations

from clipwright.synthetic.generators.base import BLOCKED, ImageGenerator, Picture, Request
from clipwright.synthetic.generators.diffusion import Diffusion
from clipwright.synthetic.generators.endpoint import ImagesEndpoint
from clipwright.synthetic.generators.renderer import Renderer

__all__ = ["BLOCKED", "Diffusion", "ImageGenerator", "ImagesEndpoint", "Picture", "Renderer", "Request"]
