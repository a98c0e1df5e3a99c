"""What becomes of the studies of a run: lost workers, cancels, a full disk, kills."""

import errno
import os
import threading

import pytest

from braintumorseg import cohort as module
from braintumorseg.cohort import left_to_do, numbered, run_cohort
from braintumorseg.cohort_list import Entry
from braintumorseg.cohort_manifest import Record, open_manifest, read_records
from braintumorseg.cohort_shard import Shard
from braintumorseg.cohort_workers import LOST, Lanes, Outcome
from braintumorseg.errors import Cancelled, OutputError
from braintumorseg.io.owner import owner_mark
from cohort_toys import lines_of


def entries(*names):
    return [Entry(name, number=number) for number, name in enumerate(names, start=1)]


@pytest.fixture
def manifest(tmp_path):
    with open_manifest(tmp_path / "out", {"model": "toy"}) as opened:
        yield opened


def hidden(out):
    return sorted(path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".cohort.lock")


class FakeWorkers:
    """Does what `does` says of a study, at once and `room` at a time."""

    def __init__(self, does, room=2):
        self.does, self.room, self.in_work, self.stopped, self.most = does, room, [], False, {}

    def has_room(self):
        return len(self.in_work) < self.room

    def submit(self, entry):
        self.in_work.append(entry)
        self.most[entry.id] = len(self.in_work)

    def finished(self, seconds):
        entry = self.in_work[0]
        outcome = self.does(entry, len(self.in_work))
        self.in_work.remove(entry)
        return [(entry, outcome)]

    def share(self):
        return 0.0

    def stop(self):
        self.stopped = True
        return []


ML = {"WT": 3.0, "TC": 2.0, "ET": 1.0}
DONE = Outcome("done", {"seconds": 1.0, "ml": ML})
BARRED = Outcome("barred", {"errno": errno.ENOSPC})


def test_a_study_whose_worker_is_lost_is_done_again_by_another(manifest, tmp_path):
    losses = ["b", "b"]
    run_cohort(entries("a", "b", "c"), FakeWorkers(lambda entry, _: LOST if entry.id in losses and losses.pop() else DONE), manifest)
    assert sorted(line["id"] for line in lines_of(tmp_path / "out", "done")) == ["a", "b", "c"]


def test_a_study_that_kills_every_worker_is_given_up_and_the_others_are_done(manifest, tmp_path):
    run_cohort(entries("a", "b", "c"), FakeWorkers(lambda entry, _: LOST if entry.id == "b" else DONE), manifest)
    (failed,) = lines_of(tmp_path / "out", "failed")
    assert (failed["id"], failed["reason"].split(".")[0]) == ("b", "The program died 3 times while it was at this study")
    assert len(lines_of(tmp_path / "out", "done")) == 2


class Killed(BaseException):
    """The process ends here: nothing is written down, nobody is stopped."""


class Deadly(FakeWorkers):
    def __init__(self, deadly, beside):
        super().__init__(None)
        self.deadly, self.beside = deadly, beside

    def finished(self, seconds):
        if any(entry.id == self.deadly for entry in self.in_work):
            self.beside.append(len(self.in_work))
            raise Killed
        return [(self.in_work.pop(0), DONE)]


def run_until_it_lives(names, out, deadly, retry_failed=False, most=10):
    """Runs of two lanes, one after another, of which each ends when the study `deadly` is in work; how many were in work then."""
    beside = []
    for _ in range(most):
        workers = Deadly(deadly, beside)
        with open_manifest(out, {}) as manifest, pytest.MonkeyPatch.context() as patch:
            patch.setattr(module._Run, "stop", lambda self, workers: None)
            try:
                run_cohort(left_to_do(entries(*names), manifest, out, retry_failed), workers, manifest)
            except Killed:
                continue
            return beside
    return beside


@pytest.mark.parametrize("names", ["ab", "ba", "cabd"])
def test_a_study_that_kills_the_run_is_given_up_and_no_other_for_it(tmp_path, names):
    beside = run_until_it_lives(names, tmp_path / "out", "b")
    assert {name: record.state for name, record in read_records(tmp_path / "out").items()} == {**dict.fromkeys(names, "done"), "b": "failed"}
    assert beside == [2, 1, 1]


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_study_that_was_given_up_for_another_is_done_on_request(tmp_path, names):
    """As earlier versions gave up both."""
    with open_manifest(tmp_path / "out", {}) as manifest:
        for number, name in enumerate(names, start=1):
            manifest.write(module._died(Record(name, number, "begun", 1.0, begun=3)))
    assert run_until_it_lives(names, tmp_path / "out", "b", retry_failed=True, most=2) == [1, 1]
    assert read_records(tmp_path / "out")["a"].state == "done"


