"""A data set packed for training: every case read, checked and packed by several processes, and a table of what became of each."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from braintumorseg.errors import InputError, OutputError, ResourceError
from braintumorseg.io.replacing import replacing
from braintumorseg.model_card import ModelCard

from .case_checks import ODD_LABELS, check_case, declared_table
from .case_folder import known_of
from .case_table import CaseRow, unmatched_rows
from .layouts import Source, find_cases
from .packing import UNLABELLED, PackedFacts, fingerprint, forget, origin_of, pack_case, packed_names, read_facts
from .splits import some_of

__all__ = ["TABLE", "Outcome", "prepare_folder", "summary"]

TABLE = "prepare.csv"
_COLUMNS = ("case", "cohort", "patient", "status", "reason", "ncr_ml", "ed_ml", "et_ml")
_SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """What became of a case. `facts` of one that is packed, `refused` the reason for one that is not; `fresh` unless it was there before.

    `taken`: refused, and under its name a case of another folder is packed, which stays.
    """

    case: str
    cohort: str
    patient: str
    facts: PackedFacts | None = None
    refused: str = ""
    fresh: bool = True
    taken: bool = False

    @property
    def status(self) -> str:
        return "refused" if self.facts is None else "warning" if self.facts.warnings else "packed"

    @property
    def reason(self) -> str:
        return self.refused if self.facts is None else "; ".join(self.facts.warnings)


@dataclass(frozen=True)
class _Job:
    source: Source
    row: CaseRow
    card: ModelCard
    out: Path
    origin: str
    missing_ok: bool
    force: bool


def prepare_folder(folder: Path, out: Path, card: ModelCard, *, table: Mapping[str, CaseRow] | None = None, labels: str = "",
                   layout: str | None = None, missing_ok: bool = False, workers: int = 1, force: bool = False, prune: bool = False,
                   say: Callable[[str], None] = print) -> list[Outcome]:
    """Pack every case of `folder` that can be trained on into `out`, and write there prepare.csv: what became of each and why.

    table: what the user says of cases one by one; labels: the convention of all others. A case that was packed from the same files before is
    left as it is, unless `force`; so is one of the same name from another folder. What was packed from this folder and is in it no more is said;
    it goes with `prune`, and where a case shows the same under another name.

    Raises InputError when there is no case or none can be packed (the table is written then, too), OutputError when the disk is full,
    ResourceError when a process dies; what is packed by then stays, and the same call goes on from there.
    """
    found, sources = find_cases(folder, layout)
    say(f"{len(sources)} cases in the layout {found}")
    names = {source.name for source in sources}
    if line := unmatched_rows(table or {}, names):
        say(line)
    jobs = [_Job(source, known_of(source, (table or {}).get(source.name, CaseRow()), labels), card, out, origin_of(folder), missing_ok, force)
            for source in sources]
    others = [read_facts(out, name) for name in packed_names(out) if name not in names]
    gone = _gone(jobs, others, folder, layout)
    left = [] if prune else list(gone)
    for name in set(gone).difference(left):
        forget(out, name)
    seen = _seen_before(jobs, [facts for facts in others if facts.name in left or facts.name not in gone], out)
    outcomes: list[Outcome] = []
    began = time.monotonic()
    for outcome in _run(jobs, workers):
        outcome = _unless_seen(outcome, seen, left, out)
        outcomes.append(outcome)
        say(_line(outcomes, len(jobs), time.monotonic() - began))
    removed = [name for name in gone if name not in left]
    _write_table(outcomes, removed, out)
    if removed:
        say(f"{_cases(removed)} no longer in {folder.name}, and so no longer packed: {some_of(removed)}")
    if left:
        say(f"{_cases(left)} packed though no longer in {folder.name}, and split deals them out: {some_of(left)}. Put them back, or add --prune")
    if all(outcome.facts is None for outcome in outcomes):
        first = outcomes[0]
        raise InputError(f"None of the {len(outcomes)} cases could be packed. {first.case}: {first.reason}",
                         "" if all(outcome.taken for outcome in outcomes) else f"All reasons are in {TABLE}.")
    return outcomes


def summary(outcomes: list[Outcome]) -> list[str]:
    """What became of all cases, in a few lines."""
    by = {status: [outcome for outcome in outcomes if outcome.status == status] for status in ("packed", "warning", "refused")}
    before = sum(not outcome.fresh for outcome in outcomes)
    packed, warned, refused = (len(by[status]) for status in by)
    lines = [f"{packed + warned} of {len(outcomes)} cases are packed ({before} were before, {warned} with a warning), {refused} refused: see {TABLE}"]
    for status in ("warning", "refused"):
        lines += [f"  {status}  {outcome.case}: {outcome.reason}" for outcome in by[status][:_SHOWN]]
        if len(by[status]) > _SHOWN:
            lines.append(f"  {status}  {len(by[status]) - _SHOWN} more")
    odd = sum(ODD_LABELS in outcome.reason for outcome in outcomes)
    if odd * 2 > len(outcomes):
        lines.append(f"In {odd} of {len(outcomes)} cases the labels do not look as declared: before training, read what their makers say.")
    return lines


def _run(jobs: list[_Job], workers: int) -> Iterator[Outcome]:
    """The outcomes in the jobs' order."""
    if min(workers, len(jobs)) < 2:
        yield from map(_one, jobs)
        return
    # Spawned, not forked: a process that holds threads of numerical libraries may hang when it is forked.
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"), initializer=_settle)
    try:
        yield from pool.map(_one, jobs)
    except BrokenProcessPool:
        raise ResourceError("A process that packed a case was killed, most likely because the memory was full.",
                            "Give a smaller --workers; the same command goes on where this one stopped.") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _settle() -> None:
    """Once in each process: as many processes as cores need no threads, and Ctrl-C is the parent's to answer."""
    import signal

    import SimpleITK as sitk

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _one(job: _Job) -> Outcome:
    source, row = job.source, job.row
    told = Outcome(source.name, row.cohort, row.patient)
    before = None if job.force else _facts_of(source.name, job.out)
    elsewhere = _from_elsewhere(before, job)
    try:
        declared = "" if source.problem else repr(declared_table(source, row.labels))
        made_of = fingerprint(source.files, f"{declared} {row.cohort} {row.patient}{_channels_told(source)}", job.card)
        if before is not None and before.source == made_of and (job.missing_ok or all(before.digests)):
            return replace(told, facts=before, fresh=False)
        if elsewhere:
            raise InputError("a case of this name was packed from another folder.", "Give another --out, or --force to put this one in its place.")
        checked = check_case(source, row.labels, missing_ok=job.missing_ok)
        facts = pack_case(source.name, row.cohort, checked.study, checked.truth, job.card, job.out, patient=row.patient, source=made_of,
                          origin=job.origin, warnings=checked.warnings)
        return replace(told, facts=facts)
    except (InputError, OSError) as error:
        if not elsewhere:
            forget(job.out, source.name)  # what was packed under its name is not what is refused now
        return replace(told, refused=str(error) if isinstance(error, InputError) else f"its files cannot be read: {error.strerror}.", taken=elsewhere)
    except MemoryError:
        raise ResourceError(f"{source.name} does not fit into memory.", "Give a smaller --workers, or close other programs.") from None


