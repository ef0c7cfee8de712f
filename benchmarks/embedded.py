"""The tables of docs/embedded.md: baselines on every embedded data set with the embedded model.

    python benchmarks/embedded.py --part development --draws 2 --sets digits,shapes     # a quick look, printed
    python benchmarks/embedded.py --part test --draws 10 --write                        # the page's tables

``--part development`` draws and scores within the training part; the test part is for the one run that the page shows.
``--write`` puts the tables between the marks of docs/embedded.md, and needs all data sets.

Zero-shot: the data set's plainest template; the 20 templates of its knowledge file averaged, beside the mean of the 20
used one at a time; descriptions, averaged: attributes without the name ("a digit with an oval body"), and paraphrases.
With labels: nearest mean, linear probe from zero and towards the text, TaskRes, and logistic regression on the pixels
(16x16, area average), which no model has seen. C of the probes is chosen in the support set, but for data sets of more
than 50 classes it is the fixed value that the probe uses at one label per class (on pixels 100), and the pixels
are 8x8, for time.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.evidence import Part, Trial, embedded, markdown, numbers, percent, possible_shots  # noqa: E402

from clipwright.assets import datasets  # noqa: E402
from clipwright.assets.datasets.knowledge import Knowledge, knowledge  # noqa: E402
from clipwright.backbones.base import BackboneRef  # noqa: E402
from clipwright.core.errors import ClipwrightError, UsageError  # noqa: E402
from clipwright.core.intervals import Interval, paired_shares  # noqa: E402
from clipwright.methods import make  # noqa: E402
from clipwright.methods.base import Method  # noqa: E402
from clipwright.methods.zero_shot import ZeroShot  # noqa: E402
from clipwright.protocol.prepare import Prepared  # noqa: E402
from clipwright.protocol.results import Results  # noqa: E402
from clipwright.protocol.runner import run, versions  # noqa: E402
from clipwright.task import Features, TextFeatures  # noqa: E402
from clipwright.texts.features import encode_cached  # noqa: E402

PAGE = REPO / "docs" / "embedded.md"
MARK = "<!-- table -->"
SHOTS = (1, 2, 4, 8, 16)
MANY_CLASSES = 50
SIDE, SMALL_SIDE = 16, 8  # pixels; the second where there are many classes
SINGLE, ENSEMBLE, ATTRIBUTES, PARAPHRASES = "one template", "20 templates", "attributes", "paraphrases"
PIXELS = "pixels, logistic regression"


@dataclass(frozen=True)
class Baselines:
    """What came of one data set.

    Attributes:
        prepared: its features.
        results: of everything but the templates one at a time.
        alone: the mean accuracy of the templates, one at a time.
        gain: what averaging them adds to it.
    """

    prepared: Prepared
    results: Results
    alone: float
    gain: Interval


# --- texts ------------------------------------------------------------------------------------------------------------


def described(known: Knowledge) -> dict[str, list[tuple[int, str]]]:
    """Sentences of each class by kind: without the class's name, and with it."""
    head = known.name.split("-")[0].rstrip("s")  # digit, letter, shape
    return {
        ATTRIBUTES: [
            (c, f"a {head} with {words}.")
            for c, name in enumerate(known.class_names)
            for words in known.attributes[name]
        ],
        PARAPHRASES: [(c, text) for c, name in enumerate(known.class_names) for text in known.paraphrases[name]],
    }


def encoded(ref: BackboneRef, pairs: Sequence[tuple[int, str]]) -> TextFeatures:
    """Features of (class, sentence) pairs."""
    return TextFeatures(encode_cached(ref, [text for _, text in pairs]), torch.tensor([c for c, _ in pairs]))


def zero_shot_texts(prepared: Prepared, known: Knowledge) -> tuple[dict[str, TextFeatures], list[TextFeatures]]:
    """Texts of each kind of zero-shot classifier, and each of the templates alone."""
    ref = prepared.ref
    assert ref is not None
    of_template = [
        encoded(ref, [(c, template.replace("{}", name)) for c, name in enumerate(known.class_names)])
        for template in known.templates
    ]
    together = TextFeatures(torch.stack([text.x for text in of_template]))
    kinds = {SINGLE: of_template[0], ENSEMBLE: together}
    return kinds | {kind: encoded(ref, pairs) for kind, pairs in described(known).items()}, of_template


# --- running ----------------------------------------------------------------------------------------------------------


def pixels(prepared: Prepared) -> Prepared:
    """The same rows with their pixels, reduced to `SIDE` (or `SMALL_SIDE`) squared and centred at grey, as features."""
    images = datasets.load(prepared.dataset.name).images[[int(i) for i in prepared.dataset.ids]]
    side = SMALL_SIDE if len(prepared.dataset.class_names) > MANY_CLASSES else SIDE
    step = images.shape[1] // side
    small = (
        images.reshape(len(images), side, step, side, step, 3).mean(axis=(2, 4)).reshape(len(images), -1) / 255 - 0.5
    )
    features = Features(torch.from_numpy(small.astype(np.float32)), prepared.features.y, prepared.features.ids)
    return replace(prepared, features=features, text=None, logit_scale=100.0, projection=None, projection_bias=None)


