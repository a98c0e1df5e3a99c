"""The research copy: no byte of identity, everything else usable; against the published table as an independent package has it."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from anonymise_toys import copies, run
from braintumorseg import confidentiality
from braintumorseg.confidentiality import DATES, KEPT, SEQUENCES, clean_description
from made_up_patient import SECRETS, encodings, find_secrets, write_patient

UID_ROOT = "1.2.826.0.1.3680043.9.9999"


@pytest.fixture
def patient(tmp_path):
    write_patient(tmp_path / "in")
    return tmp_path / "in"


@pytest.fixture
def copied(patient, tmp_path, capsys):
    code, out, err = run(capsys, patient, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    return tmp_path / "out", out


def test_the_made_up_patient_has_every_secret_in_every_file(patient):
    for path in patient.iterdir():
        assert find_secrets(path.read_bytes()) == list(SECRETS)


def test_no_byte_of_any_file_holds_identity(copied):
    folder, out = copied
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 9
    for path in files:
        assert find_secrets(path.read_bytes()) == []
    assert find_secrets(out.replace(str(folder), "").encode()) == []


def test_file_names_are_running_numbers(copied):
    assert sorted(str(path.relative_to(copied[0])) for path in copied[0].rglob("*") if path.is_file()) == [
        *(f"00{series}/000{image}.dcm" for series in (1, 2) for image in (1, 2, 3, 4)), "report.json"]


def test_pixels_and_geometry_are_as_they_were(patient, copied):
    originals = [pydicom.dcmread(path) for path in sorted(patient.iterdir())]
    for was, now in zip(originals, copies(copied[0]), strict=True):
        np.testing.assert_array_equal(now.pixel_array, was.pixel_array)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "EchoTime", "RepetitionTime",
                        "ScanningSequence", "Manufacturer", "SeriesNumber", "InstanceNumber", "StudyTime", "BodyPartExamined", "ImageType"):
            assert now[keyword].value == was[keyword].value


def test_uids_are_replaced_consistently_in_references_too(copied):
    images = copies(copied[0])
    assert len({image.StudyInstanceUID for image in images}) == 1
    assert len({image.SeriesInstanceUID for image in images}) == 2
    assert len({image.SOPInstanceUID for image in images}) == 8
    assert {image.ReferencedImageSequence[0].ReferencedSOPInstanceUID for image in images} == {images[0].SOPInstanceUID}
    for image in images:
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        assert image.StudyInstanceUID.startswith("2.25.")
        assert image.StudyInstanceUID.is_valid
        assert image.SOPClassUID == pydicom.uid.MRImageStorage


def test_what_was_done_is_said_in_the_words_of_the_standard(copied):
    image = copies(copied[0])[0]
    assert image.PatientIdentityRemoved == "YES"
    assert [code.CodeValue for code in image.DeidentificationMethodCodeSequence] == ["113100", "113105", "113107"]
    assert image.LongitudinalTemporalInformationModified == "MODIFIED"
    assert image.RecognizableVisualFeatures == "YES"
    assert (image.PatientSex, image.PatientBirthDate, image.AccessionNumber) == ("", "", "")
    assert "PatientAge" not in image
    assert re.fullmatch("ANON-[0-9A-F]{10}", image.PatientID)


def test_faces_are_said_to_be_still_there(copied):
    assert "the face, and it was not removed" in copied[1]
    assert "face" in json.loads((copied[0] / "report.json").read_text())["faces"]


def test_series_descriptions_keep_the_words_of_the_craft_alone(copied):
    assert sorted({image.SeriesDescription for image in copies(copied[0])}) == ["ax t2 flair", "t1 mpr sag +c"]


def test_a_word_of_the_craft_that_is_a_name_goes_too():
    assert clean_description("t1 space sag", frozenset({"space"})) == "t1 sag"


def test_dates_move_by_one_offset_per_patient_and_keep_their_order(tmp_path, capsys):
    for number, date in enumerate(("20190923", "20200301"), start=1):
        write_patient(tmp_path / "in", series=1, slices=1, date=date, study=number)
    write_patient(tmp_path / "in", series=1, slices=1, date="20190923", study=3, patient_id="OTHER-12345")
    assert run(capsys, tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    days = {}
    for image in copies(tmp_path / "out"):
        days.setdefault(image.PatientID, []).append(np.datetime64(f"{image.StudyDate[:4]}-{image.StudyDate[4:6]}-{image.StudyDate[6:]}"))
        assert image.AcquisitionDateTime == f"{image.StudyDate}101500.123"
    assert sorted(map(len, days.values())) == [1, 2]
    first, second = sorted(next(found for found in days.values() if len(found) == 2))
    assert second - first == np.datetime64("2020-03-01") - np.datetime64("2019-09-23")
    assert first < np.datetime64("2019-09-23")
    assert next(found[0] for found in days.values() if len(found) == 1) != first


def test_the_same_seed_file_gives_the_same_pseudonyms_and_another_run_others(patient, tmp_path, capsys):
    seed = tmp_path / "seed"
    for out, options in (("a", ("--seed-file", seed)), ("b", ("--seed-file", seed)), ("c", ())):
        assert run(capsys, patient, "--out", tmp_path / out, *options)[0] == 0
    a, b, c = (copies(tmp_path / out)[0] for out in "abc")
    assert seed.stat().st_mode & 0o777 == 0o600
    assert (a.PatientID, a.SOPInstanceUID, a.StudyDate) == (b.PatientID, b.SOPInstanceUID, b.StudyDate)
    assert not {a.PatientID, a.SOPInstanceUID, a.StudyDate} & {c.PatientID, c.SOPInstanceUID, c.StudyDate}


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_seed_that_others_can_read_is_refused(patient, tmp_path, capsys):
    (tmp_path / "seed").write_text("ab" * 32)
    (tmp_path / "seed").chmod(0o644)
    code, _, err = run(capsys, patient, "--out", tmp_path / "out", "--seed-file", tmp_path / "seed")
    assert code == 1
    assert "chmod 600" in err


def test_dates_age_and_sex_stay_on_request_and_that_is_said(patient, tmp_path, capsys):
    assert run(capsys, patient, "--out", tmp_path / "out", "--keep-dates", "--keep-age-sex")[0] == 0
    image = copies(tmp_path / "out")[0]
    assert (image.StudyDate, image.PatientAge, image.PatientSex) == ("20190923", "066Y", "F")
    assert [code.CodeValue for code in image.DeidentificationMethodCodeSequence] == ["113100", "113105", "113106", "113108"]
    assert image.LongitudinalTemporalInformationModified == "UNMODIFIED"
    assert set(find_secrets((tmp_path / "out" / "001" / "0001.dcm").read_bytes())) == {"20190923"}


def test_very_old_people_are_ninety(patient, tmp_path, capsys):
    for path in patient.iterdir():
        ds = pydicom.dcmread(path)
        ds.PatientAge = "097Y"
        ds.save_as(path)
    run(capsys, patient, "--out", tmp_path / "out", "--keep-age-sex")
    assert {image.PatientAge for image in copies(tmp_path / "out")} == {"090Y"}


def change(path, **values):
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(path)


@pytest.mark.parametrize(("values", "reason"), [
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"), ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary capture"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "structured report"), ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "document"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "ultrasound"), ({"SOPClassUID": "1.3.12.2.1107.5.9.1"}, "does not know how to clean"),
    ({"BurnedInAnnotation": "YES"}, "burned in"), ({"ConversionType": "WSD"}, "screenshot"),
    ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screenshot"), ({"SamplesPerPixel": 3}, "colour"),
    ({"PixelData": b"Griselda" * 64, "BitsStored": 16, "HighBit": 15}, "still found"),
    ({"PixelData": bytes(512) + b"hidden words"}, "do not have its size"), ({"HighBit": 15}, "contradicts itself"),
    ({"Rows": None}, "damaged header"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else None)
def test_what_cannot_be_cleaned_is_left_out_with_the_reason(patient, tmp_path, capsys, values, reason):
    change(patient / "Wanderløst_1_1_0.dcm", **values)
    code, out, _ = run(capsys, patient, "--out", tmp_path / "out", "--json")
    report = json.loads(out)
    assert (code, report["images"], list(report["left_out"].values())) == (0, 7, [1])
    assert reason in next(iter(report["left_out"]))


def test_other_files_are_left_out_and_counted_without_their_names(patient, tmp_path, capsys):
    (patient / "Wanderløst report.txt").write_text("Griselda")
    (patient / "empty.dcm").write_bytes(b"")
    (patient / "cut.dcm").write_bytes((patient / "Wanderløst_1_1_0.dcm").read_bytes()[:200])
    _, out, err = run(capsys, patient, "--out", tmp_path / "out")
    assert "Left out: 3 x not a DICOM file, or damaged" in out or "Left out: 2 x not a DICOM file, or damaged" in out
    assert find_secrets(out.replace(str(tmp_path), "").encode() + err.encode()) == []


def test_numbers_that_spell_a_name_do_not_stay(patient, tmp_path, capsys):
    """A damaged length makes numbers of the text that follows: more than the attribute may have, or just as many."""
    pairs = [int.from_bytes(b"Griselda Wanderl"[at:at + 2], "little") for at in range(0, 16, 2)]
    for path in patient.iterdir():
        change(path, FrameAcquisitionNumber=pairs) if path.name.endswith("_1_0.dcm") else change(path, AcquisitionMatrix=pairs[:4])
    report = json.loads(run(capsys, patient, "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], list(report["left_out"].values())) == (1, [7])
    assert "still found" in next(iter(report["left_out"]))
    assert find_secrets((tmp_path / "out" / "001" / "0001.dcm").read_bytes()) == []


@pytest.mark.parametrize("keyword", ["Manufacturer", "SequenceName", "SoftwareVersions", "BodyPartExamined", "SliceThickness", "StudyTime",
                                     "ImageType", "StudyDate", "Modality", "ScanOptions"])
def test_identity_in_an_attribute_that_may_stay_does_not_stay(patient, tmp_path, capsys, keyword):
    """Such a value is what a careless export or a malicious file holds; it is written past pydicom's checks."""
    for path in patient.iterdir():
        ds = pydicom.dcmread(path)
        element = ds[keyword]
        element._value = "WANDERLØST"
        element.VR = "LO"
        ds.save_as(path)
        content = path.read_bytes()
        path.write_bytes(content.replace(_head(keyword, "LO"), _head(keyword, dictionary_VR(keyword))))
    assert b"WANDERL" in next(patient.iterdir()).read_bytes()
    code, _, err = run(capsys, patient, "--out", tmp_path / "out")
    assert (code, err.count("\n")) in ((0, 0), (1, 1))
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert find_secrets(path.read_bytes()) == []


