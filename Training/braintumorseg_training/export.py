"""ONNX with its card."""

from __future__ import annotations

from braintumorseg.labels import REGIONS
from braintumorseg.model_card import Label, ModelCard
from braintumorseg.study import ROLES

__all__ = ["draft_card"]

LABELS = (
    Label(1, "Necrosis", ("6574001", "SCT", "Necrosis"), (216, 191, 216)),
    Label(2, "Edema", ("79654002", "SCT", "Edema"), (140, 224, 228)),
    Label(3, "Enhancing Lesion", ("C113842", "NCIt", "Enhancing Lesion"), (128, 174, 128)),
)


def draft_card(**known) -> ModelCard:
    """The card of a tumour network before it is trained: what training and preprocessing agree on."""
    return ModelCard(**{
        "name": "glioma", "version": "0", "task": "Glioma sub-regions on brain MR", "sha256": "0" * 64,
        "roles": ROLES, "may_be_missing": ROLES, "spacing_mm": (1.0, 1.0, 1.0), "size_multiple": 32, "brain_only": True,
        "regions": tuple(REGIONS), "labels": LABELS, **known})
