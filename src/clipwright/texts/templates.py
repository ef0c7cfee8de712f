"""Prompt templates: sentences with one ``{}`` for the class name, alone or as ensembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from clipwright.core.errors import UsageError
from clipwright.task import AveragingRule
from clipwright.texts.class_names import clean_names
from clipwright.texts.files import read_json, read_text
from clipwright.texts.template_sets import IMAGENET_80, OPENAI_TEMPLATES

DEFAULT_TEMPLATE = "a photo of a {}."
"""What is used where nothing better is known of a data set."""

DEFAULT_TEMPLATES = (DEFAULT_TEMPLATE,)
"""The same, as a set of one."""

IMAGENET_7 = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""The seven templates that OpenAI selected on ImageNet; Tip-Adapter and GDA use them."""

TASKRES_8 = (*IMAGENET_7, DEFAULT_TEMPLATE)
"""TaskRes's and CLAP's templates for ImageNet; they average raw text features (rule ``raw_mean``)."""

DATASET_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "OxfordPets": "a photo of a {}, a type of pet.",
        "OxfordFlowers": "a photo of a {}, a type of flower.",
        "FGVCAircraft": "a photo of a {}, a type of aircraft.",
        "DescribableTextures": "{} texture.",
        "EuroSAT": "a centered satellite photo of {}.",
        "StanfordCars": "a photo of a {}.",
        "Food101": "a photo of {}, a type of food.",
        "SUN397": "a photo of a {}.",
        "Caltech101": "a photo of a {}.",
        "UCF101": "a photo of a person doing {}.",
        "ImageNet": "a photo of a {}.",
        "ImageNetV2": "a photo of a {}.",
        "ImageNetSketch": "a photo of a {}.",
        "ImageNetA": "a photo of a {}.",
        "ImageNetR": "a photo of a {}.",
    }
)
"""CoOp's single template per data set; zero-shot, TaskRes, GDA, Tip-Adapter and CLAP use them, CraFT doesn't."""

ENSEMBLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"default": DEFAULT_TEMPLATES, "imagenet7": IMAGENET_7, "taskres8": TASKRES_8, "imagenet80": IMAGENET_80}
)
"""Template sets by the name that a user may type."""

AVERAGING: Mapping[str, AveragingRule] = MappingProxyType(
    {"imagenet7": "mean_unit_renorm", "taskres8": "raw_mean", "imagenet80": "mean_unit_renorm"}
)
"""How the published code averages each set; see `averaging_of`."""

_OTHER_NAMES = {
    "dtd": "DescribableTextures",
    "aircraft": "FGVCAircraft",
    "cars": "StanfordCars",
    "flowers102": "OxfordFlowers",
    "pets": "OxfordPets",
    "caltech": "Caltech101",
    "imagenetsk": "ImageNetSketch",
}


class Prompt(NamedTuple):
    """One text of one class.

    Attributes:
        class_index: which class it speaks of.
        template: what it was made from.
        text: what the text tower reads.
    """

    class_index: int
    template: str
    text: str


def averaging_of(name: str) -> AveragingRule:
    """How the features of a named set become one vector for each class, as the code that brought the set does it.

    ``taskres8`` is averaged as it comes out of the text tower (``raw_mean``), every other set as CLIP does it: unit
    length, mean, unit length again (``mean_unit_renorm``). Methods that average have a field of their own for it.

    Raises:
        UsageError: there is no such set.
    """
    named_templates(name)
    return next((rule for known, rule in AVERAGING.items() if _key(known) == _key(name)), "mean_unit_renorm")


def named_templates(name: str) -> tuple[str, ...]:
    """The templates of an ensemble or a data set, by name; case, dashes and underscores don't matter.

    A data set's name gives the single template of CoOp, ``openai-`` before it the templates of CLIP's release.

    Raises:
        UsageError: there is neither.
    """
    key = _key(name)
    for known, templates in ENSEMBLES.items():
        if _key(known) == key:
            return templates
    for dataset, template in DATASET_TEMPLATES.items():
        if _key(dataset) == key or _OTHER_NAMES.get(key) == dataset:
            return (template,)
    of_openai = key.removeprefix("openai")
    for dataset, templates in OPENAI_TEMPLATES.items():
        if key != of_openai and (_key(dataset) == of_openai or _OTHER_NAMES.get(of_openai) == dataset):
            return templates
    known = ", ".join([*ENSEMBLES, *DATASET_TEMPLATES])
    raise UsageError(
        f"there are no templates called {name!r}: choose one of {known}, openai- and a data set, a .txt or .json file, "
        "or write a sentence with one {}."
    )


def read_templates(templates: str | Sequence[str] | None) -> tuple[str, ...]:
    """What a user gave as templates: sentences, a file, the name of a set or data set, or nothing for the default.

    A file is a text file with one template on each line, or a JSON file with a list of them.

    Raises:
        UsageError: an unknown name, an empty list, or a sentence without exactly one ``{}``.
        DataError: a file that can't be read.
    """
    if templates is None:
        return DEFAULT_TEMPLATES
    if isinstance(templates, str):
        if "{" in templates or "}" in templates:
            templates = (templates,)
        else:
            in_file = templates.lower().endswith((".txt", ".json"))
            templates = template_file(Path(templates)) if in_file else named_templates(templates)
    if not templates:
        raise UsageError(f"the list of templates is empty: give at least one, such as {DEFAULT_TEMPLATE!r}.")
    for template in templates:
        check_template(template)
    return tuple(templates)


def template_file(path: Path) -> tuple[str, ...]:
    """The templates in a text file, one on each line, or in a JSON file, as a list.

    Raises:
        UsageError: there is none, one is no text, or one doesn't have exactly one ``{}``.
        DataError: the file can't be read.
    """
    if path.suffix.lower() == ".json":
        found = read_json(path)
        if not isinstance(found, list) or not all(isinstance(template, str) for template in found):
            raise UsageError(f'{path} must hold a JSON list of templates, such as ["a photo of a {{}}."].')
    else:
        found = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not found:
        raise UsageError(f"{path} holds no template: write one on each line, such as {DEFAULT_TEMPLATE!r}.")
    for template in found:
        check_template(template)
    return tuple(found)


def check_template(template: str) -> None:
    """Refuse a template that doesn't have exactly one place for the class name.

    Raises:
        UsageError: says what is wrong with it.
    """
    if template.count("{}") == 1 and template.count("{") == template.count("}") == 1:
        return
    wrong = "has no {}" if "{}" not in template else "has more than one place in braces"
    raise UsageError(
        f"the template {template!r} {wrong}: write one {{}} where the class name goes, and no other braces."
    )


def render(
    templates: str | Sequence[str] | None, class_names: Sequence[str], *, underscores: bool = True
) -> list[Prompt]:
    """Every template filled with every class name, template by template.

    Names are inserted as they are, whatever characters they hold.

    Args:
        templates: as `read_templates` takes them.
        class_names: C names.
        underscores: whether underscores in names become spaces.

    Returns:
        P * C prompts, ordered as the rows of a (P, C, D) array of text features.

    Raises:
        UsageError: bad templates, or names that read the same.
        DataError: empty or repeated names.
    """
    names = clean_names(class_names, underscores=underscores)
    return [
        Prompt(index, template, template.replace("{}", name))
        for template in read_templates(templates)
        for index, name in enumerate(names)
    ]


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
