"""What a card says in words that no computer can know: licence, intended use, limits, and whose data a network learned from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from braintumorseg.errors import InputError, MissingFile

from .lineage import Lineage
from .packing import PHANTOM, SYNTHETIC

__all__ = ["DATA_SETS", "read_words", "words_of"]

# Cohort of a packed case -> what to say of it in the card.
DATA_SETS = {
    "BraTS2021": {
        "name": "RSNA-ASNR-MICCAI BraTS 2021", "licence": "CC BY 4.0",
        "citation": "Baid et al. 2021, arXiv:2107.02314; TCIA doi 10.7937/jc8x-9874"},
    "TCIA": {
        "name": "BraTS-TCGA-GBM and BraTS-TCGA-LGG labels on TCIA images", "licence": "CC BY 3.0",
        "citation": "Bakas et al. 2017, Sci Data 4:170117, doi 10.7937/K9/TCIA.2017.KLXWJJ1Q and 10.7937/K9/TCIA.2017.GJQ7R0EF; "
                    "Menze et al. 2015, IEEE TMI; Clark et al. 2013, J Digit Imaging"},
    "MSD Task01": {
        "name": "Medical Segmentation Decathlon, Task01_BrainTumour", "licence": "CC BY-SA 4.0",
        "citation": "Antonelli et al. 2022, Nat Commun 13:4128; Menze et al. 2015, IEEE TMI; Bakas et al. 2017, Sci Data 4:170117"},
    PHANTOM: {
        "name": "BrainTumorSeg phantoms (made up)", "licence": "MIT", "citation": "this package, braintumorseg.phantom"},
    SYNTHETIC: {
        "name": "Synthetic brains made from SynthSeg's label maps", "licence": "Apache-2.0 (label maps)",
        "citation": "Billot et al. 2023, Med Image Anal 86:102789"},
}

_TEXTS = ("task", "licence", "intended_use")
_LISTS = ("limits",)
_OF_A_DATA_SET = ("name", "licence", "citation")

_TASK = "Tumour sub-regions on brain MR (NCR, ED, ET)"
_TASK_GLIOMA = "Glioma sub-regions on brain MR (NCR, ED, ET)"
_LICENCE = "not stated (weights); attribution of the training data below"
_USE = "Research on tumours like those of the training data below, on MR. Not a medical device."
_USE_GLIOMA = "Research on gliomas (WHO grades 2 to 4) of adults before surgery, on MR. Not a medical device."
_LIMIT_GLIOMA = "Trained on few patients before surgery: resection cavities, metastases, meningiomas and children's tumours were never seen."
_LIMIT_UNKNOWN = ("Started from weights of which not all training cases are known: if patients of the held-out cases are among them, their scores "
                  "are not those of unseen patients.")
_OF_BEFORE = ", of the weights that it started from"
_FRESH = Lineage()
_LIMITS = ("Reads the brain alone: in whole heads the brain network cuts it out before, and what that misses is not seen.",
           "Without T1ce, enhancing tumour and core are guesses; without FLAIR, oedema is underestimated.")


def read_words(path: Path) -> dict:
    """A JSON object with any of task, licence, intended_use (text), limits (list of texts) and data_sets (cohort -> name, licence, citation).

    Raises MissingFile, or InputError that names what does not belong.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingFile(f"{path.name} is not there.", "Give --card a JSON file.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read as JSON ({error}).", "Write a JSON object.") from None
    problem = _problem(found)
    if problem:
        raise InputError(f"{path.name}: {problem}.", f"It may hold {', '.join((*_TEXTS, *_LISTS, 'data_sets'))}.")
    return found


def words_of(cohorts: Iterable[str], given: Mapping, say: Callable[[str], None], before: Lineage = _FRESH) -> dict:
    """Fields of the card of a tumour network trained on these packed cases' cohorts (one entry a case), those `given` (`read_words`) over ours.

    before: what the weights that it began from had learned from besides; its data sets are named, too.

    Ours say what holds for gliomas before surgery only where all real cases are of such a data set. Says which data sets nobody described.
    """
    counts = Counter([*cohorts, *(case.cohort for case in before.cases)])
    unnamed = counts.pop("", 0)
    known = {**DATA_SETS, **before.data_sets, **given.get("data_sets", {})}
    if unknown := sorted(set(counts) - set(known)):
        say(f"WARNING: the card states no licence and source of {', '.join(unknown)}; say them with --card.")
    real = set(counts) - {PHANTOM, SYNTHETIC}
    glioma = bool(real) and real <= set(DATA_SETS) and before.complete and not unnamed
    data = [{"name": cohort, "licence": "not stated", "citation": "", **known.get(cohort, {}), "cases": count} for cohort, count in counts.items()]
    data += [{**row, "name": f"{row.get('name', '')}{_OF_BEFORE}"} for row in before.rows]
    if unnamed:
        data.append({"name": f"Data sets that are not known{_OF_BEFORE}", "licence": "not known", "citation": "", "cases": unnamed})
    elif not before.complete:
        data.append({"name": f"Data that is not known{_OF_BEFORE}", "licence": "not known", "citation": ""})
    if unnamed or not before.complete:
        say("WARNING: of the weights that the run began from it is not known from which data sets they had learned, so neither are licence and "
            "attribution; the card says so.")
    words = {"task": _TASK_GLIOMA if glioma else _TASK, "licence": _LICENCE, "intended_use": _USE_GLIOMA if glioma else _USE,
             "limits": (*((_LIMIT_GLIOMA,) if glioma else ()), *_LIMITS),
             "training_data": tuple(data), **{name: given[name] for name in _TEXTS if name in given}}
    words = {**words, **{name: tuple(given[name]) for name in _LISTS if name in given}}
    return words if before.complete else {**words, "limits": (*words["limits"], _LIMIT_UNKNOWN)}


def _problem(found: object) -> str:
    if not isinstance(found, dict):
        return "it is not an object"
    if strange := sorted(set(found) - {*_TEXTS, *_LISTS, "data_sets"}):
        return f"unknown field {strange[0]}"
    for name in _TEXTS:
        if not isinstance(found.get(name, ""), str):
            return f"{name} is not a text"
    for name in _LISTS:
        if not _texts(found.get(name, [])):
            return f"{name} is not a list of texts"
    sets = found.get("data_sets", {})
    if not isinstance(sets, dict) or not all(isinstance(one, dict) and set(one) <= set(_OF_A_DATA_SET) and _texts(list(one.values()))
                                             for one in sets.values()):
        return f"data_sets is not cohort -> {', '.join(_OF_A_DATA_SET)}"
    return ""


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
