"""Slices into stacks: apart by patient, study, series and by what they show; then each checked to be one regular volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..errors import BadImage
from .dicom_grid import grid_of, slots_of, tilt_deg
from .dicom_series import LeftAside, Stack
from .dicom_slices import Slice
from .dicom_tilt import upright_grid
from .dicom_walk import merged

__all__ = ["stacks_of"]

_FEWEST = 3             # slices: fewer make no volume whose regularity could be checked
_TILTED_DEG = 0.05      # what positions rounded to 0.01 mm can pretend over a head
_STEEPEST_DEG = 45.0    # no gantry tilts further: the header is wrong
_AGAIN = "Export the complete series from the PACS again."


def stacks_of(slices: Iterable[Slice], fill_gaps: bool = False) -> tuple[list[Stack], list[LeftAside]]:
    """The checked stacks in order of study, series number and place, and what cannot be used with its reason."""
    series: dict[tuple, list[Slice]] = {}
    for one in slices:
        facts = one.facts
        series.setdefault((facts.patient_key, facts.study_uid, facts.series_uid, facts.sop_class_uid), []).append(one)
    stacks: list[Stack] = []
    aside: list[LeftAside] = []
    studies = {key[:2]: order for order, key in reversed(list(enumerate(series)))}  # as they were met
    for key in sorted(series, key=lambda key: (studies[key[:2]], series[key][0].facts.number or 0)):
        kept, notes, refused = _usable(series[key])
        aside += refused
        for group in _alike(kept):
            for found in _checked(group, notes, fill_gaps):
                (stacks if isinstance(found, Stack) else aside).append(found)
    return _numbered(stacks), merged(aside)


def _numbered(stacks: Sequence[Stack]) -> list[Stack]:
    """`stacks`; where a study has several with one series number, each says which of them it is."""
    same: dict[tuple, list[Stack]] = {}
    for stack in stacks:
        if stack.facts.number is not None:
            same.setdefault((stack.facts.patient_key, stack.facts.study_uid, stack.facts.number), []).append(stack)
    place = {id(stack): number for ones in same.values() if len(ones) > 1 for number, stack in enumerate(ones, start=1)}
    return [replace(stack, volume=place.get(id(stack), 0)) for stack in stacks]


def _usable(series: list[Slice]) -> tuple[list[Slice], list[str], list[LeftAside]]:
    """(slices, notes, left aside): each object once, and none of a series of which a part is damaged."""
    whole = {one.sop_uid for one in series if one.place is not None and one.sop_uid}
    copies = [one for one in series if one.place is None and one.sop_uid in whole]     # a damaged copy beside a whole one
    broken = [one for one in series if one.place is None and one.sop_uid not in whole]
    aside = [_aside(one.frame.path.name, one, one.trouble, one.fix) for one in copies]
    if broken:
        reasons: dict[tuple[str, str, bool], list[str]] = {}
        for one in broken:
            reasons.setdefault((one.trouble, one.fix, one.damaged), []).append(one.frame.path.name)
        for (trouble, fix, damaged), names in reasons.items():
            some = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more files"
            aside.append(_aside(_name(series), series[0], f"{some}: {trouble}" if damaged else trouble, fix, damaged))
        return [], [], aside
    kept: dict[tuple, Slice] = {}
    twice = 0
    for one in (one for one in series if one.place is not None):
        first = kept.setdefault((one.sop_uid or one.frame.path, one.frame.index), one)
        if first is one:
            continue
        if first.place.differs_from(one.place) or np.abs(first.place.position - one.place.position).max() > 1e-3:
            return [], [], [*aside, _aside(_name(series), one, f"{first.frame.path.name} and {one.frame.path.name} are one object by their "
                                           "SOPInstanceUID and lie in two places", _AGAIN)]
        twice += 1
    notes = [f"{twice} slice{'s were' if twice > 1 else ' was'} there twice and {'are' if twice > 1 else 'is'} read once"] if twice else []
    expected = max((one.expected or 0 for one in series), default=0)
    if len(kept) < expected:
        notes.append(f"the header speaks of {expected} images, and {len(kept)} are here")
    in_order = sorted(kept.values(), key=lambda one: (one.number or 0, one.frame.index))  # whatever their files are called
    return in_order, notes, aside


def _alike(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Groups of slices with one kind, matrix, spacing, orientation and echo time."""
    groups: list[list[Slice]] = []
    for one in slices:
        for group in groups:
            if _fit(group[0], one):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _fit(a: Slice, b: Slice) -> bool:
    echoes = a.facts.echo_ms, b.facts.echo_ms
    same_echo = echoes[0] == echoes[1] or (None not in echoes and abs(echoes[0] - echoes[1]) <= 0.02 * max(echoes))
    return a.kind == b.kind and same_echo and not a.place.differs_from(b.place)


def _checked(group: list[Slice], notes: Sequence[str], fill_gaps: bool) -> list[Stack | LeftAside]:
    """The stack that a group makes, or several where its places repeat, or why not."""
    if any(part.upper() == "LOCALIZER" for part in group[0].facts.image_type):
        return [_aside(_name(group), group[0], "a localizer, taken for planning only", damaged=False)]
    if len(group) < _FEWEST:
        return [_aside(_name(group), group[0], f"too few slices for a volume ({len(group)}; {_FEWEST} are needed)", damaged=False)]
    return [_stack(part, notes, fill_gaps) for part in _apart(group)]


