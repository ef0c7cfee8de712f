"""What a LatteCLIP step costs beside the towers, and what it costs in texts: ``python benchmarks/latteclip.py``.

Two comparisons, each in one run with the same values, threads and precision; and a measurement where asked for.

Mixing: pseudo-labels, margins, mixes and new prototypes of one batch (B = D = 512, C = 100), from stored features,
against `baselines/latteclip.py`: image by image, and with only the look-ups by name done image by image. Once with the
gradient that training takes of it, from targets to texts, and once without, as prototypes alone are moved.

Texts: what the text tower of a step encodes, forward only, with random weights. The released loop encodes 4 x B texts
of 77 tokens: a class prompt for either label of each image, its caption, a group caption. Ours are the unique ones of
them, each batch cut at its last end token. Captions are made-up sentences of 22 to 36 tokens, as
long as a captioner's that was asked for fewer than 20 words.
By default an eighth of the batch is encoded, with an eighth of the classes.

Options: ``--device D`` (cpu), ``--threads N`` (1; loops over images can't use more), ``--repeats N`` (9),
``--texts B`` (64, images in the batch of texts; 0 leaves that part out, 512 is a whole batch and takes minutes),
``--architecture NAME`` (ViT-B-32), ``--accuracy SETS`` (none), ``--draws N`` (5).
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch

from clipwright.backbones.text_tower import encode_texts, open_clip_text
from clipwright.core.tensors import unit_rows
from clipwright.methods.latte_mixing import Captions, branches, cosines, moved_prototypes, sums_and_counts
from clipwright.methods.latte_prototypes import LattePrototypes
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Task, TextFeatures

sys.path.insert(0, str(Path(__file__).parent.parent))

T = TypeVar("T")
BATCH, WIDTH, CLASSES, POOL = 512, 512, 100, 32
GOAL = 20
WORDS = re.findall(
    r"\w+",
    """a the of with on in bright small large old wooden green red blue white dark soft round long thin leaves petals
    background sky grass water table wall light shadow pattern lines spots edge close view clear blurred standing
    lying growing painted surface texture garden street window metal stone yellow orange brown""",
)


_SLOPE = 0.5 + torch.arange(WIDTH) / WIDTH  # of a loss with respect to each target


def timed(work: Callable[[], T], device: str) -> tuple[float, T]:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start, result


def made_batch(device: str) -> dict[str, torch.Tensor]:
    """Images and captions around class texts; a fifth of the zero-shot labels are not those of now."""
    random = torch.Generator().manual_seed(0)
    texts = unit_rows(torch.randn(CLASSES, WIDTH, generator=random))
    y = torch.randint(0, CLASSES, (BATCH,), generator=random)

    def around(noise: float) -> torch.Tensor:
        return unit_rows(texts[y] + noise * torch.randn(BATCH, WIDTH, generator=random) / WIDTH**0.5)

    other = torch.randint(0, CLASSES, (BATCH,), generator=random)
    images = around(1.5)
    once = torch.where(torch.rand(BATCH, generator=random) < 0.2, other, (images @ texts.T).argmax(1))
    made = {"texts": texts, "images": images, "image": around(1.0), "group": around(0.7), "once": once}
    return {name: values.to(device) for name, values in made.items()}


def step(made: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The prototypes after one step from the class texts, and the targets of both branches."""
    prototypes = made["prototypes"]
    captions = [Captions(made["image"]), Captions(made["group"])]
    labels = cosines(made["images"], prototypes).argmax(1), made["once"]
    pair = branches(labels, made["texts"], (captions, captions), prototypes, alpha=0.01, snapshot=prototypes)
    targets = torch.stack([branch.targets for branch in pair]) if made["texts"].requires_grad else prototypes
    return moved_prototypes(prototypes, *sums_and_counts(pair, CLASSES)), targets


def with_gradients(way: Callable[[], tuple[Any, torch.Tensor]], leaves: list[torch.Tensor]) -> Any:
    """A step and what training needs of it: the gradient of a loss of the targets with respect to the texts."""
    for leaf in leaves:
        leaf.grad = None
    new, targets = way()
    torch.autograd.backward((targets * _SLOPE.to(targets.device)).sum())
    return new


