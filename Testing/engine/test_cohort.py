"""Many studies: each once, whatever kills the run; what fails is listed and stops nothing."""

import errno
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from braintumorseg.cohort import run_cohort
from braintumorseg.cohort_list import Entry
from braintumorseg.cohort_manifest import open_manifest, read_records
from braintumorseg.cohort_shard import Shard
from braintumorseg.cohort_workers import Lanes, Options, segment_entry
from braintumorseg.errors import ConfigError
from braintumorseg.io import atomic
from cohort_toys import command, lines_of, make_studies, run

NAMES = ["Doe^Jane", "P 02", "Zöe", "p3"]


@pytest.fixture
def studies(tmp_path, toy_study):
    return make_studies(tmp_path / "in", toy_study, NAMES)


def test_every_study_gets_its_folder_and_the_cohort_its_table(studies, toy_model, tmp_path, capsys):
    code, text, err = run(capsys, *command(studies, tmp_path / "out", toy_model))
    assert (code, err) == (0, "")
    assert "Study 1 of 4: WT 2.7 ml" in text
    assert "Doe" not in text
    for name in NAMES:
        report = json.loads((tmp_path / "out" / name / "report.json").read_text(encoding="utf-8"))
        assert report["volumes_ml"]["regions"]["ET"] == pytest.approx(0.512)
        assert (tmp_path / "out" / name / "thumbnail.jpg").stat().st_size < 40_000
    assert sorted(line["id"] for line in lines_of(tmp_path / "out", "done")) == sorted(NAMES)


