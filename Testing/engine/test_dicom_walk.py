"""What lies in a folder beside images: found at any depth, listed with its reason, and never in the way."""

import os

import pytest
from pydicom.uid import EncapsulatedPDFStorage, MediaStorageDirectoryStorage, SegmentationStorage

from braintumorseg.errors import MissingFile
from braintumorseg.io.dicom import scan_dicom
from braintumorseg.io.dicom_series import LeftAside
from braintumorseg.io.dicom_walk import find_files, merged
from dicom_toys import save, slices_of_volume, toy_volume


def whys(scan) -> dict[str, tuple[str, bool]]:
    return {one.why: (one.what, one.damaged) for one in scan.left_aside}


def test_files_are_found_at_any_depth_without_a_suffix(tmp_path):
    slices = slices_of_volume(toy_volume())
    for number, one in enumerate(slices):
        save(one, tmp_path / "/".join("abcdefgh"[:number + 1]), "IM")
    assert len(scan_dicom([tmp_path]).stacks[0].frames) == 8


def test_one_file_of_a_series_is_not_the_series(tmp_path):
    paths = save(slices_of_volume(toy_volume()), tmp_path)
    assert whys(scan_dicom(paths[:1])) == {"too few slices for a volume (1; 3 are needed)": ("series 4 (1 image)", False)}


def test_a_path_given_twice_counts_once(tmp_path):
    paths = save(slices_of_volume(toy_volume()), tmp_path)
    (stack,) = scan_dicom([tmp_path, *paths, tmp_path]).stacks
    assert len(stack.frames) == 8 and stack.notes == ()


def test_a_folder_that_links_to_itself_ends(tmp_path):
    save(slices_of_volume(toy_volume()), tmp_path / "a")
    os.symlink(tmp_path, tmp_path / "a" / "again", target_is_directory=True)
    assert len(find_files([tmp_path])[0]) == 8


def test_a_dangling_link_is_no_file(tmp_path):
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    assert find_files([tmp_path]) == ([], [])


def test_a_missing_path_is_named_without_its_folder(tmp_path):
    with pytest.raises(MissingFile) as error:
        find_files([tmp_path / "gone.dcm"])
    assert "gone.dcm" in str(error.value) and str(tmp_path) not in str(error.value)


def test_other_files_are_counted_by_reason(tmp_path):
    save(slices_of_volume(toy_volume()), tmp_path)
    for name, content in {"a.txt": b"text " * 100, "b.png": b"\x89PNG" * 99, "short": b"D", "viewer.exe": b"MZ" * 200}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "also").touch()
    scan = scan_dicom([tmp_path])
    assert len(scan.stacks) == 1
    assert whys(scan) == {"not a DICOM file": ("4 files", False), "empty (0 bytes)": ("2 files (also, empty.dcm)", True)}


def test_the_index_of_a_disc_is_no_image(tmp_path):
    slices = slices_of_volume(toy_volume())
    save(slices, tmp_path)
    index = slices[0].copy()
    index.SOPClassUID = MediaStorageDirectoryStorage
    del index.PixelData
    save(index, tmp_path, "DICOMDIR")
    (tmp_path / "sub").mkdir()
    save(index, tmp_path / "sub", "index")
    scan = scan_dicom([tmp_path])
    assert len(scan.stacks) == 1
    assert whys(scan) == {"the index of a disc (DICOMDIR); its images are found without it": ("2 files", False)}


def test_dicom_that_holds_no_image_is_listed_by_its_kind(tmp_path):
    pdf, segmentation, *_ = slices_of_volume(toy_volume())
    pdf.SOPClassUID = EncapsulatedPDFStorage
    del pdf.Rows, pdf.PixelData
    segmentation.SOPClassUID = SegmentationStorage
    save([pdf, segmentation], tmp_path)
    assert whys(scan_dicom([tmp_path])) == {"DICOM without an image (Encapsulated PDF Storage)": ("0001.dcm", False),
                                            "a segmentation, not an image": ("0002.dcm", False)}


def test_a_colour_picture_is_no_mr(tmp_path):
    save(slices_of_volume(toy_volume(), PhotometricInterpretation="RGB", SamplesPerPixel=3), tmp_path)
    assert whys(scan_dicom([tmp_path])) == {"a colour picture, not an image with one number a voxel": ("8 files", False)}


def test_a_file_whose_header_is_broken_is_named(tmp_path):
    (tmp_path / "bad.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 4)
    (aside,) = scan_dicom([tmp_path]).left_aside
    assert aside.what == "bad.dcm" and aside.damaged


def test_an_empty_folder_gives_an_empty_scan(tmp_path):
    scan = scan_dicom([tmp_path])
    assert scan.stacks == () and scan.left_aside == ()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user who is not root: root reads every file")
def test_a_file_that_may_not_be_read_is_listed(tmp_path):
    (path, *_) = save(slices_of_volume(toy_volume()), tmp_path)
    path.chmod(0)
    assert "this user may not read it" in whys(scan_dicom([tmp_path]))


def test_damaged_files_are_named_up_to_three():
    (one,) = merged(LeftAside(name, "torn", damaged=True) for name in "abcde")
    assert one.what == "5 files (a, b, c, ...)"


def test_a_link_that_leads_nowhere_or_in_a_circle_costs_itself_alone(tmp_path):
    for name in ("a", "c", "e"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "b").symlink_to(tmp_path / "b")
    (tmp_path / "d").symlink_to(tmp_path / "a" / "x")
    (tmp_path / "d2").symlink_to(tmp_path / "gone")
    files, closed = find_files([tmp_path])
    assert [path.name for path in files] == ["a", "c", "e"]
    assert closed == []