@torch.inference_mode()
def alone(way: Callable[[], tuple[Any, torch.Tensor]], leaves: list[torch.Tensor]) -> Any:
    """A step without gradients."""
    del leaves
    return way()[0]


def mixing(device: str, repeats: int, *, trained: bool) -> None:
    from benchmarks.baselines import latteclip as baseline

    made = made_batch(device)
    made["prototypes"] = made["texts"].clone()
    leaves = [made[name] for name in ("texts", "image", "group")]
    for leaf in leaves:
        leaf.requires_grad_(trained)
    names = [f"class {c}" for c in range(CLASSES)]
    once = [names[c] for c in made["once"].tolist()]
    fixed = dict(zip(names, made["prototypes"].unbind(), strict=True))
    batch = baseline.Batch(made["images"], once, (made["image"], made["group"]))

    def theirs_of(way: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: way(batch, dict(zip(names, made["texts"].unbind(), strict=True)), fixed, fixed)

    ways = {"image by image": theirs_of(baseline.by_sample), "look-ups image by image": theirs_of(baseline.by_batch)}
    run = with_gradients if trained else alone
    ours_of = partial(run, partial(step, made), leaves)
    ours_of()
    for name, way in ways.items():
        whole = partial(run, way, leaves)
        whole()
        slopes = [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]
        ours_of()
        again = [leaf.grad for leaf in leaves if leaf.grad is not None]
        gap = max([float((a - b).abs().max()) for a, b in zip(again, slopes, strict=True)], default=0.0)
        slow, fast = [], []
        for _ in range(repeats):  # in turns, so that both meet the machine in the same state
            seconds, theirs = timed(whole, device)
            slow.append(seconds)
            for _ in range(5):
                seconds, ours = timed(ours_of, device)
                fast.append(seconds)
        apart = float((torch.stack([theirs[n] for n in names]) - ours).abs().max())
        ratio = f"{median(slow) / median(fast):.1f} times as fast (best runs {min(slow) / min(fast):.1f})"
        what = "mixing and its gradient" if trained else "mixing"
        print(
            f"{what}, {name}: {1e3 * median(slow):.1f} ms, clipwright {1e3 * median(fast):.2f} ms: {ratio}; "
            f"prototypes differ by {apart:.1g}, gradients by {gap:.1g}"
        )


def step_texts(images: int, classes: int, rng: np.random.Generator) -> list[str]:
    """The 4 x B texts that belong to a batch: class prompts for both labels, captions, group captions."""

    def sentence() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(20, 34))) + "."

    prompts = [f"a photo of a {word} {other}." for word in WORDS for other in WORDS][:: len(WORDS) + 1]
    names = [f"{prompts[c % len(prompts)][:-1]} {WORDS[c // len(prompts)]}." for c in range(classes)]
    once = rng.integers(0, classes, images)
    now = np.where(rng.random(images) < 0.2, rng.integers(0, classes, images), once)
    pools = [[sentence() for _ in range(POOL)] for _ in range(classes)]
    captions = [sentence() for _ in range(images)]
    return [
        *(names[c] for c in now),
        *(names[c] for c in once),
        *captions,
        *(pools[c][rng.integers(POOL)] for c in once),
    ]


def texts(device: str, images: int, architecture: str) -> None:
    import open_clip
    from benchmarks.baselines.texts import encode

    torch.manual_seed(0)
    model: Any = open_clip.create_model(architecture, load_weights=False).eval().requires_grad_(False).to(device)
    tokenizer = open_clip.get_tokenizer(architecture)
    given = step_texts(images, max(2, round(CLASSES * images / BATCH)), np.random.default_rng(0))
    tower = open_clip_text(model, tokenizer, int(model.text_projection.shape[1]))
    lengths = tower.lengths(tower.tokenize(list(dict.fromkeys(given)))).float()

    def ours_of(some: list[str]) -> torch.Tensor:
        with torch.inference_mode():
            return encode_texts(tower, some, device=torch.device(device), batch_size=64)

    def theirs_of(some: list[str]) -> torch.Tensor:
        return encode(model, lambda rows: tokenizer(rows).to(device), some, batch_size=32).cpu()

    ours_of(given[:8]), theirs_of(given[:8])
    slow, wanted = timed(partial(theirs_of, given), device)
    fast, found = timed(partial(ours_of, given), device)
    print(
        f"texts, {architecture}, {images} images: {len(given)} at {tokenizer.context_length} tokens {slow:.2f} s, "
        f"{len(lengths)} unique ones of {lengths.mean():.0f} tokens, {lengths.max():.0f} at most, {fast:.2f} s: "
        f"{slow / fast:.1f} times as fast; features differ by {float((found - wanted).abs().max()):.1g}"
    )


