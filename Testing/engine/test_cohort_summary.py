import base64
import csv
import io
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from braintumorseg import cohort_summary
from braintumorseg.cohort_manifest import Record, open_manifest
from braintumorseg.cohort_summary import CSV_COLUMNS, format_ended, summarise, write_summary
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
    assert re.findall(r'src="(?!data:)', text) == []
    assert len(text) < 20_000


def pictures(cohort):
    text = (cohort / "cohort.html").read_text(encoding="utf-8")
    found = re.findall(r'<img width="(\d+)" height="(\d+)" [^>]*base64,([^"]*)"', text)
    images = [Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for _, _, data in found]
    assert [image.size for image in images] == [(int(width), int(height)) for width, height, _ in found]
    return images


def test_the_page_shows_the_thumbnail_as_it_is(cohort):
    Image.new("RGB", (396, 250), (0, 0, 255)).save(cohort / "Doe & <b>" / "thumbnail.jpg")
    write_summary(cohort)
    (image,) = pictures(cohort)
    assert image.size == (396, 250)
    assert image.getpixel((200, 100))[2] > 240


NAMES = ["Doe & <b>", "50% #1?.a'b;c", 'say "x"', "Zöe\udcff", "plain"]   # of folders, as they may be


@pytest.fixture
def large_cohort(tmp_path, monkeypatch):
    """More studies than the page holds pictures of; the last one's is of an earlier version, and one more has none."""
    monkeypatch.setattr(cohort_summary, "_MOST_EMBEDDED", len(NAMES))
    with open_manifest(tmp_path, {}) as manifest:
        manifest.write(*(Record(name, number, "done", 1.0, ml=ML) for number, name in enumerate([*NAMES, "none"], start=1)))
    for name in NAMES:
        (tmp_path / name).mkdir()
        Image.new("RGB", (396, 250)).save(tmp_path / name / ("overlay.png" if name == "plain" else "thumbnail.jpg"))
    return tmp_path


def test_the_page_of_a_large_cohort_shows_the_pictures_in_the_studies_folders_whatever_those_are_called(large_cohort):
    write_summary(large_cohort)
    text = (large_cohort / "cohort.html").read_text(encoding="utf-8")
    assert "base64" not in text
    sources = re.findall(r'<img loading="lazy" [^>]*src="([^"]*)">', text)
    assert [(large_cohort / os.fsdecode(unquote_to_bytes(source))).is_file() for source in sources] == [True] * len(NAMES)
    assert all(re.fullmatch(r"[\w%./~-]+", source, re.ASCII) for source in sources)   # no scheme, query, fragment or end of the attribute
    assert "img-src data: 'self' file:;" in text   # browsers would refuse them


def test_of_a_large_cohort_no_picture_is_read_and_each_report_once(large_cohort, monkeypatch):
    read, real = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or real(path))
    monkeypatch.setattr(Image, "open", None)
    write_summary(large_cohort)
    assert [name for name in read if not name.startswith("manifest")] == ["report.json"] * (len(NAMES) + 1)


def test_the_page_of_a_small_cohort_can_be_sent_alone_and_lets_nothing_else_in(cohort):
    write_summary(cohort)
    text = (cohort / "cohort.html").read_text(encoding="utf-8")
    assert len(pictures(cohort)) == 1
    assert "img-src data:;" in text


