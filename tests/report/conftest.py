"""Pages with every section, their names as hostile as names get."""

from __future__ import annotations

import pytest
from tests.report import made

from clipwright.report.page import Page


@pytest.fixture(scope="session")
def hostile_page() -> Page:
    """A page of one part made of hostile names."""
    return made.page()


@pytest.fixture(scope="session")
def hostile_pages() -> Page:
    """A page of several parts made of hostile names."""
    return made.several()