def _facts_of(name: str, out: Path) -> PackedFacts | None:
    """None of a case that is not packed, or damaged."""
    if not (out / f"{name}.npz").is_file():
        return None
    try:
        return read_facts(out, name)
    except InputError:
        return None


def _from_elsewhere(facts: PackedFacts | None, job: _Job) -> bool:
    """Whether what is packed came from another folder than the job's; not of what older versions packed, which does not say."""
    return facts is not None and facts.origin not in ("", job.origin)


def _channels_told(source: Source) -> str:
    """Which file and channel is which sequence, where dataset.json says it; '' where the files' own names do."""
    return "" if source.table is None else f" {sorted((role, path.name, channel) for role, (path, channel) in source.images.items())}"


def _gone(jobs: list[_Job], others: list[PackedFacts], folder: Path, layout: str | None) -> list[str]:
    """Those of the other packed cases that came from this folder, with labels, and are in it no more; older versions did not keep from where."""
    from_here = [facts.name for facts in others if facts.origin == jobs[0].origin and facts.cohort != UNLABELLED]
    if not from_here or layout is None:
        return from_here
    try:    # they may be there in another layout
        there = {source.name for source in find_cases(folder)[1]}
    except InputError:
        return []
    return [name for name in from_here if name not in there]


def _seen_before(jobs: list[_Job], others: list[PackedFacts], out: Path) -> dict[str, str]:
    """Digest of an image -> the packed case that has it, of all cases that are not these jobs' to replace: others, and namesakes from elsewhere."""
    ours = {job.source.name: job for job in jobs}
    there = {} if jobs[0].force else {name: _facts_of(name, out) for name in ours}
    kept = others + [facts for name, facts in there.items() if _from_elsewhere(facts, ours[name])]
    return {digest: facts.name for facts in kept for digest in facts.digests if digest}


