"""What writes captions: a server, a local model, or a fixed vocabulary and a backbone."""

from clipwright.synthetic.captioners.base import MAX_TOKENS, Captioner, Job, Said
from clipwright.synthetic.captioners.choosing import CAPTIONERS, choose_captioner
from clipwright.synthetic.captioners.endpoint import CaptionEndpoint
from clipwright.synthetic.captioners.phrases import PhraseCaptioner
from clipwright.synthetic.captioners.transformers_ import LocalCaptioner

__all__ = [
    "CAPTIONERS",
    "MAX_TOKENS",
    "CaptionEndpoint",
    "Captioner",
    "Job",
    "LocalCaptioner",
    "PhraseCaptioner",
    "Said",
    "choose_captioner",
]
