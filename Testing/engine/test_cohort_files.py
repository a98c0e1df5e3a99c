import hashlib
import os
import shutil

import pytest

from braintumorseg.cohort_files import fingerprint, nameless, unchanged
from braintumorseg.cohort_list import Entry

WHEN = (1_700_000_000, 1_700_000_000)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    put(tmp_path / "in" / "a" / "t1.nii.gz", b"12345")
    return Entry("a", (tmp_path / "in" / "a",))


def put(path, content):
    path.write_bytes(content)
    os.utime(path, WHEN)
    return path


def test_the_fingerprint_follows_the_files_and_not_where_they_lie(study, tmp_path):
    first = fingerprint(study)
    assert fingerprint(Entry("b", study.paths)) == first
    (tmp_path / "in").rename(tmp_path / "moved")
    study = Entry("a", (tmp_path / "moved" / "a",))
    image = study.paths[0] / "t1.nii.gz"
    assert fingerprint(study) == first
    seen = {first}
    for change in (lambda: put(image, b"1234567"), lambda: os.utime(image, (5, 5)), lambda: image.rename(image.with_name("t2.nii.gz")),
                   lambda: (image.parent / "new").touch()):
        change()
        assert not unchanged(study, first)
        seen.add(fingerprint(study))
    assert len(seen) == 5


def test_files_below_a_linked_folder_count_for_the_fingerprint(study, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "images").symlink_to(study.paths[0], target_is_directory=True)
    before = fingerprint(Entry("a", (tmp_path / "study",)))
    (study.paths[0] / "t1.nii.gz").write_bytes(b"123456")
    assert fingerprint(Entry("a", (tmp_path / "study",))) != before


@pytest.mark.parametrize(("one", "other"), [(b"one patient", b"the other  "), (bytes(10**6) + b"1" + bytes(10**6), bytes(10**6) + b"2" + bytes(10**6))
                                            ], ids=["small", "in the middle of nothing"])
def test_two_studies_of_the_same_names_sizes_and_times_are_told_apart(study, tmp_path, one, other):
    put(study.paths[0] / "t1.nii.gz", one)
    shutil.copytree(study.paths[0], tmp_path / "in" / "b")
    second = Entry("b", (tmp_path / "in" / "b",))
    put(tmp_path / "in" / "b" / "t1.nii.gz", one)
    assert unchanged(second, fingerprint(study))
    put(tmp_path / "in" / "b" / "t1.nii.gz", other)
    assert not unchanged(second, fingerprint(study))


def test_of_a_study_of_very_many_files_only_some_are_looked_into(study, monkeypatch):
    for number in range(300):
        put(study.paths[0] / f"{number:03d}.dcm", b"slice")
    opened, real = [], type(study.paths[0]).open
    monkeypatch.setattr(type(study.paths[0]), "open", lambda self, *more, **named: opened.append(self.name) or real(self, *more, **named))
    first = fingerprint(study)
    assert 8 <= len(opened) <= 16
    put(study.paths[0] / sorted(opened)[-1], b"other")
    assert fingerprint(study) != first


@pytest.mark.parametrize(("given", "content", "beside"), [
    ("t1.mhd", b"NDims = 3\nElementDataFile = voxels.raw\n", "voxels.raw"), ("t1.mhd", b"NDims: 3\r\nElementDataFile: t1.zraw", "t1.zraw"),
    ("t1.nhdr", b"NRRD0004\ntype: short\ndata file: my voxels.raw.gz\n\n", "my voxels.raw.gz"), ("t1.nhdr", b"NRRD0004\ndatafile:x.raw\n", "x.raw"),
    ("IM0001", b"a slice", "IM0002")])
def test_what_belongs_to_a_file_that_was_given_for_a_sequence_counts_with_it(tmp_path, given, content, beside):
    put(tmp_path / given, content)
    study = Entry("a", roles={"t1": tmp_path / given})
    first = fingerprint(study)
    put(tmp_path / "t2.nii.gz", b"of another study") if given.startswith("t1") else None
    assert unchanged(study, first)
    put(tmp_path / beside, b"voxels")
    second = fingerprint(study)
    put(tmp_path / beside, b"VOXELS")
    assert len({first, second, fingerprint(study)}) == 3


