import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg import doctor
from braintumorseg.doctor import examine, format_findings
from braintumorseg.errors import ModelError, ResourceError
from braintumorseg.hardware import Machine
from braintumorseg.model_card import Variant
from braintumorseg.model_zoo import Model, Unreadable
from braintumorseg.providers import PROVIDERS, Lack
from braintumorseg.runtime import Session

GOOD = Machine("Linux", "x86_64", frozenset({"avx2", "amx_bf16"}), None, {"onnxruntime": "1.32.0", "openvino": "2026.4.1"})


class FakeSession:
    provider, precision, weights, note, reasons = "OpenVINO", "bfloat16", Path("glioma.onnx"), "", ()
    broken = {}   # noqa: RUF012

    def run(self, channels):
        return np.zeros((3, *channels.shape[1:]), np.float32)


def look(machine=GOOD, gpus=list, open_it=lambda *_, **__: FakeSession(), models=list, unreadable=list, load=lambda provider: None):
    return examine(machine, gpus, open_it, models, unreadable, load)


def test_a_machine_that_has_what_it_needs_is_well():
    found = look()
    assert found["problems"] == []
    text = format_findings(found)
    assert "All is well." in text
    assert "glioma really ran on OpenVINO in bfloat16 (glioma.onnx)" in text
    assert "avx2, amx_bf16" in text
    assert "s for the network of a usual study" in text
    assert [one["name"] for one in found["providers"] if one["here"]] == ["openvino", "onnxruntime"]


@pytest.mark.parametrize(("machine", "what", "fix"), [
    (replace(GOOD, packages={**GOOD.packages, "onnxruntime-gpu": "1.32.0"}), "overwrite each other", "pip uninstall -y onnxruntime onnxruntime-gpu"),
    (replace(GOOD, packages={"onnxruntime-gpu": "1.32.0", "openvino": "2026.4.1"}), "has no NVIDIA driver", "pip install onnxruntime openvino"),
    (replace(GOOD, packages={"onnxruntime-gpu": "1.32.0"}, driver_cuda=(12, 4)), "needs CUDA 13", "<1.27"),
    (replace(GOOD, packages={"onnxruntime": "1.32.0"}), "The package openvino is not installed", "pip install openvino")])
def test_each_thing_that_is_missing_comes_once_with_its_command(machine, what, fix):
    problems = look(machine)["problems"]
    (problem,) = [one for one in problems if what in one["what"]]
    assert fix in problem["fix"]
    assert len(problems) == len({one["what"] for one in problems})
    assert "All is well" not in format_findings(look(machine))


def test_gpus_and_their_driver_are_shown():
    found = look(replace(GOOD, driver_cuda=(13, 0)), lambda: [{"name": "NVIDIA H200", "memory_gb": 140.4, "driver": "580.82"}])
    assert "NVIDIA H200 with 140.4 GB, driver 580.82; the driver runs CUDA 13.0" in format_findings(found)


def test_a_variant_whose_file_is_missing_is_named_with_the_network(toy_model):
    card = replace(toy_model.card, variants=(Variant("toy.int8.onnx", "b" * 64, "int8", "openvino"),))
    (problem,) = look(models=lambda: [Model(card, toy_model.weights)])["problems"]
    assert problem["what"] == "Of toy, the int8 variant toy.int8.onnx is missing."
    assert problem["fix"] == "Get the network again from its maker."


def test_a_card_that_cannot_be_read_is_a_problem_with_its_way_out():
    why = ModelError("The model card notes.json does not fit this version.", "Its fields are x.")
    found = look(unreadable=lambda: [Unreadable(Path("notes.json"), why)])
    assert found["problems"] == [{"what": "The model card notes.json does not fit this version.",
                                  "fix": "Get the network again from its maker, or remove it: braintumorseg models remove notes."}]
    assert found["session"]["model"] == "glioma"