def _unless_seen(outcome: Outcome, seen: dict[str, str], gone: list[str], out: Path) -> Outcome:
    """Refused, and no longer packed, when one of its images is already there under another name: it would leak across a split.

    Where that other is `gone` from the folder, its case was renamed: it gives way, and is taken off that list.
    """
    if outcome.facts is None:
        return outcome
    digests = [digest for digest in outcome.facts.digests if digest]
    others = [seen[digest] for digest in digests if seen.get(digest, outcome.case) != outcome.case]
    if there := [other for other in others if other not in gone]:
        forget(out, outcome.case)
        return replace(outcome, facts=None, refused=f"it shows the same as {there[0]}: an image is in both.")
    for other in set(others):
        forget(out, other)
        gone.remove(other)
    for digest in [digest for digest, name in seen.items() if name in others]:
        del seen[digest]
    seen.update(dict.fromkeys(digests, outcome.case))
    return outcome


def _line(outcomes: list[Outcome], count: int, seconds: float) -> str:
    """What became of the last one, and how long the rest will take at the pace of those that were not there before."""
    outcome, fresh = outcomes[-1], sum(outcome.fresh for outcome in outcomes)
    words = "refused" if outcome.facts is None else "packed" if outcome.fresh else "there already"
    left = seconds / fresh * (count - len(outcomes)) if fresh else 0.0
    shown = f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left" if left else ""
    return f"{len(outcomes)}/{count} {outcome.case} {words}{': ' + outcome.reason if outcome.reason else ''}{shown}"


def _cases(names: list[str]) -> str:
    return f"{len(names)} cases are" if len(names) > 1 else "1 case is"


def _write_table(outcomes: list[Outcome], removed: list[str], out: Path) -> None:
    """prepare.csv with these cases' rows and without those removed; those of cases that other folders brought into the same one stay."""
    path = out / TABLE
    rows = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = {row["case"]: row for row in csv.DictReader(file) if row["case"] not in removed}
        for outcome in outcomes:
            if outcome.taken and outcome.case in rows:
                rows[outcome.case]["reason"] = f"another case of this name was refused: {outcome.reason}"
                continue
            ml = [f"{value:.2f}" for value in outcome.facts.ml] if outcome.facts else ["", "", ""]
            values = (outcome.case, outcome.cohort, outcome.patient, outcome.status, outcome.reason, *ml)
            rows[outcome.case] = dict(zip(_COLUMNS, values, strict=True))
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows[name] for name in sorted(rows))
    except (OSError, KeyError, csv.Error) as error:
        raise OutputError(f"{TABLE} cannot be written to {out.name} ({error}).", "Make room there, or move the file away.") from None
