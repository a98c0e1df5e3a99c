"""Which of a study's DICOM series is which sequence: headers first, then order, then images, then the better of two candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .errors import BadImage, NotAnImage
from .io.dicom_series import Stack
from .sequence_order import judge_study
from .sequences import SURE, Judgement, dixon_image, judge
from .sequences_by_image import Look, brighter, kinds_of
from .study import ROLES
from .volume import Volume

__all__ = ["SeriesRole", "recognise_series", "series_name", "volume_for"]

_FEWEST_SLICES = 5     # a localizer has three; a tumour needs more
_WHOLE_BRAIN_MM = 110.0
_MOST_SILENT = 8       # series whose header says nothing and whose image is looked at
_T1S = ("t1", "t1ce")
_BY_IMAGE = {"t1": "in its image fluid is dark and grey matter darker than white", "t2": "in its image fluid is bright",
             "flair": "in its image fluid is dark and grey matter no darker than white"}


@dataclass(frozen=True)
class SeriesRole:
    """A series' `role` of ROLES and why, or '' and why it is `left_out`. Where its sequence is not certain, `may_be` holds what it may be."""

    stack: Stack
    role: str = ""
    why: str = ""
    left_out: str = ""
    may_be: tuple[str, ...] = ()


def recognise_series(stacks: Sequence[Stack], given: Mapping[str, Stack] | None = None,
                     read: Callable[[Stack], Volume] | None = None) -> list[SeriesRole]:
    """What each of one study's stacks is, in their order; a role is taken by one of them at most.

    given: role -> stack that the user chose for it; it is not judged. read: gives a stack's volume, asked only where the headers do
    not tell; None leaves those uncertain. What cannot be read stays uncertain.
    """
    given = given or {}
    judged = [replace(one, role="", left_out=f"shows {stack.grid.shape[2]} slices only", confidence=1.0) if _too_few(stack, one) else one
              for stack, one in zip(stacks, _by_headers(stacks), strict=True)]
    judged = _Images(stacks, judged, given, read).ask()
    found = [SeriesRole(stack, one.role if one.sure else "", one.why, _left_out(one), () if one.sure or one.left_out else _may_be(one))
             for stack, one in zip(stacks, judged, strict=True)]
    for role in ROLES:
        found = _give(found, role, given[role]) if role in given else _take_better(found, role, judged)
    return found


def volume_for(role: str, volumes: Sequence[Stack]) -> Stack | None:
    """The one of a series' `volumes` that is `role` by their headers, a T1 for either T1; None where that is none or several."""
    wanted = set(_T1S if role in _T1S else (role,))
    fit = [one.stack for one in recognise_series(volumes) if wanted & {one.role, *one.may_be}]
    return fit[0] if len(fit) == 1 else None


def series_name(stack: Stack) -> str:
    """'series 4', or 'series 4.2' for the second of its volumes; for messages."""
    if stack.facts.number is None:
        return "a series without a number"
    return f"series {stack.facts.number}{f'.{stack.volume}' if stack.volume else ''}"


def _by_headers(stacks: Sequence[Stack]) -> list[Judgement]:
    """As the study's headers tell; of a Dixon series its water image alone, or its in-phase image where there is no other."""
    shown: dict[tuple[str, str], set[str]] = {}
    for stack in stacks:
        shown.setdefault(_series(stack), set()).add(dixon_image(stack.facts))
    aside = [_beside_dixon(stack, shown[_series(stack)]) for stack in stacks]
    others = iter(judge_study([stack.facts for stack, why in zip(stacks, aside, strict=True) if not why]))
    return [replace(judge(stack.facts), role="", left_out=why, confidence=1.0) if why else next(others)
            for stack, why in zip(stacks, aside, strict=True)]


def _beside_dixon(stack: Stack, shown: set[str]) -> str:
    """Why a stack is left out of a series in which the Dixon images `shown` are; '' when it is not."""
    best = next((name for name in ("water", "in-phase") if name in shown), "")
    return f"its series has the {best} image" if best not in ("", dixon_image(stack.facts)) and not judge(stack.facts).left_out else ""


