import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# training/ is run from the repository's root and never installed.
sys.path.insert(0, str(ROOT))


@pytest.fixture
def root() -> Path:
    return ROOT
