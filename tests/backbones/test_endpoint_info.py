from __future__ import annotations

from typing import Any

import pytest
from tests.serve.made import pictures, served, tiny

from clipwright.backbones.agreement import FORMAT, handle_of
from clipwright.backbones.endpoint_info import EndpointInfo
from clipwright.core.errors import FormatError
from clipwright.task import Access


def info() -> dict[str, Any]:
    return served(frozenset({Access.SCORES, Access.SOFT_PROMPT})).info()


def test_what_a_server_says_is_what_a_client_reads() -> None:
    read = EndpointInfo.from_json("http://x", {**info(), "later": 1})
    assert read.access == {Access.SCORES, Access.SOFT_PROMPT}
    assert (read.spec, read.digest, read.dim, read.width, read.dtype) == ("tiny", tiny().digest, 128, 128, "fp32")
    assert read.preprocess == tiny().preprocess
    assert read.limits["images"] == 256


def test_an_access_that_a_later_version_knows_is_passed_over() -> None:
    read = EndpointInfo.from_json("http://x", {**info(), "access": ["scores", "gradients"]})
    assert read.access == {Access.SCORES}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", None),
        ("format", "1"),
        ("digest", "../../x"),
        ("digest", ""),
        ("dim", 0),
        ("dim", "128"),
        ("dim", True),
        ("logit_scale", float("nan")),
        ("logit_scale", -1),
        ("preprocess", {}),
        ("preprocess", None),
        ("preprocess", {"size": ["a", 1], "mean": [0, 0, 0], "std": [1, 1, 1]}),
        ("context", {"width": -1}),
        ("limits", {"images": 1}),
        ("limits", {}),
        ("access", None),
    ],
)
def test_whatever_else_answers_is_refused(name: str, value: Any) -> None:
    with pytest.raises(FormatError, match="http://x answers, but not as a served backbone does"):
        EndpointInfo.from_json("http://x", {**info(), name: value})


def test_a_newer_server() -> None:
    with pytest.raises(FormatError, match="http://x speaks format 2, newer than 1 here: update clipwright"):
        EndpointInfo.from_json("http://x", {**info(), "format": FORMAT + 1})


def test_handles_are_of_pixels_alone() -> None:
    pixels = pictures(2).numpy()
    assert handle_of(pixels[0]) == handle_of(pixels[:1].copy()[0]) != handle_of(pixels[1])
    assert handle_of(pixels[0][:, ::-1][:, ::-1]) == handle_of(pixels[0])  # however it lies in memory
