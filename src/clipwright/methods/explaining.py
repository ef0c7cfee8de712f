"""Which texts decided a prediction: the winner's lead over the runner-up, shared out among their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clipwright.core.tensors import unit_rows
from clipwright.methods.coder_texts import KINDS, text_blocks
from clipwright.task import Features, TextFeatures


@dataclass(frozen=True)
class Said:
    """One text's part in a decision.

    Attributes:
        row: which row of the texts; -1 = the class's name, averaged over several rows.
        class_index: the class that it speaks for.
        kind: of the text.
        text: what it says; empty where texts were not kept.
        cosine: with the image, -1..1; a mean over images where it stands for several.
        share: what it adds to the winner's lead, in cosines; below 0 = it speaks for the runner-up.
    """

    row: int
    class_index: int
    kind: str
    text: str
    cosine: float
    share: float


@dataclass(frozen=True)
class Why:
    """Why an image was given its class.

    Attributes:
        winner: the class.
        runner_up: the class that came second; -1 = there is no other.
        lead: the difference of their scores, in cosines.
        winning: texts of the winner, the largest share first.
        losing: texts of the runner-up, the largest share first: those which the image is least like.
        contrast: what the one-vs-one texts of the two classes say, in cosines; above 0 = for the winner. It counts
            where leading classes are compared again (see `CODER`). 0 where the pair lacks texts in either direction.
        between: one-vs-one texts of the winner against the runner-up, the largest share of the contrast first.
    """

    winner: int
    runner_up: int
    lead: float
    winning: tuple[Said, ...]
    losing: tuple[Said, ...]
    contrast: float = 0.0
    between: tuple[Said, ...] = ()


class Explainer:
    """Takes CODER's first stage apart: a class's score is the mean over its texts, its names counting as one.

    The score of class c is ``mean over its parts of cosine``, so the winner's lead over the runner-up is shared out
    without rest: a text of the winner adds ``(cosine - runner-up's score) / parts of the winner``, all of them together
    the lead; and a text of the runner-up, seen from the other side, ``(winner's score - cosine) / parts of the
    runner-up``, all of them together the lead again. With one text per class this is `ZeroShot`.
    """

    def __init__(self, text: TextFeatures, kinds: Sequence[str] = KINDS) -> None:
        """Sort the texts.

        Args:
            text: T rows.
            kinds: which are read, as by `CODER`.

        Raises:
            DataError: a class has no text of these kinds.
        """
        dtype = torch.float64
        self.text, self.blocks = text, text_blocks(text, kinds, dtype)
        self.head, self.contrasts = self.blocks.head(1.0), "one-vs-one" in kinds

    @torch.inference_mode()
    def scores(self, x: Features) -> torch.Tensor:
        """(n, C) float64 scores in cosines."""
        scores: torch.Tensor = self.head(x.x.double())
        return scores

    def explain(self, x: Features, *, top: int = 3, winners: torch.Tensor | None = None) -> list[Why]:
        """Say for each image which texts decided.

        Args:
            x: n rows.
            top: how many texts of either class, at most.
            winners: (n,) int64 classes to explain, such as the answers of another head; None = the first of the scores.
        """
        scores, found = self.scores(x), []
        rows = x.unit_x().double()
        won = scores.argmax(1) if winners is None else winners
        for i, winner in enumerate(won.tolist()):
            rest = scores[i].clone()
            rest[winner] = -torch.inf
            second = int(rest.argmax()) if len(rest) > 1 else -1
            found.append(self._why(rows[i], scores[i], winner, second, top))
        return found

    def explain_classes(self, x: Features, *, top: int = 3, winners: torch.Tensor | None = None) -> dict[int, Why]:
        """Say for each class that wins anywhere which texts decided, on the mean over the images that it wins.

        The runner-up is the class that comes second most often (of equals the one with the smaller number), and the
        lead is the mean lead over it. Names and synonyms count as the one that is nearest most often.

        Args:
            x: n rows.
            top: how many texts of either class, at most.
            winners: as in `explain`.
        """
        scores, rows, found = self.scores(x), x.unit_x().double(), {}
        won = scores.argmax(1) if winners is None else winners
        for winner in torch.unique(won).tolist():
            of = won == winner
            second = -1
            if scores.shape[1] > 1:
                rest = scores[of].clone()
                rest[:, winner] = -torch.inf
                second = int(torch.bincount(rest.argmax(1), minlength=scores.shape[1]).argmax())
            found[winner] = self._why(rows[of], scores[of], winner, second, top)
        return found

    def _why(self, x: torch.Tensor, scores: torch.Tensor, winner: int, second: int, top: int) -> Why:
        """The decision on one row (D,), or on the mean of several (k, D)."""
        mean = scores if scores.ndim == 1 else scores.mean(0)
        own, other = float(mean[winner]), float(mean[second]) if second >= 0 else 0.0
        rows = x if x.ndim == 2 else x[None]
        winning = self._said(rows, winner, 1, other)
        losing = self._said(rows, second, -1, own) if second >= 0 else []
        contrast, between = self._between(rows, winner, second)
        first, last, apart = (tuple(said[:top]) for said in (winning, losing, between))
        return Why(winner, second, own - other, first, last, contrast, apart)

    def _between(self, x: torch.Tensor, winner: int, second: int) -> tuple[float, list[Said]]:
        """What tells the winner from the runner-up on (k, D) unit rows, shared out among the texts that say so."""
        of, against = self.text.classes, self.text.rivals
        forth = ((of == winner) & (against == second)).nonzero()[:, 0]
        back = ((of == second) & (against == winner)).nonzero()[:, 0]
        if second < 0 or not len(forth) or not len(back) or not self.contrasts:
            return 0.0, []
        cosines = (x @ unit_rows(self.text.x[forth]).double().T).mean(0)
        other = float((x @ unit_rows(self.text.x[back]).double().T).mean())
        said = [
            Said(row, winner, *self._words(row), cosine=cosine, share=(cosine - other) / len(forth))
            for row, cosine in zip(forth.tolist(), cosines.tolist(), strict=True)
        ]
        return float(cosines.mean()) - other, sorted(said, key=lambda part: -part.share)

    def _said(self, x: torch.Tensor, c: int, sign: int, against: float) -> list[Said]:
        """The parts of class c on (k, D) unit rows, each against another class's score, the largest share first."""
        blocks = self.blocks
        described = (blocks.described_class == c).nonzero()[:, 0]
        names = (blocks.names_class == c).nonzero()[:, 0]
        cosines = (x @ blocks.described[described].T).mean(0).tolist()
        rows = blocks.described_row[described].tolist()
        if len(names):
            nearest = (x @ blocks.names[names].T).max(1)
            usual = int(torch.bincount(nearest.indices, minlength=len(names)).argmax())
            cosines.append(float(nearest.values.mean()))
            rows.append(int(blocks.names_row[names[usual]]))
        parts = [
            Said(row, c, *self._words(row), cosine=cosine, share=sign * (cosine - against) / len(rows))
            for row, cosine in zip(rows, cosines, strict=True)
        ]
        return sorted(parts, key=lambda said: -said.share)

    def _words(self, row: int) -> tuple[str, str]:
        """Kind and words of a row; -1 = a name that was averaged."""
        if row < 0:
            return "name", ""
        return self.text.kind[row], self.text.texts[row] if self.text.texts is not None else ""