def test_a_study_that_kills_workers_ends_at_last_alone(manifest, tmp_path):
    """Whatever is in work with it is lost, too."""
    class Together(FakeWorkers):
        def finished(self, seconds):
            lost = any(entry.id == "b" for entry in self.in_work)
            ended, self.in_work = [(entry, LOST if lost else DONE) for entry in self.in_work], []
            return ended

    run_cohort(entries(*"ab"), Together(None), manifest)
    assert {name: record.state for name, record in read_records(tmp_path / "out").items()} == {"a": "done", "b": "failed"}


def test_a_study_that_does_not_fit_beside_others_is_tried_alone(manifest, tmp_path):
    large = Outcome("failed", {"kind": "ResourceError", "reason": "too large"})
    workers = FakeWorkers(lambda entry, beside: large if entry.id == "b" and beside > 1 else DONE)
    run_cohort(entries("a", "b", "c", "d"), workers, manifest)
    assert sorted(line["id"] for line in lines_of(tmp_path / "out", "done")) == ["a", "b", "c", "d"]
    assert workers.most["b"] == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_the_workers_are_stopped_however_the_run_ends(manifest, error):
    def does(entry, beside):
        if error:
            raise error
        return DONE

    cancel = threading.Event()
    cancel.set()
    workers = FakeWorkers(does)
    with pytest.raises(Cancelled, match=r"of 3 studies are done and kept.*goes on"):
        run_cohort(entries("a", "b", "c"), workers, manifest, cancel=cancel)
    assert workers.stopped


def test_what_ends_while_a_cancelled_run_stops_is_kept(manifest, tmp_path):
    cancel, begun = threading.Event(), threading.Event()

    def work(entry, progress):
        if entry.id == "a":
            begun.wait()
            cancel.set()
            progress.cancel.wait()      # the run is stopping, and this study is past its last look
        else:
            begun.set()
            progress.cancel.wait()
            raise Cancelled("The run was cancelled.")
        return DONE

    with pytest.raises(Cancelled, match="1 of 3 studies"):
        run_cohort(entries("a", "b", "c"), Lanes(2, work), manifest, cancel=cancel)
    assert {name: record.state for name, record in manifest.records.items()} == {"a": "done", "b": "begun"}


def test_what_was_told_of_when_the_run_was_interrupted_is_written_down_once(manifest, tmp_path, monkeypatch):
    lanes, real = Lanes(1, lambda entry, progress: DONE), Lanes.finished

    def interrupted(self, seconds):
        while not real(self, seconds):
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(Lanes, "finished", interrupted)
    with pytest.raises(Cancelled, match="1 of 2 studies"):
        run_cohort(entries("a", "b"), lanes, manifest)
    assert [line["id"] for line in lines_of(tmp_path / "out", "done")] == ["a"]


def cancelled_at(names, out, workers=None):
    """A run that is cancelled while the first of `names` is in work."""
    cancel = threading.Event()

    def work(entry, progress):
        cancel.set()
        progress.cancel.wait()
        raise Cancelled("The run was cancelled.")

    with open_manifest(out, {}) as manifest, pytest.raises((Cancelled, KeyboardInterrupt)):
        run_cohort(left_to_do(entries(*names), manifest, out), workers or Lanes(1, work), manifest, cancel=cancel)


def test_a_study_that_is_in_work_at_every_cancel_is_done_at_last(tmp_path):
    for _ in range(module.MOST_DEATHS + 1):
        cancelled_at("ab", tmp_path / "out")
    with open_manifest(tmp_path / "out", {}) as manifest:
        run_cohort(left_to_do(entries("a", "b"), manifest, tmp_path / "out"), Lanes(1, lambda entry, progress: DONE), manifest)
    assert {name: record.state for name, record in read_records(tmp_path / "out").items()} == {"a": "done", "b": "done"}


def test_a_cancel_counts_for_nothing_even_if_the_run_does_not_come_to_its_end(tmp_path):
    def does(entry, beside):
        raise KeyboardInterrupt

    workers = FakeWorkers(does)
    workers.stop = lambda: does(None, 0)   # a second Ctrl-C, or the batch system's patience is at its end
    cancelled_at("a", tmp_path / "out", workers)
    assert read_records(tmp_path / "out")["a"].begun == 0


def test_a_second_interrupt_finds_all_studies_in_work_let_go(manifest, tmp_path, monkeypatch):
    def interrupted(file):
        raise KeyboardInterrupt

    started = module._Run(entries("a", "b"), manifest, lambda record: None)
    assert [started.next(lambda: True).id for _ in range(2)] == ["a", "b"]
    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        started.stop(FakeWorkers(None))
    assert [record.begun for record in read_records(tmp_path / "out").values()] == [0, 0]


def test_a_cancel_does_not_make_up_for_deaths(tmp_path):
    with open_manifest(tmp_path / "out", {}) as manifest:
        for _ in range(module.MOST_DEATHS - 1):
            manifest.write(module._begun(Entry("a", number=1), manifest.records.get("a")))
    cancelled_at("a", tmp_path / "out")
    assert read_records(tmp_path / "out")["a"].begun == module.MOST_DEATHS - 1


