"""The long and short axis of the enhancing tumour on the slice where they lie, as the RANO criteria measure it.

Wen PY et al., Updated response assessment criteria for high-grade gliomas: RANO working group. J Clin Oncol 2010;28:1963-72: a lesion's
maximal diameter on one slice and the largest perpendicular to it on the same slice, in the slice with the largest product of the two.
Measured is the convex hull, so that a ring that enhances around its necrosis is measured across.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .metrics import bounding_box
from .volume import Grid

__all__ = ["MEASURABLE_MM", "Axis", "Diameters", "largest_diameters", "measure_piece"]

MEASURABLE_MM = 10.0  # RANO takes a lesion for measurable from two perpendicular diameters of at least this


@dataclass(frozen=True)
class Axis:
    """A straight line within one slice: its length in mm and its two ends as (i, j) in voxels, voxel centres at whole numbers."""

    mm: float
    ends: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Diameters:
    """The two axes of the piece of a mask with the largest product of both, and the slice along K in which it lies."""

    slice: int
    long: Axis
    short: Axis

    @property
    def product_mm2(self) -> float:
        """The product of the perpendicular diameters that RANO adds up."""
        return self.long.mm * self.short.mm

    @property
    def measurable(self) -> bool:
        """True when both diameters reach RANO's 10 mm."""
        return self.short.mm >= MEASURABLE_MM


def largest_diameters(mask: np.ndarray, grid: Grid) -> Diameters | None:
    """The axes of the largest piece in any slice of `mask` (I, J, K; bool, on `grid`); None when it is empty.

    Slices lie across K: the reference's own. A piece is what hangs together within its slice, corners included.
    """
    from scipy import ndimage

    box = bounding_box(mask)
    if box is None:
        return None
    part, to_mm = mask[box], _in_plane(grid)
    pieces = []                                                  # (most that its product can be, slice, first voxel, piece)
    for k in range(part.shape[2]):
        labelled, _ = ndimage.label(part[:, :, k], np.ones((3, 3), bool))  # (I, J)
        for number, place in enumerate(ndimage.find_objects(labelled), 1):
            piece = labelled[place] == number
            pieces.append((_most(piece.shape, to_mm), k, (place[0].start, place[1].start), piece))
    best: Diameters | None = None
    for most, k, first, piece in sorted(pieces, key=lambda one: -one[0]):   # of equals the lowest slice
        if best is not None and most <= best.product_mm2:
            break                                               # so a mask of a thousand specks costs as little as one of a lump
        long, short = measure_piece(piece, grid)
        if best is None or long.mm * short.mm > best.product_mm2:
            offset = (box[0].start + first[0], box[1].start + first[1])
            best = Diameters(box[2].start + k, _moved(long, offset), _moved(short, offset))
    return best


def _most(shape: tuple[int, int], to_mm: np.ndarray) -> float:
    """What the product in mm2 of a piece with this bounding box cannot exceed: the square of the box's diagonal, and twice its area, for the two
    axes are the diagonals of a quadrilateral within the piece's hull, whose area is half their product."""
    one, other = to_mm[:, 0] * shape[0], to_mm[:, 1] * shape[1]
    diagonal = max(np.linalg.norm(one + other), np.linalg.norm(one - other))
    return float(min(diagonal**2, 2 * abs(np.linalg.det(np.stack([one, other])))))


def measure_piece(piece: np.ndarray, grid: Grid) -> tuple[Axis, Axis]:
    """The longest line within the convex hull of a piece (I, J; bool, not empty), edges of its voxels included, and the longest across it.

    Exact: the ends of the longest line are corners of the hull, and the longest line across passes through one.
    """
    corners = _hull(_edge_points(piece))                        # (N, 2) voxels, in order around the piece
    to_mm = _in_plane(grid)                                     # (2, 2)
    points = corners @ to_mm.T                                  # (N, 2) mm
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    along = (points[b] - points[a]) / apart[a, b]
    across = np.array([-along[1], along[0]])
    chords = [_chord(points, float(point @ along), along, across) for point in points]
    first, last = max(chords, key=lambda ends: float(np.linalg.norm(ends[1] - ends[0])))
    to_voxels = np.linalg.inv(to_mm)
    return (Axis(float(apart[a, b]), (_pair(corners[a]), _pair(corners[b]))),
            Axis(float(np.linalg.norm(last - first)), (_pair(to_voxels @ first), _pair(to_voxels @ last))))


def _edge_points(piece: np.ndarray) -> np.ndarray:
    """(N, 2) corners, in voxels, of the first and last voxel of each row of the piece: its convex hull is that of the piece."""
    rows = np.flatnonzero(piece.any(axis=1))
    first = piece[rows].argmax(axis=1)
    last = piece.shape[1] - 1 - piece[rows][:, ::-1].argmax(axis=1)
    return np.array([(row + i, column + j) for row, one, other in zip(rows, first, last, strict=True)
                     for i in (-0.5, 0.5) for column, j in ((one, -0.5), (other, 0.5))])


def _hull(points: np.ndarray) -> np.ndarray:
    """(N, 2) corners of the convex hull in order (Andrew's monotone chain, 1979)."""
    points = np.unique(points, axis=0)

    def chain(ordered: np.ndarray) -> list[np.ndarray]:
        kept: list[np.ndarray] = []
        for point in ordered:
            while len(kept) > 1 and np.linalg.det(np.array([kept[-1] - kept[-2], point - kept[-2]])) <= 0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(points) + chain(points[::-1]))


def _in_plane(grid: Grid) -> np.ndarray:
    """(2, 2): steps along I and J in mm, in two directions at right angles within the slice."""
    return np.linalg.qr(grid.affine[:3, :2])[1]


def _chord(points: np.ndarray, where: float, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the line across `along` at `where` mm on it, within the convex polygon `points` (N, 2) in order."""
    crossings = []
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        from_line, to_line = float(start @ along) - where, float(end @ along) - where
        if min(from_line, to_line) > 1e-9 or max(from_line, to_line) < -1e-9:
            continue
        if abs(from_line - to_line) < 1e-9:
            crossings += [start, end]
        else:
            crossings.append(start + (end - start) * np.clip(from_line / (from_line - to_line), 0, 1))
    places = np.array(crossings) @ across
    return crossings[int(places.argmin())], crossings[int(places.argmax())]


def _pair(point: np.ndarray) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _moved(axis: Axis, offset: tuple[int, int]) -> Axis:
    (a, b), (c, d) = axis.ends
    return Axis(axis.mm, ((a + offset[0], b + offset[1]), (c + offset[0], d + offset[1])))
