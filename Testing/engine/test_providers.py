import pytest

from braintumorseg.errors import ResourceError
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


def test_the_command_line_offers_exactly_this_table(capsys):
    from braintumorseg.cli import main

    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    text = capsys.readouterr().out
    assert "{" + ",".join(TABLE) + "}" in text


@pytest.mark.parametrize(("found", "what", "fix"), [
    (machine((13, 0), onnxruntime="1.32.0", onnxruntime_gpu="1.32.0"), "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu"),
    (machine(onnxruntime="1.32.0", onnxruntime_gpu="1.32.0"), "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu"),
    (machine(None, onnxruntime_gpu="1.32.0"), "has no NVIDIA driver", "pip uninstall -y onnxruntime-gpu; pip install 'braintumorseg[cpu]'"),
    (machine((11, 8), onnxruntime_gpu="1.26.0"), "runs CUDA 11.8", "525 or newer"),
    (machine((12, 4), onnxruntime_gpu="1.32.0"), "needs CUDA 13, and NVIDIA's driver runs CUDA 12.4", "'onnxruntime-gpu[cuda,cudnn]>=1.23,<1.27'"),
    (machine((12, 4), onnxruntime="1.32.0"), "onnxruntime-gpu is not installed", "'onnxruntime-gpu[cuda,cudnn]>=1.23,<1.27'"),
    (machine((13, 0), onnxruntime="1.32.0"), "onnxruntime-gpu is not installed", "pip install 'onnxruntime-gpu[cuda,cudnn]>=1.23'"),
])
def test_what_keeps_a_gpu_from_use_is_said_unasked_with_its_command(found, what, fix):
    lack = TABLE["cuda"].lacking(found)
    assert what in lack.what
    assert fix in lack.fix
    assert lack.notable


def test_a_machine_without_a_gpu_is_no_news():
    lack = TABLE["cuda"].lacking(machine(onnxruntime="1.32.0"))
    assert "no NVIDIA driver" in lack.what
    assert not lack.notable


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
    """Has CUDA and TensorRT; sessions start on what `starts` names."""

    def __init__(self, starts):
        self.starts, self.asked, self.preloaded = starts, None, False

    def get_available_providers(self):
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self):
        self.preloaded = True

    class SessionOptions:
        pass

    def InferenceSession(self, path, settings, providers):
        self.asked, self.threads = providers, settings.intra_op_num_threads
        return type("Session", (), {"get_providers": lambda _: self.starts})()


@pytest.fixture
def fake(monkeypatch):
    from braintumorseg import backend_onnxruntime

    def make(starts):
        runtime = FakeOnnxRuntime(starts)
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
    assert runtime.preloaded
    assert (backend.provider, backend.precision, runtime.threads) == ("CUDAExecutionProvider", "float32", 3)


def test_a_cuda_session_that_silently_became_a_cpu_one_is_refused(fake, tmp_path):
    from braintumorseg.errors import ResourceError

    fake(["CPUExecutionProvider"])
    with pytest.raises(ResourceError, match="did not start on it"):
        TABLE["cuda"].open(tmp_path / "x.onnx", "float32", 0)
