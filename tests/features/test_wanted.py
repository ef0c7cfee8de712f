"""Where features are kept by default."""

from __future__ import annotations

from typing import Any

from clipwright.core.home import home
from clipwright.data.dataset import Dataset
from clipwright.features.wanted import Wanted


class _Strange:
    spec = "endpoint:https://example.org"
    digest = "../../not a digest"


def test_folders_lie_below_home_whatever_a_digest_says(images: Dataset, conv: Any) -> None:
    for ref in (conv(), _Strange()):
        folder = Wanted(images, ref, 0, None, None, "float32").default_folder()  # type: ignore[arg-type]
        assert folder.parent.parent == home() / "features"
        assert ".." not in folder.parts
