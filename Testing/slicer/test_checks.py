"""Every bad choice has its message by its field, with the fix, before anything is started."""

import pytest


@pytest.fixture
def checks(host):
    from BrainTumorSegLib import checks

    return checks


def facts(node_id="1", **other):
    from BrainTumorSegLib.mrml_volumes import VolumeFacts

    return VolumeFacts(**{"node_id": node_id, "kind": "scalar", "size": (20, 20, 20), "components": 1, **other})


def test_good_volumes_have_no_problem(checks):
    assert checks.find_problems({"t1": facts("1"), "flair": facts("2")}) == {}


def test_no_volume_at_all(checks):
    (problem,) = checks.find_problems({}).values()
    assert problem.blocking
    assert "Choose at least one" in problem.text


@pytest.mark.parametrize(("what", "says", "fix"), [
    ({"kind": "labelmap"}, "label map", "Choose the image"),
    ({"size": (0, 0, 0), "components": 0}, "no voxels", "Load it again"),
    ({"components": 3, "kind": "vtkMRMLVectorVolumeNode"}, "3 values a voxel", "Vector to Scalar Volume"),
    ({"components": 40, "kind": "vtkMRMLMultiVolumeNode"}, "4-D", "Choose a 3-D"),
    ({"kind": "vtkMRMLDiffusionTensorVolumeNode"}, "not a plain MR volume", "Choose a 3-D"),
    ({"time_series": True}, "4-D series", "Clone"),
    ({"size": (256, 256, 1)}, "single slice", "covers the brain"),
    ({"sheared": True}, "shears", "Harden"),
])
def test_a_volume_that_cannot_be_segmented(checks, what, says, fix):
    problems = checks.find_problems({"t2": facts(**what)})
    assert set(problems) == {"t2"}
    assert problems["t2"].blocking
    assert says in problems["t2"].text
    assert fix in problems["t2"].text


def test_the_same_volume_twice_is_said_at_both(checks):
    problems = checks.find_problems({"t1": facts("1"), "t1ce": facts("1"), "flair": facts("2")})
    assert set(problems) == {"t1", "t1ce"}
    assert "T1ce" in problems["t1"].text
    assert all(problem.blocking for problem in problems.values())


def test_another_patient_blocks_and_his_identity_is_not_shown(checks):
    problems = checks.find_problems({"t1": facts("1", patient="DOE-77"), "flair": facts("2", patient="ROE-78")})
    assert set(problems) == {"flair"}
    assert problems["flair"].blocking
    assert "another patient than T1" in problems["flair"].text
    assert "DOE" not in problems["flair"].text
    assert "ROE" not in problems["flair"].text


def test_another_examination_is_a_remark(checks):
    problems = checks.find_problems({"t1": facts("1", patient="a", study="x"), "flair": facts("2", patient="a", study="y")})
    assert not problems["flair"].blocking
    assert "another examination" in problems["flair"].text


def test_a_volume_from_a_file_is_compared_with_nobody(checks):
    assert checks.find_problems({"t1": facts("1", patient="a"), "flair": facts("2")}) == {}


@pytest.mark.parametrize(("kind", "what", "field"), [
    ("ModelError", "The weights of glioma are not those its card describes", "model"),
    ("ResourceError", "No ONNX Runtime is installed.", "device"),
    ("OutOfMemory", "A pass does not fit into memory.", "device"),
    ("BadImage", "t1ce is constant: every voxel is 3.", "t1ce"),
    ("BadImage", "The image is empty.", "inputs"),
    ("BadImage", "flair holds 3 voxels that are NaN or infinite", "flair"),
    ("GridMismatch", "They do not share one grid", "inputs"),
    ("EngineDamaged", "The engine's packages are incomplete.", "engine"),
    ("EngineKilled", "The engine was stopped from outside", "run"),
    ("DiskFull", "The disk is full.", "run"),
    ("NoPermission", "may not be written", "run"),
])
def test_an_error_of_the_engine_goes_to_its_field(checks, kind, what, field):
    assert checks.field_of_error(kind, what) == field
