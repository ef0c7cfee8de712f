"""Texts in the field's formats, read into banks."""

from __future__ import annotations

from clipwright.texts.readers.by_class import read_cupl, read_dclip
from clipwright.texts.readers.class_list import read_class_list
from clipwright.texts.readers.coder import read_coder
from clipwright.texts.readers.opening import open_bank

__all__ = ["open_bank", "read_class_list", "read_coder", "read_cupl", "read_dclip"]