@pytest.mark.parametrize("named", [b"LOCAL", b"gone.raw", b"", b"/", b"\0"])
def test_a_header_that_names_no_file_beside_it_stands_alone(tmp_path, named):
    put(tmp_path / "t1.mhd", b"ElementDataFile = " + named)
    study = Entry("a", roles={"t1": tmp_path / "t1.mhd"})
    first = fingerprint(study)
    put(tmp_path / "elsewhere.raw", b"not in its header")
    assert fingerprint(study) == first


def test_a_study_that_is_not_there_has_a_fingerprint(tmp_path):
    assert fingerprint(Entry("a", (tmp_path / "none",), {"t1": "4"})) != fingerprint(Entry("a", (tmp_path / "none",), {"t1": "5"}))


def of_an_earlier_version(entry):
    """As version 0.2.0 took it of a study that is one file in a folder."""
    (path,) = entry.paths[0].iterdir()
    facts = path.stat()
    text = repr(([], None)) + repr((os.fsencode(path.name), facts.st_size, int(facts.st_mtime)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_fingerprint_of_an_earlier_version_still_counts_until_the_files_change(study):
    before = of_an_earlier_version(study)
    assert before != fingerprint(study)
    assert unchanged(study, before)
    put(study.paths[0] / "t1.nii.gz", b"1234567")
    assert not unchanged(study, before)


@pytest.fixture
def named(tmp_path):
    """A study number 7 whose names are a patient's."""
    root = tmp_path / "Doe, Jane"
    for name in ("DOE_JOHN_19700101", "DICOM/DOE JOHN", "DICOM/T1"):
        (root / name).mkdir(parents=True)
    for name in ("DICOM/DOE JOHN/IM_DOE_1", "DICOM/T1/t1.nii.gz", "doe.nii.gz"):
        put(root / name, b"x")
    put(tmp_path / "Mueller.nii.gz", b"x")
    return Entry("Doe, Jane", (root,), {"t1ce": tmp_path / "Mueller.nii.gz", "t2": tmp_path / "gone Meyer.nii.gz"}, number=7)


@pytest.mark.parametrize(("said", "instead"), [
    ("The folder DOE_JOHN_19700101 holds no image.", "The folder 4 of study 7 holds no image."),
    ("The folder Doe, Jane holds no image.", "The folder study 7 holds no image."),
    ("IM_DOE_1 is damaged; so is doe.nii.gz.", "file 1 of study 7 is damaged; so is file 3 of study 7."),
    ("There is no file gone Meyer.nii.gz; there is Mueller.nii.gz.", "There is no file 5 of study 7; there is file 4 of study 7."),
    ("t1.nii.gz is empty; no DICOM series, no T1 was found, 12 slices.", "t1.nii.gz is empty; no DICOM series, no T1 was found, 12 slices."),
])
def test_no_name_in_a_study_is_in_what_is_said_of_it_and_words_of_the_trade_are(named, said, instead):
    assert nameless(said, named) == instead


@pytest.mark.parametrize("name", ["DOE  JOHN\t1970", "ÄÖ (x) [y] *", "a\nb", "study 7", os.fsdecode(b"M\xfcller")])
def test_a_name_is_known_again_as_an_error_spells_it(tmp_path, name):
    (tmp_path / "in" / name).mkdir(parents=True)
    said = " ".join(f"The folder {name.encode('utf-8', 'backslashreplace').decode()} holds no image.".split())
    assert nameless(said, Entry("in", (tmp_path / "in",), number=3)) == "The folder 1 of study 3 holds no image."


def test_a_study_that_was_taken_away_meanwhile_is_still_not_named(tmp_path):
    assert nameless("There is no file or folder Doe at the place given.", Entry("Doe", (tmp_path / "Doe",), number=2)) == (
        "There is no file or folder study 2 at the place given.")
