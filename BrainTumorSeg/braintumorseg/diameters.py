"""The long and short axis of each enhancing lesion on the slice where they lie, as the RANO criteria measure it.

Wen PY et al., Updated response assessment criteria for high-grade gliomas: RANO working group. J Clin Oncol 2010;28:1963-72: a lesion's
maximal diameter on one slice and the largest perpendicular to it on the same slice, in the slice with the largest product of the two; the
products of at most five measurable lesions are added up. A lesion is what one tumour core holds, so that a rim with gaps around its necrosis
counts once. Measured is the convex hull, so that a ring that enhances around its necrosis is measured across. The products of one lesion in
two planes differ by up to a quarter, and from a quarter on it is a progression: so the slices are axial, however the scanner stored them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .labels import ET, region_mask
from .masks import bounding_box, pieces
from .volume import Grid, Volume

__all__ = ["AXIAL_MM", "HOLLOW", "MEASURABLE_MM", "MOST_LESIONS", "Axis", "Diameters", "Plane", "enhancing_diameters", "enhancing_lesions",
           "largest_diameters", "lesion_diameters", "measure_piece", "position", "rano_axis"]

# RANO takes a lesion for measurable from two perpendicular diameters of at least 10 mm, seen on two or more slices; where these are more than
# 5 mm apart, of at least twice their distance.
MEASURABLE_MM, LEAST_SLICES, THICK_MM = 10.0, 2, 5.0
MOST_LESIONS = 5      # whose products RANO adds up
HOLLOW = 0.5          # a lesion that fills less of its hull is measured across what does not enhance
# Larger pixels are no slice to measure on: 2 mm more or less on both axes of a 20 mm lesion changes the product by a fifth, just less than the
# quarter of a progression. 3-D images have 1 to 1.5 mm; slices cut across thick coronal or sagittal ones 3 to 6 mm.
AXIAL_MM = 2.0
_ALIKE = 1.25   # pixels up to so many times as large as the images' own are no reason to leave the axial plane
_ON_LINE = 1e-9  # mm off a line that are nothing but rounding
_PLANES = ("sagittal", "coronal", "axial")  # their normal points right, to the front, to the top
_INNER = 0.6     # of an axis: what reaches the midline with its end alone does not lie across it


@dataclass(frozen=True)
class Plane:
    """Slices across `axis` (0, 1, 2 for I, J, K) of a grid: called by the anatomical direction nearest to their normal, `tilt_deg` off it;
    `apart_mm` from the middle of one to that of the next."""

    axis: int
    name: str
    tilt_deg: float
    apart_mm: float


@dataclass(frozen=True)
class Axis:
    """A straight line within one slice: its length in mm and its two ends in voxels, voxel centres at whole numbers: (i, j) on a slice across K,
    on others along the grid's two other axes in their order."""

    mm: float
    ends: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Diameters:
    """The two axes of the piece of a lesion with the largest product of both, and the slice across `plane.axis` in which it lies.

    slices: on how many this part of the lesion is seen.
    filled: share (0..1) of the piece's convex hull that the piece itself is.
    """

    slice: int
    long: Axis
    short: Axis
    plane: Plane
    slices: int
    filled: float

    @property
    def product_mm2(self) -> float:
        """The product of the perpendicular diameters that RANO adds up."""
        return self.long.mm * self.short.mm

    @property
    def limit_mm(self) -> float:
        """From what short axis on RANO takes the lesion for measurable."""
        return _limit_mm(self.plane)

    @property
    def measurable(self) -> bool:
        """True when both diameters, as they are reported to 0.1 mm, reach `limit_mm`, and the lesion is seen on two slices or more."""
        return round(self.short.mm, 1) >= self.limit_mm and self.slices >= LEAST_SLICES

    @property
    def hollow(self) -> bool:
        """True when the axes lie across necrosis, a cavity or gaps for the most part."""
        return self.filled < HOLLOW

    def ends_mm(self, axis: Axis, grid: Grid) -> np.ndarray:
        """(2, 3) world mm (RAS+): the two ends of `axis`, on the grid that was measured on."""
        voxels = np.insert(np.array(axis.ends, dtype=float), self.plane.axis, self.slice, axis=1)
        return voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]

    def middle_mm(self, grid: Grid) -> tuple[float, float, float]:
        """The middle of the long axis in world mm (RAS+)."""
        r, a, s = self.ends_mm(self.long, grid).mean(axis=0)
        return float(r), float(a), float(s)

    def across_mm(self, grid: Grid) -> tuple[float, float]:
        """World x (mm) of the outermost points, to the left and right, of the inner three fifths of both axes: for `midline.side`."""
        x = np.array([self.ends_mm(axis, grid)[:, 0] for axis in (self.long, self.short)])   # (axis, end)
        x = x.mean(axis=1, keepdims=True) + _INNER * (x - x.mean(axis=1, keepdims=True))
        return float(x.min()), float(x.max())

    def position(self, grid: Grid) -> str:
        """'S +14 mm': where the slice lies, as `position` says it."""
        which = _PLANES.index(self.plane.name)
        return position(which, self.middle_mm(grid)[which])


