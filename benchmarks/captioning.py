"""Local captioning in batches against one image at a time: ``python benchmarks/captioning.py [options]``.

A LLaVA of random weights, small enough to be built here, captions the same image files both ways in one process, with
the same threads and precision, turn about. Ours is the whole of `caption_images`: hashing, decoding, an fsynced journal
and the table at the end; the baseline is the bare loop, decoding included, that writes nothing. Loading the model is
counted in neither. Captions must be equal. The second figure is a run that finds everything there.

Options: ``--images N`` (48), ``--batch-size N`` (16), ``--repeats N`` (3, of which the median counts),
``--hidden N`` (256), ``--layers N`` (4), ``--threads N`` (1).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, TOKENS = 112, 24
PROMPT = "describe concisely what you see in less than 20 words"


def make_images(root: Path, count: int) -> list[Path]:
    """JPEG files of 300 x 200 pixels with some structure."""
    root.mkdir()
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((300, 200), Image.Resampling.BICUBIC).save(
            root / f"{number:04d}.jpg", quality=95
        )
    return sorted(root.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 48), ("batch-size", 16), ("repeats", 3), ("hidden", 256), ("layers", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent))  # the tiny model is built by the tests' own helper
    import torch
    from tests.synthetic.captioners.tiny_llava import build_llava

    from clipwright.data import open_data
    from clipwright.synthetic.captioners import LocalCaptioner
    from clipwright.synthetic.captioning import caption_images

    torch.set_num_threads(options.threads)
    baseline = import_module("benchmarks.baselines.captioning")
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        os.environ["CLIPWRIGHT_HOME"] = str(work / "home")
        paths = make_images(work / "images", options.images)
        folder = build_llava(work / "llava", hidden=options.hidden, layers=options.layers, side=SIDE)
        data = open_data(work / "images", ["a", "b"])
        captioner = LocalCaptioner(str(folder), device="cpu", max_tokens=TOKENS, batch_size=options.batch_size)
        captioner.prepare()
        model, processor = baseline.load(folder)
        slow, fast, again = [], [], []

        def ours(out: Path) -> tuple[float, list[str]]:
            start = time.perf_counter()
            done = caption_images(data, out, captioner=captioner, prompt=PROMPT, groups=0, quiet=True)
            assert done.captions is not None
            return time.perf_counter() - start, [text or "" for text in done.captions.texts(data.ids)]

        for turn in range(options.repeats + 1):  # the first warms up
            start = time.perf_counter()
            theirs = baseline.caption((model, processor), paths, PROMPT, SIDE, TOKENS)
            slow.append(time.perf_counter() - start)
            seconds, texts = ours(work / f"out-{turn}")
            fast.append(seconds)
            again.append(ours(work / f"out-{turn}")[0])
            assert texts == theirs, "captions differ"
        one, many, known = (statistics.median(times[1:]) for times in (slow, fast, again))
        count, distinct = options.images, len(set(theirs))
        print(
            f"{count} images, {distinct} distinct captions, equal both ways, {options.threads} thread(s): one by one "
            f"{one:.2f} s ({count / one:.1f}/s), batches of {options.batch_size} {many:.2f} s ({count / many:.1f}/s): "
            f"{one / many:.2f} times as fast; a run that finds all there {known * 1e3:.0f} ms"
        )


if __name__ == "__main__":
    main()