def test_what_ends_beside_a_study_that_found_the_disk_full_is_kept(manifest, tmp_path):
    workers = FakeWorkers(lambda entry, beside: DONE)
    workers.finished = lambda seconds: [(entry, BARRED if entry.id == "a" else DONE) for entry in workers.in_work]
    with pytest.raises(OutputError, match="No space left"):
        run_cohort(entries("a", "b", "c"), workers, manifest)
    assert {name: (record.state, record.begun) for name, record in read_records(tmp_path / "out").items()} == {"a": ("begun", 0), "b": ("done", 0)}
    assert workers.stopped


@pytest.mark.parametrize("workers", [FakeWorkers(lambda entry, beside: DONE), Lanes(1, lambda entry, progress: DONE)], ids=["fake", "lanes"])
def test_an_interrupt_while_a_line_goes_to_the_disk_neither_loses_nor_doubles_it(manifest, tmp_path, monkeypatch, workers):
    real, interrupts = os.fsync, [KeyboardInterrupt]

    def interrupted(number):
        real(number)
        if lines_of(tmp_path / "out", "done") and interrupts:
            raise interrupts.pop()

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(Cancelled, match=r"[01] of 3 studies"):
        run_cohort(entries("a", "b", "c"), workers, manifest)
    assert [line["id"] for line in lines_of(tmp_path / "out", "done")] == ["a"]
    assert {name: (record.state, record.begun) for name, record in read_records(tmp_path / "out").items() if name != "b"} == {"a": ("done", 0)}


def test_a_study_that_the_run_died_at_three_times_is_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    for deaths in (1, 2, 3):
        with open_manifest(tmp_path / "out", {}) as manifest:
            assert [entry.id for entry in left_to_do(entries("a"), manifest, tmp_path / "out")] == ["a"]
            manifest.write(module._begun(Entry("a", number=1), manifest.records.get("a")))
            assert manifest.records["a"].begun == deaths
    with open_manifest(tmp_path / "out", {}) as manifest:
        assert left_to_do(entries("a"), manifest, tmp_path / "out") == []
        assert manifest.records["a"].state == "failed"
        assert [entry.id for entry in left_to_do(entries("a"), manifest, tmp_path / "out", retry_failed=True)] == ["a"]


def test_what_a_killed_run_left_of_a_study_is_removed_even_of_another_machine(tmp_path):
    with open_manifest(tmp_path / "out", {}) as manifest:
        manifest.write(module._begun(Entry("a", number=1), None))
        for name in (".a.partial-01234567-1-1-89abcdef", ".b.partial-01234567-1-1-89abcdef"):
            (tmp_path / "out" / name).mkdir()
        left_to_do(entries("a", "b"), manifest, tmp_path / "out")
    assert hidden(tmp_path / "out") == [".b.partial-01234567-1-1-89abcdef"]   # another shard's may be live


def test_what_another_shard_is_at_is_neither_cleared_nor_begun_until_it_has_ended(tmp_path):
    """A shard that an earlier version began has dealt the studies out otherwise."""
    out, partial = tmp_path / "out", ".a.partial-01234567-1-1-89abcdef"
    with open_manifest(out, {}, Shard(2, 2)) as theirs:
        theirs.write(module._begun(Entry("a", number=1), None))
        (out / partial).mkdir()
        with open_manifest(out, {}, Shard(1, 2)) as ours:
            assert left_to_do(entries("a"), ours, out) == []
        assert hidden(out) == [partial]
    with open_manifest(out, {}, Shard(1, 2)) as ours:
        assert [entry.id for entry in left_to_do(entries("a"), ours, out)] == ["a"]
    assert hidden(out) == []


def test_what_a_live_process_of_this_machine_is_writing_is_left_alone(tmp_path):
    """Whoever it is, 'braintumorseg segment' by hand say."""
    with open_manifest(tmp_path / "out", {}) as manifest:
        manifest.write(module._begun(Entry("a", number=1), None))
        live = f".a.partial-{owner_mark()}-89abcdef"
        (tmp_path / "out" / live).mkdir()
        left_to_do(entries("a"), manifest, tmp_path / "out")
    assert hidden(tmp_path / "out") == [live]


def test_a_manifest_of_a_later_version_may_tell_more(manifest, tmp_path):
    manifest.write(Record("a", 1, "done", 1.0, ml=ML))
    path = tmp_path / "out" / "manifest.jsonl"
    path.write_text(path.read_text().replace('"done"', '"done", "weather": "fair"'))
    assert read_records(tmp_path / "out")["a"].state == "done"


def test_numbers_stay_when_studies_are_added():
    first = numbered(entries("b", "d"), {})
    records = {entry.id: module._begun(entry, None) for entry in first}
    assert [(entry.id, entry.number) for entry in first] == [("b", 1), ("d", 2)]
    assert [(entry.id, entry.number) for entry in numbered(entries("a", "b", "c", "d"), records)] == [("a", 3), ("b", 1), ("c", 4), ("d", 2)]
