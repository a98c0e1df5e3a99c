"""Which of the cases in a folder a network learned from, as its card tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import numpy as np

from braintumorseg.errors import InputError, ResourceError
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.model_card import ModelCard
from braintumorseg.preprocess import prepare

from .case_folder import CaseFolder, LabelledCase
from .lineage import Learned, is_published, names_alone, remembered_digests, same_patient
from .packing import digests_of
from .transfer import lineage_of_card

__all__ = ["seen_cases"]


def seen_cases(card: ModelCard, folder: CaseFolder, cases: Mapping[str, LabelledCase], otherwise: Iterable[str] = (),
               say: Callable[[str], None] = lambda line: None) -> tuple[str, ...]:
    """Those of the cases that the network learned from, or whose patients it did. otherwise: the names to go by where the card does not say them.

    Names are given anew in every hospital and every release. So each case that its name does not settle is read, and known by its images, where
    the card keeps what those learned from show. That it begins is said, for it takes seconds a case.
    """
    before = lineage_of_card(card) or names_alone(otherwise, complete=True)
    by_patient: dict[str, list[Learned]] = defaultdict(list)
    for known in before.cases:
        for patient in {known.patient, folder.patient_of(known.name)}:
            by_patient[patient].append(known)
    images = {image for known in before.cases for image in known.images}
    if images:
        say(f"comparing {len(cases)} cases with the images that {card.name} learned from")

    @cache
    def shown(name: str) -> Learned | None:
        return _shown(cases[name], card) if name in cases else None

    def is_seen(name: str, known: Learned) -> bool:
        if is_published(known.name) or not known.images or (here := shown(name)) is None:
            return True
        return same_patient(known, here, shown(known.name))

    def is_shown_again(name: str) -> bool:
        return bool(images) and (here := shown(name)) is not None and not images.isdisjoint(here.images)

    return tuple(name for name, case in cases.items()
                 if any(is_seen(name, known) for known in by_patient.get(case.row.patient, ())) or is_shown_again(name))


def _shown(case: LabelledCase, card: ModelCard) -> Learned | None:
    """What a packed case would be remembered by; None where it cannot be read."""
    try:
        study, truth = case.read()
        digests = digests_of(prepare(study, card).channels.astype(np.float16))
    except (InputError, ResourceError):
        return None
    return Learned(case.source.name, case.row.patient, case.row.cohort, remembered_digests(digests),
                   tuple(float(np.count_nonzero(truth.voxels == value)) * truth.voxel_ml for value in (NCR, ED, ET)))
