"""Every method in the catalogue keeps what every method keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import clipwright.methods
from clipwright.core.errors import ClipwrightError
from clipwright.methods import CATALOGUE, get, make, names
from clipwright.methods.conformance import CHECKS, run_check, seen
from clipwright.methods.example import example
from clipwright.task import Access, Need, Task

NOT_METHODS = {
    "__init__",
    "base",
    "cafo_fit",
    "clip_adapter_fit",
    "coder_few_shot",
    "coder_texts",
    "conformance",
    "craft_fit",
    "craft_released",
    "example",
    "explaining",
    "image_batches",
    "latte_mixing",
    "latte_texts",
    "latteclip_fit",
    "merge_choice",
    "propagation",
    "regft_fit",
    "scores",
    "taskres_base",
    "taskres_fit",
    "text_means",
    "text_value",
    "transductive_fit",
    "unlabeled_checks",
}


QUICK: dict[str, dict[str, int]] = {"LatteCLIP": {"steps": 20}, "FLYP": {"steps": 20}, "CLIPLoRA": {"iterations": 20}}
"""Methods whose default number of steps, 500 or 900, takes long."""


def test_no_method_file_is_left_out_of_the_catalogue() -> None:
    files = {path.stem for path in Path(clipwright.methods.__file__).parent.glob("*.py")} - NOT_METHODS
    assert files == set(CATALOGUE.values())
    assert [get(name).__name__ for name in names()] == list(names())
    assert [get(name).title for name in names()] == list(names())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", names())
def test_method_conforms(name: str, check: str) -> None:
    run_check(check, make(name, **QUICK.get(name, {})))


@pytest.mark.parametrize("name", names())
def test_numbers_of_texts_rows_and_classes_do_not_matter(name: str) -> None:
    for classes, shots, dim in ((2, 1, 3), (3, 7, 40), (9, 2, 5)):
        wants = make(name).requires()
        sizes = {"classes": classes, "shots": shots, "dim": dim}
        access = {"soft_prompts": Access.SOFT_PROMPT in wants.access, "weights": Access.WEIGHTS in wants.access}
        case = example(wants.needs, **sizes, dtype=torch.float32, **access)  # type: ignore[arg-type] # ints
        fitted = make(name, **QUICK.get(name, {})).fit(case.task)
        assert fitted(seen(fitted, case.test, case.task)).shape == (len(case.test), classes)


@pytest.mark.parametrize("need", Need)
def test_the_example_meets_each_need_alone(need: Need) -> None:
    task: Task = example({need}).task
    implied = {Need.LABELS} if task.support is not None else set()
    implied |= {Need.UNLABELED} if task.unlabeled is not None else set()
    assert {need} <= task.supplies() <= {need, Need.RAW_NORMS} | implied


def test_the_example_meets_all_needs_together() -> None:
    assert example().task.supplies() == set(Need)


def test_messages_of_errors_are_one_sentence() -> None:
    with pytest.raises(ClipwrightError) as caught:
        make("TaskRes").fit(example({Need.UNLABELED}).task)
    assert str(caught.value) == (
        "TaskRes needs labelled images (at least one per class) and text features of the class names (give class "
        "names and a backbone, or text_features in the bundle). With what is there, these would run: none."
    )
