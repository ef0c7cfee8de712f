"""A head comes back bit for bit, and nothing else comes in."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from clipwright.core.errors import FormatError
from clipwright.heads.base import Head, describe
from clipwright.heads.blend import BlendHead
from clipwright.heads.io import head_state, load_head, restore_head, save_head
from clipwright.heads.linear import LinearHead


def heads() -> list[Head]:
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    plain, wide = LinearHead(weight), LinearHead(weight.double(), weight[:, 0].double(), scale=0.1, normalize=False)
    shared = BlendHead([plain, LinearHead(weight, scale=2.0)], [0.5, 0.5])
    return [plain, wide, shared, shared.restrict(torch.tensor([4, 1]))]


@pytest.mark.parametrize("head", heads(), ids=["float32", "float64", "blend of shared memory", "restricted"])
def test_round_trip_is_bit_for_bit(head: Head, tmp_path: Path) -> None:
    save_head(head, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors")
    assert type(again) is type(head)
    assert describe(again) == describe(head)
    x = torch.randn(4, 7)
    assert torch.equal(again(x), head(x))
    assert again(x).dtype == head(x).dtype
    assert [p.name for p in tmp_path.iterdir()] == ["head.safetensors"]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_head(heads()[2], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_state_shares_no_memory_with_the_head() -> None:
    head = heads()[0]
    head_state(head)["weight"].zero_()
    assert head.state_dict()["weight"].any()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "head.safetensors"
    save_head(heads()[2], path)
    return path


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_or_cut_file_is_refused(saved: Path, data: st.DataObject) -> None:
    good = saved.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.booleans())
    bad = (
        good[:place]
        if cut
        else good[:place] + bytes([good[place] ^ data.draw(st.integers(1, 255))]) + good[place + 1 :]
    )
    path = saved.with_name("bad")
    path.write_bytes(bad)
    with suppress(FormatError):  # some bytes of the header are spaces, or say the same in another spelling
        again = load_head(path)
        assert describe(again) == describe(heads()[2])
        assert all(
            torch.equal(a, b)
            for a, b in zip(again.state_dict().values(), heads()[2].state_dict().values(), strict=True)
        )


def note(**changes: Any) -> dict[str, str]:
    return {"clipwright.head": json.dumps({"format": 1, "head": describe(heads()[0]), **changes})}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not written by clipwright"),
        ({"clipwright.head": "{"}, "damaged"),
        ({"clipwright.head": "[]"}, "which format"),
        ({"clipwright.head": "[" * 100_000}, "damaged"),
        (note(format="1"), "which format"),
        (note(format=2), "newer clipwright .format 2.: update"),
        (note(sha256="0" * 64), "its weights changed"),
    ],
)
def test_foreign_damaged_and_newer_files_are_refused(
    metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    save_file(head_state(heads()[0]), tmp_path / "x", metadata=metadata)
    with pytest.raises(FormatError, match=message):
        load_head(tmp_path / "x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no saved head"):
        load_head(tmp_path / "none")


DEEP: Any = {"kind": "LinearHead", "config": {"n_classes": 5, "dim": 7, "normalize": True}}
for _ in range(5000):
    DEEP = {"kind": "Restricted", "config": {"head": DEEP, "n_classes": 5}}


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        {},
        DEEP,
        {"kind": "Module", "config": {}},
        {"kind": "LinearHead"},
        {"kind": "LinearHead", "config": None},
        {"kind": "LinearHead", "config": {"n_classes": "5", "dim": 7, "normalize": True}},
        {"kind": "LinearHead", "config": {"n_classes": 10**12, "dim": 10**6, "normalize": True}},
        {"kind": "LinearHead", "config": {"n_classes": 10**40, "dim": 7, "normalize": True}},
        {"kind": "LinearHead", "config": {"n_classes": -5, "dim": 7, "normalize": True}},
        {"kind": "LinearHead", "config": {"n_classes": 4, "dim": 7, "normalize": True}},
        {"kind": "BlendHead", "config": {"heads": []}},
    ],
)
def test_descriptions_are_trusted_in_nothing(description: Any) -> None:
    with pytest.raises(FormatError) as caught:
        restore_head(description, head_state(heads()[0]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": torch.full((5, 7), torch.nan)},
        {"weight": torch.ones(5, 7, dtype=torch.int64)},
        {"weight": torch.ones(5, 8)},
        {"extra": torch.ones(1)},
    ],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, torch.Tensor]) -> None:
    with pytest.raises(FormatError, match="damaged"):
        restore_head(describe(heads()[0]), head_state(heads()[0]) | change)


def test_columns_that_are_not_there_are_refused() -> None:
    head = heads()[3]
    state = head_state(head)
    for name in state:
        if name.endswith("class_index"):
            state[name] = torch.tensor([0, 9])
    with pytest.raises(FormatError, match=r"0\.\.4"):
        restore_head(describe(head), state)
