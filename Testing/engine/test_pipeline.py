import itertools
import threading
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import nibabel
import numpy as np
import pytest

from braintumorseg import __version__, pipeline
from braintumorseg.errors import BadImage, Cancelled, GridMismatch, ModelError, ResourceError
from braintumorseg.hardware import this_machine
from braintumorseg.io.dicom_grid import onto_grid
from braintumorseg.pipeline import segment
from braintumorseg.progress import Progress
from braintumorseg.providers import PROVIDERS, Provider
from braintumorseg.register import Alignment
from braintumorseg.runtime import Session, open_session
from braintumorseg.study import Study
from braintumorseg.volume import Volume
from toys import make_toy_study


def cube(segmentation, label):
    at = np.argwhere(segmentation.labels.voxels == label)
    return (at.min(0).tolist(), (at.max(0) + 1).tolist()) if len(at) else None


def test_labels_come_out_on_the_references_grid_where_the_lesion_is(toy_model, toy_study):
    segmentation = segment(toy_study, toy_model, registered=True)
    assert segmentation.labels.grid.same_as(toy_study.volumes["t1ce"].grid, 1e-6)
    assert np.bincount(segmentation.labels.voxels.ravel()).tolist()[1:] == [10**3 - 8**3, 14**3 - 10**3, 8**3]
    assert cube(segmentation, 3) == ([16, 18, 14], [24, 26, 22])


def test_the_result_is_the_same_tumour_in_the_world_however_the_voxels_are_stored(toy_model, toy_study):
    turned = Study({role: Volume(volume.voxels.transpose(2, 0, 1)[:, ::-1], volume.affine @ np.array(
        [[0, -1, 0, 39], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])) for role, volume in toy_study.volumes.items()})
    straight, other = segment(toy_study, toy_model, registered=True), segment(turned, toy_model, registered=True)
    assert np.array_equal(other.labels.canonical().voxels, straight.labels.canonical().voxels)


