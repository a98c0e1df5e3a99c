"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz) to `Volume` and back, with the affine kept as the file states it."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import IO

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ..errors import BadImage, NotAnImage
from ..volume import Volume
from .files import check_room, existing_file, naming

__all__ = ["NIFTI_SUFFIXES", "read_nifti", "write_nifti"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_GZIP_MAGIC = b"\x1f\x8b"
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # NIFTI_UNITS_METER, NIFTI_UNITS_MICRON; any other, also "unknown", is mm
_STORED = (np.uint8, np.int16, np.float32)
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT


def read_nifti(path: Path | str) -> Volume:
    """The volume (I, J, K) in a .nii or .nii.gz file; gzip is recognised by its content, not by the name.

    Voxels keep their stored type, and are float32 only where the header scales them. The affine is the sform, else the qform,
    in mm. With both codes 0 the file does not say where the patient lay: the header's spacing is used with the NIfTI default,
    first axis to the left and the origin at the middle, so sizes are right and the directions are `assumed`.
    Trailing axes of length 1 are dropped.

    Raises MissingFile; NotAnImage for an empty, damaged or truncated file or another format; BadImage for a 4-D image, a header
    without a spacing or an affine that cannot place voxels.
    """
    path = existing_file(path)
    try:
        with path.open("rb") as raw, naming(path):
            packed = raw.peek(2)[:2] == _GZIP_MAGIC
            with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
                image = _open(stream, path.name)
                shape = _three_axes(image.shape)
                check_room(path, math.prod(shape) * image.get_data_dtype().itemsize, packed)
                voxels = _voxels(image).reshape(shape)
                while stream.read(1 << 20):  # to the end, where gzip compares its checksum
                    pass
                return Volume(voxels, _affine_mm(image), assumed=not (image.header["sform_code"] or image.header["qform_code"]))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotAnImage(f"{path.name} is a damaged or truncated gzip file ({error}).", "Copy or download it again.") from None
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, ValueError, OverflowError) as error:
        reason = str(error).replace(str(path), path.name)
        raise NotAnImage(f"{path.name} is a damaged NIfTI file ({reason}).", "Copy, download or convert it again.") from None


def write_nifti(volume: Volume, path: Path | str) -> None:
    """Write `volume` to a .nii or .nii.gz file in mm, its affine as sform and as qform, both with code 1 (scanner).

    bool is stored as uint8; integers that fit as uint8 or int16; all else as float32. A sheared affine has no qform
    (a qform holds rotations only), so its qform code is 0. One that lies where `read_nifti` assumed it to gets no code at all:
    other programs assume otherwise, and would show it apart from the image that it belongs to.
    """
    image = nibabel.Nifti1Image(_storable(volume.voxels), volume.affine)
    code = 0 if volume.assumed and np.allclose(image.header.get_base_affine(), volume.affine, atol=1e-3) else _SCANNER
    image.set_sform(volume.affine, code=code)
    image.set_qform(volume.affine, code=code)
    if not np.allclose(image.get_qform(), volume.affine, atol=1e-3):
        image.set_qform(None, code=0)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


class _Strict:
    """A header that nibabel checks without a word on the terminal, and without making 1 mm of a spacing that is missing."""

    _unheard = logging.Logger("nibabel", logging.CRITICAL + 1)

    def check_fix(self, logger=None, error_level=None):
        axes = min(3, int(self["dim"][0]))
        if not self["sform_code"] and not self["pixdim"][1:1 + axes].all():
            raise BadImage("The file does not say how large its voxels are (its spacing is 0).",
                           "Convert it from its source again, or set its spacing.")
        super().check_fix(self._unheard, error_level)


class _Header1(_Strict, nibabel.Nifti1Header):
    pass


class _Header2(_Strict, nibabel.Nifti2Header):
    pass


class _Image1(nibabel.Nifti1Image):
    header_class = _Header1


class _Image2(nibabel.Nifti2Image):
    header_class = _Header2


_BY_HEADER_BYTES = {348: _Image1, 540: _Image2}


def _open(stream: IO[bytes], name: str) -> nibabel.Nifti1Image:
    """The image whose header begins in `stream`; its voxels are not read yet."""
    start = stream.read(4)
    stream.seek(0)
    kinds = {int.from_bytes(start, "little"), int.from_bytes(start, "big")} & set(_BY_HEADER_BYTES)
    if not kinds:
        raise NotAnImage(f"{name} is not a NIfTI image: it does not begin with a NIfTI header.",
                         "Give a .nii or .nii.gz file as its converter wrote it.")
    # Not mapped into memory: a file that changes on the disk must not change, or kill, a study that was read.
    return _BY_HEADER_BYTES[kinds.pop()].from_file_map({"image": FileHolder(fileobj=stream)}, mmap=False)


def _three_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` without trailing axes of length 1 after the third."""
    volumes = math.prod(shape[3:])
    if volumes > 1:
        raise BadImage(f"The file holds {volumes} volumes ({' x '.join(map(str, shape))}); one was expected.",
                       "Split it and give one 3-D volume per sequence.")
    return shape[:3]


def _voxels(image: nibabel.Nifti1Image) -> np.ndarray:
    """As stored, in this machine's byte order; float32 where the header scales them."""
    if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
        return image.get_fdata(dtype=np.float32, caching="unchanged")
    voxels = np.asanyarray(image.dataobj)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def _affine_mm(image: nibabel.Nifti1Image) -> np.ndarray:
    scale = _MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 7, 1.0)
    return np.diag([scale, scale, scale, 1.0]) @ image.affine


def _storable(voxels: np.ndarray) -> np.ndarray:
    """`voxels` as one of the types that every viewer reads: uint8, int16, float32."""
    if voxels.dtype in _STORED:
        return voxels
    if voxels.dtype.kind in "biu":
        low, high = int(voxels.min()), int(voxels.max())
        for kind in (np.uint8, np.int16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return voxels.astype(kind)
    return voxels.astype(np.float32)
