"""What is found at paths, on real DICOM files: patients and studies apart, series given by folder, file or number, files beside DICOM."""

import numpy as np
import pytest

from braintumorseg.errors import MissingFile, NotAnImage, UnclearRoles
from braintumorseg.io.nifti import write_nifti
from braintumorseg.read import read_study
from braintumorseg.survey import survey
from braintumorseg.volume import Volume
from dicom_toys import NAME, toy_volume
from series_toys import FLAIR, LATER, T1, T2, numbers, series


@pytest.fixture
def patient(tmp_path):
    folder = tmp_path / "Müller, Anna"
    series(folder, 1, "DWI")
    series(folder, 2, "T1 nativ Herr Geheim", **T1)
    series(folder, 3, "T2", **T2)
    series(folder, 4, "FLAIR", **FLAIR)
    series(folder, 5, "T1 KM Herr Geheim", **T1)
    return folder


def test_a_folder_of_series_is_a_study_with_its_stacks_and_reasons(patient):
    study = read_study([patient])
    assert numbers(study) == {"t1": 2, "t1ce": 5, "t2": 3, "flair": 4}
    assert {role: stack.facts.number for role, stack in study.stacks.items()} == {"t1": 2, "t1ce": 5, "t2": 3, "flair": 4}
    assert study.sources["t1ce"].startswith("words t1 +c; TR 550, TE 10")
    assert [(one.what, one.why, one.series_uid) for one in study.left_out] == [("series 1", "diffusion", "1.2.9.1")]


def test_no_word_of_a_header_and_no_folder_reaches_reasons_or_errors(patient):
    study = read_study([patient])
    said = [*study.sources.values(), *(part for one in study.left_out for part in (one.what, one.why, one.fix))]
    series(patient, 9, "T1 KM Herr Geheim", study=LATER)
    with pytest.raises(UnclearRoles) as error:
        read_study([patient])
    with pytest.raises(UnclearRoles) as another:
        read_study(t1=patient)
    for text in (*said, str(error.value), str(another.value)):
        assert not any(secret in text for secret in ("Geheim", "Anna", "SECRET", NAME.split("^")[0], "2020"))


def test_a_series_with_a_missing_slice_is_left_out_as_damaged_unless_it_shall_be_made_up(patient):
    sorted((patient / "S5").iterdir())[3].unlink()
    without = read_study([patient])
    assert "t1ce" not in without.volumes
    damaged, = (one for one in without.left_out if one.damaged)
    assert "after slice 3" in damaged.why
    assert "--fill-gaps" in damaged.fix
    filled = read_study([patient], fill_gaps=True)
    assert filled.volumes["t1ce"].shape == toy_volume().shape
    assert "made up" in filled.sources["t1ce"]
    assert not any(one.damaged for one in filled.left_out)


def test_files_of_a_series_are_as_good_as_their_folder(patient):
    files = [path for path in patient.rglob("*.dcm") if path.parent.name in ("S3", "S4")]
    assert numbers(read_study(files)) == {"t2": 3, "flair": 4}


def test_one_flat_folder_is_as_good_as_one_for_each_series(patient, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(patient.rglob("*.dcm"))):
        path.rename(flat / f"IM{number:04d}")
    assert numbers(read_study([flat])) == {"t1": 2, "t1ce": 5, "t2": 3, "flair": 4}


@pytest.mark.parametrize("which", ["S2", "S2/0003.dcm", "2"])
def test_a_series_is_given_by_its_folder_by_a_file_or_by_its_number(patient, which):
    study = read_study([patient], t1ce=patient / which if not which.isdigit() else which)
    assert numbers(study) == {"t1ce": 2, "t2": 3, "flair": 4}
    assert study.sources["t1ce"] == "given as --t1ce"
    assert ("series 5", "series 2 was given as --t1ce") in [(one.what, one.why) for one in study.left_out]


def test_a_series_given_without_any_path_is_a_study_of_its_own(patient):
    assert numbers(read_study(t1=patient / "S2")) == {"t1": 2}
    assert numbers(read_study(t1=patient / "S2" / "0001.dcm")) == {"t1": 2}


@pytest.mark.parametrize(("given", "message"), [
    ({"t1": "99"}, "series 99 is no DICOM series"), ({"t1": "."}, "the folder holds 5 volumes"), ({"t1": "S2", "t2": "S2"}, "--t1 and as --t2")])
def test_what_does_not_name_one_series_is_refused(patient, given, message):
    given = {role: which if which.isdigit() else patient / which for role, which in given.items()}
    with pytest.raises(UnclearRoles, match=message):
        read_study([patient], **given)


def test_a_number_without_a_folder_is_refused():
    with pytest.raises(UnclearRoles, match="no folder of DICOM"):
        read_study(t1="4")


def test_two_patients_are_refused(patient):
    series(patient, 8, "T2", patient="P2", study=LATER, **T2)
    with pytest.raises(UnclearRoles, match=r"images of 2 patients.*folder of one patient"):
        read_study([patient])