def test_a_second_run_does_only_what_is_new_or_changed_or_gone(studies, toy_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    shutil.rmtree(out / "P 02")
    os.utime(studies / "p3" / "case_t1.nii.gz", (1, 1))
    shutil.copytree(studies / "p3", studies / "A new one")
    code, text, _ = run(capsys, *command(studies, out, toy_model))
    assert code == 0
    assert "2 of 5 studies were dealt with before." in text
    assert [sum(line["id"] == name for line in lines_of(out, "done")) for name in ("A new one", *NAMES)] == [1, 1, 2, 1, 2]
    assert {record.id: record.number for record in read_records(out).values()} == {"Doe^Jane": 1, "P 02": 2, "Zöe": 3, "p3": 4, "A new one": 5}


def test_what_fails_is_listed_by_number_and_tried_again_only_on_request(studies, toy_model, tmp_path, capsys):
    out = tmp_path / "out"
    for image in (studies / "Doe^Jane").iterdir():
        image.unlink()
    (studies / "P 02" / "case_t1.nii.gz").write_bytes(b"no image")
    code, text, err = run(capsys, *command(studies, out, toy_model))
    assert code == 1
    assert "Study 1 of 4: failed. The folder study 1 holds no image." in text
    assert "2 of 4 studies failed" in err
    assert "--retry-failed" in err
    assert "Doe" not in text + err
    assert {line["id"]: line["kind"] for line in lines_of(out, "failed")} == {"Doe^Jane": "MissingFile", "P 02": "NotAnImage"}
    assert "Doe^Jane" in (out / "cohort.csv").read_text(encoding="utf-8")

    assert run(capsys, *command(studies, out, toy_model))[0] == 1          # still failed, and not done again
    assert len(lines_of(out, "failed")) == 2
    assert run(capsys, *command(studies, out, toy_model, "--retry-failed"))[0] == 1
    assert len(lines_of(out, "failed")) == 4
    shutil.rmtree(studies / "Doe^Jane")
    shutil.rmtree(studies / "P 02")
    for name in ("Doe^Jane", "P 02"):                                      # mended: their files have changed, so they need no option
        shutil.copytree(studies / "p3", studies / name)
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    assert len(lines_of(out, "done")) == 4


def test_no_name_within_a_study_reaches_the_terminal_or_its_json(studies, toy_model, tmp_path, capsys):
    for image in (studies / "P 02").iterdir():
        image.unlink()
    (studies / "P 02" / "DOE_JOHN_19700101").mkdir()
    (studies / "p3" / "case_t1.nii.gz").rename(studies / "p3" / "ROE_t1.nii.gz").write_bytes(b"no image")
    code, text, err = run(capsys, *command(studies, tmp_path / "out", toy_model, "--json"))
    assert code == 1
    assert "DOE" not in text + err and "ROE" not in text + err
    assert "file 1 of study 4" in text
    code, text, _ = run(capsys, *command(studies, tmp_path / "in the open", toy_model))
    assert "DOE" not in text and "ROE" not in text


@pytest.mark.parametrize("more", [["--sr"], ["--fill-gaps"]])
def test_other_options_than_before_are_refused_until_force_does_all_again(studies, toy_model, tmp_path, capsys, more):
    out = tmp_path / "out"
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    code, _, err = run(capsys, *command(studies, out, toy_model, *more))
    assert code == 1
    assert f"was begun with no {more[0]}, and now it is {more[0]}" in err
    assert len(lines_of(out, "done")) == 4
    assert run(capsys, *command(studies, out, toy_model, *more, "--force"))[0] == 0
    assert len(lines_of(out, "done")) == 4   # a new manifest


def test_another_network_than_before_is_refused(studies, toy_model, tmp_path, capsys):
    out = tmp_path / "out"
    with open_manifest(out, {**Options(registered=True, stripped=True).made(toy_model), "sha256": "0" * 64}):
        pass
    code, _, err = run(capsys, *command(studies, out, toy_model))
    assert code == 1
    assert "was begun with sha256 0000" in err


def test_two_runs_at_once_on_one_folder_are_refused_unless_they_are_shards(studies, toy_model, tmp_path, capsys):
    out = tmp_path / "out"
    made = Options(registered=True, stripped=True).made(toy_model)
    with open_manifest(out, made):
        code, _, err = run(capsys, *command(studies, out, toy_model))
        assert (code, "Another run is at work" in err) == (1, True)
    assert run(capsys, *command(studies, out, toy_model, "--shard", "1/2"))[0] == 0
    assert run(capsys, *command(studies, out, toy_model, "--shard", "2/2"))[0] == 0
    done = [sorted(json.loads(line)["id"] for line in path.read_text().splitlines()[1:] if '"done"' in line)
            for path in sorted(out.glob("manifest-*"))]
    assert done == [Shard(index, 2).of(NAMES, by=str) for index in (1, 2)]
    assert len((out / "cohort.csv").read_text(encoding="utf-8").splitlines()) == 5
    (out / "cohort.csv").unlink()
    assert run(capsys, "cohort", "--summary", out)[0] == 0
    assert len((out / "cohort.csv").read_text(encoding="utf-8").splitlines()) == 5


def test_a_folder_of_someone_else_is_left_alone(studies, toy_model, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("...")
    code, _, err = run(capsys, *command(studies, tmp_path / "out", toy_model, "--force"))
    assert (code, "left alone" in err) == (1, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("arguments", [["cohort", "--out", "x"], ["cohort", "in"], ["cohort", "in", "--list", "a.csv", "--out", "x"],
                                       ["cohort", "in", "--out", "x", "--shard", "3/2"], ["cohort", "in", "--out", "x", "--at-once", "0"]])
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        run(capsys, *arguments)
    assert exit.value.code == 2


def test_the_network_takes_one_study_at_a_time_while_others_are_read(studies, toy_model, tmp_path, monkeypatch):
    """With two lanes one study waits for the network no longer than it is used, and never shares it."""
    from braintumorseg import pipeline

    inside, most, real = [], [], pipeline.predict

    def watched(*arguments, **more):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        try:
            return real(*arguments, **more)
        finally:
            inside.pop()

    monkeypatch.setattr(pipeline, "predict", watched)
    turn, options = threading.Lock(), Options(registered=True, stripped=True)
    lanes = Lanes(3, lambda entry, progress: segment_entry(entry, toy_model, options, tmp_path / "out", progress, turn))
    with open_manifest(tmp_path / "out", {}) as manifest:
        run_cohort([Entry(name, (studies / name,)) for name in NAMES], lanes, manifest)
    assert len(lines_of(tmp_path / "out", "done")) == 4
    assert most == [1, 1, 1, 1]


def test_the_provider_asked_for_runs_every_study(studies, toy_model, tmp_path, capsys):
    assert run(capsys, *command(studies, tmp_path / "out", toy_model, "--provider", "onnxruntime", "--device", "cpu"))[0] == 0
    assert {line["provider"] for line in lines_of(tmp_path / "out", "done")} == {"CPUExecutionProvider"}


def test_a_thorough_cohort_is_thorough_with_every_study_and_is_not_gone_on_with_without_it(studies, toy_model, tmp_path, capsys):
    assert run(capsys, *command(studies, tmp_path / "out", toy_model, "--thorough"))[0] == 0
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "out").glob("*/report.json")]
    assert [report["looks"] for report in reports] == [5] * len(NAMES)
    code, _, err = run(capsys, *command(studies, tmp_path / "out", toy_model))
    assert (code, "was begun with --thorough" in err) == (1, True)


def test_an_option_that_the_manifests_version_did_not_have_was_off(tmp_path):
    with open_manifest(tmp_path / "out", {"model": "toy"}):
        pass
    with open_manifest(tmp_path / "out", {"model": "toy", "thorough": False}):
        pass
    with pytest.raises(ConfigError, match=r"now it is --thorough"), open_manifest(tmp_path / "out", {"model": "toy", "thorough": True}):
        pass


def test_a_provider_that_cannot_be_had_ends_the_run_before_the_first_study(studies, toy_model, tmp_path, capsys):
    code, _, err = run(capsys, *command(studies, tmp_path / "out", toy_model, "--provider", "tensorrt"))
    assert code == 1 and err.strip().count("\n") <= 1
    assert lines_of(tmp_path / "out") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_folder_that_takes_no_results_ends_the_run_and_no_study_pays_for_it(studies, toy_model, tmp_path, capsys, monkeypatch, number):
    def refuses(folder):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_flush", refuses)
        patch.setattr("os.access", lambda path, mode: False)
        code, text, err = run(capsys, *command(studies, tmp_path / "out", toy_model, "--at-once", "2"))
    assert (code, text) == (1, "")
    assert err.count("\n") == 1 and f"({os.strerror(number)})" in err and "The same command goes on from there" in err
    assert not any(name in err for name in NAMES)
    assert lines_of(tmp_path / "out", "failed") == []
    assert {record.begun for record in read_records(tmp_path / "out").values()} == {0}
    assert run(capsys, *command(studies, tmp_path / "out", toy_model))[0] == 0
    assert len(lines_of(tmp_path / "out", "done")) == 4


def test_a_folder_of_one_study_that_is_closed_to_us_costs_that_study_alone(studies, toy_model, tmp_path, capsys, monkeypatch):
    real = atomic._flush

    def refuses(folder):
        if folder.name.startswith(".p3."):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        real(folder)

    monkeypatch.setattr(atomic, "_flush", refuses)
    code, text, _ = run(capsys, *command(studies, tmp_path / "out", toy_model))
    assert (code, "Study 4 of 4: failed." in text) == (1, True)
    assert len(lines_of(tmp_path / "out", "done")) == 3


def test_an_interrupt_after_the_last_study_says_that_all_are_kept(studies, toy_model, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("braintumorseg.cohort_summary.write_summary", interrupted)
        code, _, err = run(capsys, *command(studies, tmp_path / "out", toy_model))
    assert (code, len(lines_of(tmp_path / "out", "done"))) == (130, 4)
    assert "all studies are kept" in err and "cohort --summary DIR" in err
    assert run(capsys, "cohort", "--summary", tmp_path / "out")[0] == 0


def test_what_was_estimated_without_t1ce_is_marked_also_in_results_of_an_earlier_version(studies, toy_model, tmp_path, capsys):
    out = tmp_path / "out"
    for path in studies.glob("p3/*t1ce*"):
        path.unlink()
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    now = read_records(out)
    assert [now[name].estimated for name in ("p3", "Zöe")] == [("TC", "ET", "NCR"), ()]
    manifest = out / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps({name: value for name, value in line.items() if name != "estimated"}) + "\n" for line in lines))
    assert {name: record.estimated for name, record in read_records(out).items()} == {name: record.estimated for name, record in now.items()}


def test_a_fault_of_ours_costs_one_study_and_its_words_are_not_repeated(toy_model, tmp_path, monkeypatch):
    def broken(*arguments, **more):
        raise ZeroDivisionError("Doe^Jane 19700101")

    monkeypatch.setattr("braintumorseg.read.read_study", broken)
    outcome = segment_entry(Entry("a", (Path("x"),), number=1), toy_model, Options(), tmp_path)
    assert outcome.fields["reason"].startswith("A fault of this program (ZeroDivisionError at test_cohort.py:")
    assert "Doe" not in str(outcome)
