"""Settings as released: every key has a field, and they can be fitted."""

from __future__ import annotations

import dataclasses

import pytest

from clipwright.core.errors import UsageError
from clipwright.methods.craft import CraFT
from clipwright.methods.craft_released import NAMES, RELEASED, UNREAD, from_config, released
from clipwright.methods.example import example
from clipwright.task import Need


def test_the_eleven_data_sets() -> None:
    assert len(RELEASED) == 11
    pets = released("oxford_pets", 16)
    assert (pets.sigma, pets.std, pets.batch_size, pets.weight, pets.until, pets.bound) == (0.02, 0.2, 64, 0.1, 1, 5)
    assert (pets.budget, pets.working, pets.legacy_random_head, pets.optimizer) == (8000, "fresh", True, "pycma")
    big = released("imagenet", 16)
    assert (big.hidden, big.working, big.projection, big.weight, big.budget) == (512, "best", "uniform", 0, 4000)
    assert released("dtd", 1).budget == 2000
    with pytest.raises(UsageError, match="no settings were released for 'mnist': choose one of caltech101"):
        released("mnist", 1)


def test_the_initial_step_of_each_data_set_is_the_published_one() -> None:
    steps = {name: s.sigma * s.std * 512**0.5 for name, s in RELEASED.items() if name != "imagenet"}
    assert steps["caltech101"] == pytest.approx(4.53, abs=0.01)
    assert steps["dtd"] == pytest.approx(0.453, abs=0.001)
    assert steps["oxford_pets"] == pytest.approx(0.0905, abs=0.0001)


def test_a_released_configuration_file() -> None:
    fields = {f.name for f in dataclasses.fields(CraFT)}
    assert set(NAMES.values()) <= fields
    keys = {"bound": 5, "sigma": 1, "n": 4, "std": 0.2, "weight": 0.1, "lr": 0.001, "popsize": 40, "parallel": False}
    method = from_config({**keys, "intrinsic_dim": 512, "budget": 8000, "batch_size": 256, **dict.fromkeys(UNREAD, 0)})
    assert (method.until, method.learning_rate, method.budget) == (4, 0.001, 8000)
    with pytest.raises(UsageError, match="'sigmma' is no key"):
        from_config({"sigmma": 1})


def test_it_fits() -> None:
    task = example({Need.LABELS, Need.TEXT, Need.VIEWS}, soft_prompts=True).task
    fitted = released("oxford_pets", 1, budget=80, optimizer="csa").fit(task)
    assert fitted.trace.how["sigma"] == "user"