def test_one_patient_with_two_spellings_of_the_name_is_read_with_a_note(patient):
    series(patient, 6, "FLAIR", minute=50, PatientName=f"{NAME}^M", **FLAIR)
    study = read_study([patient])
    assert numbers(study) == {"t1": 2, "t1ce": 5, "t2": 3, "flair": 6}
    assert "the patient's name is written otherwise than in t1ce; ID and birth date are the same" in study.sources["flair"]
    assert "name" not in study.sources["t2"] and not any(NAME.split("^")[0] in source for source in study.sources.values())


def test_names_without_a_common_word_under_one_placeholder_id_are_not_taken_for_one_patient(patient):
    series(patient, 6, "FLAIR", minute=50, PatientName="Proband^Beta", **FLAIR)
    with pytest.raises(UnclearRoles, match=r"names without a word in common.*Give the folder of one patient") as caught:
        read_study([patient])
    assert "Beta" not in str(caught.value)


def test_patients_are_told_apart_within_the_chosen_study_alone(patient):
    series(patient, 8, "T2", patient="P2", study=LATER, AcquisitionDate="20210101", **T2)
    assert numbers(read_study([patient], study=1))["t2"] == 3
    assert numbers(read_study([patient], study=2)) == {"t2": 8}
    with pytest.raises(UnclearRoles, match="images of 2 patients"):
        read_study([patient], study=2, t1=patient / "S2")


def test_two_studies_are_listed_and_one_is_chosen_by_number(patient):
    series(patient, 11, "T1 KM", study=LATER, AcquisitionDate="20210101", **T1)
    series(patient, 12, "FLAIR", study=LATER, AcquisitionDate="20210101", **FLAIR)
    with pytest.raises(UnclearRoles, match=r"2 studies.*1: t1, t1ce, t2, flair \(5 series\); 2: t1ce, flair \(2 series\).*--study N"):
        read_study([patient])
    assert numbers(read_study([patient], study=2)) == {"t1ce": 11, "flair": 12}
    assert numbers(read_study([patient], study=1))["t1ce"] == 5
    assert ("study 1", "another study was chosen") in [(one.what, one.why) for one in read_study([patient], study=2).left_out]
    with pytest.raises(UnclearRoles, match="no study 3: 2 studies"):
        read_study([patient], study=3)


def test_two_studies_with_silent_headers_are_asked_about_too(tmp_path):
    series(tmp_path, 1, "", RepetitionTime=None, EchoTime=None)
    series(tmp_path, 2, "", study=LATER, RepetitionTime=None, EchoTime=None)
    with pytest.raises(UnclearRoles, match=r"2 studies.*1: none for certain \(1 series\); 2: none for certain"):
        read_study([tmp_path])


def test_a_mask_beside_the_series_hides_none_of_them(patient):
    write_nifti(toy_volume(), patient / "segmentation.nii.gz")
    assert numbers(read_study([patient])) == {"t1": 2, "t1ce": 5, "t2": 3, "flair": 4}


def test_images_named_for_sequences_win_over_series_below_their_folder(patient):
    write_nifti(toy_volume(), patient / "t2.nii.gz")
    study = read_study([patient])
    assert (study.roles, dict(study.stacks)) == (("t2",), {})


def test_a_second_study_without_a_sequence_of_ours_is_no_question(patient):
    series(patient, 11, "SWI", study=LATER)
    study = read_study([patient])
    assert numbers(study)["t1ce"] == 5
    assert ("study 2", "another study, without a sequence of ours") in [(one.what, one.why) for one in study.left_out]


def test_what_the_header_does_not_tell_is_asked_for(tmp_path):
    series(tmp_path, 1, "T1", **T1)
    series(tmp_path, 2, "T1", **T1)
    with pytest.raises(UnclearRoles, match=r"series 1 may be t1 or t1ce; series 2 may be t1 or t1ce.*--t1.*number"):
        read_study([tmp_path])
    assert numbers(read_study([tmp_path], t1ce="2", t1="1")) == {"t1": 1, "t1ce": 2}


def test_a_study_without_our_sequences_is_refused_with_what_there_is(tmp_path):
    series(tmp_path, 1, "SWI")
    series(tmp_path, 2, "DWI")
    with pytest.raises(UnclearRoles, match=r"No T1, T2 or FLAIR.*series 1: susceptibility \(T2\*\); series 2: diffusion"):
        read_study([tmp_path])


def test_another_frame_of_reference_is_noted(patient):
    series(patient, 6, "FLAIR", frame="1.2.4", minute=50, **FLAIR)
    study = read_study([patient])
    assert numbers(study)["flair"] == 6
    assert "another frame of reference than t1ce" in study.sources["flair"]
    assert "frame of reference" not in study.sources["t2"]


def test_files_and_series_make_one_study_unless_they_contradict(patient, tmp_path):
    image = toy_volume()
    write_nifti(image, tmp_path / "x_flair.nii.gz")
    for folder in ("S4", "S5", "S1"):
        for path in (patient / folder).iterdir():
            path.unlink()
    study = read_study([patient, tmp_path / "x_flair.nii.gz"])
    assert study.roles == ("t1", "t2", "flair")
    assert set(study.stacks) == {"t1", "t2"}
    write_nifti(image, tmp_path / "x_t2.nii.gz")
    with pytest.raises(UnclearRoles, match=r"x_t2\.nii\.gz and a DICOM series may both be t2.*--t2"):
        read_study([patient, tmp_path / "x_t2.nii.gz"])
    assert read_study([patient, tmp_path / "x_flair.nii.gz"], t2=tmp_path / "x_t2.nii.gz").sources["t2"] == "given as --t2"