def _series(stack: Stack) -> tuple[str, str]:
    return stack.facts.study_uid, stack.facts.series_uid


def _too_few(stack: Stack, judged: Judgement) -> bool:
    return not judged.left_out and stack.grid.shape[2] < _FEWEST_SLICES


def _may_be(judged: Judgement) -> tuple[str, ...]:
    return _T1S if judged.is_t1 and judged.contrast_by != "words" else (judged.role,) if judged.role else ROLES


def _left_out(judged: Judgement) -> str:
    if judged.left_out or judged.sure:
        return judged.left_out
    return f"not certain: may be {' or '.join(_may_be(judged))}" if judged.role else "not certain: neither header nor image tells its sequence"


def _give(found: list[SeriesRole], role: str, chosen: Stack) -> list[SeriesRole]:
    """The user's choice stands; every other candidate for its role is left out, and so is what the chosen one was taken for."""
    def settle(one: SeriesRole) -> SeriesRole:
        if one.stack is chosen:
            return SeriesRole(one.stack, role, f"given as --{role}")
        if one.role == role:
            return SeriesRole(one.stack, "", one.why, f"{series_name(chosen)} was given as --{role}")
        return one

    return [settle(one) for one in found]


def _take_better(found: list[SeriesRole], role: str, judged: list[Judgement]) -> list[SeriesRole]:
    candidates = [_Candidate(place, one.stack, judged[place].reserve) for place, one in enumerate(found) if one.role == role]
    if len(candidates) < 2:
        return [replace(one, why=f"{one.why}; derived, but the only {role}") if one.role == role and judged[place].reserve else one
                for place, one in enumerate(found)]
    best = max(candidates, key=lambda one: one.rank)
    found = list(found)
    for other in candidates:
        if other is not best:
            why_not = f"{series_name(best.stack)} is the better {role}: {best.better(other)}"
            found[other.place] = replace(found[other.place], role="", left_out=why_not)
    others = ", ".join(series_name(one.stack) for one in candidates if one is not best)
    found[best.place] = replace(found[best.place], why=f"{found[best.place].why}; better than {others}")
    alike = [one for one in candidates if one.rank == best.rank and _series(one.stack) == _series(best.stack)]
    if len(alike) > 1:
        for one in alike:
            why_not = "not certain: its series has volumes that nothing tells apart"
            found[one.place] = SeriesRole(one.stack, "", judged[one.place].why, why_not, (role,))
    return found


@dataclass(frozen=True, eq=False)
class _Candidate:
    place: int
    stack: Stack
    derived: bool

    @property
    def rank(self) -> tuple:
        """Higher is better; in the order in which it matters."""
        return (not self.derived, self._whole, self._is_3d, -round(max(self.stack.grid.spacing_mm), 1), self.stack.facts.acquired,
                self.stack.facts.number or 0)

    @property
    def _whole(self) -> bool:
        return self.stack.grid.size_mm[2] >= _WHOLE_BRAIN_MM

    @property
    def _is_3d(self) -> bool:
        return self.stack.facts.acquisition_type == "3D" or max(self.stack.grid.spacing_mm) < 1.6

    def better(self, other: _Candidate) -> str:
        """Why this one was taken: the first difference that counts."""
        mm, other_mm = (max(one.stack.grid.spacing_mm) for one in (self, other))
        cover, other_cover = (one.stack.grid.size_mm[2] for one in (self, other))
        reasons = ("not derived from other images", f"covers more of the head ({cover:.0f} mm against {other_cover:.0f} mm)", "3-D",
                   f"thinner slices ({mm:.1f} mm against {other_mm:.1f} mm)", "later", "the higher series number")
        return next((reason for reason, mine, theirs in zip(reasons, self.rank, other.rank, strict=True) if mine != theirs), "the first of two alike")