ORDERS = [(order, flips) for order in itertools.permutations(range(3)) for flips in itertools.product((1, -1), repeat=3)]


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_in_each_of_the_48_axis_orders_the_tumour_lies_at_the_same_place_in_the_world(toy_model, toy_study, order, flips):
    """Straight and oblique: the study is stored anew, nothing is resampled."""
    c, s = np.cos(0.35), np.sin(0.35)
    turn = np.eye(4)
    turn[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    stored = np.array(list(zip(order, flips, strict=True)))
    for world in (np.eye(4), turn):
        straight = Study({role: Volume(volume.voxels, world @ volume.affine) for role, volume in toy_study.volumes.items()})
        onto_it = nibabel.orientations.inv_ornt_aff(stored, toy_study.reference.shape)
        anew = Study({role: Volume(nibabel.apply_orientation(volume.voxels, stored), volume.affine @ onto_it)
                      for role, volume in straight.volumes.items()})
        found, wanted = segment(anew, toy_model, registered=True).labels, segment(straight, toy_model, registered=True).labels
        assert np.array_equal(onto_grid(found, wanted.grid, "found").voxels, wanted.voxels)


def test_an_oblique_anisotropic_grid_gets_the_same_millilitres_within_its_voxel_size(toy_model):
    turn = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    turn[:2, :2] = [[c, -s], [s, c]]
    study = make_toy_study((60, 66, 27), turn @ np.diag([-0.8, -0.8, 2.0, 1]))
    segmentation = segment(study, toy_model, registered=True)
    for label, truth_ml in ((3, 8**3 * 1.28e-3), (2, (14**3 - 10**3) * 1.28e-3)):
        assert (segmentation.labels.voxels == label).sum() * segmentation.labels.voxel_ml == pytest.approx(truth_ml, rel=0.25)


@pytest.mark.parametrize("roles", [("t1",), ("flair",), ("t1ce", "t2"), ("t1", "t2", "flair")])
def test_any_subset_of_sequences_runs_and_says_what_is_missing(toy_model, toy_study, roles):
    segmentation = segment(Study({role: toy_study.volumes[role] for role in roles}), toy_model, registered=True)
    assert set(segmentation.provenance.missing) == {"t1", "t1ce", "t2", "flair"} - set(roles)
    assert segmentation.provenance.provider


@pytest.mark.parametrize(("roles", "registered"), [(("flair",), False), (("t1ce", "flair"), False), (("t1ce", "flair"), True)])
def test_a_sheared_image_is_refused_by_name_however_many_there_are(toy_model, toy_study, roles, registered):
    shear = np.eye(4)
    shear[1, 2] = 0.4
    study = Study({role: Volume(toy_study.volumes[role].voxels, shear @ toy_study.volumes[role].affine) for role in roles})
    with pytest.raises(BadImage, match=rf"^{roles[0]} has axes that are not at right angles"):
        segment(study, toy_model, registered=registered)


@pytest.fixture
def toy_heads(toy_study):
    """The toy study with noise around the brain, as a scan has."""
    noise = np.random.default_rng(0).normal(20, 5, toy_study.reference.shape)
    return Study({role: volume.with_voxels(np.where(volume.voxels > 0, volume.voxels, noise).astype(np.int16))
                  for role, volume in toy_study.volumes.items()})


def test_in_whole_heads_the_brain_is_found_first_and_the_result_is_that_of_the_brain_alone(toy_model, toy_study, toy_heads, monkeypatch):
    asked = []

    def find(volume):
        asked.append(volume)
        return volume.with_voxels((toy_study.reference.voxels > 0).astype(np.uint8))

    monkeypatch.setattr("braintumorseg.skull_strip.LEAST_BRAIN_ML", 5.0)
    found, alone = segment(toy_heads, toy_model, registered=True, find=find), segment(toy_study, toy_model, registered=True)
    assert np.array_equal(found.labels.voxels, alone.labels.voxels)
    assert len(asked) == 4
    assert np.array_equal(found.brain.mask.voxels, toy_study.reference.voxels > 0)
    assert found.provenance.brain == "found in t1ce, t1, t2, flair"
    assert (alone.brain, alone.provenance.brain) == (None, "")


def test_a_head_in_zeroed_air_does_not_decide_for_the_others(toy_model, toy_study, toy_heads, monkeypatch):
    monkeypatch.setattr("braintumorseg.skull_strip.LEAST_BRAIN_ML", 5.0)
    flair, brain = toy_study.volumes["flair"], toy_study.reference.voxels > 0
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in flair.shape), indexing="ij"))
    scalp = np.where((places**2).sum(0) < 1.2, 60, 0)  # 1.5 times what the brain measures
    study = Study({**toy_heads.volumes, "flair": flair.with_voxels(np.where(brain, flair.voxels, scalp).astype(np.int16))})
    found = segment(study, toy_model, registered=True, find=lambda volume: volume.with_voxels(brain.astype(np.uint8)))
    assert found.provenance.brain == "found in t1ce, t1, t2, flair"
    assert np.array_equal(found.labels.voxels, segment(toy_study, toy_model, registered=True).labels.voxels)


def test_a_brain_is_looked_for_once_in_each_image_and_a_cancel_is_heard_before_each(toy_model, toy_heads, toy_study, monkeypatch):
    monkeypatch.setattr("braintumorseg.skull_strip.LEAST_BRAIN_ML", 5.0)
    brain, asked, progress = toy_study.reference.voxels > 0, [], Progress()

    def find(volume):
        asked.append(id(volume))
        return volume.with_voxels(brain.astype(np.uint8))

    mixed = Study({**toy_heads.volumes, "flair": toy_study.volumes["flair"]})   # so that each is held against its brain, before the alignment
    segment(mixed, toy_model, registered=True, find=find)
    assert sorted(asked) == sorted(set(asked)) and asked
    progress.cancel.set()
    asked.clear()
    with pytest.raises(Cancelled):
        segment(mixed, toy_model, registered=True, find=find, progress=progress)
    assert asked == []


