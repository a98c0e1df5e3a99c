import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from braintumorseg.errors import InputError, OutputError
from braintumorseg.study import ROLES, Study
from braintumorseg_training.data import load_cases
from braintumorseg_training.export import draft_card
from braintumorseg_training.packing import fingerprint, forget, pack_case, packed_names, read_facts, read_spots, require_spacing
from toy_datasets import toy_case

CARD = draft_card(size_multiple=4)


def pack(folder, name="p1", case=None, card=CARD, **told):
    case = case or toy_case()
    return pack_case(name, "Oslo", Study({role: case[role] for role in ROLES if role in case}), case["seg"], card, folder, **told)


def test_what_a_case_says_of_itself_is_read_without_its_images(tmp_path):
    facts = pack(tmp_path, patient="7", source="files", warnings=("one", "two"), origin="Oslo's disk")
    (tmp_path / "p1.channels.npy").unlink()
    assert read_facts(tmp_path, "p1") == facts
    assert facts.ml == (1.744, 3.088, 1.0)
    assert facts.tumour_ml == pytest.approx(5.832)
    assert facts.patient == "7"
    assert len(set(facts.digests)) == 4


def test_images_and_labels_stay_on_the_disk_until_they_are_touched(tmp_path):
    pack(tmp_path)
    (case,) = load_cases(tmp_path)
    assert case.cohort == "Oslo"
    assert isinstance(case.channels, np.memmap)
    assert isinstance(case.labels, np.memmap)
    assert case.labels.shape == case.channels.shape[1:]
    case.labels[:] = 9
    assert case.labels.max() == 3
    assert {value: len(found) for value, found in case.spots.items()} == {1: 1744, 2: 2000, 3: 1000}


@pytest.mark.skipif(sys.platform == "win32", reason="files that a process may have open are limited otherwise there")
def test_more_cases_than_files_that_may_be_open_are_loaded(tmp_path):
    pack(tmp_path)
    for number in range(60):
        for end in (".npz", ".channels.npy", ".labels.npy"):
            os.link(tmp_path / f"p1{end}", tmp_path / f"copy{number}{end}")
    program = ("import resource, sys; from pathlib import Path; from braintumorseg_training.data import load_cases\n"
               "resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)); cases = load_cases(Path(sys.argv[1]))\n"
               "print(len(cases), sum(int(case.labels.max()) + case.channels.shape[0] for case in cases))")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout == "61 427\n", done.stderr


def test_a_missing_sequence_is_an_empty_channel(tmp_path):
    case = toy_case()
    del case["t2"]
    facts = pack(tmp_path, case=case)
    assert [bool(digest) for digest in facts.digests] == [True, True, False, True]
    (packed,) = load_cases(tmp_path)
    assert [bool(channel.any()) for channel in packed.channels] == [True, True, False, True]


