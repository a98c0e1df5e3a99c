"""What is known of a case beside its images: label convention, cohort and patient, from the user's table or from the case's name."""

from __future__ import annotations

import csv
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.labels import CONVENTIONS

__all__ = ["PHANTOM", "SYNTHETIC", "UNLABELLED", "CaseRow", "cohort_of", "patient_of", "read_table", "unmatched_rows"]

PHANTOM, SYNTHETIC, UNLABELLED = "phantom", "synthetic", "unlabelled"   # cohorts that are in no split (the last is for pretraining)
_SHOWN = 3

# (name, cohort), the first that fits. The names are those of the releases; TCGA's scans are in BraTS under the name of their archive.
_COHORTS = (
    (r"TCIA|TCGA", "TCIA"),
    (r"BraTS-GLI-\d{5}-1\d\d$", "BraTS2024"),                       # after treatment; their time points count from 100
    (r"BraTS2021_|BraTS-GLI-", "BraTS2021"),                       # 2023 handed out the gliomas of 2021 under new names
    (r"BraTS-([A-Z]+)-", r"BraTS-\1"),
    (r"Brats1[78]_2013_", "BraTS2013"),
    (r"Bra[Tt][Ss]1[789]_([A-Z]+)", r"\1"),
    (r"BraTS20_", "BraTS2020"),
    (r"(UCSF-PDGM|UPENN-GBM|RHUH|UCSD-PTGBM|LUMIERE)", r"\1"),
)
# (name, patient): what of a name stays the same between a patient's time points, and between releases that hand out the same patient again.
_PATIENTS = (
    (r"BraTS2021_(\d{5})", r"BraTS-GLI-\1"),                       # BraTS 2023 kept the numbers of 2021
    (r"(BraTS-[A-Z]+-\d{5})-\d{3}", r"\1"),                        # the last number is the time point
    (r"Bra[Tt][Ss]1[789]_TCIA\d*_(\d+)_\d+", r"TCIA-\1"),          # 2017 without the archive's site, later with it
    (r"Bra[Tt][Ss]1[789]_([A-Za-z0-9]+_[A-Za-z0-9]+)_\d+", r"\1"),  # Brats18_CBICA_AAB_1, Brats18_2013_10_1
    (r"(TCGA-\w{2}-\w{4})[_-].*", r"\1"),
    (r"(UCSF-PDGM-\d{4})(?:_FU\d+d)?(?:_nifti)?", r"\1"),
    (r"(UPENN-GBM-\d{5})_\d{2}", r"\1"),
    (r"(RHUH-\d{4})_\d", r"\1"),
    (r"(sub-[A-Za-z0-9]+)_.*", r"\1"),                             # BIDS
)


@dataclass(frozen=True)
class CaseRow:
    """What a table says of a case; '' where it says nothing."""

    labels: str = ""
    cohort: str = ""
    patient: str = ""


def read_table(path: Path) -> dict[str, CaseRow]:
    """case -> row from a CSV with the column `case` and any of `labels` (its first word), `cohort`, `patient`.

    Raises MissingFile, or InputError for a table that is none, a case that stands twice, a label convention that is unknown, or a cohort
    that stands for made-up cases.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{key: (value or "").strip() for key, value in row.items() if isinstance(key, str) and not isinstance(value, list)}
                    for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise MissingFile(f"There is no table {path.name} at the place given.", "Check the path and its spelling.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"The table {path.name} cannot be read ({type(error).__name__}).", "Save it as CSV in UTF-8.") from None
    if not rows or "case" not in rows[0]:
        raise InputError(f"The table {path.name} has no column `case` or no row.", "Its first line names the columns: case,labels,cohort,patient.")
    table: dict[str, CaseRow] = {}
    for row in rows:
        name, labels = row["case"], (row.get("labels") or "").split()
        if name in table:
            raise InputError(f"The table {path.name} holds {name} twice.", "Keep one row a case.")
        if labels and labels[0] not in CONVENTIONS:
            raise InputError(f"The table {path.name} says that {name} is labelled as {labels[0]}, which is unknown.",
                             f"Use {', '.join(CONVENTIONS)}.")
        if row.get("cohort") in (PHANTOM, SYNTHETIC, UNLABELLED):
            raise InputError(f"The table {path.name} says that {name} is of the cohort {row['cohort']}, a word for what is no patient.",
                             "Give its cohort another name.")
        table[name] = CaseRow(labels[0] if labels else "", row.get("cohort", ""), row.get("patient", ""))
    return table


def unmatched_rows(table: Mapping[str, CaseRow], names: Container[str]) -> str:
    """A line about the table's rows that are of none of the cases named; '' where each is of one."""
    rows = [name for name in table if name not in names]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"Of the table's {len(table)} rows {len(rows)} are of no case in the folder: {', '.join(rows[:_SHOWN])}{more}." if rows else ""


def cohort_of(name: str) -> str:
    """The data set that a case is of, by its name, for tables across cohorts; 'other' where the name does not tell."""
    for pattern, cohort in _COHORTS:
        if match := re.search(pattern, name):
            return match.expand(cohort)
    return "other"


def patient_of(name: str) -> str:
    """The patient that a case is of, by its name; the name itself where nothing is known of it. Time points of one patient get one answer."""
    for pattern, patient in _PATIENTS:
        if match := re.fullmatch(pattern, name):
            return match.expand(patient)
    return name
