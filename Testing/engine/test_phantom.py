"""The phantom: what a made-up patient must have in common with a real one, and what must be known about him exactly.

Oracles: SimpleITK (DICOM reading, resampling), nibabel (NIfTI), pydicom and dciodvfy (DICOM validity).
"""

import shutil
import subprocess
from types import SimpleNamespace

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from braintumorseg import phantom as phantom_module
from braintumorseg import phantom_head, phantom_scanner
from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.io.itk import from_itk, to_itk
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.phantom import make_phantom, make_registered, write_dicom, write_nifti
from braintumorseg.phantom_anatomy import draw_patient
from braintumorseg.phantom_contrast import scan
from braintumorseg.phantom_shapes import ellipsoid, inside, layer, polyline, refine, signed_distance, smooth_noise
from braintumorseg.study import ROLES
from braintumorseg.volume import Volume

SEED = 0    # of the patient that all tests share (conftest)


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    return write_dicom(phantom, tmp_path_factory.mktemp("dicom"))


def test_same_seed_gives_same_voxels_and_the_fast_path_is_the_same_patient(phantom):
    study, truth = make_registered(SEED)
    for role in ROLES:
        np.testing.assert_array_equal(study.volumes[role].voxels, phantom.registered.volumes[role].voxels)
    np.testing.assert_array_equal(truth.voxels, phantom.truth.voxels)


def test_patients_of_many_seeds_span_what_is_promised():
    patients = [draw_patient(seed) for seed in range(300)]
    whole = np.array([p.core_ml + p.oedema_ml for p in patients])
    assert whole.min() >= 5 and whole.max() <= 120
    assert whole.min() < 12 and whole.max() > 110
    assert 0.05 < np.mean([not p.enhances for p in patients]) < 0.25
    assert 0.1 < np.mean([p.necrosis == 0 for p in patients]) < 0.4
    assert 0.4 < np.mean([p.side > 0 for p in patients]) < 0.6


def test_registered_study_lies_on_one_brats_like_grid(phantom):
    registered = phantom.registered
    assert registered.roles == ROLES and registered.on_one_grid
    grid = registered.reference.grid
    assert grid.shape == (240, 240, 155) and grid.orientation == "LPS" and grid.spacing_mm == (1.0, 1.0, 1.0)
    assert phantom.truth.grid.same_as(grid)
    assert all(volume.voxels.dtype == np.int16 for volume in registered.volumes.values())


def test_registered_study_is_brain_only_and_of_an_adult_brains_size(phantom):
    masks = [volume.voxels > 0 for volume in phantom.registered.volumes.values()]
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    assert 1100 < masks[0].sum() / 1000 < 1750
    assert not masks[0][[0, -1]].any() and not masks[0][:, [0, -1]].any() and not masks[0][:, :, -1].any()
    assert masks[0][phantom.truth.voxels > 0].all()


def test_truth_has_the_volumes_that_were_drawn(phantom):
    patient, labels = draw_patient(SEED), phantom.truth.voxels
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, NCR, ED, ET}
    core = np.isin(labels, (NCR, ET)).sum() / 1000
    assert core == pytest.approx(patient.core_ml, rel=0.05)
    assert (labels == ED).sum() / 1000 == pytest.approx(patient.oedema_ml, rel=0.1)
    side = np.median(_world(phantom.truth, labels > 0)[:, 0])
    assert np.sign(side) == patient.side


def test_contrasts_are_those_of_a_glioma(phantom):
    labels = phantom.truth.voxels
    mean = {role: {label: float(volume.voxels[labels == label].mean()) for label in (NCR, ED, ET)}
            for role, volume in phantom.registered.volumes.items()}
    healthy = (labels == 0) & (phantom.registered.reference.voxels > 0)
    usual = {role: float(np.median(volume.voxels[healthy])) for role, volume in phantom.registered.volumes.items()}
    assert mean["flair"][ED] > 1.25 * usual["flair"] and mean["t2"][ED] > 1.2 * usual["t2"]
    white = float(np.percentile(phantom.registered.volumes["t1"].voxels[healthy], 75))  # the brightest half on T1 is white matter
    assert mean["t1"][ED] < 0.95 * white
    assert mean["t1ce"][ET] > 1.4 * usual["t1ce"] and mean["t1"][ET] < 1.1 * usual["t1"]
    assert mean["t1ce"][NCR] < 0.6 * mean["t1ce"][ET] and mean["t1"][NCR] < mean["t1"][ED]
    assert mean["t2"][NCR] > mean["t2"][ED] > usual["t2"]


