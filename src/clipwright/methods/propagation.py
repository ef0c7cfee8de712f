"""The mathematics of label propagation: a sparse graph of images and class texts, and the linear system on it.

Class texts and images are nodes. Every image is linked to the images nearest to it and to the class texts that it
scores highest. With the weights S scaled to ``D^-1/2 S D^-1/2``, the say of class c at every node is the column c of

    (I - alpha D^-1/2 S D^-1/2)^-1 Y,    Y: 1 at the text of the class, 0 elsewhere

which sums the paths from the text to the node, every step counting alpha. Sources: Zhou et al., NeurIPS 2003;
Stojnic et al., CVPR 2024 (texts as the labelled nodes, and the answer for images that are not in the graph).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from clipwright.core.neighbours import neighbour_graph, sparse
from clipwright.core.tensors import unit_rows


@dataclass(frozen=True, eq=False)
class Graph:
    """Images and class texts, weighted.

    Attributes:
        images: (n, n) sparse, symmetric, weights between images.
        links: (n, C) sparse, weights between images and texts.
        degree: (n,) sum of an image's weights, positive.
        text_degree: (C,) sum of a text's weights, positive.
    """

    images: torch.Tensor
    links: torch.Tensor
    degree: torch.Tensor
    text_degree: torch.Tensor


def build_graph(x: torch.Tensor, links: torch.Tensor, k: int, power: float, text_weight: float) -> Graph:
    """The graph of unit rows (n, D) with k neighbours each and cosines to a power, and of their (n, C) text links.

    Args:
        x: (n, D) rows of length 1.
        links: (n, C), see `clipwright.heads.neighbours.text_links`.
        k: neighbours of each image.
        power: what cosines are raised to; larger = only the closest count.
        text_weight: what links to texts are multiplied by.
    """
    found = neighbour_graph(x, k)
    values = found.values() ** power
    images = sparse(
        torch.cat([found.indices(), found.indices().flip(0)], 1), torch.cat([values, values]), (len(x),) * 2
    )
    weighted = text_weight * links
    at = weighted.nonzero().T
    tiny = torch.finfo(x.dtype).tiny ** 0.5
    degree = torch.sparse.mm(images, weighted.new_ones(len(x), 1))[:, 0] + weighted.sum(1)
    kept = sparse(at, weighted[at[0], at[1]], (len(x), links.shape[1]))
    return Graph(images, kept, degree.clamp(min=tiny), weighted.sum(0).clamp(min=tiny))


def conjugate_gradient(
    graph: Graph, right: torch.Tensor, alpha: float, *, tolerance: float, most: int = 1000
) -> torch.Tensor:
    """Solve for the say of every class at every image; all classes at once, each until its residual is small.

    The text nodes are eliminated: they are linked to images only, so that the unknowns are those of the images and
    the matrix, ``I - alpha A - alpha^2 B B'``, is symmetric and positive definite.

    Args:
        graph: of images and texts.
        right: (n, C) what the texts send to the images.
        alpha: in [0, 1).
        tolerance: of the residual, relative to the right side.
        most: steps at most.
    """

    def times(f: torch.Tensor) -> torch.Tensor:
        g = f / graph.degree.sqrt()[:, None]
        through = torch.sparse.mm(graph.links.T, g) / graph.text_degree[:, None]
        step = torch.sparse.mm(graph.images, g) * alpha + torch.sparse.mm(graph.links, through) * alpha**2
        left: torch.Tensor = f - step / graph.degree.sqrt()[:, None]
        return left

    found = torch.zeros_like(right)
    residual, direction = right.clone(), right.clone()
    size = residual.square().sum(0)
    enough = tolerance**2 * size
    for _ in range(most):
        if bool((size <= enough).all()):
            break
        moved = times(direction)
        along = (direction * moved).sum(0)
        step = torch.where(size > enough, size / along.clamp(min=torch.finfo(along.dtype).tiny), torch.zeros_like(size))
        found += step * direction
        residual -= step * moved
        new = residual.square().sum(0)
        ratio = torch.where(size > enough, new / size.clamp(min=torch.finfo(size.dtype).tiny), torch.zeros_like(size))
        direction, size = residual + ratio * direction, new
    return found


def propagate(graph: Graph, alpha: float, tolerance: float = 1e-10) -> tuple[torch.Tensor, torch.Tensor]:
    """The say of every class at every node.

    Args:
        graph: of images and texts.
        alpha: how much a step along an edge counts, in [0, 1).
        tolerance: of the linear system.

    Returns:
        (n, C) at the images and (C, C) at the texts.
    """
    classes = len(graph.text_degree)
    own = torch.eye(classes, dtype=graph.degree.dtype, device=graph.degree.device)
    scaled = own / graph.text_degree.sqrt()
    right = alpha * torch.sparse.mm(graph.links, scaled) / graph.degree.sqrt()[:, None]
    images = conjugate_gradient(graph, right, alpha, tolerance=tolerance)
    at_texts = torch.sparse.mm(graph.links.T, images / graph.degree.sqrt()[:, None])
    return images, own + alpha * at_texts / graph.text_degree.sqrt()[:, None]


def shared_removed(text: torch.Tensor) -> torch.Tensor:
    """(D, D') orthonormal directions in which class texts differ: their span without the direction they share.

    The first right singular vector of the texts is what they have in common ("a photo of"); the others span what
    tells them apart. With a single class, or texts that are all the same, nothing is left and all D are returned.

    Args:
        text: (C, D) class texts of length 1.

    Source: Hu et al., WACV 2024, section 3.1.
    """
    _, values, directions = torch.linalg.svd(text.double(), full_matrices=False)
    kept = values > 1e-6 * values[:1]
    kept[0] = False
    basis = directions[kept].T if bool(kept.any()) else torch.eye(text.shape[1], dtype=torch.float64)
    return basis.to(text.dtype)


def project(x: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and texts without what the texts share: images of length 1, texts of equal length.

    The length of the texts is the root mean square of what they keep, so that products with images of length 1 in
    the whole space stay on the scale of cosines there.
    """
    basis = shared_removed(text)
    kept = text @ basis
    length = kept.square().sum(1).mean().sqrt()
    return unit_rows(x @ basis), length * unit_rows(kept) @ basis.T
