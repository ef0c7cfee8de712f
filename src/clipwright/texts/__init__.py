"""What is said of a class: class names, prompt templates, and their text features."""

from __future__ import annotations

from clipwright.texts.class_names import clean_names
from clipwright.texts.features import encode_cached, text_features
from clipwright.texts.templates import (
    DATASET_TEMPLATES,
    DEFAULT_TEMPLATE,
    DEFAULT_TEMPLATES,
    ENSEMBLES,
    IMAGENET_7,
    TASKRES_8,
    Prompt,
    named_templates,
    read_templates,
    render,
)

__all__ = [
    "DATASET_TEMPLATES",
    "DEFAULT_TEMPLATE",
    "DEFAULT_TEMPLATES",
    "ENSEMBLES",
    "IMAGENET_7",
    "TASKRES_8",
    "Prompt",
    "clean_names",
    "encode_cached",
    "named_templates",
    "read_templates",
    "render",
    "text_features",
]