def test_raw_sequences_have_their_own_oblique_grids_and_thick_slices(phantom):
    volumes = phantom.raw.volumes
    assert phantom.raw.roles == ROLES and not phantom.raw.on_one_grid
    assert phantom.raw.reference_role == "t1ce"
    assert volumes["t1ce"].spacing_mm == pytest.approx((1, 1, 1)) and volumes["t1ce"].orientation == "PIR"
    for role in ("t1", "t2", "flair"):
        in_plane, _, between = volumes[role].spacing_mm
        assert 0.7 <= in_plane <= 0.9 and 4 <= between <= 6 and phantom.thickness_mm[role] <= between
        assert volumes[role].orientation == "LPS"
    for volume in volumes.values():
        assert volume.voxels.dtype == np.int16 and volume.voxels.min() >= 0 and 300 < volume.voxels.max() <= 4095
        off_axis = np.abs(volume.affine[:3, :3] / volume.spacing_mm)
        assert (off_axis.max(axis=0) < 0.99999).any(), "slices should be oblique"


def test_raw_head_has_bright_fat_dark_bone_and_noise_in_the_air(phantom):
    raw, every = phantom.raw.volumes["t1ce"], slice(None, None, 2)
    image, brain = raw.voxels[every, every, every], phantom.brain_mask_t1ce.voxels[every, every, every] > 0
    usual, above = np.median(image[brain]), _height(raw)[every, every, every] > 20
    distance = signed_distance(brain, 2.0)
    assert np.percentile(image[(distance > 8) & (distance < 20) & above], 90) > 1.4 * usual
    assert np.percentile(image[(distance > 2) & (distance < 8) & above], 25) < 0.5 * usual
    corner = raw.voxels[:12, :12, :12]
    assert corner.std() > 0 and corner.mean() < 0.2 * usual


def test_truth_and_brain_on_the_t1ce_are_those_of_the_registered_grid(phantom):
    native = phantom.raw.volumes["t1ce"].grid
    assert phantom.truth_t1ce.grid.same_as(native) and phantom.brain_mask_t1ce.grid.same_as(native)
    for label in (NCR, ED, ET):
        here, there = (_world(truth, truth.voxels == label) for truth in (phantom.truth, phantom.truth_t1ce))
        assert len(here) == pytest.approx(len(there), rel=0.02)
        np.testing.assert_allclose(here.mean(axis=0), there.mean(axis=0), atol=0.4)  # nearest voxels on turned grids
    stripped = sitk.Resample(to_itk(phantom.registered.volumes["t1ce"]), to_itk(phantom.brain_mask_t1ce), sitk.Transform(),
                             sitk.sitkNearestNeighbor)
    found, mask = from_itk(stripped).voxels > 0, phantom.brain_mask_t1ce.voxels > 0
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.97