def test_the_time_that_it_takes_to_tell_heads_from_brains_counts_as_the_brains(toy_model, toy_study, toy_heads, monkeypatch):
    monkeypatch.setattr("braintumorseg.skull_strip.LEAST_BRAIN_ML", 5.0)
    now, progress = [0.0], Progress()
    monkeypatch.setattr("braintumorseg.progress.time.monotonic", lambda: now[0])

    def find(volume):
        now[0] += 1
        return volume.with_voxels((toy_study.reference.voxels > 0).astype(np.uint8))

    mixed = Study({**toy_heads.volumes, "flair": toy_study.volumes["flair"]})   # so that each is held against its brain, before the alignment
    segment(mixed, toy_model, registered=True, find=find, progress=progress)
    assert now[0] >= 1 and progress.seconds["brain"] == now[0]
    progress = Progress()
    segment(toy_study, toy_model, registered=True, stripped=True, progress=progress)
    assert "brain" not in progress.seconds


def test_sequences_whose_place_is_doubtful_are_told_by_their_role(toy_model, toy_study, monkeypatch):
    found = {role: Alignment(None, "so it is", role == "t2") for role in ("t1", "t2", "flair")}
    monkeypatch.setattr(pipeline, "align", lambda study, progress: found)
    made = segment(toy_study, toy_model).provenance
    assert (made.doubtful, set(made.alignment.values())) == (("t2",), {"so it is"})


def test_islands_that_are_too_small_to_count_leave_neither_a_tumour_nor_doubts_about_it(toy_model, toy_study):
    card = replace(toy_model.card, post_processing=replace(toy_model.card.post_processing, smallest_lesion_ml=5.0))   # it has 2.7 ml
    for thorough in (False, True):
        found = segment(toy_study, replace(toy_model, card=card), registered=True, thorough=thorough)
        assert (found.labels.voxels.any(), found.provenance.signs, found.provenance.expected_dice) == (False, {}, {})


def test_images_without_a_brain_are_refused_unless_the_user_knows_better(toy_model, toy_heads):
    with pytest.raises(BadImage, match=r"No brain was found.*--stripped"):
        segment(toy_heads, toy_model, registered=True, find=lambda volume: volume.with_voxels(np.zeros(volume.shape, np.uint8)))
    assert segment(toy_heads, toy_model, registered=True, stripped=True)


def test_a_sequence_that_the_network_cannot_do_without_is_asked_for(toy_model, toy_study):
    from dataclasses import replace

    strict = replace(toy_model, card=replace(toy_model.card, may_be_missing=("t2",)))
    with pytest.raises(ModelError, match="without t1 and t1ce"):
        segment(Study({"flair": toy_study.volumes["flair"]}), strict, registered=True)


def test_the_network_is_opened_while_the_study_is_made_ready(toy_model, toy_study, monkeypatch):
    opened, align = threading.Event(), pipeline.align

    def open_it(*args, **options):
        opened.set()
        return open_session(*args, **options)

    def align_after_opening(*args, **options):
        assert opened.wait(20), "nothing was opened before the images were aligned"
        return align(*args, **options)

    monkeypatch.setattr(pipeline, "open_session", open_it)
    monkeypatch.setattr(pipeline, "align", align_after_opening)
    assert segment(toy_study, toy_model).labels.voxels.any()


def test_a_network_that_cannot_be_opened_is_told_where_the_study_itself_is_sound(toy_model, toy_study, monkeypatch):
    def open_it(*args, **options):
        raise ResourceError("No runtime is installed.", "Install one.")

    monkeypatch.setattr(pipeline, "open_session", open_it)
    before = set(threading.enumerate())
    with pytest.raises(ResourceError, match="No runtime"):
        segment(toy_study, toy_model, registered=True)
    flair = toy_study.volumes["flair"]
    one = Study({**toy_study.volumes, "flair": Volume(flair.voxels, flair.affine @ np.diag([2.0, 1, 1, 1]))})
    with pytest.raises(GridMismatch):   # not what happened meanwhile
        segment(one, toy_model, registered=True)
    assert set(threading.enumerate()) <= before