VARIANTS = {
    "all": LattePrototypes(),
    "image captions": LattePrototypes(group_captions=False),
    "group captions": LattePrototypes(image_captions=False),
    "even weights": LattePrototypes(mixer=False),
    "wrong captions masked": LattePrototypes(mask_wrong_captions=True),
}


def phrases(
    backbone: Any, images: Features, pseudo: np.ndarray, names: tuple[str, ...], rng: np.random.Generator
) -> Task:
    """The unlabeled images with a caption each, and with `POOL` captions of four images for each pseudo-class."""
    from clipwright.synthetic.captioners.phrases import SURE, sentence
    from clipwright.synthetic.captioners.vocabulary import vocabulary

    words = vocabulary().without(names)
    cosines_of = (images.unit_x() @ unit_rows(backbone.texts(words.sentences)).T).double().numpy()
    said = [sentence(words, row, backbone.logit_scale, SURE) for row in cosines_of]
    of_groups: dict[int, list[str]] = {}
    for c in np.unique(pseudo).tolist():
        members = np.flatnonzero(pseudo == c)
        for _ in range(POOL):
            four = rng.choice(members, 4, replace=len(members) < 4)
            text = sentence(words, cosines_of[four].mean(0), backbone.logit_scale, SURE, of_all=True)
            of_groups.setdefault(c, []).append(text)
    groups = [text for found in of_groups.values() for text in found]
    index = torch.tensor([c for c, found in of_groups.items() for _ in found])
    return Task(
        names,
        unlabeled=replace(images, y=None, captions=backbone.texts(said)),
        group_captions=TextFeatures(backbone.texts(groups), index),
        logit_scale=backbone.logit_scale,
    )


def accuracy(sets: list[str], draws: int) -> None:
    """Top-1 of zero shot, and what each variant adds to it on the same images, over draws."""
    from clipwright.backbones import resolve
    from clipwright.data import open_data
    from clipwright.features import extract

    ref = resolve("tiny", device="cpu")
    backbone = ref.load()
    for name in sets:
        data = open_data(name)
        data = data.take(data.rows("train"))
        images = extract(data, ref, quiet=True).features()
        template = (data.templates or ("a photo of a {}.",))[0]
        text = TextFeatures(backbone.texts([template.format(c) for c in data.class_names]))
        zero = ZeroShot().fit(Task(data.class_names, text, logit_scale=backbone.logit_scale))
        shot: list[float] = []
        gains: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            order = rng.permutation(len(images))
            seen, scored = images[order[::2]], images[order[1::2]]
            task = phrases(backbone, seen, zero(seen).argmax(1).numpy(), data.class_names, rng)
            task = replace(task, text=text, seed=draw)
            before = top1(zero(scored), scored)
            shot.append(before)
            for variant, method in VARIANTS.items():
                gains[variant].append(top1(method.fit(task)(scored), scored) - before)
        shown = ", ".join(f"{what} {np.mean(g):+.1f} (sd {np.std(g, ddof=1):.1f})" for what, g in gains.items())
        print(f"{name}, {len(images) // 2} images, {draws} draws: zero shot {np.mean(shot):.1f} %; added: {shown}")


def top1(logits: torch.Tensor, images: Features) -> float:
    return 100 * float((logits.argmax(1) == images.labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--accuracy", type=lambda sets: sets.split(","), default=[])
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.accuracy:
        warnings.filterwarnings("ignore", "the embedded model|.*lose their end", UserWarning)
        accuracy(options.accuracy, options.draws)
        return
    print(f"B = D = {BATCH}, C = {CLASSES}, {options.device}, {options.threads} thread(s), float32")
    for trained in (True, False):
        mixing(options.device, options.repeats, trained=trained)
    print(f"wanted: at least {GOAL} times, against loops over images")
    if options.texts:
        texts(options.device, options.texts, options.architecture)


if __name__ == "__main__":
    main()
