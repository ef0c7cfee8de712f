"""What names alone say, from texts or from scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.protocol.conftest import MakePrepared

from clipwright.protocol.names_alone import names_alone
from clipwright.task import Features


def test_cosines_with_the_class_texts(make_prepared: MakePrepared) -> None:
    prepared = make_prepared()
    rows = np.array([20, 3, 3])
    assert prepared.text is not None
    x, t = (
        v.double().numpy() / np.linalg.norm(v.double().numpy(), axis=1, keepdims=True)
        for v in (prepared.features.x[rows], prepared.text.x)
    )
    found = names_alone(prepared, rows)
    assert found is not None
    np.testing.assert_allclose(found, prepared.logit_scale * x @ t.T, rtol=1e-4, atol=1e-4)


def test_scores_are_averaged_over_models_and_without_texts_there_is_nothing(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((2, 2))
    scores = torch.arange(16.0).reshape(4, 2, 2)
    asked = replace(prepared, features=Features(torch.empty(4, 0), scores=scores), text=None)
    found = names_alone(asked, [1])
    np.testing.assert_array_equal(found, [[5.0, 6.0]])
    assert names_alone(replace(prepared, text=None), [1]) is None