def test_motion_is_rigid_small_and_known_in_the_stated_direction(phantom):
    """Undoing the motion makes T1ce and FLAIR share more information than leaving it, and that more than doubling it."""
    np.testing.assert_array_equal(phantom.motion["t1ce"], np.eye(4))
    for role in ("t1", "t2", "flair"):
        turn = phantom.motion[role][:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert 0.3 < np.rad2deg(np.arccos((np.trace(turn) - 1) / 2)) < 10
    brain = phantom.brain_mask_t1ce.voxels > 0
    for role in ("t1", "t2", "flair"):
        moved = phantom.motion[role]
        undone, left, wrong = (_shared(phantom, role, m, brain) for m in (moved, np.eye(4), np.linalg.inv(moved)))
        assert undone > left > wrong, role


def test_dicom_read_by_simpleitk_has_the_geometry_and_voxels_of_the_raw_study(phantom, series):
    assert set(series) == set(ROLES)
    for role, files in series.items():
        reader = sitk.ImageSeriesReader()
        found = reader.GetGDCMSeriesFileNames(str(files[0].parent))
        assert list(found) == [str(f) for f in files]
        reader.SetFileNames(found)
        read, raw = from_itk(reader.Execute()), phantom.raw.volumes[role]
        assert read.grid.same_as(raw.grid, tolerance_mm=1e-3)
        np.testing.assert_array_equal(read.voxels, raw.voxels)


def test_dicom_read_by_the_engine_is_the_raw_study(phantom, series):
    stacks = scan_dicom([series["t1"][0].parents[1]]).stacks
    assert [stack.facts.number for stack in stacks] == [2, 3, 4, 5]
    for stack, role in zip(stacks, ("t1", "t2", "flair", "t1ce"), strict=True):
        truth = phantom.raw.volumes[role]
        found = read_stack(stack)
        assert found.grid.same_as(truth.grid, 0.01) and np.array_equal(found.voxels, truth.voxels)


def test_dicom_is_one_study_of_four_series_that_say_what_they_are(phantom, series):
    first = {role: pydicom.dcmread(files[0]) for role, files in series.items()}
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert len({str(ds[keyword].value) for ds in first.values()}) == 1
    assert str(first["t1"].PatientName) == "Phantom^Made Up" and first["t1"].PatientID == f"PHANTOM-{SEED}"
    assert len({ds.SeriesInstanceUID for ds in first.values()}) == 4
    images = [pydicom.dcmread(f, stop_before_pixels=True) for files in series.values() for f in files]
    assert len({ds.SOPInstanceUID for ds in images}) == len(images)
    assert {ds.file_meta.TransferSyntaxUID for ds in images} == {pydicom.uid.ExplicitVRLittleEndian}
    assert [role for role, ds in first.items() if "ContrastBolusAgent" in ds] == ["t1ce"]
    assert first["flair"].InversionTime > 2000 and first["t2"].EchoTime > 60 > first["t1"].EchoTime
    assert first["t2"].SliceThickness == phantom.thickness_mm["t2"]
    assert float(first["t2"].SpacingBetweenSlices) == pytest.approx(phantom.raw.volumes["t2"].spacing_mm[2])


def test_dicom_uids_depend_on_the_seed_alone(phantom, series, tmp_path):
    again = write_dicom(phantom, tmp_path)
    for role in ROLES:
        assert series[role][0].read_bytes() == again[role][0].read_bytes()


def test_dicom_satisfies_dciodvfy(series):
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy is absent (Debian package dicom3tools)")
    for role, files in series.items():
        said = subprocess.run([tool, str(files[0])], capture_output=True, text=True)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        assert errors == [], role


def test_nifti_of_the_phantom_reads_back_with_nibabel(phantom, tmp_path):
    paths = write_nifti(phantom, tmp_path / "registered")
    assert sorted(p.name for p in paths.values()) == ["flair.nii.gz", "seg.nii.gz", "t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz"]
    for role, volume in {**phantom.registered.volumes, "seg": phantom.truth}.items():
        image = nibabel.load(paths[role])
        np.testing.assert_array_equal(np.asarray(image.dataobj), volume.voxels)
        np.testing.assert_allclose(image.affine, volume.affine, atol=1e-6)


def test_progress_grows_to_one(monkeypatch):
    some, told = Volume(100 * np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4)), []
    for module, name, answer in ((phantom_module, "grow_brain", SimpleNamespace(tissue_mm=np.ones(1), cavity_mm=np.ones(1))),
                                 (phantom_module, "grow_tumour", SimpleNamespace(labels=np.ones(1))), (phantom_module, "_register", (None, some)),
                                 (phantom_head, "grow_head", None), (phantom_scanner, "acquire", some), (phantom_scanner, "on_grid", some)):
        monkeypatch.setattr(module, name, lambda *given, answer=answer: answer)
    make_phantom(SEED, progress=told.append)
    assert told == sorted(told) and 0 < told[0] < 1 and told[-1] == pytest.approx(1)
    assert len(told) == 3 + len(ROLES)