@dataclass(eq=False)
class _Images:
    """Asks images where headers do not tell; each is read once, and only then."""

    stacks: Sequence[Stack]
    judged: list[Judgement]
    given: Mapping[str, Stack]
    read: Callable[[Stack], Volume] | None
    _looks: dict[int, Look | None] = field(default_factory=dict)

    def ask(self) -> list[Judgement]:
        if self.read is not None:
            self._judge_silent()
            self._judge_contrast()
        return self.judged

    def _judge_silent(self) -> None:
        """Series whose weighting is not known, beside those where it is."""
        silent = [place for place, one in enumerate(self.judged) if self._open(place) and (not one.role or one.confidence < SURE)]
        looks = {str(place): look for place in silent[:_MOST_SILENT] if (look := self._look(place)) is not None}
        if not looks:
            return
        known = {place: _kind(one.role) for place, one in enumerate(self.judged) if one.role and one.confidence >= SURE}
        known |= {self._place(stack): _kind(role) for role, stack in self.given.items()}
        beside = {str(place): kind for place, kind in known.items() if self._look(place) is not None}
        opinions = kinds_of({**looks, **{name: self._looks[int(name)] for name in beside}}, beside)
        told = [opinion.kind for opinion in opinions.values() if opinion.certain]
        for name, opinion in opinions.items():
            place, judged = int(name), self.judged[int(name)]
            if opinion.certain and (opinion.kind == "t1" or told.count(opinion.kind) == 1):
                contrast = judged.contrast if judged.contrast_by == "words" else ""
                role = "t1ce" if opinion.kind == "t1" and contrast == "yes" else opinion.kind
                contrast_known = 1.0 if opinion.kind != "t1" or contrast else 0.0
                self.judged[place] = replace(judged, role=role, confidence=SURE, contrast=contrast, contrast_confidence=contrast_known,
                                             why=f"{judged.why}; {_BY_IMAGE[opinion.kind]}")

    def _judge_contrast(self) -> None:
        """T1s whose contrast is not certain, against every other T1 of the study."""
        t1s = [place for place, one in enumerate(self.judged) if one.is_t1 and self._taken(place) is None]
        t1s += [self._place(stack) for role, stack in self.given.items() if role in _T1S]
        for place in t1s:
            judged = self.judged[place]
            if self._taken(place) is None and judged.confidence >= SURE > judged.contrast_confidence:
                self._compare(place, [other for other in t1s if other != place])

    def _compare(self, place: int, others: list[int]) -> None:
        for other in others:
            one, two = self._look(place), self._look(other)
            if one is None or two is None:
                continue
            verdict = brighter(one, two)
            known = self._taken(other) or (self.judged[other].role if self.judged[other].sure else "")
            if verdict == "other" and known != "t1":
                self._settle(place, "no", f"darker in places than {series_name(self.stacks[other])}, which is after contrast")
            elif verdict == "one" and known != "t1ce":
                self._settle(place, "yes", f"brighter in places than {series_name(self.stacks[other])}")
            elif verdict == "neither" and known:
                after = known == "t1ce"
                self._settle(place, "yes" if after else "no", f"the same picture as {series_name(self.stacks[other])}, which is "
                                                              f"{'after' if after else 'without'} contrast")
            else:
                continue
            return

    def _settle(self, place: int, contrast: str, reason: str) -> None:
        judged = self.judged[place]
        self.judged[place] = replace(judged, role="t1ce" if contrast == "yes" else "t1", contrast=contrast, contrast_by="image",
                                     contrast_confidence=SURE, why=f"{judged.why}; {reason}")

    def _open(self, place: int) -> bool:
        return not self.judged[place].left_out and self._taken(place) is None

    def _taken(self, place: int) -> str | None:
        return next((role for role, stack in self.given.items() if stack is self.stacks[place]), None)

    def _place(self, stack: Stack) -> int:
        return next(place for place, one in enumerate(self.stacks) if one is stack)

    def _look(self, place: int) -> Look | None:
        if place not in self._looks:
            try:
                self._looks[place] = Look.at(self.read(self.stacks[place]))
            except (BadImage, NotAnImage):
                self._looks[place] = None  # reading it for the network, if it comes to that, says what is wrong
        return self._looks[place]


def _kind(role: str) -> str:
    return "t1" if role in _T1S else role
