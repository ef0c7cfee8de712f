"""Columns of the tables that comparisons yield."""

from __future__ import annotations

import pyarrow as pa

CELLS = pa.schema(
    [
        ("dataset", pa.string()),
        ("backbone", pa.string()),
        ("method", pa.string()),
        ("shots", pa.int32()),  # 0 = no labels
        ("draw", pa.int32()),
        ("top1", pa.float64()),  # fractions, as all shares here
        ("top5", pa.float64()),  # null with five classes or fewer
        ("top10", pa.float64()),
        ("macro", pa.float64()),
        ("nll", pa.float64()),  # nats
        ("ece", pa.float64()),
        ("brier", pa.float64()),
        ("aurc", pa.float64()),  # area under the risk-coverage curve
        ("temperature", pa.float64()),  # null where none was fitted, as the three below
        ("nll_calibrated", pa.float64()),
        ("ece_calibrated", pa.float64()),
        ("brier_calibrated", pa.float64()),
        ("per_class", pa.list_(pa.float64())),  # accuracy of each class, null for a class without test images
        ("seconds_fit", pa.float64()),
        ("seconds_predict", pa.float64()),
        ("peak_mib", pa.float64()),  # highest memory of the process during the fit; null where it isn't known
        ("images", pa.int64()),  # image encodings that the fit rests on: labelled, views, unlabeled, query
        ("texts", pa.int64()),  # text encodings
        ("calls", pa.int64()),  # requests to an endpoint
        ("tokens", pa.int64()),  # and their tokens
        ("n_test", pa.int64()),
        ("right", pa.binary()),  # one bit per test image, in the data set's order: was it named right
        ("labels_per_class", pa.list_(pa.int32())),  # labels the method was given, validation included
        ("validation", pa.string()),  # what was chosen on: none, few-shot, full, cross-validation
        ("chosen", pa.string()),  # JSON: value of each hyper-parameter
        ("how", pa.string()),  # JSON: where each value came from
        ("reason", pa.string()),  # why the method was picked, where one was
        ("notes", pa.list_(pa.string())),
        ("seed", pa.int64()),
    ]
)

PREDICTIONS = pa.schema(
    [
        ("dataset", pa.string()),
        ("backbone", pa.string()),
        ("method", pa.string()),
        ("shots", pa.int32()),
        ("draw", pa.int32()),
        ("id", pa.string()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("confidence", pa.float64()),  # probability of the predicted class
        ("confidence_calibrated", pa.float64()),  # the same after the temperature; null where none was fitted
    ]
)
