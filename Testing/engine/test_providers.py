import builtins
import re
import sys
from types import ModuleType

import pytest

from braintumorseg.errors import ModelError, ResourceError
from braintumorseg.hardware import Machine
from braintumorseg.providers import DEVICES, PROVIDERS, candidates
from braintumorseg.runtime import open_session

TABLE = {provider.name: provider for provider in PROVIDERS}


def machine(driver=None, system="Linux", processor="x86_64", **packages):
    return Machine(system, processor, driver_cuda=driver, packages={name.replace("_", "-"): number for name, number in packages.items()})


@pytest.mark.parametrize(("device", "provider", "names"), [
    ("auto", None, ["cuda", "openvino", "onnxruntime"]), ("cpu", None, ["openvino", "onnxruntime"]), ("cuda", None, ["cuda"]),
    ("auto", "tensorrt", ["tensorrt"]), ("cuda", "openvino", ["openvino"])])
def test_the_order_is_the_fastest_first_and_a_named_one_stands_alone(device, provider, names):
    assert [one.name for one in candidates(device, provider)] == names
    assert device in DEVICES


def test_a_provider_that_is_none_is_one_line(toy_model):
    with pytest.raises(ResourceError) as caught:
        open_session(toy_model.weights, "cpu", provider="cpu")
    assert caught.value.what == "--provider cpu was asked for, and there is no such provider."
    assert caught.value.fix == "Choose one of tensorrt, cuda, openvino, onnxruntime."


@pytest.mark.parametrize("device", ["gpu", "cuda:1", "CPU"])
def test_a_device_that_is_none_is_one_line(toy_model, device):
    with pytest.raises(ResourceError) as caught:
        open_session(toy_model.weights, device)
    assert caught.value.what == f"--device {device} was asked for, and there is no device '{device}'."
    assert caught.value.fix == "Choose one of auto, cpu, cuda; CUDA_VISIBLE_DEVICES picks the card."


def test_the_command_line_offers_exactly_this_table(capsys):
    from braintumorseg.cli import main

    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    text = capsys.readouterr().out
    assert "{" + ",".join(TABLE) + "}" in text


@pytest.mark.parametrize(("found", "what", "fix"), [
    (machine((13, 0), onnxruntime="1.32.0", onnxruntime_gpu="1.32.0"), "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu"),
    (machine(onnxruntime="1.32.0", onnxruntime_gpu="1.32.0"), "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu"),
    (machine(None, onnxruntime_gpu="1.32.0"), "has no NVIDIA driver", "pip uninstall -y onnxruntime-gpu, then pip install onnxruntime openvino"),
    (machine((11, 8), onnxruntime_gpu="1.26.0"), "runs CUDA 11.8", "525 or newer"),
    (machine((12, 4), onnxruntime_gpu="1.32.0"), "needs CUDA 13, and NVIDIA's driver runs CUDA 12.4", '"onnxruntime-gpu[cuda,cudnn]>=1.23,<1.27"'),
    (machine((12, 4), onnxruntime="1.32.0"), "onnxruntime-gpu is not installed", '"onnxruntime-gpu[cuda,cudnn]>=1.23,<1.27"'),
    (machine((13, 0), onnxruntime="1.32.0"), "onnxruntime-gpu is not installed", 'pip install "onnxruntime-gpu[cuda,cudnn]>=1.23"'),
])
def test_what_keeps_a_gpu_from_use_is_said_unasked_with_its_command(found, what, fix):
    lack = TABLE["cuda"].lacking(found)
    assert what in lack.what
    assert fix in lack.fix
    assert lack.notable


@pytest.mark.parametrize("name", ["onnxruntime", "ort_build"])   # of no wheel of PyPI's that runs on CUDA, as others' builds are called
def test_an_onnx_runtime_that_was_built_for_cuda_is_taken_whatever_its_package_is_called(monkeypatch, name):
    from braintumorseg import providers

    monkeypatch.setattr(providers, "import_onnxruntime", lambda: FakeOnnxRuntime([]))
    assert TABLE["cuda"].lacking(machine((12, 4), **{name: "1.32.0"})) is None
    assert "no NVIDIA driver" in TABLE["cuda"].lacking(machine(**{name: "1.32.0"})).what