def fitted_methods(prepared: Prepared) -> tuple[dict[str, Method], Method]:
    """The methods that learn from labels, and the one for pixels."""
    many = len(prepared.dataset.class_names) > MANY_CLASSES
    strength = {"C": prepared.logit_scale**2} if many else {}
    return {
        "nearest mean": make("NearestMean"),
        "linear probe from zero": make("LinearProbe", **strength),
        "linear probe towards the text": make("LinearProbe", init="text", **strength),
        "TaskRes": make("TaskRes"),
    }, make("LinearProbe", **({"C": 100.0} if many else {}))


def baselines(trial: Trial, shots: Sequence[int], draws: int, seed: int) -> Baselines:
    """Everything on one data set."""
    prepared = trial.prepared
    shots = possible_shots(prepared, shots)
    if not shots:
        raise UsageError(f"{prepared.dataset.name} has too few images per class: ask for fewer shots.")
    more: dict[str, Any] = {"shots": shots, "draws": draws, "seed": seed, "quiet": True, "keep": 0}
    kinds, of_template = zero_shot_texts(prepared, knowledge(prepared.dataset.name))
    parts = [run(replace(prepared, text=text), {kind: ZeroShot()}, **more) for kind, text in kinds.items()]
    methods, for_pixels = fitted_methods(prepared)
    parts += [run(prepared, methods, **more), run(pixels(prepared), {PIXELS: for_pixels}, **more)]
    results = Results.joined(parts)
    single = [right(run(replace(prepared, text=text), {SINGLE: ZeroShot()}, **more), SINGLE) for text in of_template]
    alone = [np.mean(draw, axis=0) for draw in zip(*single, strict=True)]
    gain = paired_shares(right(results, ENSEMBLE), alone)
    return Baselines(prepared, results, float(np.mean([a.mean() for a in alone])), gain)


def right(results: Results, method: str) -> list[np.ndarray]:
    """For each draw, which images a zero-shot classifier named right."""
    cells = [c for c in results.cells.to_pylist() if c["method"] == method]
    return [np.unpackbits(np.frombuffer(c["right"], np.uint8), count=c["n_test"]) for c in cells]


# --- tables -----------------------------------------------------------------------------------------------------------


def zero_shot_table(found: Sequence[Baselines]) -> list[list[str]]:
    head = ["zero-shot top-1, %", "classes", "images scored", "chance", SINGLE, "each of 20 alone", ENSEMBLE]
    table = [[*head, "gain of averaging", ATTRIBUTES, PARAPHRASES]]
    for one in found:
        by_kind = {s.method: s for s in one.results.summary() if s.shots == 0}
        cells = {kind: percent(Interval(s.mean, s.low, s.high)) for kind, s in by_kind.items()}
        classes = len(one.prepared.dataset.class_names)
        row = [one.prepared.dataset.name, str(classes), str(by_kind[SINGLE].n_test), f"{100 / classes:.1f}"]
        row += [cells[SINGLE], f"{100 * one.alone:.1f}", cells[ENSEMBLE], percent(one.gain, signed=True)]
        table.append([*row, cells[ATTRIBUTES], cells[PARAPHRASES]])
    return table


def labels_table(one: Baselines, shots: Sequence[int]) -> list[list[str]]:
    """Methods by labels per class; ``-`` where the data set has too few images."""
    by_cell = {(s.method, s.shots): s for s in one.results.summary() if s.shots}
    table = [[f"{one.prepared.dataset.name}, top-1, %", *(f"{n} shot{'s' * (n > 1)}" for n in shots)]]
    for method in dict.fromkeys(method for method, _ in by_cell):
        cells = [by_cell.get((method, n)) for n in shots]
        table.append([method, *("-" if s is None else percent(Interval(s.mean, s.low, s.high)) for s in cells)])
    return table


def tables(found: Sequence[Baselines], options: argparse.Namespace, digest: str) -> str:
    """All tables, with what was run."""
    what = f"{options.part} part, {options.draws} draws, seed {options.seed}, embedded model {digest[:12]}"
    which = ", ".join(f"{name} {version}" for name, version in versions().items())
    blocks = [f"Run: {what}; {which}.", markdown(zero_shot_table(found))]
    blocks += [markdown(labels_table(one, options.shots)) for one in found]
    return "\n\n".join(blocks)


def written(page: str, content: str) -> str:
    """The page with new content between its two marks.

    Raises:
        UsageError: there are not two marks.
    """
    parts = page.split(MARK)
    if len(parts) != 3:
        raise UsageError(f"the page must hold {MARK} twice: around the tables.")
    return f"{parts[0]}{MARK}\n\n{content}\n\n{MARK}{parts[2]}"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["development", "test"], default="development")
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(datasets.names()))
    parser.add_argument("--shots", type=numbers, default=list(SHOTS))
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/embedded.md")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    if options.write and set(options.sets) != set(datasets.names()):
        raise UsageError("the page shows every data set: leave out --sets, or --write.")
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", "the embedded model")
    part: Part = options.part
    found: list[Baselines] = []
    for name in options.sets:
        wall, cpu = time.perf_counter(), time.process_time()
        (trial,) = embedded(part, only=[name])
        found.append(baselines(trial, options.shots, options.draws, options.seed))
        spent = f"{time.perf_counter() - wall:.0f} s, cpu {time.process_time() - cpu:.0f} s"
        print(f"{name}: {spent}", file=sys.stderr)
    content = tables(found, options, found[0].prepared.digest)
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")
    else:
        print(content)


if __name__ == "__main__":
    try:
        main()
    except ClipwrightError as error:
        sys.exit(f"error: {error}")