@pytest.mark.parametrize(("drawn", "size"), [((1598, 1506), (400, 377)), ((1186, 1838), (323, 500)), ((640, 300), (400, 188))])
def test_a_result_of_an_earlier_version_shows_all_of_its_overlay_whatever_its_shape(cohort, drawn, size):
    overlay = Image.new("RGB", drawn)
    overlay.paste((0, 255, 0), (0, drawn[1] * 9 // 10, drawn[0], drawn[1]))   # outlined sequences are at the foot, where there are few
    overlay.save(cohort / "Doe & <b>" / "overlay.png")
    write_summary(cohort)
    (image,) = pictures(cohort)
    assert image.size == size
    assert image.getpixel((size[0] // 2, size[1] - 5))[1] > 240


@pytest.mark.parametrize("damage", [None, lambda data: b"", lambda data: data[:40], lambda data: data[:len(data) // 2],
                                    lambda data: data[:60] + bytes(500)])
def test_a_result_without_its_picture_still_has_its_row(cohort, damage):
    for name in ("overlay.png", "thumbnail.jpg"):
        path = cohort / "Doe & <b>" / name
        Image.effect_noise((800, 700), 50).convert("RGB").save(path)
        if damage:
            path.write_bytes(damage(path.read_bytes()))
        else:
            path.unlink()
    write_summary(cohort)
    assert "1.2</td>" in (cohort / "cohort.html").read_text(encoding="utf-8")
    assert pictures(cohort) == []


@pytest.mark.parametrize(("late", "readings"), [(1, 2), (9, 2)])
def test_what_a_shard_adds_while_the_summary_is_written_is_in_it_and_nobody_is_chased(cohort, monkeypatch, late, readings):
    real, shown, read = cohort_summary.read_records, cohort_summary._picture, []

    def reading(folder):
        found = real(folder)
        read.append(len(found))
        if len(read) <= late:
            with open_manifest(cohort, {}) as manifest:
                manifest.write(Record(f"late{len(read)}", 2 + len(read), "failed", 2.0, reason="late"))
        return found

    seen = []
    monkeypatch.setattr(cohort_summary, "_picture", lambda folder: seen.append(folder.name) or shown(folder))
    monkeypatch.setattr(cohort_summary, "read_records", reading)
    assert [record.id for record in write_summary(cohort)] == ["Zöe", "Doe & <b>", "late1"]
    assert "late1" in (cohort / "cohort.csv").read_text(encoding="utf-8")
    assert len(read) == readings
    assert seen == ["Doe & <b>"]   # no picture is made twice


def test_a_summary_that_takes_a_while_tells_how_far_it_is(cohort, monkeypatch):
    monkeypatch.setattr(cohort_summary, "_TELL_EVERY_S", 0.0)
    with open_manifest(cohort, {}) as manifest:
        manifest.write(Record("another", 3, "done", 1.0, ml=ML))
    told = []
    write_summary(cohort, told.append)
    assert [(update.step, update.done) for update in told] == [("summary", 0.5), ("summary", 1.0)]


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


def test_volumes_that_were_estimated_without_contrast_say_so_in_the_table_the_page_and_the_terminal(cohort):
    record = Record("No contrast", 3, "done", 1.0, ml=ML, estimated=("TC", "ET", "NCR"))
    with open_manifest(cohort, {}) as manifest:
        manifest.write(record)
    write_summary(cohort)
    with (cohort / "cohort.csv").open(encoding="utf-8", newline="") as file:
        assert [row["estimated"] for row in csv.DictReader(file)] == ["", "", "TC;ET;NCR"]
    text = (cohort / "cohort.html").read_text(encoding="utf-8")
    assert re.findall(r'class="number">([^<]*)</td>', text) == ["3.0", "2.0", "1.2", "3.0", "2.0 (estimated)", "1.2 (estimated)"]
    assert "WT 3.0 ml   TC 2.0 ml (estimated)   ET 1.2 ml (estimated)" in format_ended(record, 3)


REPORT = {"enhancing_mm": {"long": 31.4, "short": 20.6, "measurable": True}, "enhancing_lesions_mm": [{}, {}], "sum_of_products_mm2": 851,
          "lesions": [{}, {}, {}], "expected_dice": {"WT": 0.912}, "missing": ["t1", "t2"], "reference": "t1ce",
          "sequences": {"t1ce": {"spacing_mm": [0.9, 0.9, 1.2]}}, "model": {"name": "glioma", "version": "0.2.0"},
          "software": {"braintumorseg": "0.3.0"}}


def rows(cohort) -> list[dict]:
    write_summary(cohort)
    with (cohort / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_tells_what_each_studys_report_does(cohort):
    (cohort / "Doe & <b>" / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    failed, done = rows(cohort)
    told = {name: done[name] for name in CSV_COLUMNS[CSV_COLUMNS.index("estimated") + 1:]}
    assert told == {"long_mm": "31.4", "short_mm": "20.6", "measurable": "yes", "measurable_lesions": "2", "sum_of_products_mm2": "851",
                    "lesions": "3", "expected_dice_wt": "0.912", "missing": "t1;t2", "reference": "t1ce", "reference_spacing_mm": "0.9;0.9;1.2",
                    "model": "glioma", "model_version": "0.2.0", "engine_version": "0.3.0"}
    assert {failed[name] for name in told} == {""}


def test_what_a_study_does_not_have_is_empty_and_not_nought(cohort):
    report = REPORT | {"enhancing_mm": None, "enhancing_lesions_mm": [], "sum_of_products_mm2": None, "expected_dice": {}}
    (cohort / "Doe & <b>" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    done = rows(cohort)[1]
    assert [done[name] for name in ("long_mm", "measurable", "measurable_lesions", "sum_of_products_mm2", "expected_dice_wt", "lesions")] == [
        "", "", "0", "", "", "3"]


@pytest.mark.parametrize("report", ["", "{", "[]", "null", '{"lesions": 3}', json.dumps(REPORT | {"missing": [1]}), "[" * 100_000])
def test_a_study_whose_report_is_damaged_still_has_its_row(cohort, report):
    (cohort / "Doe & <b>" / "report.json").write_text(report, encoding="utf-8")
    assert (rows(cohort)[1]["wt_ml"], rows(cohort)[1]["model"]) == ("3.0", "")


def test_a_report_of_an_earlier_version_tells_what_it_has(cohort):
    later = ("enhancing_lesions_mm", "sum_of_products_mm2", "expected_dice", "software")
    earlier = {name: value for name, value in REPORT.items() if name not in later}
    earlier["sequences"] = {"t1ce": {}}
    (cohort / "Doe & <b>" / "report.json").write_text(json.dumps(earlier), encoding="utf-8")
    done = rows(cohort)[1]
    assert [done[name] for name in ("long_mm", "model_version", "sum_of_products_mm2", "reference_spacing_mm", "engine_version")] == [
        "31.4", "0.2.0", "", "", ""]


@pytest.mark.parametrize("name", ['=HYPERLINK("x","y")', "@SUM(1+1)", "+1", "-1+1", "\tx", "\rx"])
def test_no_text_of_a_study_is_a_formula_to_a_spreadsheet_and_numbers_are_numbers(tmp_path, name):
    with open_manifest(tmp_path, {}) as manifest:
        manifest.write(Record(name, 1, "failed", 1.0, reason=f"{name} is damaged."), Record("plain-1", 2, "done", 1.0, ml=ML | {"ET": -1.5}))
    formula, plain = rows(tmp_path)
    name = name.replace("\r", " ")
    assert (formula["id"], formula["error"]) == (f"'{name}", f"'{name} is damaged.")
    assert (plain["id"], plain["et_ml"]) == ("plain-1", "-1.5")
