import json

import pytest

from braintumorseg.measure import measure
from braintumorseg.pipeline import segment
from braintumorseg.progress import Progress
from braintumorseg.report import build_report
from braintumorseg.results import write_results


def test_the_reports_seconds_are_those_of_every_step_with_the_report_itself(toy_model, toy_study, tmp_path, monkeypatch):
    now, progress = [0.0], Progress()
    monkeypatch.setattr("braintumorseg.progress.time.monotonic", lambda: now[0])

    def slow(*given):
        now[0] += 1.5
        return build_report(*given)

    monkeypatch.setattr("braintumorseg.results.build_report", slow)
    segmentation = segment(toy_study, toy_model, registered=True, progress=progress)
    report = write_results(toy_study, segmentation, toy_model.card, tmp_path / "out", progress=progress)
    assert set(report["seconds"]) == {"brain", "align", "prepare", "predict", "decide", "measure", "draw", "write"}
    assert sum(report["seconds"].values()) == now[0] == report["seconds"]["measure"] == 1.5
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    assert "Time: 1.5 s in all" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_result_is_measured_once_for_its_flags_its_pictures_and_its_report(toy_model, toy_study, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr("braintumorseg.results.measure", lambda what: measured.append(what) or measure(what))
    for other in ("quality", "overlay"):
        monkeypatch.setattr(f"braintumorseg.{other}.measure", lambda _: pytest.fail("measured again"))
    segmentation = segment(toy_study, toy_model, registered=True)
    write_results(toy_study, segmentation, toy_model.card, tmp_path / "out", thumbnail="small.jpg")
    assert measured == [segmentation]
    assert (tmp_path / "out" / "small.jpg").is_file()
