"""`braintumorseg export` from the command line."""

import json
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from braintumorseg.cli import main
from braintumorseg.io.dicom_seg_reader import read_dicom_seg, read_seg_labels
from braintumorseg.io.nifti import write_nifti
from braintumorseg.io.nrrd import write_nrrd
from braintumorseg.model_zoo import load_model
from braintumorseg.volume import Volume
from dicom_oracles import no_dciodvfy_error
from seg_toys import mr_series, save, tilted, tumour

CARD = load_model().card


@pytest.fixture
def patient(tmp_path):
    source = mr_series()
    folder = tmp_path / "Müller, Jörg 患者"
    save(source, folder / "t1ce")
    labels = tumour(source)
    write_nifti(labels, folder / "labels.nii.gz")
    return SimpleNamespace(folder=folder, source=source, labels=labels, series=folder / "t1ce", file=folder / "labels.nii.gz",
                           out=tmp_path / "seg.dcm")


def run(capsys, *arguments):
    code = main(["export", *[str(argument) for argument in arguments]])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments):
    """The one line with which it refuses."""
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "Müller" not in err and "Phantom" not in err
    return err


def test_a_label_file_becomes_a_seg_of_its_series(patient, capsys):
    code, text, err = run(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma")
    assert (code, err) == (0, "")
    assert "1 Necrosis or Non-Enhancing Core (4 voxels), 2 Enhancing Lesion (3 voxels)" in text
    assert "Left out, because they are empty: Edema" in text
    np.testing.assert_array_equal(read_dicom_seg(patient.out, patient.labels.grid, CARD.labels).voxels, patient.labels.voxels)
    assert no_dciodvfy_error(patient.out)
    how = pydicom.dcmread(patient.out).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (how.AlgorithmName, how.AlgorithmVersion) == ("BrainTumorSeg glioma", CARD.version)
    assert CARD.sha256 in how.AlgorithmParameters


def test_everything_at_once_with_json(patient, capsys, tmp_path):
    code, out, _ = run(capsys, patient.file, "--source", *sorted(patient.series.iterdir()), "--out", patient.out, "--model", "glioma", "--edited",
                       "--labelmap", "--sr", tmp_path / "sr.dcm", "--sc", tmp_path / "sc", "--json")
    assert code == 0
    result = json.loads(out)
    seg = pydicom.dcmread(result["seg"]["path"])
    assert (seg.SOPInstanceUID, seg.SeriesInstanceUID, seg.SegmentationType) == (result["seg"]["sop_uid"], result["seg"]["series_uid"], "LABELMAP")
    assert {segment.SegmentAlgorithmType for segment in seg.SegmentSequence if segment.SegmentNumber} == {"SEMIAUTOMATIC"}
    assert [(one["value"], one["voxels"]) for one in result["seg"]["segments"]] == [(1, 4), (3, 3)]
    assert result["seg"]["left_out"] == ["Edema"]
    assert pydicom.dcmread(result["sr"]["path"]).SOPInstanceUID == result["sr"]["sop_uid"]
    assert (result["sc"]["files"], len(list((tmp_path / "sc").iterdir()))) == (7, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Müller, Jörg 患者", "sc", "seg.dcm", "sr.dcm"]


@pytest.mark.parametrize("kind", ["nrrd", "seg.nrrd", "mha", "turned", "brats2021", "dcm", "no suffix"])
def test_any_label_file_in_any_order_of_its_axes_gives_the_same_segments(patient, capsys, tmp_path, kind):
    file, more = tmp_path / f"labels.{kind}", ()
    if kind == "turned":
        file = tmp_path / "labels.nii"
        write_nifti(patient.labels.canonical(), file)
    elif kind == "brats2021":
        file, more = tmp_path / "labels.nii", ("--labels", "brats2021")
        write_nifti(patient.labels.with_voxels(np.where(patient.labels.voxels == 3, 4, patient.labels.voxels).astype(np.int16)), file)
    elif kind in ("dcm", "no suffix"):
        file = file if kind == "dcm" else tmp_path / "I0001"
        run(capsys, patient.file, "--source", patient.series, "--out", file, "--model", "glioma")
    else:
        write_nrrd(patient.labels, file)
    assert run(capsys, file, "--source", patient.series, "--out", patient.out, "--model", "glioma", *more)[0] == 0
    np.testing.assert_array_equal(read_seg_labels(patient.out, patient.labels.grid).voxels, patient.labels.voxels)


def test_the_report_beside_the_labels_says_who_made_them(patient, capsys, tmp_path):
    labels = [{"value": label.value, "name": f"{label.name} X", "code": list(label.code), "rgb": list(label.rgb)} for label in CARD.labels]
    report = {"model": {"name": "other", "version": "9.9", "sha256": "cd" * 32, "labels": labels}}
    (patient.folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    code, text, _ = run(capsys, patient.file, "--source", patient.series, "--out", patient.out)
    assert code == 0
    assert "Necrosis or Non-Enhancing Core X" in text
    seg = pydicom.dcmread(patient.out)
    assert seg.SegmentSequence[0].SegmentAlgorithmName == "BrainTumorSeg other"
    assert run(capsys, patient.file, "--source", patient.series, "--out", tmp_path / "2.dcm", "--report", patient.folder / "report.json")[0] == 0
    (patient.folder / "report.json").write_text("{}", encoding="utf-8")
    assert "not a report of this program" in refused(capsys, patient.file, "--source", patient.series, "--out", tmp_path / "3.dcm")


def test_the_reports_warnings_go_with_the_labels_and_not_with_labels_that_a_person_has_changed(patient, capsys, tmp_path):
    labels = [{"value": label.value, "name": label.name, "code": list(label.code), "rgb": list(label.rgb)} for label in CARD.labels]
    flags = [{"code": code, "severity": severity, "text": "x"} for code, severity in (
        ("weak_sequences", "warning"), ("coarse_slices", "info"), ("no_dicom_result", "warning"))]
    report = {"model": {"name": "other", "version": "9.9", "sha256": "cd" * 32, "labels": labels}, "flags": flags}
    (patient.folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    said = []
    for name, more in (("as.dcm", ()), ("edited.dcm", ("--edited",))):
        assert run(capsys, patient.file, "--source", patient.series, "--out", tmp_path / name, *more)[0] == 0
        said.append(pydicom.dcmread(tmp_path / name).ContentDescription)
    assert [("1 warning: see report" in text) for text in said] == [True, False]
    report["flags"][0]["severity"] = "fatal"
    (patient.folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert "not a report of this program" in refused(capsys, patient.file, "--source", patient.series, "--out", tmp_path / "3.dcm")


def test_drawn_by_hand_is_manual_and_unsaid_is_refused(patient, capsys):
    assert "Nothing says who made these labels" in refused(capsys, patient.file, "--source", patient.series, "--out", patient.out)
    assert run(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--manual")[0] == 0
    assert {segment.SegmentAlgorithmType for segment in pydicom.dcmread(patient.out).SegmentSequence} == {"MANUAL"}


def test_a_file_that_exists_needs_force(patient, capsys):
    patient.out.write_text("precious")
    arguments = (patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma")
    assert "--force" in refused(capsys, *arguments)
    assert patient.out.read_text() == "precious"
    assert run(capsys, *arguments, "--force")[0] == 0
    assert read_seg_labels(patient.out).voxels.any()


def test_the_folder_of_the_source_is_never_taken_for_pictures(patient, capsys):
    before = sorted(patient.series.iterdir())
    words = refused(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma", "--sc", patient.series, "--force")
    assert "not results of ours" in words
    assert sorted(patient.series.iterdir()) == before


def test_of_several_series_the_one_with_the_labels_voxels_is_taken_and_two_are_asked_about(patient, capsys, tmp_path):
    other = mr_series()
    for one in other:
        one.SeriesNumber = 7
    save(other, patient.folder / "t1")                                       # the same voxels
    third = mr_series()
    for one in third:
        one.SeriesNumber, one.PixelSpacing = 9, [0.5, 0.5]
    save(third, patient.folder / "t2")
    arguments = (patient.file, "--out", patient.out, "--model", "glioma")
    words = refused(capsys, *arguments, "--source", patient.folder)
    assert "2 series have these voxels: series 4 (6 x 5 x 7" in words and "series 7" in words and "--series NUMBER" in words
    assert run(capsys, *arguments, "--source", patient.folder, "--series", 7)[0] == 0
    assert pydicom.dcmread(patient.out).ReferencedSeriesSequence[0].SeriesInstanceUID == other[0].SeriesInstanceUID
    assert run(capsys, *arguments, "--source", patient.series, patient.folder / "t2", "--force")[0] == 0
    assert pydicom.dcmread(patient.out).ReferencedSeriesSequence[0].SeriesInstanceUID == patient.source[0].SeriesInstanceUID
    assert "no series 5" in refused(capsys, *arguments, "--source", patient.folder, "--series", 5, "--force")


def test_labels_that_were_only_moved_say_how_far_for_their_grids_read_alike(patient, capsys):
    moved = patient.labels.affine.copy()
    moved[:3, 3] += (0, 3, 4)
    write_nifti(Volume(patient.labels.voxels, moved), patient.file)
    assert "but lie up to 5 mm apart from it" in refused(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma")


def test_labels_on_another_grid_are_resampled_only_when_asked(patient, capsys, tmp_path):
    finer = np.repeat(np.repeat(patient.labels.voxels, 2, axis=0), 2, axis=1)
    affine = patient.labels.affine @ np.diag([0.5, 0.5, 1, 1])
    affine[:3, 3] = (patient.labels.affine @ [-0.25, -0.25, 0, 1])[:3]
    write_nifti(Volume(finer, affine), tmp_path / "finer.nii")
    arguments = (tmp_path / "finer.nii", "--source", patient.series, "--out", patient.out, "--model", "glioma")
    assert "--resample" in refused(capsys, *arguments)
    assert not patient.out.exists()
    assert run(capsys, *arguments, "--resample")[0] == 0
    np.testing.assert_array_equal(read_seg_labels(patient.out, patient.labels.grid).voxels, patient.labels.voxels)


def test_a_tilted_series_takes_labels_on_the_grid_as_which_it_is_read(tmp_path, capsys):
    from braintumorseg.io.dicom import scan_dicom

    save(tilted(), tmp_path / "series")
    stack, = scan_dicom([tmp_path / "series"]).stacks
    voxels = np.zeros(stack.grid.shape, np.uint8)
    voxels[2:4, 2:4, 3] = 3
    write_nifti(Volume(voxels, stack.grid.affine), tmp_path / "labels.nii")
    code, _, _ = run(capsys, tmp_path / "labels.nii", "--source", tmp_path / "series", "--out", tmp_path / "seg.dcm", "--model", "glioma",
                     "--sr", tmp_path / "sr.dcm", "--sc", tmp_path / "sc")
    assert code == 0
    np.testing.assert_array_equal(read_seg_labels(tmp_path / "seg.dcm", stack.grid).voxels, voxels)


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p.file.write_bytes(b"nothing"), "labels.nii.gz"),
    (lambda p: p.file.unlink(), "labels.nii.gz"),
    (lambda p: [file.unlink() for file in p.series.iterdir()], "No DICOM series"),
    (lambda p: (p.series / "1.dcm").unlink(), "missing"),
    (lambda p: write_nifti(p.labels.with_voxels(p.labels.voxels * 3), p.file), "brats2023 does not know"),
])
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(patient, capsys, change, words):
    change(patient)
    assert words in refused(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma")
    assert sorted(path.name for path in patient.out.parent.iterdir()) == [patient.folder.name]


def test_a_series_that_lacks_a_slice_carries_labels_on_its_whole_grid_when_asked_to(patient, capsys):
    (patient.series / "1.dcm").unlink()
    code, text, _ = run(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma", "--fill-gaps")
    assert code == 0, text
    back = read_dicom_seg(patient.out, patient.labels.grid, load_model().card.labels)
    assert np.array_equal(back.voxels, patient.labels.voxels)


def test_an_empty_label_map_writes_no_seg_and_says_so(patient, capsys):
    write_nifti(patient.labels.with_voxels(np.zeros_like(patient.labels.voxels)), patient.file)
    code, text, _ = run(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "glioma")
    assert code == 0
    assert "no SEG was written" in text
    assert not patient.out.exists()


def test_a_network_that_finds_no_tumours_made_no_labels(patient, capsys):
    err = refused(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--model", "brain")
    assert "The network brain finds no tumours" in err


def test_the_report_of_a_run_without_t1ce_leaves_the_axes_out(patient, capsys, tmp_path):
    model = {"name": "glioma", "version": "1", "sha256": "ab" * 32,
             "labels": [{"value": label.value, "name": label.name, "code": label.code, "rgb": label.rgb} for label in CARD.labels]}
    for missing, axis in (([], 1.4), (["t1ce"], None)):
        (tmp_path / "report.json").write_text(json.dumps({"model": model, "missing": missing}), encoding="utf-8")
        code, out, _ = run(capsys, patient.file, "--source", patient.series, "--out", patient.out, "--sr", tmp_path / "sr.dcm", "--report",
                           tmp_path / "report.json", "--force", "--json")
        assert code == 0
        assert json.loads(out)["sr"]["long_axis_mm"] == axis