def test_a_stray_card_does_not_stop_the_examination(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINTUMORSEG_MODELS", str(tmp_path))
    (tmp_path / "notes.json").write_text("{}")
    found = examine(GOOD, list, lambda *_, **__: FakeSession(), load=lambda provider: None)
    (problem,) = found["problems"]
    assert "models remove notes" in problem["fix"]
    assert found["session"]["model"] == "glioma"


def test_a_provider_that_failed_is_a_problem_and_is_not_said_to_run_here():
    class FellBack(FakeSession):
        reasons = ("cuda did not start: a library is missing", "the int8 variant is damaged")
        broken = {"cuda": Lack(reasons[0], "pip install it")}   # noqa: RUF012

    machine = replace(GOOD, packages={"onnxruntime-gpu": "1.32.0", "openvino": "2026.4.1"}, driver_cuda=(13, 0))
    found = look(machine, open_it=lambda *_, **__: FellBack())
    assert [one["what"] for one in found["problems"]] == ["Cuda did not start: a library is missing.", "The int8 variant is damaged."]
    assert found["problems"][0]["fix"] == "pip install it."
    (cuda,) = [one for one in found["providers"] if one["name"] == "cuda"]
    assert cuda == {"name": "cuda", "here": False, "why_not": "cuda did not start: a library is missing", "fix": "pip install it"}
    assert "cuda         can run here" not in format_findings(found)
    assert "cuda         can run here" in format_findings(look(machine))


def test_a_runtime_that_is_installed_and_cannot_be_imported_is_a_problem_though_another_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)   # its import fails
    found = look(load=lambda provider: provider.load() if provider.name == "onnxruntime" else None)
    (problem,) = found["problems"]
    assert problem["what"].startswith("ONNX Runtime cannot be loaded (")
    assert problem["fix"].startswith("Install it again: pip install --force-reinstall onnxruntime")
    assert [one["name"] for one in found["providers"] if one["here"]] == ["openvino"]
    assert "All is well" not in format_findings(found)


def test_a_runtime_that_can_neither_be_imported_nor_start_is_told_of_once():
    lost = ResourceError("OpenVINO cannot be loaded (no libtbb.so.12).", "Install it again: pip install --force-reinstall openvino.")

    class WithoutIt(FakeSession):
        provider, reasons = "CPUExecutionProvider", ("openvino did not start: OpenVINO cannot be loaded (no libtbb.so.12)",)
        broken = {"openvino": Lack(reasons[0], "Install it again: pip install --force-reinstall openvino")}   # noqa: RUF012

    def load(provider):
        if provider.name == "openvino":
            raise lost

    assert look(open_it=lambda *_, **__: WithoutIt(), load=load)["problems"] == [
        {"what": lost.what, "fix": lost.fix}]

    def none(*_, **__):
        raise lost

    assert look(open_it=none, load=load)["problems"] == [{"what": lost.what, "fix": lost.fix}]


def test_a_variant_that_is_damaged_is_told_of_once_with_one_remedy(toy_model, tmp_path):
    weights = tmp_path / "toy.onnx"
    weights.write_bytes(toy_model.weights.read_bytes())
    weights.with_name("toy.int8.onnx").write_bytes(weights.read_bytes()[:-9])
    variant = Variant("toy.int8.onnx", "b" * 64, "int8", "onnxruntime")
    model = Model(replace(toy_model.card, variants=(variant,)), weights)
    plain = next(one for one in PROVIDERS if one.name == "onnxruntime")
    session = Session(weights, (variant,), [plain], 0, GOOD)
    session.run = FakeSession().run   # the default network's input is not the toy's
    assert "run in float32 instead" in session.note
    (problem,) = look(open_it=lambda *_, **__: session, models=lambda: [model])["problems"]
    assert problem == {"what": "Of toy, the int8 variant toy.int8.onnx is not the file that the card describes.",
                       "fix": "Get the network again from its maker."}


@pytest.mark.parametrize(("cores", "memory", "lines"), [
    (8, 64e9, ["Processor  8 cores; ", "Memory     64.0 GB, 3.0 GB free"]),
    (16, 64e9, ["Processor  8 cores; "]),   # two of a core's threads each
    (1, 4e9, ["Processor  8 cores, 1 granted; ", "Memory     64.0 GB, 4.0 GB granted, 3.0 GB free"])])
def test_what_a_container_or_batch_job_leaves_of_the_machine_is_shown_where_it_is_less(monkeypatch, cores, memory, lines):
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=64e9))
    monkeypatch.setattr(doctor, "granted_cores", lambda: cores)
    monkeypatch.setattr(doctor, "granted_bytes", lambda: memory)
    monkeypatch.setattr(doctor, "free_bytes", lambda: 3e9)
    found = look()
    assert (found["cores_granted"], found["memory_granted_gb"]) == (cores, memory / 1e9)
    for line in lines:
        assert line in format_findings(found)


def test_without_any_runtime_it_says_so_and_does_not_fall_over():
    def none(*_, **__):
        raise ResourceError("No ONNX Runtime is installed.", "pip install onnxruntime.")

    found = look(replace(GOOD, packages={}), open_it=none)
    assert found["session"] is None
    assert "none could be run" in format_findings(found)
    assert any(one["what"] == "No ONNX Runtime is installed." for one in found["problems"])
