"""Reading a study: files or folders in, DICOM or not, a `Study` with every role decided and the reason kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from .errors import NotAnImage, UnclearRoles
from .io.dicom_series import LeftAside
from .parallel import at_once
from .study import ROLES, Study
from .survey import Found, Survey, survey

__all__ = ["read_study"]

_OPTIONS = "Say which is which with " + ", ".join(f"--{role}" for role in ROLES) + " (a series' folder, one of its files, or its number, 7 or 7.2)."


def read_study(paths: Iterable[Path | str] = (), *, t1: Path | str | None = None, t1ce: Path | str | None = None,
               t2: Path | str | None = None, flair: Path | str | None = None, study: int | None = None, fill_gaps: bool = False,
               progress: Callable[[float], None] = lambda done: None, cancel: threading.Event | None = None) -> Study:
    """The Study of the images at `paths` (files, or folders of one patient; DICOM, NIfTI, NRRD, MHA) and of those given by role.

    What is given by role wins over what a folder suggests: an image file, a DICOM series' folder or one of its files, or a series'
    number among `paths` as text. Of several DICOM studies `study` chooses one, 1 the earliest. With `fill_gaps` slices that are missing
    from a series are made up from their neighbours. `Study.sources` says per role how it was found, `Study.left_out` what was not
    used and why, `Study.stacks` holds the DICOM series; no folder and no header text in any.

    Raises MissingFile, NotAnImage or BadImage for what cannot be read; UnclearRoles for several patients or studies, when headers,
    names and images do not tell the roles apart, or when what was given is contradictory; Cancelled.
    """
    options = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
    found = survey(paths, {role: path for role, path in options.items() if path is not None}, study=study, fill_gaps=fill_gaps,
                   progress=progress, cancel=cancel)
    _refuse_unclear(found)
    chosen = found.chosen
    volumes = at_once(Found.read, chosen.values())
    return Study(dict(zip(chosen, volumes, strict=True)),
                 {role: "; ".join([one.why, *one.notes]) for role, one in chosen.items()},
                 {role: one.stack for role, one in chosen.items() if one.stack is not None},
                 _left_out(found))


def _refuse_unclear(found: Survey) -> None:
    if found.question:
        raise UnclearRoles(f"Which sequence some series are is not certain: {found.question}.", _OPTIONS)
    if found.chosen or (not found.found and not found.left_aside):
        return
    if not found.found:
        worst = max(found.left_aside, key=lambda aside: aside.damaged)  # what is broken, before what is merely nothing for us
        more = f" (and {len(found.left_aside) - 1} more)" if len(found.left_aside) > 1 else ""
        raise NotAnImage(f"No DICOM series can be used{more}: {worst.what}: {worst.why}.", worst.fix)
    reasons = [f"{one.name}: {one.left_out}" for one in found.found] + [f"{aside.what}: {aside.why}" for aside in found.left_aside]
    raise UnclearRoles(f"No T1, T2 or FLAIR was found ({'; '.join(reasons[:6])}{' ...' if len(reasons) > 6 else ''}).", _OPTIONS)


def _left_out(found: Survey) -> tuple[LeftAside, ...]:
    unused = [LeftAside(one.name, one.left_out, series_uid=one.stack.facts.series_uid) if one.stack is not None
              else LeftAside.of_file(one.path, one.left_out) for one in found.found if not one.role]
    return (*unused, *found.left_aside)
