"""Enhanced multi-frame images (PS3.3 C.7.6.16): every frame as the header that a single image of it would have.

A value stands in the functional group of the frame, else in the shared one, else at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BadImage

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["frames_of", "is_enhanced", "other_dimensions"]

# Functional groups that say where a frame lies and what it shows.
_GROUPS = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence", "FrameContentSequence", "MRImageFrameTypeSequence",
           "MREchoSequence", "MRTimingAndRelatedParametersSequence", "MRModifierSequence", "MRDiffusionSequence",
           "PixelValueTransformationSequence", "CTImageFrameTypeSequence", "CardiacSynchronizationSequence")
# What the groups call differently from a single image.
_CLASSIC = {"FrameType": "ImageType", "EffectiveEchoTime": "EchoTime", "TemporalPositionIndex": "TemporalPositionIdentifier",
            "InversionTimes": "InversionTime", "FrameAcquisitionNumber": "AcquisitionNumber", "NominalCardiacTriggerDelayTime": "TriggerTime",
            "FrameAcquisitionDateTime": "AcquisitionDateTime", "InStackPositionNumber": "InstanceNumber"}
_PLACES = ("StackID", "InStackPositionNumber", "ImagePositionPatient", "TemporalPositionIndex")


def is_enhanced(dataset: Dataset) -> bool:
    return "PerFrameFunctionalGroupsSequence" in dataset


def frames_of(dataset: Dataset) -> list[Dataset]:
    """The header of each frame, in the order of the file. Raises BadImage when frames are not described one by one."""
    from pydicom import Dataset

    per_frame = dataset.PerFrameFunctionalGroupsSequence or []
    promised = int(dataset.get("NumberOfFrames") or 1)
    if len(per_frame) != promised:
        raise BadImage(f"a multi-frame file of {promised} frames that describes {len(per_frame)}", "Export it from the PACS again.")
    top = Dataset()
    top.update({tag: element for tag, element in dataset.items()
                if element.tag not in (0x52009229, 0x52009230)})  # the functional groups themselves
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in shared[:1]:
        _put(top, group)
    frames = []
    for group in per_frame:
        frame = Dataset()
        frame.update(top)
        _put(frame, group)
        frames.append(frame)
    return frames


def other_dimensions(frame: Dataset) -> tuple[int, ...]:
    """The frame's index along each dimension of the file that is not a place or a time; () in a single image."""
    from pydicom.datadict import tag_for_keyword

    places = {tag_for_keyword(name) for name in _PLACES}
    pointers = [item.get("DimensionIndexPointer") for item in frame.get("DimensionIndexSequence") or ()]
    values = frame.get("DimensionIndexValues") or ()
    values = [values] if isinstance(values, int) else list(values)
    return tuple(value for pointer, value in zip(pointers, values, strict=False) if pointer not in places)


def _put(flat: Dataset, group: Dataset) -> None:
    """Copy the attributes of a functional group to `flat`, under their names in a single image."""
    from pydicom import DataElement
    from pydicom.datadict import tag_for_keyword

    for name in _GROUPS:
        item = (group.get(name) or [None])[0]
        if item is None:
            continue
        flat.update(item)
        for new, classic in _CLASSIC.items():
            if new in item:  # a new element: those that are there already belong to all frames
                flat.add(DataElement(tag_for_keyword(classic), item[new].VR, item[new].value))
        if name == "MRDiffusionSequence" and (directions := item.get("DiffusionGradientDirectionSequence")):
            flat.update(directions[0])