@pytest.mark.parametrize("module", [None, ModuleType("onnxruntime")])   # cannot be imported; an empty folder that was left of it
def test_an_onnx_runtime_that_cannot_be_loaded_was_not_built_for_cuda(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    assert "onnxruntime-gpu is not installed" in TABLE["cuda"].lacking(machine((12, 4), onnxruntime="1.32.0")).what


def test_a_machine_without_a_gpu_is_no_news():
    lack = TABLE["cuda"].lacking(machine(onnxruntime="1.32.0"))
    assert "no NVIDIA driver" in lack.what
    assert 'pip install "onnxruntime-gpu[cuda,cudnn]>=1.23"' in lack.fix
    assert not lack.notable


@pytest.mark.parametrize(("driver", "wheel"), [(None, '>=1.23"'), ((12, 4), '>=1.23,<1.27"'), ((13, 0), '>=1.23"')])
def test_without_a_runtime_the_one_for_the_gpu_is_named_with_its_libraries_and_for_this_driver(driver, wheel):
    assert f'pip install "onnxruntime-gpu[cuda,cudnn]{wheel}' in TABLE["onnxruntime"].lacking(machine(driver)).fix


def test_every_command_works_in_cmd_too_which_knows_neither_single_quotes_nor_semicolons_and_takes_a_bare_sign_for_a_redirection():
    packages = [{}, {"onnxruntime": "1.32.0"}, {"onnxruntime_gpu": "1.32.0"}, {"onnxruntime": "1.32.0", "onnxruntime_gpu": "1.32.0"}]
    machines = [machine(driver, **installed) for driver in (None, (11, 8), (12, 4), (13, 0)) for installed in packages]
    fixes = {lack.fix for one in PROVIDERS for found in machines if (lack := one.lacking(found)) is not None}
    assert sum("pip install" in fix for fix in fixes) > 5
    for fix in fixes:
        commands = fix[fix.index("pip "):] if "pip " in fix else ""
        assert not set("\';") & set(commands)
        assert not set("<>") & set(re.sub('"[^"]*"', "", commands))


def test_tensorrt_needs_its_own_library_besides_what_cuda_needs(monkeypatch):
    from braintumorseg import providers

    ready = machine((13, 0), onnxruntime_gpu="1.32.0")
    monkeypatch.setattr(providers, "has_tensorrt", lambda: False)
    assert "TensorRT" in TABLE["tensorrt"].lacking(ready).what
    assert not TABLE["tensorrt"].lacking(ready).notable
    assert TABLE["cuda"].lacking(ready) is None
    monkeypatch.setattr(providers, "has_tensorrt", lambda: True)
    assert TABLE["tensorrt"].lacking(ready) is None
    assert "no NVIDIA driver" in TABLE["tensorrt"].lacking(machine(onnxruntime="1.32.0")).what


@pytest.mark.parametrize("found", [machine((13, 0), onnxruntime_gpu="1.32.0"), machine((12, 4), onnxruntime_gpu="1.26.0"),
                                   machine((13, 1), onnxruntime_gpu="1.24.1")])
def test_a_wheel_that_fits_the_driver_lacks_nothing(found):
    assert TABLE["cuda"].lacking(found) is None


def test_openvino_is_missed_on_the_processors_it_is_for():
    assert TABLE["openvino"].lacking(machine(openvino="2026.4.1")) is None
    assert TABLE["openvino"].lacking(machine(onnxruntime="1.32.0")).notable
    assert not TABLE["openvino"].lacking(machine((13, 0), onnxruntime_gpu="1.32.0")).notable
    assert not TABLE["openvino"].lacking(machine(system="Darwin", onnxruntime="1.23.0")).notable
    assert "arm64" in TABLE["openvino"].lacking(machine(processor="arm64", system="Darwin", openvino="2026.4.1")).what


class FakeOnnxRuntime:
    """Has CUDA and TensorRT; sessions start on what `starts` names. `fails`: an error of the first provider, for which ONNX Runtime by itself goes
    on with the CPU, and says why on stdout. Its libraries, at `libraries`, cannot be loaded."""

    def __init__(self, starts, fails=None, libraries=()):
        self.starts, self.fails, self.asked, self.preloaded, self.severity = starts, fails, None, False, None

        def preload_dlls(cuda=True):
            self.preloaded = cuda
            for path in libraries:
                print(f"Failed to load {path}: no such file")
            sys.stdout.write("a line of another thread\n" if libraries else "")

        self.preload_dlls = preload_dlls

    def get_available_providers(self):
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def set_default_logger_severity(self, severity):
        self.severity = severity

    class SessionOptions:
        pass

    def InferenceSession(self, path, settings, providers, enable_fallback=1):
        self.asked, self.threads = providers, settings.intra_op_num_threads
        if self.fails and not (enable_fallback and isinstance(self.fails, (ValueError, RuntimeError))):
            raise self.fails
        if self.fails:
            print(f"EP Error {self.fails} when using {providers}")
        return type("Session", (), {"get_providers": lambda _: self.starts})()


@pytest.fixture
def fake(monkeypatch):
    from braintumorseg import backend_onnxruntime

    def make(starts, *others):
        runtime = FakeOnnxRuntime(starts, *others)
        monkeypatch.setattr(backend_onnxruntime, "import_onnxruntime", lambda: runtime)
        return runtime

    return make


def test_cuda_is_opened_with_its_libraries_and_never_with_the_slow_default_search(fake, tmp_path):
    runtime = fake(["CUDAExecutionProvider", "CPUExecutionProvider"])
    backend = TABLE["cuda"].open(tmp_path / "x.onnx", "float32", 3)
    (name, options), last = runtime.asked
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["cudnn_conv_use_max_workspace"] == "1"
    assert options["use_tf32"] == "0"   # the precision is called float32
    assert runtime.preloaded
    assert (backend.provider, backend.precision, runtime.threads) == ("CUDAExecutionProvider", "float32", 3)


def test_a_cuda_session_that_silently_became_a_cpu_one_is_refused(fake, tmp_path):
    fake(["CPUExecutionProvider"])
    with pytest.raises(ResourceError, match="did not start on it"):
        TABLE["cuda"].open(tmp_path / "x.onnx", "float32", 0)


@pytest.mark.parametrize(("error", "kind", "what"), [
    (RuntimeError("cuda_call.cc:129 CudaCall [with T = int] CUDA failure 2: out of memory ; GPU=0 ; hostname=ward7"), ResourceError,
     "GPU memory is full (CUDA failure 2: out of memory)"),
    (RuntimeError("cuda_call.cc:129 CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=ward7"), ResourceError,
     "a session did not start on CUDAExecutionProvider (CUDA failure 100: no CUDA-capable device is detected)"),
    (Exception("INVALID_PROTOBUF : Protobuf parsing failed"), ModelError,
     "x.onnx cannot be opened as a network (INVALID_PROTOBUF : Protobuf parsing failed)."),
])
def test_why_a_gpu_did_not_start_is_said_as_it_was(fake, tmp_path, capfd, error, kind, what):
    fake(["CPUExecutionProvider"], error)
    with pytest.raises(kind) as caught:
        TABLE["cuda"].open(tmp_path / "x.onnx", "float32", 0)
    assert caught.value.what == what
    assert capfd.readouterr().out == ""


def test_onnx_runtime_itself_leaves_a_failed_gpu_to_us(toy_model, monkeypatch, capfd):
    """Its own Python class, where only the call that makes the session fails."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_inference_collection as collection

    make = collection.InferenceSession._create_inference_session

    def full(self, providers, *others):
        self._fallback_providers = ["CPUExecutionProvider"]
        if providers[0] != "CPUExecutionProvider":
            raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")
        return make(self, providers, *others)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(collection.InferenceSession, "_create_inference_session", full)
    with pytest.raises(ResourceError, match="GPU memory is full"):
        TABLE["cuda"].open(toy_model.weights, "float32", 0)
    assert capfd.readouterr().out == ""


def test_libraries_that_cannot_be_loaded_are_named_without_their_paths_and_what_other_threads_say_goes_on(fake, tmp_path, capsys):
    libraries = ["/opt/venv/nvidia/lib/libcublas.so.13", "libcublas.so.13", r"C:\Program Files\nvidia\cudnn64_9.dll"]
    runtime = fake(["CPUExecutionProvider"], None, libraries)
    with pytest.raises(ResourceError) as caught:
        TABLE["cuda"].open(tmp_path / "x.onnx", "float32", 0)
    assert caught.value.what == ("CUDAExecutionProvider was found but a session did not start on it "
                                 "(libcublas.so.13, cudnn64_9.dll could not be loaded)")
    assert caught.value.fix.startswith('pip install "onnxruntime-gpu[cuda,cudnn]')
    assert capsys.readouterr().out == "a line of another thread\n"
    assert runtime.preloaded
    assert runtime.severity == 4   # nor on stderr


def test_onnx_runtimes_own_search_for_the_libraries_prints_nothing(monkeypatch, capfd):
    import onnxruntime

    from braintumorseg.backend_onnxruntime import _preload

    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)   # as of a wheel for GPUs
    missing = _preload(onnxruntime)
    assert capfd.readouterr().out == ""
    assert all("/" not in name and "\\" not in name for name in missing)


@pytest.mark.parametrize(("error", "what", "fix"), [
    (ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"), "No ONNX Runtime is installed.", "Add one of the two"),
    (ImportError("DLL load failed while importing onnxruntime_pybind11_state: A dynamic link library (DLL) initialization routine failed."),
     "ONNX Runtime is installed and its libraries cannot be loaded (DLL load failed while importing", "Visual C++ redistributable"),
    (ImportError("numpy.core.multiarray failed"), "ONNX Runtime cannot be loaded (numpy.core.multiarray failed)", "--force-reinstall some-runtime"),
    (ModuleNotFoundError("No module named 'coloredlogs'", name="coloredlogs"), "ONNX Runtime cannot be loaded (No module named 'coloredlogs')",
     "--force-reinstall some-runtime"),
    (AttributeError("_ARRAY_API not found"), "ONNX Runtime cannot be loaded (_ARRAY_API not found)", "--force-reinstall some-runtime"),
])
def test_a_runtime_that_is_installed_and_cannot_be_loaded_is_not_called_missing(monkeypatch, error, what, fix):
    from braintumorseg import backend_onnxruntime

    missing = getattr(error, "name", None) == "onnxruntime"
    monkeypatch.setattr(backend_onnxruntime, "installed_version", lambda package: None if missing else "1.32.0")
    monkeypatch.setattr(builtins, "__import__", failing_for("onnxruntime", error))
    with pytest.raises(ResourceError) as caught:
        backend_onnxruntime.import_onnxruntime()
    assert caught.value.what.startswith(what)
    assert fix.replace("some-runtime", "onnxruntime-gpu") in caught.value.fix


def test_openvino_whose_libraries_do_not_load_says_what_windows_wants(monkeypatch):
    from braintumorseg.backend_openvino import import_openvino

    monkeypatch.setattr(builtins, "__import__", failing_for("openvino", ImportError("DLL load failed while importing _pyopenvino: not found")))
    with pytest.raises(ResourceError, match=r"OpenVINO is installed and its libraries .*_pyopenvino.*Visual C\+\+ redistributable"):
        import_openvino()


def failing_for(package, error):
    ours = builtins.__import__

    def import_it(name, *others, **named):
        if name == package:
            raise error
        return ours(name, *others, **named)

    return import_it
