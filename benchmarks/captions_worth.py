"""What captions of unlabeled images are worth: LatteCLIP and its parts, beside what needs none, from class names alone.

    python benchmarks/captions_worth.py                    5 seeds on digits and shapes: about half an hour on one core
    python benchmarks/captions_worth.py --part train ...   development: scores the training part

Captions are written by the offline captioner (`phrases`) over the embedded model: the best of a fixed set of phrases
for colour, outline, background and so on, no class name among them. As a second source, sentences are made up that a
far better captioner might write: attributes of the image's true class in 8 of 10 images, of another class in the
others, and in either case no name. They stand for a good multimodal model, of which none can be had here; true labels
are used to make them, so their rows are a simulation and say what captions could be worth, not what they are.

Steps are 50 of 64 images, and prototypes move by 0.05 a step, after which 8 % of where they began is left (published:
900 steps of 512 images, 0.01). Each seed draws the unlabeled images anew (four fifths of the training part), and all
orders and groups. Scored are images that no fit has seen: the test part. ``shuffled`` deals each caption to another
image. Accuracies are means over seeds, in brackets Student's 95 % interval; differences are paired by seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.regft import cell

from clipwright.api import caption
from clipwright.assets.datasets.knowledge import knowledge
from clipwright.backbones import resolve
from clipwright.core.rng import generator
from clipwright.data import open_data
from clipwright.fitted import Fitted
from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.protocol.captions import add_captions
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.protocol.splits import pools
from clipwright.synthetic.captions import read_captions

STEPS, BATCH = 50, 64
SHARED = {"steps": STEPS, "batch_size": BATCH, "alpha": 0.05}
CAPTIONED: dict[str, Method] = {
    "prototypes, image captions": make("LattePrototypes", group_captions=False, **SHARED),
    "prototypes, group captions": make("LattePrototypes", image_captions=False, **SHARED),
    "prototypes, both, even weights": make("LattePrototypes", mixer=False, **SHARED),
    "prototypes, both, mixer": make("LattePrototypes", **SHARED),
    "prototypes, both, mixer, wrong captions left out": make("LattePrototypes", mask_wrong_captions=True, **SHARED),
    "LatteCLIP, towers at 1e-7": make("LatteCLIP", **SHARED),
    "LatteCLIP, towers at 1e-4": make("LatteCLIP", learning_rate=1e-4, **SHARED),
}
PLAIN: dict[str, Method] = {
    "ZeroShot": make("ZeroShot"),
    "FLYP at 1e-5": make("FLYP", steps=STEPS, batch_size=BATCH),
    "FLYP at 1e-4": make("FLYP", steps=STEPS, batch_size=BATCH, learning_rate=1e-4),
    "Transductive": make("Transductive"),
    "LabelPropagation": make("LabelPropagation"),
}
RIGHT = 0.8


def simulated(prepared: Prepared, name: str, rows: np.ndarray, seed: int) -> dict[str, str]:
    """Sentences of attributes, of the true class in most images."""
    known = knowledge(name)
    rng = generator(seed, "captions worth", name)
    said, ids = {}, prepared.dataset.ids
    for row in rows.tolist():
        label = int(prepared.dataset.labels[row])
        if rng.random() > RIGHT:
            label = int(rng.integers(len(prepared.dataset.class_names)))
        attributes = list(known.attributes[prepared.dataset.class_names[label]])
        chosen = rng.permutation(len(attributes))[:2]
        said[ids[row]] = "a picture of something " + " and ".join(attributes[i] for i in sorted(chosen.tolist()))
    return said


def groups_of(prepared: Prepared, rows: np.ndarray, said: Mapping[str, str], seed: int) -> dict[int, list[str]]:
    """For each class that names alone give, sentences that stand for groups: one of a member's own."""
    taken = make("ZeroShot").fit(prepared.task())(prepared.rows(rows)).argmax(1).numpy()
    rng, ids = generator(seed, "captions worth", "groups"), prepared.dataset.ids
    found: dict[int, list[str]] = {}
    for c in np.unique(taken).tolist():
        members = rows[taken == c]
        found[c] = [said[ids[int(rng.choice(members))]] for _ in range(32)]
    return found


def shuffled(said: Mapping[str, str], seed: int) -> dict[str, str]:
    """Each caption given to another image."""
    texts = list(said.values())
    order = generator(seed, "captions worth", "shuffled").permutation(len(texts))
    return {name: texts[i] for name, i in zip(said, order.tolist(), strict=True)}


def score(prepared: Prepared, fitted: Fitted, rows: np.ndarray) -> float:
    """Accuracy in percent."""
    features = prepared.answering(fitted, rows)
    return 100 * float((fitted(features.without_labels()).argmax(1) == features.labels).double().mean())


