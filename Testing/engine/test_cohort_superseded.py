"""What lies in a study's folder is of the files that there are and made as the manifest says, or it is not there."""

import os
import shutil

import pytest

from braintumorseg.cohort import run_cohort
from braintumorseg.cohort_list import Entry
from braintumorseg.cohort_manifest import Record, open_manifest, read_records
from braintumorseg.cohort_workers import Outcome
from braintumorseg.errors import Cancelled
from cohort_toys import command, make_studies, run

ML = {"WT": 3.0, "TC": 2.0, "ET": 1.0}
FAILED = Outcome("failed", {"kind": "BadImage", "reason": "It is bad."})


class Fails:
    """Fails at every study, which it takes one at a time, or is cancelled there."""

    def __init__(self, cancelled=False):
        self.cancelled, self.entry = cancelled, None

    def has_room(self):
        return self.entry is None

    def submit(self, entry):
        self.entry = entry

    def finished(self, seconds):
        if self.cancelled:
            raise KeyboardInterrupt
        entry, self.entry = self.entry, None
        return [(entry, FAILED)]

    def share(self):
        return 0.0

    def stop(self):
        return []


def a_result(folder):
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    (folder / "segmentation.nii.gz").write_bytes(b"...")


A, B = Entry("a", number=1), Entry("b", number=2)


def hidden(out):
    return [path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".cohort.lock"]


def test_a_study_whose_changed_files_cannot_be_segmented_keeps_no_result_of_those_before(toy_study, toy_model, tmp_path, capsys):
    studies, out = make_studies(tmp_path / "in", toy_study, ["a", "b"]), tmp_path / "out"
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    (studies / "a" / "case_t1.nii.gz").write_bytes(b"no image")
    assert run(capsys, *command(studies, out, toy_model))[0] == 1
    assert read_records(out)["a"].state == "failed"
    assert not (out / "a").exists() and (out / "b" / "segmentation.nii.gz").is_file()
    shutil.copy(studies / "b" / "case_t1.nii.gz", studies / "a")
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    (studies / "b" / "case_t1.nii.gz").write_bytes(b"no image")
    assert run(capsys, *command(studies, out, toy_model, "--force"))[0] == 1
    assert not (out / "b").exists() and (out / "a" / "segmentation.nii.gz").is_file()
    assert hidden(out) == []


def test_results_are_kept_until_their_study_is_taken_up_again(tmp_path):
    """Also by a run that is forced, and by the one that goes on after that was cancelled."""
    out = tmp_path / "out"
    with open_manifest(out, {}) as manifest:
        for entry in (A, B):
            manifest.write(Record(entry.id, entry.number, "done", 1.0, ml=ML))
            a_result(out / entry.id)
    with open_manifest(out, {}, force=True) as manifest:
        manifest.enlist([A, B])
        with pytest.raises(Cancelled):
            run_cohort([A, B], Fails(cancelled=True), manifest)
    assert not (out / "a").exists() and (out / "b" / "report.json").is_file()
    assert {name: record.state for name, record in read_records(out).items()} == {"a": "begun", "b": "listed"}
    with open_manifest(out, {}) as manifest:
        run_cohort([A, B], Fails(), manifest)
    assert not (out / "b").exists()
    assert hidden(out) == []


def test_a_result_that_is_not_of_this_cohorts_making_outlives_a_failure(tmp_path):
    """'braintumorseg segment --out RESULTS/a' by hand, after it failed here or before it was begun; and a folder of something else."""
    out = tmp_path / "out"
    with open_manifest(out, {}) as manifest:
        manifest.write(Record("a", 1, "failed", 1.0), Record("c", 3, "done", 1.0, ml=ML))
        for name in ("a", "b"):
            a_result(out / name)
        (out / "c").mkdir()
        (out / "c" / "thesis.tex").write_text("...")
        run_cohort([A, B, Entry("c", number=3)], Fails(), manifest)
    assert sorted(os.listdir(out)) == [".cohort.lock", "a", "b", "c", "manifest.jsonl"]
    assert os.listdir(out / "c") == ["thesis.tex"]
