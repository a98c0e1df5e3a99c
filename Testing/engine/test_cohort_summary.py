import csv
import re

import pytest
from PIL import Image

from braintumorseg.cohort_manifest import Record, open_manifest
from braintumorseg.cohort_summary import format_ended, summarise, write_summary
from braintumorseg.errors import OutputError

ML = {"WT": 3.0, "TC": 2.0, "ET": 1.25, "NCR": 0.75, "ED": 1.0}
FLAGS = ({"code": "no_contrast", "severity": "warning", "text": "T1ce <shows> no contrast."}, {"code": "small", "severity": "info", "text": "small"})


@pytest.fixture
def cohort(tmp_path):
    with open_manifest(tmp_path, {}) as manifest:
        manifest.write(Record("Doe & <b>", 2, "done", 1.0, seconds=4.25, ml=ML, flags=FLAGS))
        manifest.write(Record("Zöe", 1, "failed", 1.0, seconds=0.5, kind="BadImage", reason="t1 is constant, 5."))
    (tmp_path / "Doe & <b>").mkdir()
    Image.new("RGB", (1600, 1500), (255, 0, 0)).save(tmp_path / "Doe & <b>" / "overlay.png")
    return tmp_path


def test_the_table_has_every_study_by_number_with_its_volumes_or_its_reason(cohort):
    write_summary(cohort)
    with (cohort / "cohort.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["number"], first["id"], first["state"], first["wt_ml"], first["error"]) == ("1", "Zöe", "failed", "", "t1 is constant, 5.")
    assert [second[name] for name in ("id", "wt_ml", "tc_ml", "et_ml", "ncr_ml", "ed_ml", "flags", "seconds", "error")] == [
        "Doe & <b>", "3.0", "2.0", "1.25", "0.75", "1.0", "no_contrast", "4.25", ""]


def test_the_page_shows_small_pictures_links_and_reasons_and_loads_nothing(cohort):
    write_summary(cohort)
    text = (cohort / "cohort.html").read_text(encoding="utf-8")
    assert 'href="Doe%20%26%20%3Cb%3E/report.html"' in text
    assert "Doe &amp; &lt;b&gt;" in text
    assert "T1ce &lt;shows&gt; no contrast." in text
    assert "t1 is constant, 5." in text
    assert re.findall(r'<img width="(\d+)" height="(\d+)"', text) == [("400", "212")]
    assert re.findall(r'src="(?!data:)', text) == []
    assert len(text) < 20_000


def test_a_result_without_its_picture_still_has_its_row(cohort):
    (cohort / "Doe & <b>" / "overlay.png").unlink()
    write_summary(cohort)
    assert "1.2</td>" in (cohort / "cohort.html").read_text(encoding="utf-8")


def test_what_a_shard_adds_while_the_summary_is_written_is_in_it(cohort, monkeypatch):
    from braintumorseg import cohort_summary

    real, late = cohort_summary.read_records, [Record("late", 3, "failed", 2.0, reason="late")]

    def reading(folder):
        found = real(folder)
        if late:
            with open_manifest(cohort, {}) as manifest:
                manifest.write(late.pop())
        return found

    monkeypatch.setattr(cohort_summary, "read_records", reading)
    assert [record.id for record in write_summary(cohort)] == ["Zöe", "Doe & <b>", "late"]
    assert "late" in (cohort / "cohort.csv").read_text(encoding="utf-8")


def test_a_summary_that_cannot_be_written_is_said_in_one_line_and_leaves_nothing(cohort):
    (cohort / "cohort.csv").mkdir()
    with pytest.raises(OutputError, match=r"cohort\.csv cannot be written \(Is a directory\)"):
        write_summary(cohort)
    assert [path.name for path in cohort.iterdir() if path.name.startswith(".cohort.csv")] == []


def test_terminals_and_logs_get_numbers_and_no_names(cohort):
    records = write_summary(cohort)
    lines = [format_ended(record, 2) for record in records]
    assert lines == ["Study 1 of 2: failed. t1 is constant, 5.", "Study 2 of 2: WT 3.0 ml   TC 2.0 ml   ET 1.2 ml   4.2 s   1 warning"]
    found = summarise(records)
    assert (found["studies"], found["done"], found["failed"], found["failures"][0]["number"]) == (2, 1, 1, 1)
    assert "Doe" not in str(found) + str(lines)
