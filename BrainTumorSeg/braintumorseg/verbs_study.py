"""The verb `study`: a table of what was found, for people and for programs, without segmenting."""

from __future__ import annotations

from .errors import MissingFile
from .study import ROLES, TITLES
from .survey import Found, Survey, survey
from .terminal import Talk

__all__ = ["FORMAT", "format_survey", "study", "survey_to_json"]

FORMAT = "braintumorseg study 1"


def study(args, talk: Talk) -> None:
    given = {role: getattr(args, role) for role in ROLES if getattr(args, role) is not None}
    if not args.paths and not given:
        raise MissingFile("No folder and no image was given.", "Give the folder of one patient.")
    found = survey(args.paths, given, study=args.study, fill_gaps=args.fill_gaps)
    talk.text(format_survey(found, args.with_identity))
    talk.result(survey_to_json(found, args.with_identity))


def format_survey(found: Survey, with_identity: bool = False) -> str:
    """The table as lines of text. Nothing of a header's free text is in it, unless `with_identity`."""
    order = _order(found)
    lines = []
    for one in found.found:
        role = TITLES.get(one.role, "-")
        lines.append(f"{one.name:<12} {role:<6} {one.why if one.role else f'left out: {one.left_out}'}")
        details = [_grid(one), *([f"taken {_ordinal(order[id(one)])}"] if id(one) in order else []), *one.notes]
        if one.left_out and one.why:
            details.insert(0, one.why)
        lines += [f"{'':<19} {detail}" for detail in details]
        if with_identity and one.stack is not None:
            lines.append(f"{'':<19} described as \"{one.stack.facts.description or one.stack.facts.protocol}\"")
    for aside in found.left_aside:
        lines.append(f"{'damaged' if aside.damaged else 'not used':<12} {aside.what}: {aside.why}.{' ' + aside.fix if aside.fix else ''}")
    lines.append("")
    lines.append("Found: " + (", ".join(f"{TITLES[role]} ({one.name})" for role, one in found.chosen.items()) or "no sequence"))
    if found.missing:
        lines.append("Missing: " + ", ".join(TITLES[role] for role in found.missing))
    if found.reference:
        lines.append(f"The result would lie on the grid of {TITLES[found.reference]}.")
    if found.question:
        lines.append(f"Not certain: {found.question}. Say it with " + ", ".join(f"--{role}" for role in ROLES) + ".")
    return "\n".join(lines)


def survey_to_json(found: Survey, with_identity: bool = False) -> dict:
    """The same for programs: `order` counts the series by the time of scanning from 1; null where it is not known or for a file."""
    order = _order(found)
    return {
        "format": FORMAT,
        "series": [{
            "number": one.stack.facts.number if one.stack is not None else None,
            "series_uid": one.stack.facts.series_uid if one.stack is not None else "",
            "name": one.name,
            "role": one.role or None,
            "may_be": list(one.may_be),
            "why": one.why,
            "left_out": one.left_out,
            "grid": _grid(one),
            "order": order.get(id(one)),
            "notes": list(one.notes),
            "files": len({frame.path for frame in one.stack.frames}) if one.stack is not None else 1,
            **({"description": one.stack.facts.description} if with_identity and one.stack is not None else {}),
        } for one in found.found],
        "missing": list(found.missing),
        "left_aside": [{"what": aside.what, "why": aside.why, "fix": aside.fix, "damaged": aside.damaged} for aside in found.left_aside],
        "reference": found.reference or None,
        "question": found.question,
    }


def _grid(one: Found) -> str:
    return (one.stack.grid if one.stack is not None else one.read().grid).describe()


def _order(found: Survey) -> dict[int, int]:
    """id(Found) -> its place in the order of scanning, 1 first; those whose time is not known are not in it."""
    timed = [one for one in found.found if one.stack is not None and one.stack.facts.acquired]
    times = sorted({one.stack.facts.acquired for one in timed})
    return {id(one): 1 + times.index(one.stack.facts.acquired) for one in timed}


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
