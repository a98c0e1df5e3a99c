"""Which T1 series of one study was taken after contrast, from what all its headers say together and from the order of scanning.

A single header is often silent about contrast, and on some scanners it names the agent in every series because the plan did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .io.dicom_series import Facts
from .sequence_words import OTHER_KINDS
from .sequences import Judgement, agent_given, judge

__all__ = ["judge_study"]

_TELLS, _HINTS = 0.8, 0.6  # confidence: in itself enough; for the image to decide


def judge_study(series: Sequence[Facts]) -> list[Judgement]:
    """A judgement for each of the series of one study, in their order; a T1 that is not `sure` is one that its image must decide."""
    judgements = [judge(facts) for facts in series]
    order = _Order(series, judgements)
    return [order.settle(facts, judged) if judged.is_t1 and judged.contrast_by != "words" else judged
            for facts, judged in zip(series, judgements)]  # noqa: B905 (strict is newer than Slicer 5.8's Python)


class _Order:
    """When contrast was given, as far as words and the kinds of series tell, and whether the header's agent means anything."""

    def __init__(self, series: Sequence[Facts], judgements: Sequence[Judgement]):
        pairs = list(zip(series, judgements))  # noqa: B905
        self.t1s = [facts for facts, judged in pairs if judged.is_t1]
        native = [facts for facts, judged in pairs if judged.is_t1 and (judged.contrast_by, judged.contrast) == ("words", "no")]
        self.agents = [agent_given(facts) for facts in series]
        self.agent_means_nothing = any(agent_given(facts) == "yes" for facts in native) or self._in_all(pairs)
        after = [_time(facts) for facts, judged in pairs if judged.is_t1 and (judged.contrast_by, judged.contrast) == ("words", "yes")]
        bolus = [_time(facts) for facts, judged in pairs if judged.left_out == OTHER_KINDS["perfusion"]]
        self.given_by = min((time for time in [*after, *bolus] if time), default="")
        self.not_before = max((_time(facts) for facts in native), default="")
        self.bolus = self.given_by in bolus

    def _in_all(self, pairs) -> bool:
        """An agent in every MR series, those before any T1 and the localizer too: the plan wrote it."""
        return len(pairs) > 1 and all(agent == "yes" for agent in self.agents) and (
            len(self.t1s) > 1 or any(judged.left_out == OTHER_KINDS["localizer"] for _, judged in pairs))

    def settle(self, facts: Facts, judged: Judgement) -> Judgement:
        time = _time(facts)
        if time and self.not_before and time < self.not_before:
            return _settled(judged, "no", _TELLS, "before another T1 that is said to be native")
        if time and self.given_by and time > self.given_by:
            reason = "after the perfusion series, which needs contrast" if self.bolus else "after a series with contrast"
            return _settled(judged, "yes", _TELLS, reason)
        if judged.contrast_by == "agent" and not self.agent_means_nothing:
            return judged
        if not judged.contrast and "yes" in self.agents and not self.agent_means_nothing:
            return _settled(judged, "no", _TELLS, "no contrast agent in its header, which others have")
        if time and self.given_by:
            return _settled(judged, "no", _TELLS, "before the series with contrast")
        return self._by_repetition(facts, judged)

    def _by_repetition(self, facts: Facts, judged: Judgement) -> Judgement:
        """Nothing tells. A T1 that was taken twice alike was taken for contrast, but the image must confirm it."""
        time = _time(facts)
        alike = [_time(other) for other in self.t1s if _alike(facts, other) and _time(other) != time]
        doubt = "; the contrast agent is in every header, which tells nothing" if self.agent_means_nothing and judged.contrast == "yes" else ""
        judged = replace(judged, why=judged.why.replace("; contrast agent in the header", "") + doubt) if doubt else judged
        if alike and all([time, *alike]):
            later = min(alike) < time
            return _settled(judged, "yes" if later else "no", _HINTS, f"the {'later' if later else 'earlier'} of two alike")
        if doubt or len(self.t1s) > 1:
            return replace(judged, contrast_confidence=_HINTS)
        return replace(judged, why=f"{judged.why}; nothing speaks of contrast (if it was given: --t1ce)")


def _time(facts: Facts) -> str:
    """Sortable; '' where the header knows no more than the day."""
    return facts.acquired if len(facts.acquired) >= 12 else ""


def _settled(judged: Judgement, contrast: str, confidence: float, reason: str) -> Judgement:
    return replace(judged, role="t1ce" if contrast == "yes" else "t1", contrast=contrast, contrast_by="order", why=f"{judged.why}; {reason}",
                   contrast_confidence=confidence)


def _alike(one: Facts, other: Facts) -> bool:
    """Taken with the same protocol: TR and TE within 5 %, both 2-D or both 3-D."""
    pairs = ((one.repetition_ms, other.repetition_ms), (one.echo_ms, other.echo_ms))
    return one.acquisition_type == other.acquisition_type and all(a and b and abs(a - b) <= 0.05 * max(a, b) for a, b in pairs)