def wanted(arm: str, source: str) -> bool:
    """Controls are run where they say something, and towers that don't move once."""
    if "shuffled" in source:
        return arm in {"prototypes, both, mixer", "LatteCLIP, towers at 1e-4"}
    return not (arm == "LatteCLIP, towers at 1e-7" and source == "simulated")


def run_seed(name: str, seed: int, part: str) -> list[dict[str, Any]]:
    """All figures of one seed, as rows."""
    prepared = prepare(open_data(name), resolve("tiny", device="cpu"), quiet=True)
    found = pools(prepared.dataset)
    assert found.test is not None
    order = generator(seed, "captions worth", "pile").permutation(found.train)
    pile, left = np.sort(order[: len(order) * 4 // 5]), np.sort(order[len(order) * 4 // 5 :])
    scored = found.test if part == "test" else left
    rows: list[dict[str, Any]] = []

    def add(arm: str, captions: str, method: Method, given: Prepared, written: float) -> None:
        task = replace(given.task(unlabeled=pile, seed=seed), group_captions=given.group_captions)
        start = time.perf_counter()
        fitted = method.fit(given.granting(task, method))
        seconds = time.perf_counter() - start
        row = {"data": name, "seed": seed, "arm": arm, "captions": captions, "seconds": seconds, "written": written}
        rows.append(row | {"real": score(given, fitted, scored)})

    for arm, method in PLAIN.items():
        add(arm, "", method, prepared, 0.0)
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        caption(prepared.dataset, folder, backbone="tiny", device="cpu", quiet=True, seed=seed)
        written = time.perf_counter() - start
        read = read_captions(folder)
        own = {i: text for i in (prepared.dataset.ids[r] for r in pile.tolist()) if (text := read.text(i))}
        pool: dict[int, list[str]] = {}
        for number, class_name in enumerate(prepared.dataset.class_names):
            if texts := read.group_texts(class_name):
                pool[number] = texts
    better = simulated(prepared, name, pile, seed)
    sources = {
        "phrases": (own, pool, written),
        "phrases, shuffled": (shuffled(own, seed), pool, written),
        "simulated": (better, groups_of(prepared, pile, better, seed), 0.0),
        "simulated, shuffled": (shuffled(better, seed), groups_of(prepared, pile, shuffled(better, seed), seed), 0.0),
    }
    for source, (images, groups, seconds) in sources.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # images outside the pile have no caption
            given = add_captions(prepared, images, groups)
        for arm, method in CAPTIONED.items():
            if not wanted(arm, source):
                continue
            add(arm, source, method, given, seconds)
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table for one data set."""
    seeds = sorted({row["seed"] for row in rows})

    def of(arm: str, source: str, key: str = "real") -> list[float]:
        found = {row["seed"]: row[key] for row in rows if (row["arm"], row["captions"]) == (arm, source)}
        return [found[seed] for seed in seeds]

    base = of("ZeroShot", "")
    print("| captions | | accuracy | less ZeroShot | seconds of the fit |\n|---|---|---|---|---|")
    for arm, source in dict.fromkeys((row["arm"], row["captions"]) for row in rows):
        values, seconds = of(arm, source), np.mean(of(arm, source, "seconds"))
        less = "" if arm == "ZeroShot" else cell(np.subtract(values, base).tolist(), sign=True)
        print(f"| {source or 'none'} | {arm} | {cell(values)} | {less} | {seconds:.1f} |")
    written = np.mean([row["written"] for row in rows if row["captions"] == "phrases"])
    print(f"\nWriting the captions by phrases took {written:.1f} s.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="digits,shapes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("train", "test"), default="test")
    parser.add_argument("--rows", type=Path, help="where to keep rows; those there are not computed again")
    parsed = parser.parse_args()
    warnings.filterwarnings("ignore", message="the embedded model|.*lose their end", category=UserWarning)
    torch.set_num_threads(1)
    kept: list[dict[str, Any]] = []
    if parsed.rows is not None and parsed.rows.exists():
        kept = [json.loads(line) for line in parsed.rows.read_text().splitlines()]
    for name in parsed.sets.split(","):
        for seed in range(parsed.seeds):
            if any(row["data"] == name and row["seed"] == seed for row in kept):
                continue
            fresh = run_seed(name, seed, parsed.part)
            kept += fresh
            if parsed.rows is not None:
                with parsed.rows.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in fresh)
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    for name in dict.fromkeys(row["data"] for row in kept):
        print(f"\n## {name}\n")
        show([row for row in kept if row["data"] == name])


if __name__ == "__main__":
    main()