def _head(keyword, vr):
    tag = tag_for_keyword(keyword)
    return (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()


def test_compressed_images_stay_compressed(patient, tmp_path, capsys):
    from pydicom.uid import RLELossless

    originals = []
    for path in sorted(patient.iterdir()):
        ds = pydicom.dcmread(path)
        originals.append(ds.pixel_array)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    assert run(capsys, patient, "--out", tmp_path / "out")[0] == 0
    for was, now in zip(originals, copies(tmp_path / "out"), strict=True):
        assert now.file_meta.TransferSyntaxUID == RLELossless
        np.testing.assert_array_equal(now.pixel_array, was)


def test_the_copy_is_all_or_nothing(patient, tmp_path, capsys):
    for path in patient.iterdir():
        change(path, BurnedInAnnotation="YES")
    code, out, err = run(capsys, patient, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "8 x an image that says it has annotation burned in" in err
    assert not any("out" in path.name for path in tmp_path.iterdir())


def test_a_path_that_is_not_there_is_one_line(tmp_path, capsys):
    code, _, err = run(capsys, tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)


def test_a_copy_of_a_real_series_is_still_a_valid_mr_series(data_folder, tmp_path, capsys):
    source = data_folder / "dicom" / "VS-SEG-001_T1ce_12slices"
    assert run(capsys, source, "--out", tmp_path / "out")[0] == 0
    images = copies(tmp_path / "out")
    assert len(images) == 12
    root, private = b"1.3.6.1.4.1.14519", [one for image in images for one in image if one.tag.is_private]
    assert private == []
    assert not any(root in path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm"))
    was = {tuple(ds.ImagePositionPatient): ds.pixel_array for ds in map(pydicom.dcmread, source.glob("*.dcm"))}
    for image in images:
        np.testing.assert_array_equal(image.pixel_array, was[tuple(image.ImagePositionPatient)])
        assert image.SeriesDescription == "t1 mpr tra"


def test_real_segmentations_are_still_read_after_it(data_folder, tmp_path, capsys):
    import highdicom

    source = data_folder / "dicom" / "SEG_highdicom"
    assert run(capsys, source, "--out", tmp_path / "out")[0] == 0
    found = 0
    for path in (tmp_path / "out").rglob("*.dcm"):
        if pydicom.dcmread(path).Modality == "SEG":
            seg = highdicom.seg.segread(path)
            found += 1
            assert seg.number_of_segments >= 1
            assert seg.get_volume().array.any()
    assert found >= 4


def test_dciodvfy_finds_no_error_that_the_original_did_not_have(patient, tmp_path, capsys):
    import shutil

    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    assert run(capsys, patient, "--out", tmp_path / "out")[0] == 0

    def errors(path):
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False).stderr
        return {line for line in said.splitlines() if line.startswith("Error")}

    assert errors(tmp_path / "out" / "001" / "0001.dcm") - errors(patient / "Wanderløst_1_1_0.dcm") == set()


def published():
    """(tag, action) of PS3.15 table E.1-1 as dicom-anonymizer has it; repeating groups and private ones aside."""
    from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table

    for name in ("D_TAGS", "Z_TAGS", "X_TAGS", "U_TAGS", "Z_D_TAGS", "X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS", "X_Z_U_STAR_TAGS"):
        for tag in getattr(table, name):
            if len(tag) == 2:
                yield (tag[0] << 16) + tag[1], name.removesuffix("_TAGS")


def test_every_attribute_of_the_published_table_is_dealt_with():
    """What the table touches may be kept only as a UID (replaced), a date (shifted), or with the reason given here."""
    rows = list(published())
    assert len(rows) > 500
    kept = {keyword_for_tag(tag): action for tag, action in rows if keyword_for_tag(tag) in KEPT | DATES | SEQUENCES}
    surprising = {keyword: action for keyword, action in kept.items()
                  if keyword not in DATES and dictionary_VR(keyword) != "UI"}
    assert surprising == {
        # times of day go with the shifted dates (Retain Longitudinal Temporal Information with Modified Dates)
        "StudyTime": "Z", "SeriesTime": "X_D", "AcquisitionTime": "X_Z", "ContentTime": "Z_D",
        # whose UIDs are replaced and whose items are cleaned (U*)
        "ReferencedImageSequence": "X_Z_U_STAR", "SourceImageSequence": "X_Z_U_STAR",
    }


def test_every_keyword_of_ours_is_one_of_the_standard():
    for keyword in KEPT | DATES | SEQUENCES:
        assert tag_for_keyword(keyword) is not None, keyword
    assert {dictionary_VR(keyword) for keyword in SEQUENCES} == {"SQ"}
    assert {dictionary_VR(keyword) for keyword in DATES} == {"DA", "DT"}
    assert {dictionary_VR(keyword) for keyword in KEPT} & {"SQ", "DA", "DT", "PN", "LT", "ST", "UN"} == set()
    assert confidentiality.why_not_kept(pydicom.Dataset()) != ""


def test_help_says_that_faces_stay():
    text = subprocess.run([sys.executable, "-m", "braintumorseg.cli", "anonymise", "--help"], capture_output=True, text=True, check=True).stdout
    assert "face" in text


def test_the_search_for_secrets_finds_them_in_every_encoding():
    for word in SECRETS:
        for form in encodings(word):
            assert word in find_secrets(b"..." + form + b"...")


def test_digits_and_short_names_in_a_comment_of_a_compressed_image_do_not_stay(patient, tmp_path, capsys):
    from pydicom.encaps import encapsulate, generate_frames
    from pydicom.uid import JPEGLSLossless

    for path in patient.iterdir():
        ds = pydicom.dcmread(path)
        ds.PatientID, ds.PatientName = "4711998", "Wang^Li"
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        stream = bytes(next(generate_frames(ds.PixelData, number_of_frames=1)))
        ds.PixelData = encapsulate([stream[:2] + b"\xff\xfe\0\x22PatID 4711998 Wang Li 19530217  " + stream[2:]])
        ds.save_as(path)
    originals = [pydicom.dcmread(path).pixel_array for path in sorted(patient.iterdir())]
    assert run(capsys, patient, "--out", tmp_path / "out")[0] == 0
    for was, now in zip(originals, copies(tmp_path / "out"), strict=True):
        np.testing.assert_array_equal(now.pixel_array, was)
        assert b"4711998" not in now.PixelData and b"Wang" not in now.PixelData


def test_a_picture_in_bits_that_no_pixel_uses_does_not_stay(patient, tmp_path, capsys):
    for path in patient.iterdir():
        ds = pydicom.dcmread(path)
        drawn = np.frombuffer(ds.PixelData, "<u2").reshape(16, 16).copy()
        drawn[3:9, 4:12] |= 0x8000
        change(path, PixelData=drawn.tobytes())
    originals = [pydicom.dcmread(path).pixel_array for path in sorted(patient.iterdir())]
    assert run(capsys, patient, "--out", tmp_path / "out")[0] == 0
    for was, now in zip(originals, copies(tmp_path / "out"), strict=True):
        np.testing.assert_array_equal(now.pixel_array, was)
        assert not (np.frombuffer(now.PixelData, "<u2") >> 12).any()


def test_an_image_that_is_there_twice_is_copied_once(patient, tmp_path, capsys):
    (patient / "again.dcm").write_bytes((patient / "Wanderløst_1_1_0.dcm").read_bytes())
    report = json.loads(run(capsys, patient, "--out", tmp_path / "out", "--json")[1])
    assert (report["images"], report["left_out"]) == (8, {"an image that was there before": 1})


def test_damaged_files_are_left_out_or_copied_clean_and_never_end_in_a_traceback(tmp_path, capsys):
    rng = np.random.default_rng(7)
    originals = write_patient(tmp_path / "base", series=1, slices=2)
    for turn in range(40):
        folder = tmp_path / f"in{turn}"
        folder.mkdir()
        for original in originals:
            content = bytearray(original.read_bytes())
            for _ in range(rng.integers(1, 6)):
                at = int(rng.integers(132, len(content) - 520))
                how = rng.integers(3)
                content[at:at + (0, 1, int(rng.integers(1, 40)))[how]] = rng.bytes((int(rng.integers(1, 20)), 1, 0)[how])
            (folder / original.name).write_bytes(content)
        code, out, err = run(capsys, folder, "--out", tmp_path / f"out{turn}")
        assert (code, err.count("\n")) in ((0, 0), (1, 1))
        assert find_secrets((out + err).replace(str(tmp_path), "").encode()) == []
        for path in (tmp_path / f"out{turn}").rglob("*.dcm"):
            assert find_secrets(path.read_bytes()) == [], turn