def _limit_mm(plane: Plane) -> float:
    """10 mm; where the slices of `plane` are more than 5 mm apart, twice their distance."""
    apart = round(plane.apart_mm, 1)
    return max(MEASURABLE_MM, 2 * apart) if apart > THICK_MM else MEASURABLE_MM


def position(axis: int, mm: float) -> str:
    """'S +14 mm': a slice's place for people and for other viewers, on the world's axis 0 (right), 1 (front) or 2 (top), mm.

    To right and left it is called x: the world's 0 may lie beside the head, and 'R -89 mm' within the right half.
    """
    return f"{'xAS'[axis]} {round(mm):+d} mm"


def enhancing_diameters(labels: Volume, missing: Collection[str] = ()) -> Diameters | None:
    """RANO's diameters of the largest enhancing lesion in `labels` (I, J, K), measurable or not.

    None where nothing enhances, and where T1ce is among the `missing` sequences: without it nobody sees what enhances.
    """
    return next(iter(enhancing_lesions(labels, missing)), None)


def enhancing_lesions(labels: Volume, missing: Collection[str] = ()) -> tuple[Diameters, ...]:
    """RANO's diameters of the largest enhancing lesion, and of every other that is measurable, by their product; () as in `enhancing_diameters`."""
    if "t1ce" in missing:
        return ()
    found = lesion_diameters(labels.voxels == ET, labels.grid, rano_axis(labels.grid), region_mask(labels.voxels, "TC"))
    first, *others = found or (None,)
    return () if first is None else (first, *(one for one in others if one.measurable))


def rano_axis(grid: Grid) -> int:
    """The axis of `grid` across which RANO's slices lie: that next to the patient's, for axial slices; where their pixels would be larger than
    AXIAL_MM and clearly larger than the images' own, the coarsest axis, for slices as they were acquired."""
    pixel = [max(np.delete(grid.spacing_mm, axis)) for axis in range(3)]
    axial = int(np.abs(_normals(grid)[:, 2]).argmax())
    return axial if pixel[axial] <= max(AXIAL_MM, _ALIKE * min(pixel)) else int(np.argmin(pixel))


def largest_diameters(mask: np.ndarray, grid: Grid, axis: int = 2) -> Diameters | None:
    """The axes of the largest piece in any slice of `mask`, as `lesion_diameters` finds it; None when it is empty."""
    return next(iter(lesion_diameters(mask, grid, axis)), None)


def lesion_diameters(mask: np.ndarray, grid: Grid, axis: int = 2, core: np.ndarray | None = None) -> tuple[Diameters, ...]:
    """The axes of each lesion in `mask` (I, J, K; bool, on `grid`), by their product; () when it is empty.

    Slices lie across `axis` of the grid. A lesion is what hangs together in `core` (as `mask`, and holds all of it; the mask itself when None), a
    piece of it what hangs together in the mask within a slice, both over corners, too. Small lesions that reach neither the largest one's
    product nor what is measurable may be left out.
    """
    from scipy import ndimage

    order = [*(other for other in range(3) if other != axis), axis]
    mask, turned, plane = mask.transpose(order), Grid([grid.shape[one] for one in order], grid.affine[:, [*order, 3]]), _plane(grid, axis)
    core = mask if core is None else core.transpose(order)
    if not mask.any():
        return ()
    box = bounding_box(core)
    part, to_mm = mask[box], _in_plane(turned)
    lesions, _ = pieces(core[box])                                             # (I, J, K)
    parts, _ = pieces(part)
    on_slices = [0] + [place[2].stop - place[2].start for place in ndimage.find_objects(parts)]
    found = []                                      # (most that its product can be, lesion, its part, slice, first voxel, piece)
    for k in range(part.shape[2]):
        labelled, _ = pieces(part[:, :, k])                                    # (I, J)
        for number, place in enumerate(ndimage.find_objects(labelled), 1):
            piece = labelled[place] == number
            lesion, part_of_it = (int(numbers[:, :, k][place][piece][0]) for numbers in (lesions, parts))
            found.append((_most(piece.shape, to_mm), lesion, part_of_it, k, (place[0].start, place[1].start), piece))
    best: dict[int, Diameters] = {}
    largest, least = 0.0, (_limit_mm(plane) - 0.05) ** 2                        # mm2: no smaller product is measurable
    for most, lesion, part_of_it, k, first, piece in sorted(found, key=lambda one: -one[0]):   # of equals the lowest slice
        if most <= min(largest, least):
            break                                   # so a mask of a thousand specks costs as little as one of a lump
        if lesion in best and most <= best[lesion].product_mm2:
            continue
        long, short = measure_piece(piece, turned)
        if lesion not in best or long.mm * short.mm > best[lesion].product_mm2:
            offset = (box[0].start + first[0], box[1].start + first[1])
            best[lesion] = Diameters(box[2].start + k, _moved(long, offset), _moved(short, offset), plane, on_slices[part_of_it],
                                     _filled(piece))
            largest = max(largest, best[lesion].product_mm2)
    return tuple(sorted(best.values(), key=lambda one: -one.product_mm2))


