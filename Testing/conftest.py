"""Fixtures shared by all tests."""

import os
from pathlib import Path

import numpy as np
import pytest

from braintumorseg.labels import REGIONS
from braintumorseg.model_card import Label, ModelCard, write_card
from braintumorseg.model_zoo import Model, sha256_of
from braintumorseg.phantom import Phantom, make_phantom
from braintumorseg.study import ROLES, Study
from toys import make_toy_study

os.environ["ORT_DISABLE_TELEMETRY"] = "1"   # for tests that import onnxruntime themselves

LABELS = (Label(1, "Necrosis", ("6574001", "SCT", "Necrosis"), (216, 191, 216)),
          Label(2, "Edema", ("79654002", "SCT", "Edema"), (140, 224, 228)),
          Label(3, "Enhancing Lesion", ("C113842", "NCIt", "Enhancing Lesion"), (128, 174, 128)))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real cases; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("BRAINTUMORSEG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not (folder / "cases").is_dir():
        pytest.skip(f"real data is absent: {folder}/cases (set BRAINTUMORSEG_DATA)")
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory) -> Model:
    """A network small enough to predict by hand: a voxel is WT where flair > 1 (in z-scores), TC where t1 < -1, ET where t1ce > 1."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight, bias = np.zeros((3, 4, 1, 1, 1), np.float32), np.full(3, -50, np.float32)
    weight[0, ROLES.index("flair")] = weight[2, ROLES.index("t1ce")] = 50
    weight[1, ROLES.index("t1")] = -50
    graph = helper.make_graph(
        [helper.make_node("Conv", ["channels", "weight", "bias"], ["logits"]), helper.make_node("Sigmoid", ["logits"], ["probabilities"])], "toy",
        [helper.make_tensor_value_info("channels", TensorProto.FLOAT, [1, 4, "i", "j", "k"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 3, "i", "j", "k"])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")])
    weights = tmp_path_factory.mktemp("toy") / "toy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), weights)
    card = ModelCard(name="toy", version="1.0", task="a toy", sha256=sha256_of(weights), roles=ROLES, may_be_missing=ROLES, spacing_mm=(1, 1, 1),
                     size_multiple=8, bytes_per_voxel=200, brain_only=True, regions=tuple(REGIONS), labels=LABELS, licence="MIT")
    write_card(card, weights.with_suffix(".json"))
    return Model(card, weights)


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """The whole examination of one made-up patient; some 10 s, so it is shared."""
    return make_phantom(0)


@pytest.fixture
def toy_study() -> Study:
    """A ball of brain, 40 x 44 x 36 voxels of 1 mm LPS, with a bright cube in FLAIR that holds a dark one in T1 that holds a bright one in T1ce."""
    return make_toy_study()


@pytest.fixture(scope="session")
def orthanc_server(tmp_path_factory):
    """A real archive on loopback for the whole session; tests ask for `orthanc`, which empties it first."""
    from orthanc import run_orthanc, why_no_orthanc

    if why_no_orthanc():
        pytest.skip(why_no_orthanc())
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(orthanc_server):
    orthanc_server.empty()
    return orthanc_server
