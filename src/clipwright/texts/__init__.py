"""What is said of a class: class names, prompt templates, banks of texts, and their features."""

from __future__ import annotations

from clipwright.texts.bank import KINDS, Row, TextBank, merge_banks
from clipwright.texts.bank_file import read_bank
from clipwright.texts.class_names import clean_names
from clipwright.texts.embedded import bank_of
from clipwright.texts.features import encode_cached, text_features
from clipwright.texts.phrasing import Phrasing
from clipwright.texts.phrasings import PHRASINGS, phrasing_name
from clipwright.texts.readers import open_bank
from clipwright.texts.saying import bank_features, say
from clipwright.texts.template_sets import IMAGENET_80, OPENAI_TEMPLATES
from clipwright.texts.templates import (
    DATASET_TEMPLATES,
    DEFAULT_TEMPLATE,
    DEFAULT_TEMPLATES,
    ENSEMBLES,
    IMAGENET_7,
    TASKRES_8,
    Prompt,
    averaging_of,
    named_templates,
    read_templates,
    render,
)
from clipwright.texts.waffle import waffle_templates, waffle_texts
from clipwright.texts.wordnet import wordnet_synonyms

__all__ = [
    "DATASET_TEMPLATES",
    "DEFAULT_TEMPLATE",
    "DEFAULT_TEMPLATES",
    "ENSEMBLES",
    "IMAGENET_7",
    "IMAGENET_80",
    "KINDS",
    "OPENAI_TEMPLATES",
    "PHRASINGS",
    "TASKRES_8",
    "Phrasing",
    "Prompt",
    "Row",
    "TextBank",
    "averaging_of",
    "bank_features",
    "bank_of",
    "clean_names",
    "encode_cached",
    "merge_banks",
    "named_templates",
    "open_bank",
    "phrasing_name",
    "read_bank",
    "read_templates",
    "render",
    "say",
    "text_features",
    "waffle_templates",
    "waffle_texts",
    "wordnet_synonyms",
]