def _plane(grid: Grid, axis: int) -> Plane:
    normal = _normals(grid)[axis]
    nearest = int(np.abs(normal).argmax())
    return Plane(axis, _PLANES[nearest], float(np.degrees(np.arccos(min(abs(normal[nearest]), 1.0)))), float(abs(normal @ grid.affine[:3, axis])))


def _normals(grid: Grid) -> np.ndarray:
    """(3, 3): for each axis the unit vector at right angles to the slices across it."""
    across = np.linalg.inv(grid.affine[:3, :3])
    return across / np.linalg.norm(across, axis=1, keepdims=True)


def _most(shape: tuple[int, int], to_mm: np.ndarray) -> float:
    """What the product in mm2 of a piece with this bounding box cannot exceed: the square of the box's diagonal, and twice its area, for the two
    axes are the diagonals of a quadrilateral within the piece's hull, whose area is half their product."""
    one, other = to_mm[:, 0] * shape[0], to_mm[:, 1] * shape[1]
    diagonal = max(np.linalg.norm(one + other), np.linalg.norm(one - other))
    return float(min(diagonal**2, 2 * abs(np.linalg.det(np.stack([one, other])))))


def measure_piece(piece: np.ndarray, grid: Grid) -> tuple[Axis, Axis]:
    """The longest line within the convex hull of a piece (I, J; bool, not empty), and the longest across it.

    The hull is that of the middles of its voxels' edges, which of a disc are as often outside as inside; their corners would add half a
    voxel's diagonal at either end. Exact: the ends of the longest line are corners of the hull, and the longest line across passes through one.
    """
    corners = _hull(_edge_points(piece))                        # (N, 2) voxels, in order around the piece
    to_mm = _in_plane(grid)                                     # (2, 2)
    points = corners @ to_mm.T                                  # (N, 2) mm
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    along = (points[b] - points[a]) / apart[a, b]
    first, last = _widest_across(points, along)
    to_voxels = np.linalg.inv(to_mm)
    return (Axis(float(apart[a, b]), (_pair(corners[a]), _pair(corners[b]))),
            Axis(float(np.linalg.norm(last - first)), (_pair(to_voxels @ first), _pair(to_voxels @ last))))


def _filled(piece: np.ndarray) -> float:
    """Share (0..1) of the piece's convex hull that is the piece."""
    (i, j) = _hull(_edge_points(piece)).T                       # in order around it
    hull = abs(i @ np.roll(j, -1) - j @ np.roll(i, -1)) / 2     # voxels
    return float(min(np.count_nonzero(piece) / hull, 1.0))


def _edge_points(piece: np.ndarray) -> np.ndarray:
    """(N, 2) middles of the edges, in voxels, of the first and last voxel of each row of the piece: their convex hull is that of all."""
    rows = np.flatnonzero(piece.any(axis=1))
    first = piece[rows].argmax(axis=1)
    last = piece.shape[1] - 1 - piece[rows][:, ::-1].argmax(axis=1)
    return np.array([(row + i, column + j) for row, one, other in zip(rows, first, last, strict=True)
                     for column, out in ((one, -0.5), (other, 0.5)) for i, j in ((-0.5, 0), (0.5, 0), (0, out))])


def _hull(points: np.ndarray) -> np.ndarray:
    """(N, 2) corners of the convex hull in order (Andrew's monotone chain, 1979)."""
    points = np.unique(points, axis=0).tolist()   # plain numbers: an array of two costs more to make than to compute with

    def chain(ordered: list[list[float]]) -> list[list[float]]:
        kept: list[list[float]] = []
        for point in ordered:
            while len(kept) > 1 and not _turns_left(*kept[-2:], point):
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(points) + chain(points[::-1]))


def _turns_left(a: list[float], b: list[float], c: list[float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])


def _in_plane(grid: Grid) -> np.ndarray:
    """(2, 2): steps along I and J in mm, in two directions at right angles within the slice."""
    return np.linalg.qr(grid.affine[:3, :2])[1]


def _widest_across(points: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the longest line at right angles to `along` (unit vector) within the convex polygon `points` (N, 2) in order: of those through
    its corners, and of equals the first."""
    where, edges = points @ along, np.roll(points, -1, axis=0) - points
    start = where - where[:, None]                              # (line, edge): mm from the line through a corner to the edge's start
    start[np.abs(start) < _ON_LINE] = 0
    end = np.roll(start, -1, axis=1)
    share = start / np.where(start == end, 1, start - end)      # of an edge before the line; of one that lies on it, 0: the next brings its end
    crossings = points + edges * share[:, :, None]              # (line, edge, 2)
    places, met = crossings @ [-along[1], along[0]], start * end <= 0
    low, high = np.where(met, places, np.inf), np.where(met, places, -np.inf)
    best = int((high.max(axis=1) - low.min(axis=1)).round(9).argmax())
    return crossings[best, low[best].argmin()], crossings[best, high[best].argmax()]


def _pair(point: np.ndarray) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _moved(axis: Axis, offset: tuple[int, int]) -> Axis:
    (a, b), (c, d) = axis.ends
    return Axis(axis.mm, ((a + offset[0], b + offset[1]), (c + offset[0], d + offset[1])))
