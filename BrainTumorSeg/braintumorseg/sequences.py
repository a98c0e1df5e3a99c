"""Which sequence one MR series is, from its header alone: words of its description, timing, kind of image.

Reasons are made of our own vocabulary and of numbers (TR, TE and TI in ms), so they may be shown; a description may not.
Whether contrast was given is settled among the series of a study
(sequence_order), since a header alone is often silent or wrong about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .io.dicom_series import Facts
from .sequence_timing import timing_of
from .sequence_words import OTHER_KINDS, Words, read_words

__all__ = ["SURE", "Judgement", "agent_given", "dixon_image", "judge"]

SURE = 0.7  # below this confidence the image is asked, and then the user
_BOTH, _WORDS, _NUMBERS, _DOUBT, _CONFLICT = 0.95, 0.85, 0.75, 0.6, 0.4  # what a judgement rests on

_ECHO_PLANAR = "echo-planar (diffusion, perfusion or functional)"
_MR_OBJECTS = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3", "1.2.840.10008.5.1.4.1.1.4.4")
_MODALITIES = {"CT": "CT", "PT": "PET", "SEG": "a segmentation", "SR": "a report", "RTSTRUCT": "contours", "RTDOSE": "a dose", "RTPLAN": "a plan",
               "PR": "a presentation state", "KO": "a key object note", "DOC": "a document", "US": "ultrasound", "CR": "a radiograph", "DX": "a "
                                                                                                                                             "radiograph",
               "REG": "a registration", "OT": "a screenshot or other picture", "SC": "a screenshot or other picture", "XA": "angiography"}
_SPINE_AND_MORE = ("SPINE CSPINE TSPINE LSPINE SSPINE CTSPINE TLSPINE LSSPINE NECK CHEST ABDOMEN PELVIS BREAST HEART KNEE HIP SHOULDER ANKLE "
                   "FOOT HAND WRIST ELBOW LEG ARM PROSTATE LIVER WHOLEBODY EXTREMITY")
# Values of ImageType -> tag of OTHER_KINDS.
_IMAGE_TYPES = {
    "localizer": "LOCALIZER",
    "diffusion": "ADC|TRACEW|TRACE|FA|DIFFUSION|EXP|EADC|TENSOR|TENSOR_B0|ADC_UNSPECIFIED|DIFFUSION_ANISO|ISOTROPIC|CALC_BVALUE",
    "perfusion": "PERFUSION|CBF|CBV|MTT|TTP|TMAX|RCBF|RCBV|RELCBF|RELCBV|RELMTT|GBP|PBP|KTRANS", "asl": "ASL|PERFUSION_ASL|RELCBF_ASL",
    "functional": "FMRI|T_TEST|Z_SCORE|BOLD", "angiography": "VELOCITY|PHASE CONTRAST|PHASE_CONTRAST|PCA|PC_ANGIO|TOF|VELOCITY MAP",
    "phase": "P|PHASE|PHASE MAP|PHASE_MAP|FIELD_MAP|B0 MAP|B0", "projection": "MIP|MNIP|MAXIP|MINIP|MIN IP|PROJECTION IMAGE|PROJECTION|VOLUME "
                                                                              "RENDERED",
    "reformat": "MPR|REFORMATTED|RFMT|CSA MPR|CURVED|MPR THICK", "subtraction": "SUBTRACT|SUBTRACTION|SUB",
    "map": "T1 MAP|T2 MAP|T2 STAR MAP|T2STAR MAP|R2 MAP|T1_MAP|T2_MAP|PARAM|PROTON DENSITY MAP|SYNTHETIC|INV1|INV2|FAT|FAT "
           "FRACTION|OPP_PHASE|OUT_PHASE|R2_STAR MAP|F/F|OP/OP",  # Philips writes fat and opposed phase twice; a single 'F' may mean anything
    "report": "SCREEN SAVE|SCREENSAVE|CSA REPORT|CSA BLACK IMAGE|SCREEN CAPTURE|CAPTURE|EVIDENCE|REPORT",
}
_KIND_OF_TYPE = {value: tag for tag, values in _IMAGE_TYPES.items() for value in values.split("|")}
_DIXON = {"water": {"WATER", "W/W"}, "in-phase": {"IN_PHASE", "IP/IP"}}  # the images of a Dixon series that show the brain, the better first
# Siemens' names of pulse sequences, as their beginning: '*tfl3d1_ns'. Time of flight is a FLASH with a tone ('_t70').
_SEQUENCE_NAMES = ((r"\*?ep", "epi"), (r"\*?(?:fl[23]d\d?r?_t|fl[23]d\w*_v|qfl)", "angiography"), (r"\*?(?:tfi|ci3d|fi[23]d|de3d)", "steady"),
                   (r"\*?swi", "susceptibility"), (r"\*?(?:csi|svs)", "spectroscopy"))
_NOT_GIVEN = re.compile(r"(?:none?|n|n/?a|nil|null|false|unk(?:nown)?|not\b.*|no\b.*|nein|kein.*|ohne.*|without.*|w/o.*|sans.*|sin .*|sem "
                         ".*|senza.*|zonder.*|bez.*"
                        r"|nativ\w*|0+(?:[.,]0*)? ?(?:ml|cc|mmol)?\b.*|[-.*x_/ ]+|нет.*|без.*|无|無|なし|없음)$")


@dataclass(frozen=True)
class Judgement:
    """What a series is: `role` of ROLES, or '' with a reason in `left_out`.

    why: from our vocabulary and numbers only. confidence: 0..1, of the weighting; a T1 with and one without contrast are one.
    contrast: 'yes', 'no' or '' for a T1; what says so in `contrast_by` ('words', 'agent', 'order', 'image' or ''), and its confidence.
    reserve: derived from other images, so it is taken only where nothing better has its role.
    """

    role: str = ""
    left_out: str = ""
    why: str = ""
    confidence: float = 1.0
    contrast: str = ""
    contrast_by: str = ""
    contrast_confidence: float = 1.0
    reserve: bool = False

    @property
    def is_t1(self) -> bool:
        return self.role in ("t1", "t1ce")

    @property
    def sure(self) -> bool:
        """True when the role can be acted on."""
        return bool(self.role) and min(self.confidence, self.contrast_confidence) >= SURE


def judge(facts: Facts) -> Judgement:
    """The sequence that the header of one series tells, or why it is left out. Never raises; a silent header has confidence 0."""
    words = _words(facts)
    timing, numbers = timing_of(facts), _by_numbers(facts)
    kind, by = _other_kind(facts, words, timing)
    if kind:
        return Judgement(left_out=kind, why=by)
    role, confidence = _weighting(words, timing, facts)
    if role in OTHER_KINDS or role == "epi":
        return Judgement(left_out=OTHER_KINDS.get(role, _ECHO_PLANAR), why=_why(words, numbers), confidence=confidence)
    why = _why(words, numbers) or "the header is silent"
    if confidence == _CONFLICT:
        why += ", which contradict each other"
    if not role:
        return Judgement(why=why, confidence=0.0, reserve=_derived(facts))
    contrast, contrast_by = _contrast(facts, words) if role == "t1" else ("", "")
    if contrast_by == "agent":
        why += "; contrast agent in the header" if contrast == "yes" else "; the header says that no contrast was given"
    return Judgement("t1ce" if contrast == "yes" else role, "", why, confidence, contrast, contrast_by,
                     {"words": _BOTH, "agent": _WORDS}.get(contrast_by, _NUMBERS), _derived(facts))


def _words(facts: Facts) -> Words:
    """Of the description; of the protocol's name where that says no sequence (GE's names the whole examination)."""
    words = read_words(facts.description)
    if words.weightings or words.kinds or words.techniques - {"fs", "se", "tse", "space", "ffe"}:
        return words
    protocol = read_words(facts.protocol)
    whole_examination = facts.manufacturer.upper().startswith("GE")
    kinds = frozenset() if whole_examination else protocol.kinds
    contrast = words.contrast or ("" if whole_examination or protocol.contrast == "both" else protocol.contrast)
    return Words(protocol.weightings, words.techniques | protocol.techniques, words.kinds | kinds, contrast, words.mpr or protocol.mpr)


def _other_kind(facts: Facts, words: Words, timing: str) -> tuple[str, str]:
    """(reason, what says so) for a series that cannot be one of ours; two empty strings otherwise."""
    if facts.modality and facts.modality != "MR":
        return f"not MR: {_MODALITIES.get(facts.modality, 'another modality')}", "modality"
    if facts.sop_class_uid.startswith("1.2.840.10008.5.1.4.1.1.7"):
        return "a screenshot or other picture (secondary capture)", "kind of DICOM object"
    if facts.sop_class_uid and facts.sop_class_uid not in _MR_OBJECTS:
        return "not an MR image", "kind of DICOM object"
    if facts.body_part.upper().replace("-", "").replace(" ", "") in _SPINE_AND_MORE.split():
        return OTHER_KINDS["body"], "body part"
    if facts.b_value:
        return OTHER_KINDS["diffusion"], f"b {facts.b_value:g}"
    for tag in (_KIND_OF_TYPE.get(value) for value in _image_types(facts)):
        if tag:
            return OTHER_KINDS[tag], "image type"
    if words.kinds:
        return OTHER_KINDS[_first_kind(words)], f"words {words.shown}"
    if words.mpr and (_derived(facts) or (words.techniques & {"mprage", "spgr", "tfe", "space"} and "GR" not in facts.scanning_sequence)):
        return OTHER_KINDS["reformat"], f"words {words.shown}"  # elsewhere 'mpr' is short for MPRAGE
    for pattern, tag in _SEQUENCE_NAMES:
        if re.match(pattern, facts.sequence_name.lower()) and tag != "epi":
            return OTHER_KINDS[tag], "the scanner's name of the sequence"
    if any("TOF" in option.upper() for option in facts.scan_options):
        return OTHER_KINDS["angiography"], "scan options"
    if timing == "epi" and not words.weightings:
        return _ECHO_PLANAR, "scanning sequence EP"
    return "", ""


def _image_types(facts: Facts) -> list[str]:
    """The values of ImageType, and each two neighbours joined by '/'."""
    types = [value.strip().upper() for value in facts.image_type]
    return [*types, *(f"{one}/{two}" for one, two in zip(types, types[1:]))]  # noqa: B905, RUF007 (newer than Slicer 5.8's Python)


def dixon_image(facts: Facts) -> str:
    """'water' or 'in-phase' for such an image of a Dixon series; '' for any other."""
    types = set(_image_types(facts))
    return next((name for name, values in _DIXON.items() if types & values), "")


def _first_kind(words: Words) -> str:
    """The kind to name: how an image was made from others says more than what it was made from."""
    order = ("report", "localizer", "calibration", "body", "subtraction", "projection", *OTHER_KINDS)
    return next(tag for tag in order if tag in words.kinds)


def _weighting(words: Words, timing: str, facts: Facts) -> tuple[str, float]:
    """(a role, a tag of OTHER_KINDS, 'epi' or '', confidence) from words and timing together; contrast is settled elsewhere."""
    said = set(words.weightings)
    if {"t1", "flair"} == said:
        said = {"t1"}                    # T1-FLAIR
    if {"t2", "flair"} <= said:
        said -= {"t2", "pd"}             # T2-FLAIR
    if said == {"t2", "pd"}:             # a double echo: which one is it?
        return _double_echo(timing, facts)
    if len(said) > 1:
        return (timing, _DOUBT) if timing in said else ("", 0.0)
    if not said:
        return _by_technique(words, timing)
    word = said.pop()
    if word == timing:
        return word, _BOTH
    if not timing:
        gradient = words.techniques & {"ffe", "flash"} and "SE" not in facts.scanning_sequence
        return ("susceptibility" if word == "t2" and gradient and not words.techniques & {"tse", "se", "space"} else word), _WORDS
    return _disagreement(word, timing, words, facts)


def _disagreement(word: str, timing: str, words: Words, facts: Facts) -> tuple[str, float]:
    """Words say one thing, timing another: which of them is known to be careless."""
    if word == "t2" and timing in ("flair", "susceptibility"):
        return timing, _NUMBERS                         # 't2_tirm', 't2_fl2d'
    if word in ("t2", "flair") and timing == "stir" and "fs" not in words.techniques:
        return "stir", _NUMBERS                         # Siemens' TIRM is FLAIR with a long and STIR with a short TI
    if word == "flair" and timing == "t2" and not facts.inversion_ms:
        return "flair", _WORDS                          # an anonymised header without TI
    if word == "flair" and timing == "t1" and facts.inversion_ms and "t2" not in words.weightings:
        return "t1", _NUMBERS                           # T1-FLAIR
    if (word == "t2" and timing == "stir") or (word == "t1" and timing in ("stir", "steady")):
        return word, _NUMBERS                           # TI of a fat saturation, not of an inversion
    if timing == "epi":
        return "epi", _NUMBERS
    if word == "pd":
        return (timing, _DOUBT) if timing != "flair" else ("pd", _DOUBT)
    if word == "t2" and timing == "pd" and (facts.echo_ms or 0) > 35:
        return "t2", _DOUBT
    return word, _CONFLICT


def _double_echo(timing: str, facts: Facts) -> tuple[str, float]:
    if timing in ("t2", "pd"):
        return timing, _BOTH
    if facts.echo_number in (1, 2):
        return ("pd" if facts.echo_number == 1 else "t2"), _NUMBERS
    return "", 0.0


def _by_technique(words: Words, timing: str) -> tuple[str, float]:
    """No weighting is named. MPRAGE, SPGR and VIBE are T1 by design; TFE and FLASH mostly; SPACE may be anything."""
    if words.techniques & {"mprage", "spgr", "vibe"}:
        return ("t1", _BOTH if timing == "t1" else _WORDS) if timing in ("", "t1", "steady") else ("t1", _CONFLICT)
    if words.techniques & {"tfe", "flash"} or words.mpr:
        return ("t1", _WORDS if timing == "t1" else _DOUBT) if timing in ("", "t1") else (timing, _NUMBERS)
    return (timing, _NUMBERS) if timing else ("", 0.0)


def _contrast(facts: Facts, words: Words) -> tuple[str, str]:
    """('yes', 'no' or '', what says so); words win, for the agent is often filled in for a whole examination."""
    if words.contrast in ("yes", "no"):
        return words.contrast, "words"
    agent = agent_given(facts)
    return agent, "agent" if agent else ""


def agent_given(facts: Facts) -> str:
    """'yes', 'no' or '' as the header's contrast agent says ('NONE' and '0 ml' are no)."""
    text = " ".join(facts.contrast_agent.casefold().split())
    return "" if not text else "no" if _NOT_GIVEN.match(text) else "yes"


def _derived(facts: Facts) -> bool:
    return bool(facts.image_type) and facts.image_type[0].strip().upper() == "DERIVED"


def _why(words: Words, numbers: str) -> str:
    return "; ".join(part for part in (f"words {words.shown}" if words.shown else "", numbers) if part)


def _by_numbers(facts: Facts) -> str:
    """'TR 9000, TE 94, TI 2500' (ms)."""
    named = (("TR", facts.repetition_ms), ("TE", facts.echo_ms), ("TI", facts.inversion_ms))
    return ", ".join(f"{name} {value:.4g}" for name, value in named if value)
