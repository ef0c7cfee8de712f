"""`tune_prompt`: from labelled images and a server to a labels-only classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipwright.core.errors import DataError, UsageError
from clipwright.core.folds import class_order, row_keys
from clipwright.data import open_data
from clipwright.data.dataset import Dataset, UnreadableImageError
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.label_classifier import MAX_SIDE, MAX_TOKENS, LabelClassifier
from clipwright.synthetic.label_search import Found, count_right, search, words_of
from clipwright.synthetic.messages import image_url
from clipwright.synthetic.wording import Space, read_space
from clipwright.texts import TextBank, open_bank

_WORD_KINDS = ("attribute", "synonym", "description")
_MOST_WORDS = 4  # phrases of a class that may stand beside its name


def tune_prompt(
    data: str | Path | Dataset,
    endpoint: Endpoint,
    *,
    budget: int = 500,
    shots: int | None = 4,
    check: int = 0,
    classes: str | Path | Sequence[str] | None = None,
    root: Path | None = None,
    texts: TextBank | str | Path | None = None,
    prompts: Path | None = None,
    offspring: int = 4,
    max_tokens: int = MAX_TOKENS,
    max_side: int = MAX_SIDE,
    seed: int = 0,
    quiet: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> LabelClassifier:
    """Search for the wording with which a multimodal model classifies labelled images best.

    Images of a validation or test split are never shown. The accuracy on the support images is in the card; the wording
    was chosen by them, so on new images it will be lower.

    Args:
        data: labelled images, or what `open_data` opens.
        endpoint: the model, which must take images.
        budget: calls that may be made, at least one for each support image; those of `check` are among them.
        shots: labelled images per class to judge by; all of them when None. A class with fewer gives all it has.
        check: further labelled images per class on which the first and the last wording are compared at the end.
        classes: class names, where the data doesn't bring them.
        root: the folder that benchmarks lie in.
        texts: a bank (such as `clipwright describe` makes) of phrases that may stand beside the class names.
        prompts: a file of wordings in place of clipwright's own.
        offspring: changed wordings that race in one generation.
        max_tokens: limit on an answer.
        max_side: longer images are scaled down to this many pixels.
        seed: which images are drawn, and how wordings are changed.
        quiet: show no progress.
        settings: JSON to keep in the card, such as the options of the command line.

    Raises:
        UsageError, DataError, EndpointError: one sentence that says what to do.
    """
    if isinstance(data, Dataset):
        if classes is not None:
            raise UsageError("class names can't be given for data that is already open.")
        dataset = data
    else:
        dataset = open_data(data, classes, root=root)
    rows = support_rows(dataset, shots, seed)
    urls, kept = _images(dataset, rows, max_side)
    others, left = _to_check(dataset, shots, check, seed, max_side)
    if others and budget < len(urls) + 2 * len(others):
        raise UsageError(
            f"--budget {budget} is less than a call for each of the {len(urls)} support images and two for each of the "
            f"{len(others)} to check: give several times as many, or fewer --shots."
        )
    space = read_space(dataset.class_names, words=_words(dataset.class_names, texts), path=prompts, seed=seed)
    chat = Chat(endpoint)
    found = search(
        space,
        urls,
        dataset.labels[kept],
        chat,
        budget=budget - 2 * len(others),
        offspring=offspring,
        max_tokens=max_tokens,
        seed=seed,
        quiet=quiet,
    )
    card = _card(dataset, space, found, chat, unreadable=len(rows) - len(kept))
    if others:
        labels = dataset.labels[left]
        first, last = (
            count_right(space.prompt(c), others, labels, chat, max_tokens=max_tokens)
            for c in (space.start, found.candidate)
        )
        card |= {"check_images": len(others), "check_right_at_start": first, "check_right": last}
        card["usage"] = chat.usage.as_json(endpoint.prices)
    if settings is not None:
        card["settings"] = dict(settings)
    return LabelClassifier(space.prompt(found.candidate), endpoint.model, max_tokens, max_side, card)


def support_rows(dataset: Dataset, shots: int | None, seed: int, *, after: int = 0) -> NDArray[np.int64]:
    """Labelled rows outside validation and test splits, at most `shots` per class: those of `fit` with this seed.

    Args:
        dataset: images.
        shots: how many per class, or None for all.
        seed: which of them.
        after: leave out the first so many of each class.

    Raises:
        DataError: there is no labelled image, or the data has no images at all.
    """
    if dataset.reader is None:
        raise DataError(f"{dataset.name} is a feature bundle without images, which no multimodal model can be shown.")
    inside = dataset.rows("train", "")
    pool: NDArray[np.int64] = inside[dataset.labels[inside] >= 0]
    if not len(pool):
        raise DataError(f"{dataset.name} has no labelled image outside its validation and test splits: label a few.")
    if shots is None:
        return pool
    if shots < 1:
        raise UsageError(f"the number of shots must be at least 1; it is {shots}.")
    ids = dataset.take(pool).ids
    groups = class_order(dataset.labels[pool], row_keys(ids, seed, "support", 0), len(dataset.class_names))
    chosen: NDArray[np.int64] = pool[np.concatenate([group[after : after + shots] for group in groups])]
    return chosen


def _to_check(
    dataset: Dataset, shots: int | None, check: int, seed: int, max_side: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Images that the search doesn't see, and their rows; none where none are asked for."""
    if not check:
        return [], np.empty(0, dtype=np.int64)
    rows = np.empty(0, dtype=np.int64) if shots is None else support_rows(dataset, check, seed, after=shots)
    if not len(rows):
        raise UsageError("no labelled image is left to check wordings with: give fewer --shots, or leave --check out.")
    return _images(dataset, rows, max_side)


def _images(dataset: Dataset, rows: NDArray[np.int64], max_side: int) -> tuple[list[str], NDArray[np.int64]]:
    """Support images as data URLs, and the rows of those that can be read."""
    assert dataset.reader is not None  # noqa: S101 - support_rows looked
    sources = dataset.table["source"]
    urls, kept = [], []
    for row in rows.tolist():
        try:
            image = dataset.reader.read(sources[row].as_py()).image
        except UnreadableImageError:
            continue
        urls.append(image_url(image, max_side=max_side))
        kept.append(row)
    if not kept:
        raise DataError(f"none of the {len(rows)} support images of {dataset.name} can be read.")
    return urls, np.array(kept, dtype=np.int64)


def _words(class_names: Sequence[str], texts: TextBank | str | Path | None) -> dict[str, list[str]] | None:
    if texts is None:
        return None
    bank = texts if isinstance(texts, TextBank) else open_bank(texts, class_names=class_names)
    bank = bank.for_classes(class_names, partial=True)
    said = {name: [t for kind in _WORD_KINDS for t in bank.texts(name, kind)] for name in class_names}
    return words_of(class_names, said, _MOST_WORDS)


def _card(dataset: Dataset, space: Space, found: Found, chat: Chat, *, unreadable: int) -> dict[str, Any]:
    steps = [
        {"calls": s.calls, "right": s.right, "instruction": space.prompt(s.candidate).instruction} for s in found.steps
    ]
    return {
        "data": dataset.name,
        "support_images": found.images,
        "unreadable": unreadable,
        "right_at_start": found.steps[0].right,
        "right": found.right,
        "support_accuracy": found.right / found.images,
        "calls": found.calls,
        "wordings": found.tried,
        "dropped_early": found.dropped,
        "no_class": found.no_class,
        "stopped": found.stopped,
        "steps": steps,
        "usage": chat.usage.as_json(chat.endpoint.prices),
    }
