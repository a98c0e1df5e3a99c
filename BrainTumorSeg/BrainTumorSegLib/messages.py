"""Messages in the panel: a label that is there only when it says something. No colour carries meaning: themes differ, and so do eyes."""

from __future__ import annotations

from slicer.i18n import tr as _

__all__ = ["provider_name", "show"]

_WARNING = "\u26a0 "


def show(label, text: str, warning: bool = False) -> None:
    """Show `text` in a QLabel, with a warning sign where asked for; hide the label when there is nothing to say."""
    label.text = (_WARNING if warning and text else "") + text
    label.visible = bool(text)


def provider_name(provider: str) -> str:
    """The engine's name of a provider as a user knows it."""
    names = {"CPUExecutionProvider": _("CPU"), "OpenVINO": _("CPU (OpenVINO)"), "CUDAExecutionProvider": _("NVIDIA GPU (CUDA)")}
    return names.get(provider, provider)
