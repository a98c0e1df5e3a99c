"""The manifest tells the truth after a kill at any byte."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from braintumorseg import __version__, cohort_manifest
from braintumorseg.cohort_list import Entry
from braintumorseg.cohort_manifest import Record, open_manifest, read_records
from braintumorseg.cohort_shard import Shard
from braintumorseg.cohort_workers import Options
from braintumorseg.errors import ConfigError, MissingFile, OutputError

MADE = {"model": "toy", "sr": False}
ML = {"WT": 1.5, "TC": 1.0, "ET": 0.5}
RECORDS = [Record("a", 1, "begun", 1.0, begun=1),
           Record("a", 1, "done", 2.0, seconds=3.5, ml=ML, flags=({"code": "x", "severity": "info", "text": "X."},)),
           Record("Zöe", 2, "failed", 3.0, kind="BadImage", reason="It is \"bad\".\n")]


@pytest.fixture
def written(tmp_path):
    with open_manifest(tmp_path, MADE) as manifest:
        for record in RECORDS:
            manifest.write(record)
    return tmp_path / "manifest.jsonl"


def test_the_last_line_of_a_study_counts_and_all_of_it_comes_back(written):
    assert read_records(written.parent) == {"a": RECORDS[1], "Zöe": RECORDS[2]}


def test_cut_at_any_byte_it_reads_as_it_was_before_the_torn_line_and_goes_on(written):
    whole = written.read_bytes()
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        expected = {record.id: record for record in RECORDS[:max(0, complete - 1)]}
        with open_manifest(written.parent, MADE) as manifest:
            assert manifest.records == expected
            manifest.write(RECORDS[2])
        assert read_records(written.parent) == {**expected, "Zöe": RECORDS[2]}


def test_a_line_is_on_the_disk_when_write_returns(tmp_path, monkeypatch):
    synced = []
    with open_manifest(tmp_path, MADE) as manifest:
        monkeypatch.setattr(cohort_manifest.os, "fsync", lambda number: synced.append((tmp_path / "manifest.jsonl").read_bytes().count(b"\n")))
        manifest.write(RECORDS[0])
    assert synced == [2]


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b'{"id": "a"}'])
def test_a_damaged_line_is_named(written, line):
    lines = written.read_bytes().splitlines()
    written.write_bytes(b"\n".join([*lines[:2], line, *lines[2:], b""]))
    with pytest.raises(ConfigError, match=r"manifest\.jsonl is damaged at line 3"), open_manifest(written.parent, MADE):
        pass


@pytest.mark.parametrize("change", [
    {"id": 5}, {"id": ""}, {"id": ".."}, {"id": "../elsewhere"}, {"id": "//evil.example"}, {"number": "1"}, {"at": "now"}, {"at": float("nan")},
    {"state": "asleep"}, {"ml": {"WT": "a", "TC": 1, "ET": 1}}, {"ml": {}}, {"ml": None}, {"ml": ["WT"]}, {"flags": ["x"]},
    {"flags": [{"code": "x"}]}, {"flags": {"code": "x"}},
    {"estimated": "TC"}, {"seconds": None}, {"files": 5}, {"reason": ["a", "b"]}, {"provider": 1}, {"begun": "3"},
], ids=str)
def test_a_line_of_another_program_is_refused_where_it_is_read(written, change):
    lines = written.read_bytes().splitlines()
    written.write_bytes(b"\n".join([*lines, json.dumps({**json.loads(lines[2]), **change}).encode(), b""]))
    with pytest.raises(ConfigError, match=r"manifest\.jsonl is damaged at line 5"):
        read_records(written.parent)


@pytest.mark.parametrize("first", ['[]', '5', '{"format": ["braintumorseg cohort 1"]}', '{"format": "braintumorseg cohort 1", "made": ["model"]}',
                                   "[" * 100_000])
def test_a_first_line_of_another_program_is_refused_too(written, first):
    written.write_text("\n".join([first, *written.read_text().splitlines()[1:], ""]))
    with pytest.raises(ConfigError, match=r"manifest\.jsonl is (damaged at line 1|in the format)"), open_manifest(written.parent, MADE):
        pass


def test_a_study_may_have_whatever_name_a_folder_can_have(tmp_path):
    names = ["a\nb", "\udcff", "a:b", "...", "x\x1b[31m"]
    with open_manifest(tmp_path, MADE) as manifest:
        manifest.write(*(Record(name, number, "done", 1.0, ml=ML) for number, name in enumerate(names, start=1)))
    assert list(read_records(tmp_path)) == names


@pytest.mark.parametrize("name", [".DS_Store", "desktop.ini", "Thumbs.db"])
def test_a_folder_that_only_was_looked_at_is_free(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with open_manifest(tmp_path, MADE):
        pass


def test_one_of_another_format_is_refused(written):
    written.write_bytes(written.read_bytes().replace(b"cohort 1", b"cohort 9"))
    with pytest.raises(ConfigError, match="format braintumorseg cohort 9"):
        read_records(written.parent)


def test_the_latest_of_two_shards_counts(tmp_path):
    with open_manifest(tmp_path, MADE, Shard(1, 2)) as first, open_manifest(tmp_path, MADE, Shard(2, 2)) as second:
        first.write(Record("a", 1, "done", 5.0, ml=ML))
        second.write(Record("a", 1, "failed", 4.0))
    assert read_records(tmp_path)["a"].state == "done"


@pytest.mark.parametrize("shard", [Shard(1, 2), Shard(2, 2), Shard()])
def test_what_is_written_now_counts_although_an_earlier_runs_clock_was_ahead(tmp_path, shard):
    with open_manifest(tmp_path, MADE, Shard(1, 2)) as manifest:
        manifest.write(Record("a", 1, "failed", 9e9))
    with open_manifest(tmp_path, MADE, shard) as manifest:
        manifest.write(Record("a", 1, "begun", 1.0, begun=1))
        manifest.write(Record("a", 1, "done", 2.0, ml=ML))
        assert manifest.records["a"].state == "done"
    assert read_records(tmp_path)["a"].state == "done"


def entries(*names):
    return [Entry(name, number=number) for number, name in enumerate(names, start=1)]


def test_studies_that_nobody_began_are_known_until_somebody_does(written):
    with open_manifest(written.parent, MADE, Shard(1, 2)) as manifest:
        manifest.enlist(entries("a", "Zöe", "\udcff", "new"))
        assert manifest.records == read_records(written.parent)
    records = read_records(written.parent)
    assert {name: (record.number, record.state, record.reason) for name, record in records.items() if name not in ("a", "Zöe")} == {
        "\udcff": (3, "listed", "not begun"), "new": (4, "listed", "not begun")}
    assert (records["a"], records["Zöe"]) == (RECORDS[1], RECORDS[2])
    lines = (written.parent / "manifest-1-of-2.jsonl").read_text().count("\n")
    with open_manifest(written.parent, MADE, Shard(1, 2)) as manifest:
        manifest.enlist(entries("a", "Zöe", "\udcff", "new"))
        assert (written.parent / "manifest-1-of-2.jsonl").read_text().count("\n") == lines   # known, so not told again
        manifest.write(Record("new", 4, "begun", 4.0, begun=1))
    assert read_records(written.parent)["new"].state == "begun"


@pytest.mark.parametrize("line", ['{"listed": ["a"]}', '{"listed": {"../a": 1}}', '{"listed": {"a": "1"}}', '{"listed": 5}'])
def test_a_list_of_studies_of_another_program_is_refused(written, line):
    written.write_text(written.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=r"manifest\.jsonl is damaged at line 5"):
        read_records(written.parent)


HOLDS = """
import sys
from pathlib import Path
from braintumorseg.cohort_manifest import open_manifest
from braintumorseg.cohort_shard import Shard
from braintumorseg.cohort_workers import Options
with open_manifest(Path(sys.argv[1]), {"model": "toy", "sr": False}, Shard(*map(int, sys.argv[2:]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(("theirs", "ours", "refused"), [((1, 1), (1, 1), True), ((1, 2), (1, 2), True), ((1, 2), (2, 2), False),
                                                         ((1, 1), (1, 2), True), ((2, 3), (1, 1), True),
                                                         ((1, 2), (1, 3), True), ((2, 3), (2, 2), True)])
def test_one_process_at_a_time_is_at_a_study_so_shards_are_of_one_count_and_none_is_beside_the_whole(tmp_path, theirs, ours, refused):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path, *map(str, theirs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        if refused:
            with pytest.raises(OutputError, match="Another run is at work"), open_manifest(tmp_path, MADE, Shard(*ours)):
                pass
        process.kill()   # and a killed one holds nothing
        process.wait()
        with open_manifest(tmp_path, MADE, Shard(*ours)):
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_is_said_and_the_earlier_lines_stay(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_manifest(tmp_path, MADE) as manifest:
        manifest.write(RECORDS[1])
        monkeypatch.setattr(cohort_manifest.os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            manifest.write(RECORDS[2])


def test_a_folder_that_is_no_cohort_has_no_records(tmp_path):
    with pytest.raises(MissingFile, match="no manifest"):
        read_records(tmp_path)


def with_card(model, **changes):
    return replace(model, card=replace(model.card, **changes))


def test_a_network_whose_card_decides_otherwise_is_refused_with_what_differs(toy_model, tmp_path):
    with open_manifest(tmp_path, Options().made(toy_model)):
        pass
    numbers = toy_model.card.post_processing
    thresholds = {**numbers.thresholds, "ET": 0.123}
    for changed, says in ((with_card(toy_model, post_processing=replace(numbers, thresholds=thresholds)), "now it is .*thresholds ET 0.123"),
                          (with_card(toy_model, post_processing=replace(numbers, smallest_lesion_ml=0.625)), "now it is .*smallest_lesion_ml 0.625"),
                          (with_card(toy_model, spacing_mm=(1.5, 1.5, 1.5)), r"now it is card spacing_mm \[1.5, 1.5, 1.5\]")):
        with pytest.raises(ConfigError, match=rf"{says}.*another --out, or add --force"), open_manifest(tmp_path, Options().made(changed)):
            pass
    for same in (with_card(toy_model, licence="MIT", metrics={"split": "another"}, limits=("Adults only.",)), toy_model):
        with open_manifest(tmp_path, Options().made(same)):
            pass


def test_another_version_of_the_engine_is_refused_with_both(tmp_path, monkeypatch):
    with open_manifest(tmp_path, MADE):
        pass
    monkeypatch.setattr(cohort_manifest, "__version__", "99.1")
    with pytest.raises(ConfigError, match=rf"begun with engine {__version__}, and now it is engine 99.1.*add --force"), open_manifest(tmp_path, MADE):
        pass
    with open_manifest(tmp_path, MADE, force=True):
        pass
    with open_manifest(tmp_path, MADE):
        pass


def test_a_manifest_that_tells_nothing_of_the_card_is_gone_on_with(toy_model, tmp_path):
    """As those of earlier versions."""
    made = Options().made(toy_model)
    with open_manifest(tmp_path, {name: value for name, value in made.items() if name != "card"}):
        pass
    with open_manifest(tmp_path, made):
        pass


def test_a_forced_shard_takes_away_what_it_could_not_be_continued_beside_and_no_more(tmp_path):
    other = {"model": "another", "sr": False}
    for shard, made in ((Shard(), MADE), (Shard(2, 3), MADE), (Shard(3, 3), other)):
        with open_manifest(tmp_path, made, shard, force=True) as manifest:
            manifest.write(Record(f"by {shard}", 1, "done", 1.0, ml=ML))
    with open_manifest(tmp_path, MADE, Shard(2, 3), force=True) as manifest:
        manifest.write(Record("again", 1, "done", 1.0, ml=ML))
    with open_manifest(tmp_path, MADE, Shard(1, 3), force=True) as manifest:
        assert manifest.records["again"].state == "listed"   # all is to be done again, under the numbers that there are
        manifest.write(Record("forced", 2, "done", 1.0, ml=ML))
    assert set(read_records(tmp_path)) == {"again", "forced"}
    with open_manifest(tmp_path, MADE, Shard(1, 3)) as manifest:
        assert manifest.records["forced"].state == "done"


def test_a_forced_shard_leaves_a_shard_alone_that_is_at_work(tmp_path):
    with open_manifest(tmp_path, {"model": "another", "sr": False}, Shard(2, 2)) as theirs:
        theirs.write(Record("a", 1, "done", 1.0, ml=ML))
        with open_manifest(tmp_path, MADE, Shard(1, 2), force=True):
            pass
    assert read_records(tmp_path)["a"].state == "done"


def test_force_helps_against_a_damaged_manifest_of_another_shard(written):
    written.rename(written.with_name("manifest-2-of-2.jsonl")).write_bytes(b"nonsense\n")
    with open_manifest(written.parent, MADE, Shard(1, 2), force=True):
        pass
    with open_manifest(written.parent, MADE, Shard(1, 2)):
        pass
