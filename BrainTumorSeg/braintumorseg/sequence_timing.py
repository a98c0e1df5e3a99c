"""Which weighting the timing of a series tells: TR, TE and TI in ms, flip angle in degrees.

The ranges are those of clinical protocols at 1.5 and 3 T; between them nothing is said.
"""

from __future__ import annotations

import re

from .io.dicom_series import Facts

__all__ = ["timing_of"]


def timing_of(facts: Facts) -> str:
    """A role, 'pd', 'stir', 'susceptibility', 'steady' or 'epi' as TR, TE and TI alone say; '' where they fit several or none."""
    tr, te, ti, flip = facts.repetition_ms, facts.echo_ms, facts.inversion_ms or 0.0, facts.flip_deg
    if "EP" in facts.scanning_sequence or re.match(r"\*?ep", facts.sequence_name.lower()):
        return "epi"
    gradient = "GR" in facts.scanning_sequence and "SE" not in facts.scanning_sequence
    if tr is None and te is None:
        return "flair" if 1500 <= ti <= 3000 else ""
    tr, te = (tr if tr is not None else -1.0), (te if te is not None else -1.0)
    if (300 <= ti < 1500 and te <= 40 and tr < 4000) or (gradient and 300 <= ti < 1500 and te <= 12):
        return "t1"                                                     # MPRAGE, T1-FLAIR
    if ti >= 1400 and (tr >= 3500 or tr < 0) and (te >= 50 or te < 0):
        return "flair"
    if 50 <= ti < 300 and tr >= 1200 and not gradient:
        return "stir"
    if te < 0 or tr < 0:
        return ""
    return _gradient_echo(tr, te, flip) if gradient or 0 < tr <= 60 else _spin_echo(tr, te, "IR" in facts.scanning_sequence)


def _gradient_echo(tr: float, te: float, flip: float | None) -> str:
    if te >= 12:
        return "susceptibility"
    if tr <= 15 and flip is not None and flip >= 35:
        return "steady"
    if tr <= 15 and te <= 8:
        return "t1"
    if 60 < tr <= 800 and te <= 8 and (flip is None or flip >= 50):
        return "t1"
    return ""  # TR 15 to 60: a FLASH, or a time-of-flight angiography


def _spin_echo(tr: float, te: float, inverted: bool) -> str:
    if te <= 40 and tr <= 1250:
        return "t1"
    if inverted:
        return ""  # FLAIR, STIR or T1-FLAIR: only the TI, which is not there, would tell
    if te >= 65 and tr >= 1800:
        return "t2"
    return "pd" if te <= 45 and tr >= 1500 else ""