def test_an_ellipsoids_distance_is_exact_for_a_ball():
    x, y, z = (np.arange(-6, 7, dtype=np.float32).reshape(s) for s in ((-1, 1, 1), (1, -1, 1), (1, 1, -1)))
    found = ellipsoid(x, y, z, (1, 0, 0), (4, 4, 4))
    np.testing.assert_allclose(found, np.sqrt((x - 1) ** 2 + y**2 + z**2) - 4, atol=1e-5)


def test_a_tubes_radius_runs_from_end_to_end():
    x = np.array([0.0, 5.0, 10.0, 12.0], np.float32)
    np.testing.assert_allclose(polyline((x, np.zeros(4, np.float32)), [(0, 0, 2), (10, 0, 4)]), [-2, -3, -4, -2], atol=1e-6)


def test_refining_keeps_nodes_and_is_exact_on_a_cubic():
    nodes = np.arange(6, dtype=np.float32)
    coarse = np.broadcast_to((nodes**3)[:, None, None], (6, 3, 3))
    fine = refine(coarse)
    assert fine.shape == (11, 5, 5)
    np.testing.assert_allclose(fine[::2, 2, 2], nodes**3, rtol=1e-6)
    np.testing.assert_allclose(fine[3:8:2, 2, 2], np.array([1.5, 2.5, 3.5]) ** 3, rtol=1e-5)


def test_a_surface_through_a_voxels_middle_fills_half_of_it():
    np.testing.assert_allclose(inside(np.array([-1.0, -0.25, 0.0, 0.25, 1.0])), [1, 0.75, 0.5, 0.25, 0])


def test_signed_distance_is_zero_between_the_voxels_and_far_without_a_border():
    mask = np.zeros((7, 7, 7), bool)
    mask[3:] = True
    np.testing.assert_allclose(signed_distance(mask, 2.0)[:, 3, 3], [5, 3, 1, -1, -3, -5, -7])
    assert (signed_distance(np.zeros((2, 2, 2), bool), 1.0) > 100).all()


def test_a_layer_is_cut_to_where_it_is():
    share = np.zeros((5, 6, 7), np.float32)
    share[1:3, 2, 4:6] = 0.5
    coat = layer("grey", share, offset=(10, 0, 0))
    assert coat.part == (slice(11, 13), slice(2, 3), slice(4, 6)) and coat.share.shape == (2, 1, 2)
    assert layer("grey", np.zeros((5, 6, 7), np.float32)).share.size == 0


def test_scanner_noise_is_rician():
    """In air the mean of Rician noise is deviation x sqrt(pi / 2) (Gudbjartsson and Patz 1995)."""
    found = scan(np.zeros((40, 40, 40), np.float32), np.random.default_rng(0), (1, 1, 1), noise=3.0, bias=0.1)
    assert found.mean() == pytest.approx(3 * np.sqrt(np.pi / 2), rel=0.02)


@pytest.mark.parametrize("sigma", [1.0, 6.0, (4.0, 4.0, 1.0)])
def test_noise_has_the_shape_and_about_the_deviation_promised(sigma):
    noise = smooth_noise(np.random.default_rng(0), (48, 40, 44), sigma)
    assert noise.shape == (48, 40, 44) and noise.dtype == np.float32
    assert 0.5 < noise.std() < 1.4


def _world(volume, mask):
    return np.argwhere(mask) @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def _height(volume):
    """Height (mm, superior) of each voxel."""
    i, j, k = np.ogrid[tuple(slice(n) for n in volume.shape)]
    a = volume.affine[2]
    return a[0] * i + a[1] * j + a[2] * k + a[3]


def _shared(phantom, role, motion, brain):
    """Mutual information (nats) of the T1ce and `role` taken at motion @ p, in the brain."""
    moved = to_itk(phantom.raw.volumes[role])
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ motion @ flip
    transform = sitk.AffineTransform(lps[:3, :3].ravel().tolist(), lps[:3, 3].tolist())
    onto = to_itk(phantom.brain_mask_t1ce)
    seen = from_itk(sitk.Resample(moved, onto, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)).voxels
    joint, _, _ = np.histogram2d(phantom.raw.volumes["t1ce"].voxels[brain][::3], seen[brain][::3], bins=48)
    joint /= joint.sum()
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return float((joint[joint > 0] * np.log(joint[joint > 0] / alone[joint > 0])).sum())
