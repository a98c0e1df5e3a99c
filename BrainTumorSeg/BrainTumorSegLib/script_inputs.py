"""What a script hands to `Logic.segment`: sequences under any of their usual names, and nodes; what is neither is said at once."""

from __future__ import annotations

from collections.abc import Mapping

from slicer.i18n import tr as _

from .checks import ROLES

__all__ = ["nodes_by_role"]


def nodes_by_role(chosen: Mapping) -> dict:
    """Role (t1, t1ce, t2, flair) -> volume node, for those that are not None. Keys may be other names of a sequence (T1CE, t1gd, FLAIR), told
    by the engine's rules. Raises ValueError for a key that names none or the same one twice, and for what is not a volume node."""
    found: dict = {}
    for name, node in chosen.items():
        role = _role(str(name))
        if role is None:
            raise ValueError(_("{name} names no sequence that can be segmented. Use {roles}.").format(name=repr(name), roles=", ".join(ROLES)))
        if node is None:
            continue
        if not (hasattr(node, "IsA") and node.IsA("vtkMRMLVolumeNode")):
            raise ValueError(_("{role} is not a volume node ({kind}). Give the node: slicer.util.getNode(name) finds it by its name.").format(
                role=role, kind=type(node).__name__))
        if role in found:
            raise ValueError(_("{role} is given twice. Give one volume for each sequence.").format(role=role))
        found[role] = node
    return found


def _role(name: str) -> str | None:
    from braintumorseg.io.dicom_series import Facts
    from braintumorseg.sequences import judge

    plain = name.strip().casefold()
    return plain if plain in ROLES else judge(Facts(description=name)).role or None
