"""The cases that a split names, found in the folder that `prepare` was given, in whatever layout it has, and read as `prepare` reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.study import Study
from braintumorseg.volume import Volume

from .case_checks import check_case, check_files, missing_roles
from .case_table import CaseRow, cohort_of, patient_of, unmatched_rows
from .layouts import Source, find_cases

__all__ = ["CaseFolder", "LabelledCase", "known_of"]

_SHOWN = 3


@dataclass(frozen=True)
class LabelledCase:
    """A case whose files are there and whose labels are declared; its images are not read yet. row: what is known of it."""

    source: Source
    row: CaseRow
    missing_ok: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """The sequences that it lacks; () unless missing_ok."""
        return missing_roles(self.source)

    def read(self) -> tuple[Study, Volume]:
        """Its sequences and the truth (1 NCR, 2 ED, 3 ET) on their grid, checked as for training. Raises InputError, which names the case."""
        with _naming(self.source.name):
            checked = check_case(self.source, self.row.labels, missing_ok=self.missing_ok)
        return checked.study, checked.truth


@dataclass(frozen=True)
class CaseFolder:
    """A folder of cases, and what the user says of them: the same, in the same words, as `prepare_folder` takes.

    labels: the convention of every case, '' for none. table: what is said case by case. layout: None where it is to be recognised.
    missing_ok: take cases that lack sequences.
    """

    folder: Path
    labels: str = ""
    table: Mapping[str, CaseRow] = field(default_factory=dict)
    layout: str | None = None
    missing_ok: bool = False

    def find(self, names: Iterable[str], say: Callable[[str], None] = lambda line: None) -> dict[str, LabelledCase]:
        """The cases of these names, in their order. Rows of the table that are of no case in the folder are said.

        Raises MissingFile or InputError, without reading an image, when one is not there, lacks files, or is not declared.
        """
        layout, sources = find_cases(self.folder, self.layout)
        there = {source.name: source for source in sources}
        if line := unmatched_rows(self.table, there):
            say(line)
        names = list(dict.fromkeys(names))
        if absent := [name for name in names if name not in there]:
            more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
            raise MissingFile(f"{self.folder.name} lacks {', '.join(absent[:_SHOWN])}{more} of the split; it holds {len(there)} cases in the "
                              f"layout {layout}, {min(there)} first.", "Give the folder that prepare was given, or another --split.")
        cases = {name: LabelledCase(there[name], known_of(there[name], self.table.get(name, CaseRow()), self.labels), self.missing_ok)
                 for name in names}
        for name, case in cases.items():
            with _naming(name):
                check_files(case.source, case.row.labels, missing_ok=self.missing_ok)
        return cases

    def patient_of(self, name: str) -> str:
        """Whose case this is, be it in the folder or not: as the table says, else as its name does."""
        return self.table.get(name, CaseRow()).patient or patient_of(name)


def known_of(source: Source, row: CaseRow, labels: str) -> CaseRow:
    """What the table says of a case, filled up with what --labels, the layout and the name say."""
    return CaseRow(row.labels or labels, row.cohort or source.cohort or cohort_of(source.name), row.patient or patient_of(source.name))


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise type(error)(f"{name}: {error.what}", error.fix) from None
