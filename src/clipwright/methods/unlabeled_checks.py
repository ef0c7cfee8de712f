"""Whether unlabeled images suit a list of classes: the classes' shares, and how many images look unlike every class."""

from __future__ import annotations

import math

import torch

from clipwright.core.errors import DataError

_LEAST = 8  # images below which nothing is said of groups
_ROUNDS = 200
_FLOOR = 1e-3  # least spread of a group, as a share of the spread of all
_APART = 2.0  # Ashman's D: groups further apart than this are two


def class_shares(
    logits: torch.Tensor, *, pseudo: float = 1.0, rounds: int = 1000, tolerance: float = 1e-8
) -> torch.Tensor:
    """The share of each class among unlabeled images, by maximum likelihood.

    The average of the images' class shares pulls every estimate towards an even one, for an image counts a little for
    each class. Here the shares of the images and those of the classes are fitted to each other: an image that might be
    of two classes counts for the commoner one (expectation maximisation; Saerens et al. 2002).

    Args:
        logits: (n, C) scores whose softmax is the classes' probability if all were equally common. Cosines times
            CLIP's logit scale are too sure of themselves for that; the logits of Transductive serve better.
        pseudo: images added to every class beforehand, not negative; they keep a class that no image speaks for.
        rounds: most rounds.
        tolerance: stop when no share changes by more.

    Returns:
        (C,) float64 shares that sum to 1.

    Raises:
        DataError: there are no classes.
    """
    if logits.ndim != 2 or not logits.shape[1]:
        raise DataError(
            f"class shares are estimated from (n, C) scores of at least one class; got {tuple(logits.shape)}."
        )
    x = logits.double()
    classes = x.shape[1]
    shares = torch.full((classes,), 1 / classes, dtype=torch.float64, device=x.device)
    if not len(x):
        return shares
    for _ in range(rounds):
        counts = (x + shares.clamp(min=1e-300).log()).softmax(1).sum(0) + pseudo
        new = counts / counts.sum()
        moved = float((new - shares).abs().max())
        shares = new
        if moved < tolerance:
            break
    return shares


def open_set_share(cosines: torch.Tensor) -> float:
    """The share of images that look unlike every class: the lower of two groups of images' best cosines.

    Two Gaussian groups are fitted to the cosine of every image with its best class text. Where they overlap, or
    describe the images no better than one group, all images look alike in this respect and 0 is returned. So the
    estimate finds a second kind of images, and says nothing where every image is unlike the classes. It is meant for
    a warning: where it speaks it tends to be too high.

    Args:
        cosines: (n, C) of images and class texts.

    Returns:
        0 to 1; 0 below eight images.

    Raises:
        DataError: there are no classes.

    Source: Ashman et al. 1994 for when two groups are apart; the Bayesian information criterion (Schwarz 1978).
    """
    if cosines.ndim != 2 or not cosines.shape[1]:
        raise DataError(f"an open-set share is estimated from (n, C) cosines; got {tuple(cosines.shape)}.")
    if len(cosines) < _LEAST:
        return 0.0
    x = cosines.double().max(1).values.sort().values
    n = len(x)
    spread = float(x.std())
    if not spread > 1e-9 * float(x.abs().max()):
        return 0.0
    found = two_groups((x - x.mean()) / spread)
    (low, high), (narrow, wide), share, likelihood = found
    one = -0.5 * n * (math.log(2 * math.pi) + (n - 1) / n)
    apart = math.sqrt(2) * (high - low) / math.sqrt(narrow**2 + wide**2)
    gain = 2 * (likelihood - one) - 3 * math.log(n)  # three more numbers than one group has
    return share if apart > _APART and gain > 0 else 0.0


def two_groups(x: torch.Tensor) -> tuple[tuple[float, float], tuple[float, float], float, float]:
    """Two Gaussians on a line, fitted from the cut that separates best (Otsu 1979).

    Args:
        x: (n,) sorted values, float64, not all equal.

    Returns:
        Means, lower first; standard deviations; the share of the lower group; the log-likelihood.
    """
    n = len(x)
    sums, counts = x.cumsum(0)[:-1], torch.arange(1, n, dtype=x.dtype, device=x.device)
    between = (sums / counts - (x.sum() - sums) / (n - counts)).square() * counts * (n - counts)
    cut = int(between.argmax()) + 1
    says = torch.zeros(n, 2, dtype=x.dtype, device=x.device)
    says[:cut, 0] = says[cut:, 1] = 1
    floor = _FLOOR * float(x.std())
    likelihood = -math.inf
    for _ in range(_ROUNDS):
        weight = says.sum(0).clamp(min=1e-12)
        means = says.T @ x / weight
        deviations = ((says * (x[:, None] - means).square()).sum(0) / weight).sqrt().clamp(min=floor)
        scores = (weight / n).log() - deviations.log() - ((x[:, None] - means) / deviations).square() / 2
        total = float((scores.logsumexp(1) - math.log(2 * math.pi) / 2).sum())
        says = scores.softmax(1)
        if total - likelihood < 1e-9 * n:
            break
        likelihood = total
    lower = int(means.argmin())
    pair, widths = (means[[lower, 1 - lower]].tolist(), deviations[[lower, 1 - lower]].tolist())
    return (pair[0], pair[1]), (widths[0], widths[1]), float(says[:, lower].mean()), total