def test_a_result_tells_the_version_of_this_engine_though_no_package_was_installed(toy_model, toy_study, monkeypatch):
    def not_installed(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(pipeline, "version", not_installed)
    assert segment(toy_study, toy_model, registered=True, stripped=True).provenance.software == {"braintumorseg": __version__}


def test_a_study_reports_what_ran_it_though_another_made_the_session_fall_back_meanwhile(toy_model, toy_study, monkeypatch):
    first_ran, second_done = threading.Event(), threading.Event()
    turn, decide, found = threading.Lock(), pipeline.onto_native, {}

    class FailsSecond:
        provider, precision, passes = "one", "bfloat16", 0

        def run(self, channels, cancel=None):
            self.passes += 1
            if self.passes > 1:
                raise ModelError("cuDNN failed.")
            return np.zeros((3, *channels.shape[1:]), np.float32)

    def decide_late(*args):
        if threading.current_thread().name == "first":
            first_ran.set()
            assert second_done.wait(20)
        return decide(*args)

    plain = next(one for one in PROVIDERS if one.name == "onnxruntime")
    one = Provider("one", "cpu", lambda machine: None, lambda: None, lambda *_: FailsSecond())
    shared = Session(toy_model.weights, (), [one, plain], 0, this_machine())
    monkeypatch.setattr(pipeline, "open_session", lambda *args, **options: shared)
    monkeypatch.setattr(pipeline, "onto_native", decide_late)

    def go():
        found[threading.current_thread().name] = segment(toy_study, toy_model, registered=True, stripped=True, turn=turn).provenance

    first, second = (threading.Thread(target=go, name=name) for name in ("first", "second"))
    first.start()
    assert first_ran.wait(20)
    second.start()
    second.join(20)
    second_done.set()
    first.join(20)
    assert [(made.provider, made.precision, made.provider_note) for made in (found["first"], found["second"])] == [
        ("one", "bfloat16", ""), ("CPUExecutionProvider", "float32", "one failed: cuDNN failed")]


def test_a_study_that_does_not_fit_into_memory_is_refused_with_its_need(toy_model, toy_study, monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 3e8, "total": 1e9}))
    with pytest.raises(ResourceError, match=r"needs about \d\.\d GB more memory and 0\.3 GB are free"):
        segment(toy_study, toy_model, registered=True)


def test_thick_slices_need_the_memory_of_the_grid_that_the_network_reads(toy_model, monkeypatch):
    import psutil

    voxels = np.random.default_rng(0).integers(0, 100, (600, 600, 12))
    study = Study({"flair": Volume(voxels, np.diag([1.0, 1, 50, 1]))})   # 4 million voxels, of which 216 million are made
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2e9, "total": 4e9}))
    with pytest.raises(ResourceError, match=r"needs about 4\.3 GB more memory and 2\.0 GB are free"):
        segment(study, toy_model, registered=True, stripped=True)


def test_whole_heads_need_more_memory_than_brains_that_were_cut_out(toy_model, toy_study, toy_heads, monkeypatch):
    monkeypatch.setattr(pipeline, "free_bytes", lambda: 0.8e9 + 20 * toy_study.reference.voxels.size)
    assert segment(toy_study, toy_model, registered=True)
    assert segment(toy_heads, toy_model, registered=True, stripped=True)
    with pytest.raises(ResourceError, match="needs about"):
        segment(toy_heads, toy_model, registered=True)


def test_progress_grows_to_the_end_of_each_step_and_a_cancel_stops_the_run(toy_model, toy_study):
    told = []
    segment(toy_study, toy_model, registered=True, progress=Progress(lambda update: told.append(update.done)))
    assert told == sorted(told)
    cancel = threading.Event()

    def listener(update):
        if update.step == "predict":
            cancel.set()

    with pytest.raises(Cancelled):
        segment(toy_study, toy_model, registered=True, progress=Progress(listener, cancel))


def test_a_real_case_gives_the_tumour_on_its_own_grid(data_folder):
    from braintumorseg.io.readers import read_volume
    from braintumorseg.labels import from_convention
    from braintumorseg.metrics import dice
    from braintumorseg.model_zoo import load_model
    from braintumorseg.read import read_study

    folder = data_folder / "cases" / "BraTS2021_01658"  # a validation case: never trained on
    study = read_study([folder])
    segmentation = segment(study, load_model(), registered=True)
    truth = from_convention(read_volume(folder / "seg.nii.gz").voxels, "brats2023")
    assert np.abs(segmentation.labels.affine - study.reference.affine).max() < 1e-6
    assert dice(truth > 0, segmentation.labels.voxels > 0) > 0.85
