import os
from shutil import copytree

import numpy as np
import onnx
import pytest
import torch

from braintumorseg.errors import InputError, ModelError, OutputError
from braintumorseg.model_card import read_card
from braintumorseg.model_zoo import load_model
from braintumorseg.preprocess import prepare
from braintumorseg.runtime import open_session
from braintumorseg_training import export as exporting
from braintumorseg_training.data import Split, load_cases, pack_case
from braintumorseg_training.networks import build
from braintumorseg_training.train import fit, load_checkpoint
from toys import make_toy_study

SPLIT = Split(("case0", "case1"), ())


@pytest.fixture(scope="module")
def run(packed, tmp_path_factory):
    from braintumorseg_training.config import Config

    out = tmp_path_factory.mktemp("run")
    fit(Config(channels=(8, 8), patch=(16, 16, 16), steps=2, bf16=False), packed, SPLIT, out, device="cpu", say=lambda line: None)
    return out


def test_an_exported_network_loads_in_the_engine_and_its_hash_fits(run, packed, tmp_path):
    path = exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1.2.3", say=lambda line: None)
    model = load_model(path)
    assert model.card.version == "1.2.3"
    assert [(one["licence"], one["cases"]) for one in model.card.training_data] == [("CC BY 4.0", 2)]


def test_the_graph_takes_any_size_and_needs_no_resize_or_control_flow(run, packed, tmp_path):
    path = exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None)
    model = onnx.load(path)
    assert {node.op_type for node in model.graph.node} & {"Resize", "If", "Loop", "Scan"} == set()
    assert model.ir_version <= 10
    assert open_session(path, "cpu").run(np.zeros((4, 8, 12, 20), np.float32)).shape == (3, 8, 12, 20)


def test_weights_are_stored_in_half_precision(run, packed, tmp_path):
    model = onnx.load(exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None))
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= 100]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


def test_a_network_that_differs_after_export_is_refused_and_leaves_nothing(run, packed, tmp_path, monkeypatch):
    def wrong(network, example, path):
        with torch.no_grad():
            next(network.parameters()).add_(0)
            other = build(exporting.Config(channels=(8, 8), patch=(16, 16, 16), seed=99))
        exporting_write(other, example, path)

    exporting_write = exporting.write_onnx
    monkeypatch.setattr(exporting, "write_onnx", wrong)
    with pytest.raises(ModelError, match="differ by"):
        exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None)
    assert not any(tmp_path.iterdir())


def test_a_network_of_many_levels_is_checked_on_more_than_one_voxel_of_its_deepest(packed, tmp_path):
    config = exporting.Config(channels=(8,) * 5, patch=(32, 32, 64), steps=1, bf16=False)
    fit(config, packed, SPLIT, tmp_path / "run", device="cpu", say=lambda line: None)
    path = exporting.export(tmp_path / "run", packed, SPLIT, tmp_path / "net", "deep", "1", say=lambda line: None)
    assert "64 x 64 x 64" in read_card(path.with_suffix(".json")).training["parity"]["on"]      # the case has 40 x 44 x 36
    crop = exporting._middle(np.ones((1, 70, 150, 300), np.float16), 64)
    assert crop.shape == (1, 128, 128, 128)
    assert crop.sum() == 70 * 128 * 128


def test_the_card_says_how_many_patches_a_step_has_in_all_processes(run, packed, tmp_path):
    def said(**options):
        path = exporting.export(tmp_path / "run", packed, SPLIT, tmp_path / "net", "tiny", "1", say=lambda line: None, **options)
        return read_card(path.with_suffix(".json")).training.get("patches_a_step")

    copytree(run, tmp_path / "run")
    saved = load_checkpoint(run / "checkpoint.pt")
    torch.save({key: saved[key] for key in ("config", "step", "average")}, tmp_path / "run" / "best.pt")
    assert said() == said(best=True) == 1
    torch.save({**saved, "processes": 2, "config": {**saved["config"], "batch": 3, "accumulate": 4}}, tmp_path / "run" / "checkpoint.pt")
    assert said() == said(best=True) == 24
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"damaged")
    assert said(best=True) is None


def test_a_patient_who_was_trained_on_is_not_held_out(run, packed, tmp_path, monkeypatch):
    monkeypatch.setattr("braintumorseg_training.splits.patient_of", {"case1 again": "case1"}.get)
    with pytest.raises(InputError, match="in training and in test: case1 and case1 again"):
        exporting.export(run, packed, Split(SPLIT.train, (), test=("case1 again",)), tmp_path, "tiny", "1", say=lambda line: None)
    assert not any(tmp_path.iterdir())


def test_a_network_with_norms_is_run_on_as_much_air_as_it_was_trained_and_watched_on(tmp_path):
    study = make_toy_study((52, 44, 36))
    pack_case("case", "other", study, study.reference.with_voxels(np.ones((52, 44, 36), np.uint8)), exporting.draft_card(), tmp_path / "packed")
    split, config = Split(("case",), ()), exporting.Config(channels=(8, 8), patch=(16, 16, 16), steps=1, bf16=False)
    fit(config, tmp_path / "packed", split, tmp_path / "run", device="cpu", say=lambda line: None)
    path = exporting.export(tmp_path / "run", tmp_path / "packed", split, tmp_path / "net", "tiny", "1", say=lambda line: None)
    assert prepare(study, read_card(path.with_suffix(".json"))).channels.shape == load_cases(tmp_path / "packed")[0].channels.shape == (4, 64, 64, 64)


def test_a_network_of_more_levels_than_packing_has_keeps_its_own_multiple(run, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "PACKED_MULTIPLE", 2)
    path = exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: None)
    assert read_card(path.with_suffix(".json")).size_multiple == 4


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no limit of a file's size")
def test_a_full_disk_is_one_line_and_leaves_nothing(run, packed, tmp_path):
    import resource
    import signal

    limits, signals = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"net cannot be written into: File too large") as error:
            exporting.export(run, packed, SPLIT, tmp_path / "net", "tiny", "1", say=lambda line: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, signals)
    assert "\n" not in str(error.value)
    assert not any((tmp_path / "net").iterdir())


def test_what_is_said_is_said_of_a_network_that_is_written(run, packed, tmp_path):
    there = []
    exporting.export(run, packed, SPLIT, tmp_path, "tiny", "1", say=lambda line: there.append(sorted(path.name for path in tmp_path.iterdir())))
    assert there[-1] == ["tiny.json", "tiny.onnx"]
