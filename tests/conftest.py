"""Fixtures that every room's tests use."""

from __future__ import annotations

import os
from pathlib import Path

# Test problems are tiny: more threads than one only wait for each other, above all beside other test processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

# In CI the same examples are tried every time, so that a change is judged by what it changes.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI", "").lower() == "true":
    settings.load_profile("ci")

_HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The material of CLIPWRIGHT_SHARED (default ../shared); without it the test is skipped, in CI it fails."""
    default = _HERE.parent.parent / "shared"
    folder = Path(os.environ.get("CLIPWRIGHT_SHARED", default))
    if not (folder / "ARCHITECTURE.md").is_file():
        reason = f"the shared material is not at {folder}: set CLIPWRIGHT_SHARED"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Inputs and outputs of the published implementations, committed."""
    return _HERE / "golden"


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(0)