def test_cases_that_an_older_version_packed_are_read(tmp_path):
    pack(tmp_path)
    (case,) = load_cases(tmp_path)
    labels, spots = np.array(case.labels), {str(value): found for value, found in case.spots.items()}
    np.savez_compressed(tmp_path / "BraTS2021_00001.npz", labels=labels, cohort="BraTS2021", **spots)
    np.save(tmp_path / "BraTS2021_00001.channels.npy", case.channels)
    (old,) = load_cases(tmp_path, ["BraTS2021_00001"])
    assert np.array_equal(old.labels, labels)
    facts = read_facts(tmp_path, "BraTS2021_00001")
    assert facts.ml == (1.744, 3.088, 1.0)
    assert (facts.patient, facts.source) == ("BraTS-GLI-00001", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, the disk that is always full, is Linux's")
@pytest.mark.parametrize("full", [".p1.partial.channels.npy", ".p1.partial.labels.npy", ".p1.partial.npz"])
def test_a_full_disk_is_one_line_and_the_case_that_was_there_stays(tmp_path, full):
    pack(tmp_path, source="first")
    os.symlink("/dev/full", tmp_path / full)
    with pytest.raises(OutputError, match=r"p1 cannot be written.*No space left.*Make room") as caught:
        pack(tmp_path, case=toy_case(1), source="second")
    assert "\n" not in str(caught.value)
    assert read_facts(tmp_path, "p1").source == "first"
    assert not list(tmp_path.glob(".*"))


def test_a_case_that_is_packed_again_does_not_count_while_its_arrays_are_exchanged(tmp_path, monkeypatch):
    def replace_or_break(partial, target):
        if target.name == "p1.labels.npy":
            raise OSError(5, "Input/output error")
        os.replace(partial, target)

    pack(tmp_path)
    monkeypatch.setattr("braintumorseg_training.packing.put", replace_or_break)
    with pytest.raises(OutputError, match="p1 cannot be written"):
        pack(tmp_path, case=toy_case(1))
    assert packed_names(tmp_path) == []


def test_what_is_half_there_is_not_packed_or_said_to_be_damaged(tmp_path):
    pack(tmp_path)
    pack(tmp_path, "p2", toy_case(1))
    (tmp_path / "p1.npz").write_bytes(b"PK\x03\x04 half")
    (tmp_path / "p2.channels.npy").write_bytes((tmp_path / "p2.channels.npy").read_bytes()[:5000])
    (tmp_path / ".p3.partial.npz").write_bytes(b"")
    assert packed_names(tmp_path) == ["p1", "p2"]
    for name in ("p1", "p2"):
        with pytest.raises(InputError, match=f"{name} is damaged.*--force"):
            load_cases(tmp_path, [name])
    forget(tmp_path, "p2")
    assert packed_names(tmp_path) == ["p1"]


def test_a_byte_that_is_wrong_within_an_array_is_found_when_it_is_read(tmp_path):
    pack(tmp_path)
    path = tmp_path / "p1.npz"
    with zipfile.ZipFile(path) as file:
        spots = file.getinfo("2.npy")
    wrong = bytearray(path.read_bytes())
    middle = spots.header_offset + spots.compress_size // 2
    wrong[middle] ^= 255
    wrong[middle + 1] ^= 255
    path.write_bytes(wrong)
    with pytest.raises(InputError, match=r"p1 is damaged.*--force"):
        read_spots(tmp_path, "p1")


def test_an_array_that_was_never_written_is_damage_too(tmp_path):
    pack(tmp_path)
    (tmp_path / "p1.channels.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"p1 is damaged.*--force"):
        read_spots(tmp_path, "p1")


def test_cases_of_another_spacing_than_a_run_says_are_refused_and_old_ones_are_of_1_mm(tmp_path):
    pack(tmp_path)
    pack(tmp_path, "p2", toy_case(1), replace(CARD, spacing_mm=(2, 2, 2)))
    np.savez_compressed(tmp_path / "old.npz", cohort="Oslo", labels=np.zeros((2, 2, 2), np.uint8))
    assert [read_facts(tmp_path, name).spacing_mm for name in ("old", "p1", "p2")] == [(1, 1, 1), (1, 1, 1), (2, 2, 2)]
    require_spacing(tmp_path, ["old", "p1"], (1, 1, 1))
    require_spacing(tmp_path, ["p2"], (2.0, 2.0, 2.0))
    with pytest.raises(InputError, match=r"^old, p1 of .* packed at 1 x 1 x 1 mm, and spacing_mm is 2 x 2 x 2 mm.*\[1\.0, 1\.0, 1\.0\].*--spacing"):
        require_spacing(tmp_path, ["old", "p1", "p2"], (2, 2, 2))


def test_a_fingerprint_changes_with_the_files_the_convention_and_the_preprocessing(tmp_path):
    path = tmp_path / "t1.nii.gz"
    path.write_bytes(b"one")
    first = fingerprint((path,), "brats2021", CARD)
    assert fingerprint((path,), "brats2021", replace(CARD, name="other")) == first
    assert fingerprint((path,), "brats2023", CARD) != first
    assert fingerprint((path,), "brats2021", replace(CARD, spacing_mm=(2, 2, 2))) != first
    path.write_bytes(b"three")
    assert fingerprint((path,), "brats2021", CARD) != first