def _apart(group: list[Slice]) -> list[list[Slice]]:
    """`group` split by the first attribute that tells slices at one place apart, or by all; as it is where none does, or none needs to."""
    if not _repeats(group):
        return [group]
    for which in (*(slice(index, index + 1) for index in range(len(group[0].times))), slice(None)):
        parts: dict[tuple, list[Slice]] = {}
        for one in group:
            parts.setdefault(one.times[which], []).append(one)
        if not any(_repeats(part) or len(part) < _FEWEST for part in parts.values()):
            return list(parts.values())
    return [group]


def _repeats(group: list[Slice]) -> bool:
    normal = group[0].place.normal
    depths = np.sort([normal @ one.place.position for one in group])
    return bool((np.diff(depths) < 0.01).any())


def _stack(group: list[Slice], notes: Sequence[str], fill_gaps: bool) -> Stack | LeftAside:
    normal = group[0].place.normal
    ordered = sorted(group, key=lambda one: normal @ one.place.position)
    if contradiction := _contradiction(ordered):
        return _aside(_name(group), group[0], contradiction, _AGAIN)
    places = [one.place for one in ordered]
    try:
        grid = grid_of(places, fill_gaps)
    except BadImage as error:
        return _aside(_name(group), group[0], error.what, error.fix)
    slots = slots_of(places, grid)
    missing = tuple(sorted(set(range(grid.shape[2])) - set(slots)))
    notes = [*notes, *_notes(ordered, grid.spacing_mm[2])]
    if missing:
        notes.append(f"{len(missing)} missing slice{'s' if len(missing) > 1 else ''} made up from the neighbours, as asked for")
    tilt = tilt_deg(grid)
    if tilt > _STEEPEST_DEG:
        return _aside(_name(group), group[0], f"the slices are shifted against their normal by {tilt:.1f} degrees, which no gantry does", _AGAIN)
    if tilt > _TILTED_DEG:
        notes.append(f"the gantry was tilted by {tilt:.1f} degrees: resampled to right angles")
        grid = upright_grid(grid)
    facts = replace(ordered[0].facts, acquired=min((one.facts.acquired for one in ordered if one.facts.acquired), default=""))
    return Stack(facts, grid, tuple(one.frame for one in ordered), tuple(notes), tilt if tilt > _TILTED_DEG else 0.0, missing)


def _contradiction(ordered: Sequence[Slice]) -> str:
    """Why the order of the places cannot be true: a few slices contradict what most say in SliceLocation or InstanceNumber."""
    normal = ordered[0].place.normal
    depths = np.array([normal @ one.place.position for one in ordered])
    locations, numbers = [one.location for one in ordered], [one.number for one in ordered]
    if np.diff(depths).min() <= 0:
        return ""  # places that repeat are another matter
    step = float(np.median(np.diff(depths)))
    if _all_differ(locations):  # along what it is measured, the standard does not say: it need only lie on a line
        values = np.array(locations, float)
        slope, most = _slope(depths, values), max(0.1 * len(ordered), 2)
        even = np.ptp(values) / (depths[-1] - depths[0])
        if even and _off(np.sort(values), even * depths, 0.25 * step * even) == 0:   # the very same places: many in another order tell as well
            slope, most = even * np.sign(slope or 1), len(ordered)
        off = _off(values, slope * depths, 0.5 * step * abs(slope))
        if 0 < off <= most and off < 0.5 * len(ordered):
            return _elsewhere(off, "SliceLocation")
    if _all_differ(numbers):
        off = min(_off(np.array(numbers, float), sign * np.rint((depths - depths[0]) / step), 0.5) for sign in (1, -1))
        if 0 < off <= 0.25 * len(ordered):
            return _elsewhere(off, "InstanceNumber")
    return ""


def _all_differ(values: Sequence[float | None]) -> bool:
    return None not in values and len(set(values)) == len(values)


def _slope(depths: np.ndarray, values: np.ndarray) -> float:
    """Of the line through most of `values`: the median over slices that lie half a stack apart, where rounding counts least."""
    half = len(depths) // 2
    return float(np.median((values[half:] - values[:-half]) / (depths[half:] - depths[:-half])))


def _elsewhere(off: int, name: str) -> str:
    return f"{off} slice{'s lie' if off > 1 else ' lies'} elsewhere by ImagePositionPatient than by {name}"


def _off(values: np.ndarray, expected: np.ndarray, tolerance: float) -> int:
    """How many of `values` are not `expected` plus one constant."""
    rest = values - expected
    return int((np.abs(rest - np.median(rest)) > tolerance).sum())


def _notes(ordered: Sequence[Slice], step_mm: float) -> list[str]:
    notes = []
    said = ordered[0].spacing_between
    if said and abs(abs(said) - step_mm) > 0.05 * step_mm:
        notes.append(f"the header says {abs(said):.2f} mm from slice to slice; by their positions it is {step_mm:.2f} mm, and that is used")
    if padding := next((one.padding for one in ordered if one.padding not in (None, (0, 0))), None):
        which = f"of {padding[0]}" if padding[0] == padding[1] else f"from {padding[0]} to {padding[1]}"
        notes.append(f"the header calls pixels {which} padding: where there are any, they are read as background")
    return notes


def _name(slices: Sequence[Slice]) -> str:
    """'series 4 (120 images)': no free text of the header."""
    number = slices[0].facts.number
    count = len(slices)
    return f"series {'without a number' if number is None else number} ({count} image{'s' if count > 1 else ''})"


def _aside(what: str, one: Slice, why: str, fix: str = "", damaged: bool = True) -> LeftAside:
    return LeftAside(what, why, fix, one.facts.series_uid, damaged)
