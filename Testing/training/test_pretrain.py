import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from braintumorseg.errors import InputError, MissingFile, ModelError
from braintumorseg.io.nifti import write_nifti
from braintumorseg.study import Study
from braintumorseg_training.cli import main
from braintumorseg_training.config import PretrainConfig
from braintumorseg_training.data import Split, load_cases, pack_case
from braintumorseg_training.export import draft_card
from braintumorseg_training.pretrain import HiddenPatches, ReconstructionLoss, choose_volumes, hide, pretrain
from braintumorseg_training.run_split import split_of_run
from braintumorseg_training.train import fit, load_checkpoint
from braintumorseg_training.transfer import begin_from, inherit, learned_from
from braintumorseg_training.unlabelled import pack_unlabelled
from toys import make_toy_study

SPLIT = Split(("case0", "case1", "case2"), ("case3",))


def quiet(line):
    pass


@pytest.fixture
def small():
    return PretrainConfig(channels=(8, 8), patch=(16, 16, 16), steps=4, warm_up=1, cube=4, held_out_share=0.3, bf16=False, save_every=2,
                          validate_every=100)


def image_of(seed=0, shape=(24, 24, 24)):
    image = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, *shape)).astype(np.float32))
    image[:, :4] = 0
    return image


def test_what_is_hidden_is_not_shown_and_only_hidden_brain_is_to_be_restored(small):
    image = image_of()
    for seed in range(10):
        shown, (truth, wanted) = hide(image, small, np.random.default_rng(seed))
        assert torch.equal(truth, image)
        assert not (shown[wanted > 0]).any()
        assert torch.equal(shown[wanted == 0], image[wanted == 0])
        assert not wanted[:, :4].any()


def test_cubes_are_whole_shared_by_the_sequences_and_as_many_as_asked(small):
    config = replace(small, sequence_share=0.0)
    shares = []
    for seed in range(20):
        wanted = hide(torch.ones(4, 24, 24, 24), config, np.random.default_rng(seed))[1][1]
        assert torch.equal(wanted[0].expand_as(wanted), wanted)
        changes = [int(at) + 1 for at in torch.nonzero((wanted[0, 1:] != wanted[0, :-1]).flatten(1).any(1))[:, 0]]
        assert len({at % config.cube for at in changes}) == 1
        shares.append(float(wanted.mean()))
    assert np.mean(shares) == pytest.approx(0.6, abs=0.05)


def test_whole_sequences_are_hidden_never_all_and_none_that_is_not_there(small):
    config, image = replace(small, sequence_share=1.0), torch.ones(4, 8, 8, 8)
    image[1] = 0
    counts = set()
    for seed in range(40):
        wanted = hide(image, config, np.random.default_rng(seed))[1][1]
        assert not wanted[1].any()
        counts.add(int(wanted[[0, 2, 3]].flatten(1).all(1).sum()))
    assert counts == {1, 2}


