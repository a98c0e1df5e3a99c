"""BrainTumorSeg's engine: brain tumour segmentation on MR with ONNX networks. Research use only, not a medical device.

    from braintumorseg import load_model, read_study, segment
    segmentation = segment(read_study(["patient/"]), load_model())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model_zoo import load_model
    from .pipeline import segment
    from .read import read_study
    from .segmentation import Segmentation
    from .study import Study
    from .volume import Volume

__all__ = ["Segmentation", "Study", "Volume", "__version__", "load_model", "read_study", "segment"]
__version__ = "0.2.0"

_HOMES = {"Segmentation": "segmentation", "Study": "study", "Volume": "volume", "load_model": "model_zoo", "read_study": "read",
          "segment": "pipeline"}


def __getattr__(name: str):
    """Public names come from their modules when first used, so that `import braintumorseg` costs nothing."""
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
