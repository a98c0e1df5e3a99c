"""Whether a volume still lies where the DICOM files lie that it came from: Slicer's tools that move, crop or resample keep its link to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from .mrml_volumes import local_matrix

__all__ = ["departure"]

_SAME_MM = 0.05  # as near as the engine takes two grids for one
_TAGS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"]


def departure(volume, files: Sequence[Path]) -> str:
    """Why no result on the volume can refer to the files of its series: its voxels are not theirs; '' when they are, or the headers do not say.

    Looks at the first and last file; a transform above the volume does not matter.
    """
    ends = [_corners(file) for file in (files[0], files[-1])]
    if len(files) < 2 or any(end is None for end in ends):  # an Enhanced file says it in another way
        return ""
    again = _("Load the series again and segment that, or export NIfTI.")
    series = (*ends[0][0], len(files))
    size = tuple(volume.GetImageData().GetDimensions())
    if size != series:
        return _("{name} was cropped or resampled after it was loaded ({now} voxels; its series has {then}), so the outlines do not lie on the "
                 "slices of its series. ").format(name=volume.GetName(), now=_times(size), then=_times(series)) + again
    matrix = local_matrix(volume)
    there = np.concatenate([corners for _size, corners in ends])                              # (8, 3) mm RAS
    ijk = (np.c_[there, np.ones(len(there))] @ np.linalg.inv(matrix).T)[:, :3]                # (8, 3) voxels
    last = np.array(size) - 1
    near = np.where((True, True, False), np.rint(ijk / last) * last, np.rint(ijk))            # corners of a slice, whichever slice it is
    far = float(np.linalg.norm((ijk - np.clip(near, 0, last)) @ matrix[:3, :3].T, axis=1).max())
    if far <= _SAME_MM:
        return ""
    corners = np.array([(i, j, k, 1) for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])]) @ matrix.T
    far = float(np.linalg.norm(there[:, None] - corners[None, :, :3], axis=2).min(axis=1).max())
    return _("{name} was moved or resampled after it was loaded: its series lies up to {mm} mm away from it, so the outlines do not lie on "
             "the slices of its series. ").format(name=volume.GetName(), mm=f"{far:.1f}" if far >= 0.1 else f"{far:.2f}") + again


def _corners(file: Path):
    """((columns, rows), (4, 3) mm RAS of the middles of a slice's corner voxels), None where the header does not say it."""
    import pydicom

    try:
        header = pydicom.dcmread(str(file), specific_tags=_TAGS, stop_before_pixels=True, force=True)
        if int(header.get("NumberOfFrames") or 1) > 1:
            return None
        first = np.array(header.ImagePositionPatient, float)
        along, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        row_mm, column_mm = (float(mm) for mm in header.PixelSpacing)
        columns, rows = int(header.Columns), int(header.Rows)
    except (OSError, AttributeError, TypeError, ValueError):
        return None
    corners = [first + i * column_mm * along + j * row_mm * down for i in (0, columns - 1) for j in (0, rows - 1)]
    return (columns, rows), np.array(corners) * (-1, -1, 1)


def _times(size: Sequence) -> str:
    return " x ".join(str(n) for n in size)
