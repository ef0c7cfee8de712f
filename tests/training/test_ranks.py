"""One process is the plain case; two of them together give what one gives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from tests.training import two_processes

from clipwright.training import ranks


def test_alone_nothing_is_exchanged() -> None:
    rows = torch.arange(6.0).view(3, 2)
    p = torch.nn.Parameter(torch.zeros(2))
    ranks.sum_gradients([p])
    ranks.same_everywhere([p])
    gathered, place = ranks.gather_rows(rows.requires_grad_())
    assert torch.equal(gathered, rows)
    assert not gathered.requires_grad
    assert place == 0
    assert ranks.world() == (0, 1)
    assert ranks.share(rows) is rows
    assert p.grad is None
    assert ranks.agree(3, torch.device("cpu"))


Outcomes = tuple[list[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What two processes end with, each, and what one ends with."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    other = subprocess.Popen(
        [sys.executable, two_processes.__file__, str(folder), "1", "2"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with torch.random.fork_rng():
            two_processes.main(folder, 0, 1)
            two_processes.main(folder, 0, 2)
        _, said = other.communicate(timeout=60)
        assert other.returncode == 0, said
    finally:
        other.kill()
    both = [load_file(folder / f"{rank}-of-2.safetensors") for rank in (0, 1)]
    return both, load_file(folder / "0-of-1.safetensors")


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(
    outcomes: Outcomes,
) -> None:
    both, one = outcomes
    assert both[0].keys() == both[1].keys() == one.keys()
    for name, expected in one.items():
        if name != "saved" and not name.startswith("uneven"):
            assert torch.equal(both[0][name], both[1][name]), name
        torch.testing.assert_close(both[0][name], expected, rtol=1e-9, atol=1e-11, msg=name)
    assert not torch.equal(one["image.0.weight"], one["first.image.0.weight"])


@pytest.mark.slow
def test_rank_0_alone_writes_the_checkpoint(
    outcomes: Outcomes,
) -> None:
    both, _ = outcomes
    assert [int(b["saved"]) for b in both] == [1, 0]
