"""Which file is which sequence from the images alone, for names that say nothing; all of them for certain, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import BadImage
from .io.readers import read_volume
from .roles import Recognised
from .sequences_by_image import Look, roles_of
from .study import ROLES, Study

__all__ = ["recognise_by_image"]

_MOST = 4  # a patient has four sequences; of more files, some are something else
_WHY = {"t1": "by its image alone: dark fluid, grey matter darker than white, darker in places than t1ce",
        "t1ce": "by its image alone: dark fluid, grey matter darker than white, brighter in places than t1",
        "t2": "by its image alone: bright fluid", "flair": "by its image alone: dark fluid, grey matter no darker than white"}


def recognise_by_image(paths: Sequence[Path]) -> dict[str, Recognised]:
    """Role -> file for two to four images of one patient; {} unless every one of them is certain and no two have one role.

    Raises MissingFile, NotAnImage or BadImage for a file that cannot be read.
    """
    if not 2 <= len(paths) <= _MOST:
        return {}
    looks: dict[str, Look] = {}
    for path in paths:
        volume = read_volume(path)
        try:
            Study({"t1": volume})  # a mask is no sequence
        except BadImage:
            return {}
        look = Look.at(volume)
        if look is None:
            return {}
        looks[str(path)] = look
    roles = roles_of(looks)
    return {role: Recognised(Path(roles[role]), _WHY[role]) for role in ROLES if role in roles}