def test_a_missing_place_and_a_folder_of_nothing_are_refused(tmp_path):
    with pytest.raises(MissingFile, match="nowhere"):
        read_study([tmp_path / "nowhere"])
    (tmp_path / "a.dcm").write_bytes(b"no dicom")
    with pytest.raises(NotAnImage, match=r"No DICOM series can be used.*not a DICOM file"):
        read_study([tmp_path])


def test_study_numbers_without_dicom_are_refused(tmp_path):
    write_nifti(toy_volume(), tmp_path / "t1.nii.gz")
    with pytest.raises(UnclearRoles, match="--study chooses among DICOM studies"):
        read_study([tmp_path], study=1)


def test_the_phantom_as_dicom_is_recognised_whole(phantom, tmp_path):
    from braintumorseg.phantom import write_dicom

    write_dicom(phantom, tmp_path)
    found = survey([tmp_path])
    assert {role: one.stack.facts.number for role, one in found.chosen.items()} == {"t1": 2, "t1ce": 5, "t2": 3, "flair": 4}
    assert (found.missing, found.reference, found.question) == ((), "t1ce", "")


def test_a_real_series_whose_header_is_silent_about_contrast_is_a_t1_that_says_so(data_folder):
    folder = data_folder / "dicom" / "VS-SEG-001_T1ce_12slices"
    if not folder.is_dir():
        pytest.skip("real data is absent: dicom/VS-SEG-001_T1ce_12slices")
    [one] = survey([folder]).found
    assert one.role == "t1"  # it is after contrast, and its header does not say so: the reason tells the user
    assert "words t1 mpr; TR 1900, TE 2.97, TI 1100; nothing speaks of contrast" in one.why
    assert read_study(t1ce=folder).roles == ("t1ce",)


def test_nameless_files_are_told_by_their_images_or_refused(phantom, tmp_path):
    for name, volume in zip("abcd", phantom.registered.volumes.values(), strict=True):
        write_nifti(volume, tmp_path / f"{name}.nii.gz")
    try:
        found = survey([tmp_path]).chosen
    except UnclearRoles as error:
        assert "do not tell for certain either" in str(error)
    else:
        assert {role: one.path.name[0] for role, one in found.items()} == {"t1": "a", "t1ce": "b", "t2": "c", "flair": "d"}
        assert all("by its image alone" in one.why for one in found.values())


def test_nameless_masks_are_never_a_sequence(tmp_path):
    mask = (np.arange(8000).reshape(20, 20, 20) % 3).astype(np.uint8)
    for name in ("a", "b"):
        write_nifti(Volume(mask, np.eye(4)), tmp_path / f"{name}.nii.gz")
    with pytest.raises(UnclearRoles, match="do not tell for certain either"):
        survey([tmp_path])


def test_a_farm_of_links_is_the_study_that_the_links_lead_to(patient, tmp_path):
    whole = numbers(read_study([patient]))
    mixed, files = tmp_path / "mixed", tmp_path / "files"
    mixed.mkdir()
    (mixed / "S2").symlink_to(patient / "S2", target_is_directory=True)      # one folder linked, the others real
    for number in (3, 4, 5):
        (patient / f"S{number}").rename(mixed / f"S{number}")
    for file in [*sorted(mixed.glob("S?/*"))]:
        (files / file.parent.name).mkdir(parents=True, exist_ok=True)
        (files / file.parent.name / file.name).symlink_to(file)              # every file linked, as git-annex has them
    assert numbers(read_study([mixed])) == numbers(read_study([files])) == whole
    assert numbers(read_study([files], t1=files / "S5", t1ce=files / "S2"))["t1"] == 5
    only = tmp_path / "only"
    only.mkdir()
    (only / "a").symlink_to(mixed / "S4", target_is_directory=True)
    (only / "loop").symlink_to(only, target_is_directory=True)
    assert numbers(read_study([only])) == {"flair": 4}


def test_names_of_files_are_told_but_not_to_the_report(tmp_path, toy_study):
    write_nifti(toy_study.volumes["flair"], tmp_path / "x_flair.nii.gz")
    write_nifti(toy_study.volumes["t1"], tmp_path / "Geheim_Anna_adc.nii.gz")
    left = read_study([tmp_path]).left_out
    assert [(one.what, one.nameless) for one in left] == [("Geheim_Anna_adc.nii.gz", "a file")]


def test_four_numbers_of_which_one_is_in_two_studies_are_asked_about(patient):
    series(patient, 11, "T1 KM", study=LATER, AcquisitionDate="20210101", SeriesNumber=5, **T1)
    with pytest.raises(UnclearRoles, match=r"--t1ce: series 5 is in 2 studies.*--study N"):
        read_study([patient], t1="2", t1ce="5", t2="3", flair="4")
