"""clipwright: the best image classifier that the supervision at hand allows, from a frozen vision-language model.

Everything here is loaded when first used, so that ``import clipwright`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipwright.api import base_to_new as base_to_new
    from clipwright.api import caption as caption
    from clipwright.api import compare as compare
    from clipwright.api import demo as demo
    from clipwright.api import describe as describe
    from clipwright.api import evaluate as evaluate
    from clipwright.api import extract as extract
    from clipwright.api import fit as fit
    from clipwright.api import generate as generate
    from clipwright.api import merge as merge
    from clipwright.api import open_data as open_data
    from clipwright.api import tune_prompt as tune_prompt
    from clipwright.classifier import Classifier as Classifier
    from clipwright.classifier import Prediction as Prediction
    from clipwright.core.errors import ClipwrightError as ClipwrightError
    from clipwright.data.dataset import Dataset as Dataset
    from clipwright.fitted import Fitted as Fitted
    from clipwright.methods.ape import APE as APE
    from clipwright.methods.base import Method as Method
    from clipwright.methods.cafo import CaFo as CaFo
    from clipwright.methods.clap import CLAP as CLAP
    from clipwright.methods.clip_adapter import CLIPAdapter as CLIPAdapter
    from clipwright.methods.clip_lora import CLIPLoRA as CLIPLoRA
    from clipwright.methods.coder import CODER as CODER
    from clipwright.methods.craft import CraFT as CraFT
    from clipwright.methods.cross_modal import CrossModal as CrossModal
    from clipwright.methods.cupl import CuPL as CuPL
    from clipwright.methods.dclip import DCLIP as DCLIP
    from clipwright.methods.flyp import FLYP as FLYP
    from clipwright.methods.gda import GDA as GDA
    from clipwright.methods.label_propagation import LabelPropagation as LabelPropagation
    from clipwright.methods.latte_prototypes import LattePrototypes as LattePrototypes
    from clipwright.methods.latteclip import LatteCLIP as LatteCLIP
    from clipwright.methods.linear_probe import LinearProbe as LinearProbe
    from clipwright.methods.lpplusplus import LPPlusPlus as LPPlusPlus
    from clipwright.methods.nearest_mean import NearestMean as NearestMean
    from clipwright.methods.proker import ProKeR as ProKeR
    from clipwright.methods.prolip import ProLIP as ProLIP
    from clipwright.methods.regft import RegFT as RegFT
    from clipwright.methods.score_scaling import ScoreScaling as ScoreScaling
    from clipwright.methods.taskres import TaskRes as TaskRes
    from clipwright.methods.tip_adapter import TipAdapter as TipAdapter
    from clipwright.methods.tip_adapter_f import TipAdapterF as TipAdapterF
    from clipwright.methods.tip_x import TIPX as TIPX
    from clipwright.methods.transductive import Transductive as Transductive
    from clipwright.methods.waffleclip import WaffleCLIP as WaffleCLIP
    from clipwright.methods.zero_shot import ZeroShot as ZeroShot
    from clipwright.methods.zslp import ZSLP as ZSLP
    from clipwright.protocol.results import Results as Results
    from clipwright.task import Access as Access
    from clipwright.task import Features as Features
    from clipwright.task import Need as Need
    from clipwright.task import Task as Task
    from clipwright.task import TextFeatures as TextFeatures

__version__ = "0.1.0.dev0"

_HOMES = {
    "api": (
        "base_to_new",
        "caption",
        "compare",
        "demo",
        "describe",
        "evaluate",
        "extract",
        "fit",
        "generate",
        "merge",
        "open_data",
        "tune_prompt",
    ),
    "classifier": ("Classifier", "Prediction"),
    "core.errors": ("ClipwrightError",),
    "data.dataset": ("Dataset",),
    "fitted": ("Fitted",),
    "methods.ape": ("APE",),
    "methods.base": ("Method",),
    "methods.cafo": ("CaFo",),
    "methods.clap": ("CLAP",),
    "methods.clip_adapter": ("CLIPAdapter",),
    "methods.clip_lora": ("CLIPLoRA",),
    "methods.coder": ("CODER",),
    "methods.craft": ("CraFT",),
    "methods.cross_modal": ("CrossModal",),
    "methods.cupl": ("CuPL",),
    "methods.dclip": ("DCLIP",),
    "methods.flyp": ("FLYP",),
    "methods.gda": ("GDA",),
    "methods.label_propagation": ("LabelPropagation",),
    "methods.latte_prototypes": ("LattePrototypes",),
    "methods.latteclip": ("LatteCLIP",),
    "methods.linear_probe": ("LinearProbe",),
    "methods.lpplusplus": ("LPPlusPlus",),
    "methods.nearest_mean": ("NearestMean",),
    "methods.proker": ("ProKeR",),
    "methods.prolip": ("ProLIP",),
    "methods.regft": ("RegFT",),
    "methods.score_scaling": ("ScoreScaling",),
    "methods.taskres": ("TaskRes",),
    "methods.tip_adapter": ("TipAdapter",),
    "methods.tip_adapter_f": ("TipAdapterF",),
    "methods.tip_x": ("TIPX",),
    "methods.transductive": ("Transductive",),
    "methods.waffleclip": ("WaffleCLIP",),
    "methods.zero_shot": ("ZeroShot",),
    "methods.zslp": ("ZSLP",),
    "protocol.results": ("Results",),
    "task": ("Access", "Features", "Need", "Task", "TextFeatures"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 - computed from the table above


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'clipwright' has no attribute {name!r}")
    value = getattr(import_module(f"clipwright.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
