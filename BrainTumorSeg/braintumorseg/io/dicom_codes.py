"""Which coded concepts stand for our labels, and the other codes that our DICOM objects carry: (value, scheme, meaning).

Segmented property types are those of CID 7168 (brain lesion segmentation types with necrosis, PS3.16).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from ..errors import BadImage
from ..labels import ED, ET, NCR

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["ABNORMAL_STRUCTURE", "ARTIFICIAL_INTELLIGENCE", "BRAIN", "MEANT_BY_CODE", "Code", "SegmentLabel", "value_of_segment"]

Code = tuple[str, str, str]

ABNORMAL_STRUCTURE: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN: Code = ("12738006", "SCT", "Brain")
ARTIFICIAL_INTELLIGENCE: Code = ("123110", "DCM", "Artificial Intelligence")

# What other people's segments are by their type. Label 1 of BraTS is all of the core that does not enhance, dead or not (Bakas 2017, Baid 2021):
# CID 7168 has no type for both, so ours is written as necrosis, and either is read as label 1.
# SNOMED's older identifiers (SRT: M-54000, M-36300) are told by pydicom to be the same concepts.
MEANT_BY_CODE = MappingProxyType({("6574001", "SCT"): NCR, ("C81175", "NCIt"): NCR, ("79654002", "SCT"): ED, ("C113842", "NCIt"): ET})


class SegmentLabel(Protocol):
    """One label of the result, as in the model card: voxel value, name, (value, scheme, meaning) of its type, colour 0..255."""

    @property
    def value(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def code(self) -> Code: ...
    @property
    def rgb(self) -> tuple[int, int, int]: ...


def value_of_segment(description: Dataset, table: Sequence[SegmentLabel] | None = None) -> int:
    """The label value that a segment's type stands for: that of `table`, else of MEANT_BY_CODE.

    Raises BadImage, naming the segment, when it is none of them.
    """
    from pydicom.sr.coding import Code as Concept

    meant = [(label.code[:2], label.value) for label in table] if table is not None else list(MEANT_BY_CODE.items())
    kinds = description.get("SegmentedPropertyTypeCodeSequence")
    kind = Concept(*(str(kinds[0].get(name, "")) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))) if kinds else None
    for code, value in meant:
        if kind is not None and kind == Concept(*code, ""):
            return value
    what = f"{kind.meaning} ({kind.value}, {kind.scheme_designator})" if kind is not None else "of no coded type"
    raise BadImage(f"The segment {description.SegmentNumber} is {what}, which is none of our labels (necrosis, edema, enhancing lesion).",
                   "Code its type so (CID 7168), or convert the SEG to a label map.")