def test_the_loss_counts_only_what_is_to_be_restored(small):
    truth, wanted = torch.ones(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    wanted[..., :2] = 1
    restored = torch.full_like(truth, 100.0)
    restored[..., :2] = 4.0
    loss = ReconstructionLoss(0.5)
    assert loss(restored, torch.stack([truth, wanted], 1)) == 3.0
    side = torch.full((1, 1, 1, 1, 1), 3.0)  # half of its voxel is wanted: 0.5 x (3 - 1), weight summed up to at least 1
    assert loss((restored, side), torch.stack([truth, wanted], 1)) == 3.0 + 0.5 * 1.0
    assert loss(restored, torch.stack([truth, wanted * 0], 1)) == 0.0


def test_validation_cases_are_never_learned_from_and_that_is_said(packed, small):
    lines = []
    learnt, watched = choose_volumes([packed], SPLIT, small, lines.append)
    assert {case.name for case in learnt + watched} == {"case0", "case1", "case2"}
    assert (len(learnt), len(watched)) == (2, 1)
    assert "not looked at: case3" in lines[0]
    assert watched[0].name in lines[1]
    with pytest.raises(MissingFile, match="no packed case in nowhere"):
        choose_volumes([packed, packed / "nowhere"], SPLIT, small, quiet)
    with pytest.raises(InputError, match="No volume is left"):
        choose_volumes([packed], Split((), ("case0", "case1", "case2", "case3")), small, quiet)


def test_volumes_packed_at_another_spacing_are_not_learned_from(packed, small):
    with pytest.raises(InputError, match=r"case0 of .*packed at 1 x 1 x 1 mm"):
        choose_volumes([packed], SPLIT, replace(small, spacing_mm=(2.0, 2.0, 2.0)), quiet)


def test_a_validation_case_is_left_out_under_another_name_and_so_are_other_scans_of_its_patient(packed, small, tmp_path):
    shapes = {"renamed": (40, 40, 40), "BraTS-GLI-00005-000": (40, 40, 48), "BraTS-GLI-00005-001": (40, 48, 40), "BraTS-GLI-00006-000": (48, 40, 40)}
    for name, shape in shapes.items():
        study, multiple = make_toy_study(shape), 16 if name == "renamed" else 4      # the first has the images of case3, in another crop
        pack_case(name, "unlabelled", study, study.reference.with_voxels(np.zeros(shape, np.uint8)), draft_card(size_multiple=multiple), tmp_path)
    lines = []
    split = Split(("case0",), ("case3",), test=("BraTS-GLI-00005-000",))
    learnt, watched = choose_volumes([packed, tmp_path], split, small, lines.append)
    assert {case.name for case in learnt + watched} == {"case0", "case1", "case2", "BraTS-GLI-00006-000"}
    assert "not looked at: BraTS-GLI-00005-000, BraTS-GLI-00005-001, case3, renamed" in lines[0]


def test_patients_whose_validation_case_is_packed_elsewhere_are_known_by_its_name(packed, small, tmp_path):
    study = make_toy_study((40, 40, 48))
    for name in ("BraTS-GLI-00099-001", "BraTS-GLI-00098-001"):
        pack_case(name, "unlabelled", study, study.reference.with_voxels(np.zeros((40, 40, 48), np.uint8)), draft_card(size_multiple=4), tmp_path)
    learnt, watched = choose_volumes([tmp_path], Split(("case0",), ("BraTS-GLI-00099-000",)), small, quiet)
    assert [case.name for case in learnt + watched] == ["BraTS-GLI-00098-001"]


def pack_hospital(folder, first, names=("sub-000", "sub-001", "sub-002"), **told):
    """Toy patients of different images, packed without labels; `first` tells one hospital's from another's."""
    for number, name in enumerate(names):
        study = make_toy_study((40, 40, 40))
        noise = np.random.default_rng(first + number).integers(0, 50, (40, 40, 40)).astype(np.int16)
        images = {role: volume.with_voxels(np.where(volume.voxels > 0, volume.voxels + noise, 0)) for role, volume in study.volumes.items()}
        pack_case(name, "unlabelled", Study(images), study.reference.with_voxels(np.zeros((40, 40, 40), np.uint8)), draft_card(size_multiple=4),
                  folder, **told)
    return folder


def test_one_name_is_another_patient_in_another_folder_and_none_that_is_held_out_is_learned_from(small, tmp_path):
    one, two = (pack_hospital(tmp_path / name / "packed", first) for name, first in (("h1", 0), ("h2", 10)))
    pack_hospital(two, 1, ["renamed"])                                       # the images of sub-001 of the first
    lines = []
    for folders in ([one, two], [two, one]):
        learnt, watched = choose_volumes(folders, Split(("sub-000",), ("sub-001",)), small, lines.append)
        assert sorted((case.packed.parent.name, case.name) for case in learnt + watched) == [
            ("h1", "sub-000"), ("h1", "sub-002"), ("h2", "sub-000"), ("h2", "sub-002")]
    assert lines[0] == f"the split's validation and test cases, not looked at: {one}/sub-001, {two}/sub-001, renamed"
    run = tmp_path / "run"
    pretrain(replace(small, steps=1), [one, two], Split(("sub-000",), ("sub-001",)), run, device="cpu", say=quiet, workers=0)
    kept = split_of_run(run)
    assert {*kept.train, *kept.validation} == {f"{folder}/{name}" for folder in (one, two) for name in ("sub-000", "sub-002")}
    assert sorted({*learned_from(run / "checkpoint.pt").names}) == ["sub-000", "sub-002"]


def test_a_case_that_is_packed_in_several_folders_is_one_volume(packed, small, tmp_path):
    one, two = (pack_hospital(tmp_path / name, 0) for name in ("one", "two"))
    for first, folder in enumerate((one, two)):
        pack_hospital(folder, 20 + first, ["BraTS-GLI-00007-000"])           # a published name is one patient's, however it was packed
    lines = []
    for folders in ([one, two], [one, one / ".." / "one"]):
        learnt, watched = choose_volumes(folders, Split((), ()), small, lines.append)
        assert sorted(case.name for case in learnt + watched) == ["BraTS-GLI-00007-000", "sub-000", "sub-001", "sub-002"]
    assert "/" not in "".join(lines)      # one is left of each name, so none needs its folder's


def test_pretraining_keeps_what_it_learned_from_and_is_not_taken_up_without_it(packed, small, tmp_path):
    weights = pretrain(replace(small, steps=1), [packed], SPLIT, tmp_path, device="cpu", say=quiet)
    kept = split_of_run(tmp_path)
    assert {*kept.train, *kept.validation} == {"case0", "case1", "case2"}
    assert (learned_from(weights).names, len(kept.validation)) == (kept.train, 1)
    with pytest.raises(ModelError, match=r"made with another split: train .* Give another --out"):
        pretrain(replace(small, steps=2), [packed], Split(("case1", "case2", "case3"), ("case0",)), tmp_path, device="cpu", say=quiet)
    pretrain(replace(small, steps=2), [packed], SPLIT, tmp_path, device="cpu", say=quiet)
    with pytest.raises(InputError, match=f"learned from {kept.train[0]}: of patients in the split's validation"):
        fit(None, packed, inherit(Split(("case3",), kept.train[:1]), weights, packed, quiet), tmp_path / "after", device="cpu", say=quiet)


def test_a_patch_is_a_function_of_its_number(packed, small):
    cases = load_cases(packed, ("case0", "case1"))
    one, two = HiddenPatches(cases, small, 3, 1)[0], HiddenPatches(cases, small, 0, 5)[3]
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_what_was_pretrained_is_where_fit_begins(packed, small, tiny, tmp_path):
    lines = []
    weights = pretrain(small, [packed], SPLIT, tmp_path / "before", device="cpu", say=lines.append)
    assert any("cubes 0." in line and "sequences 0." in line for line in lines)
    config, start = begin_from(tiny, weights, tmp_path / "after", lines.append)
    assert "head.weight (file 8x4x2x2x2, network 8x3x2x2x2)" in "\n".join(_started(config, start, lines))
    fit(replace(config, steps=1), packed, SPLIT, tmp_path / "after", device="cpu", say=quiet, start=start)
    assert load_checkpoint(tmp_path / "after" / "checkpoint.pt")["config"]["init"].startswith("checkpoint.pt sha256 ")


def _started(config, start, lines):
    from braintumorseg_training.networks import build

    start(build(config))
    return lines


def test_pretraining_restores_what_the_surroundings_and_the_other_sequences_tell(small, tmp_path):
    # One smooth pattern in all sequences, upside down in T2: a hidden sequence can be told from the others, a hidden cube from what is around.
    study = make_toy_study((40, 40, 40))
    for number in range(3):
        pattern = ndimage.gaussian_filter(np.random.default_rng(number).normal(size=(40, 40, 40)), 4)
        pattern = 100 + 30 * pattern / pattern.std()
        brain = study.volumes["t2"].voxels > 0
        images = {role: study.reference.with_voxels(np.where(brain, 200 - pattern if role == "t2" else pattern, 0)) for role in study.roles}
        pack_case(f"smooth{number}", "made here", Study(images), study.reference.with_voxels(np.zeros((40, 40, 40), np.uint8)),
                  draft_card(size_multiple=4), tmp_path / "packed")
    lines = []
    pretrain(replace(small, steps=150, learning_rate=5e-3, ema=0.9, spatial=0.0), [tmp_path / "packed"], Split((), ()), tmp_path / "run",
             device="cpu", say=lines.append)
    found = dict(zip(*[iter(lines[-1].split("restored")[1].split())] * 2, strict=True))
    assert float(found["sequences"]) > 0.3, lines[-1]
    assert float(found["cubes"]) > 0.2, lines[-1]


@pytest.mark.parametrize("field, value, words", [("cube", 1, "cube 1"), ("hidden_share", 1.0, "something shown"), ("held_out_share", 1.0, "nothing")])
def test_contradictions_are_refused(small, field, value, words):
    with pytest.raises(ModelError, match=words):
        replace(small, **{field: value})


def test_studies_without_labels_are_packed_for_pretraining_and_not_for_fit(packed, tiny, small, tmp_path):
    study = make_toy_study()
    for name, roles in (("two", ("t1", "flair")), ("one", ("t1",))):
        (tmp_path / name).mkdir()
        for role in roles:
            write_nifti(study.volumes[role], tmp_path / name / f"{role}.nii.gz")
    (tmp_path / "none").mkdir()
    studies = [tmp_path / name for name in ("two", "one", "none")]
    refused = pack_unlabelled(studies, tmp_path / "packed", draft_card(size_multiple=4), quiet)
    assert len(refused) == 1
    assert refused[0].startswith("none: ")
    one, two = load_cases(tmp_path / "packed")
    assert [bool(channel.any()) for channel in two.channels] == [True, False, False, True]
    assert [bool(channel.any()) for channel in one.channels] == [True, False, False, False]
    labelled = load_cases(packed, ["case0"])[0]   # the same study, packed with its labels
    assert np.array_equal(one.channels[0], labelled.channels[0])
    with pytest.raises(InputError, match=r"one .* could be packed .*already|None of the 2"):
        pack_unlabelled(studies[:2], tmp_path / "packed", draft_card(size_multiple=4), quiet)
    with pytest.raises(InputError, match="one was packed without labels"):
        fit(tiny, tmp_path / "packed", Split(("one",), ()), tmp_path / "run", device="cpu", say=quiet)
    learnt, _ = choose_volumes([tmp_path / "packed", packed], SPLIT, small, quiet)
    assert {"one", "two"} & {case.name for case in learnt}


def test_from_the_command_line(packed, tmp_path, capsys):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["case0", "case1"], "validation": ["case2", "case3"]}))
    (tmp_path / "config.json").write_text(json.dumps({"channels": [8, 8], "patch": [16, 16, 16], "cube": 4, "bf16": False, "warm_up": 1}))
    common = ["--data", str(packed), "--split", str(tmp_path / "split.json"), "--steps", "1", "--device", "cpu"]
    (tmp_path / "fit.json").write_text(json.dumps({"channels": [8, 8], "patch": [16, 16, 16], "bf16": False, "warm_up": 1}))
    assert main(["pretrain", *common, "--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "before")]) == 0
    assert "not looked at: case2, case3" in capsys.readouterr().out
    assert main(["fit", *common, "--config", str(tmp_path / "fit.json"), "--init", str(tmp_path / "before" / "checkpoint.pt"),
                 "--out", str(tmp_path / "after")]) == 0
    assert "other shape head.weight" in capsys.readouterr().out
    assert main(["fit", *common, "--config", str(tmp_path / "fit.json"), "--init", str(tmp_path / "gone.pt"), "--out", str(tmp_path / "x")]) == 1
    assert "no weights gone.pt" in capsys.readouterr().err
