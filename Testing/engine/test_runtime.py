import multiprocessing
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg import runtime
from braintumorseg.errors import Cancelled, ModelError, OutOfMemory, ResourceError
from braintumorseg.hardware import Machine, this_machine
from braintumorseg.model_card import Variant
from braintumorseg.providers import Lack, Provider
from braintumorseg.runtime import Session, open_session

CHANNELS = np.zeros((4, 8, 8, 8), np.float32)
NEEDS_OPENVINO = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")   # not imported: by itself that is reported
OPENVINO = pytest.param("openvino", marks=NEEDS_OPENVINO)
PLAIN = Machine("Linux", "x86_64", packages={"onnxruntime": "1.32.0"})


class Backend:
    """Answers with zeros, or fails as it was told to, once for each error."""

    def __init__(self, provider="fake", precision="float32", errors=()):
        self.provider, self.precision, self.errors = provider, precision, list(errors)

    def run(self, channels, cancel=None):
        if self.errors:
            raise self.errors.pop(0)
        return np.zeros((3, *channels.shape[1:]), np.float32)


def nothing():
    """There is no runtime to load."""


def provider(name, errors=(), lack=None, fails=None, opened=None):
    def open_it(weights, precision, threads):
        if opened is not None:
            opened.append((weights.name, precision, threads))
        if fails:
            raise fails
        return Backend(name, precision, errors)

    return Provider(name, "cpu", lambda machine: lack, nothing, open_it)


def session(*providers, variants=(), machine=PLAIN, weights=Path("toy.onnx"), threads=0):
    return Session(weights, variants, providers, threads, machine)


@pytest.mark.parametrize("name", [OPENVINO, "onnxruntime"])
def test_a_session_answers_with_probabilities_and_names_its_provider(toy_model, name):
    opened = open_session(toy_model.weights, "cpu", provider=name)
    channels = CHANNELS.copy()
    channels[3, 2, 3, 4] = 5
    found = opened.run(channels)
    assert (opened.provider, opened.precision, opened.note) == ({"openvino": "OpenVINO", "onnxruntime": "CPUExecutionProvider"}[name], "float32", "")
    assert found.shape == (3, 8, 8, 8)
    assert np.argwhere(found[0] > 0.5).tolist() == [[2, 3, 4]]
    other = opened.run(np.zeros((4, 16, 8, 8), np.float32))   # another size, and the first answer stays what it was
    assert other.shape == (3, 16, 8, 8)
    assert np.argwhere(found[0] > 0.5).tolist() == [[2, 3, 4]]


@pytest.mark.parametrize("name", [OPENVINO, "onnxruntime", None])
def test_a_file_that_is_no_network_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"this is no network")
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be opened"):
        open_session(path, "cpu", provider=name)


@pytest.mark.parametrize("name", [OPENVINO, "onnxruntime", None])
def test_an_input_that_the_network_cannot_read_is_a_model_error(toy_model, name):
    with pytest.raises(ModelError, match="could not be run"):
        open_session(toy_model.weights, "cpu", provider=name).run(np.zeros((3, 8, 8, 8), np.float32))


def test_cuda_on_a_machine_without_is_an_error_when_asked_for_and_none_with_auto(toy_model):
    with pytest.raises(ResourceError, match=r"--device cuda was asked for, and this machine has no NVIDIA driver\. .*onnxruntime-gpu\[cuda,cudnn\]"):
        open_session(toy_model.weights, "cuda", machine=PLAIN)
    assert open_session(toy_model.weights, "auto", machine=PLAIN).provider == "CPUExecutionProvider"


def test_without_a_runtime_both_ways_to_get_one_are_named(toy_model):
    with pytest.raises(ResourceError, match=r"^No ONNX Runtime.*pip install onnxruntime,.*onnxruntime-gpu\[cuda,cudnn\]"):
        open_session(toy_model.weights, machine=Machine("Linux", "x86_64"))


@NEEDS_OPENVINO
def test_openvino_comes_before_onnx_runtime_where_it_is_installed(toy_model):
    both = Machine("Linux", "x86_64", packages={"onnxruntime": "1.32.0", "openvino": "2026.4.1"})
    assert open_session(toy_model.weights, machine=both).provider == "OpenVINO"
    arm = Machine("Darwin", "arm64", packages=both.packages)
    assert open_session(toy_model.weights, machine=arm).provider == "CPUExecutionProvider"


def test_a_provider_that_does_not_start_is_passed_over_and_the_reason_is_kept():
    found = session(provider("one", fails=ResourceError("a library is missing.")), provider("two"))
    assert found.provider == "two"
    assert found.note == "one did not start: a library is missing"


@pytest.mark.parametrize(("error", "why"), [(RuntimeError("Exception from core.cpp:93:\n  Check failed"), "Exception from core.cpp:93: Check failed"),
                                            (OSError(126, "The module was not found"), "The module was not found"), (KeyError(), "KeyError")])
def test_whatever_a_providers_start_raises_the_next_is_tried_and_the_reason_is_kept(error, why):
    found = session(provider("one", fails=error), provider("two"))
    assert found.provider == "two"
    assert found.note.startswith("one did not start: the runtime failed (") and why in found.note
    with pytest.raises(ResourceError, match="the runtime failed"):
        session(provider("one", fails=error))


@NEEDS_OPENVINO
def test_an_openvino_that_loads_and_does_not_start_gives_way_to_onnx_runtime(toy_model, monkeypatch):
    import openvino

    def fails():
        raise RuntimeError("Exception from src/inference/src/cpp/core.cpp:93")

    monkeypatch.setattr(openvino, "Core", fails)
    monkeypatch.setattr(runtime, "_sessions", OrderedDict())
    both = Machine("Windows", "AMD64", packages={"onnxruntime": "1.32.0", "openvino": "2026.4.1"})
    found = open_session(toy_model.weights, "cpu", machine=both)
    assert (found.provider, list(found.broken)) == ("CPUExecutionProvider", ["openvino"])
    assert "core.cpp:93" in found.note
    with pytest.raises(ResourceError, match="--provider openvino was asked for, and the runtime failed"):
        open_session(toy_model.weights, "cpu", provider="openvino", machine=both)


def test_what_a_user_would_want_to_hear_is_noted_and_the_rest_is_not():
    found = session(provider("one", lack=Lack("the driver is too old", "update it", notable=True)), provider("two", lack=Lack("not here", "")),
                    provider("three"))
    assert found.provider == "three"
    assert found.note == "the driver is too old (update it)"


def test_a_provider_that_fails_in_a_pass_gives_way_to_the_next_and_says_so():
    found = session(provider("one", errors=[ModelError("cuDNN failed.")]), provider("two"))
    assert found.run(CHANNELS).shape == (3, 8, 8, 8)
    assert (found.provider, found.note) == ("two", "one failed: cuDNN failed")


def test_neither_a_cancel_nor_a_lack_of_memory_changes_the_provider():
    found = session(provider("one", errors=[Cancelled("x"), OutOfMemory("y")]), provider("two"))
    for kind in (Cancelled, OutOfMemory):
        with pytest.raises(kind):
            found.run(CHANNELS)
    assert found.provider == "one"


def test_the_last_provider_has_nothing_to_fall_back_to():
    found = session(provider("one", errors=[ModelError("broken")]), provider("two", lack=Lack("not here", "")))
    with pytest.raises(ModelError, match="broken"):
        found.run(CHANNELS)
    assert (found.provider, found.note) == ("one", "")


def test_two_studies_that_fail_on_one_provider_together_skip_no_provider_between_them():
    both_in = threading.Barrier(2, timeout=10)

    class FailsTogether(Backend):
        def run(self, channels, cancel=None):
            both_in.wait()
            raise ModelError("cuDNN failed.")

    first = Provider("one", "cpu", lambda machine: None, nothing, lambda *_: FailsTogether("one"))
    found = session(first, provider("two"), provider("three"))
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(found.run, CHANNELS) for _ in range(2)]
        assert [answer.result(20).shape for answer in answers] == [(3, 8, 8, 8)] * 2
    assert (found.provider, found.note) == ("two", "one failed: cuDNN failed")


@NEEDS_OPENVINO
def test_a_cancel_ends_the_wait_for_another_study_on_openvino(toy_model):
    from braintumorseg.backend_openvino import OpenVinoBackend

    backend, cancel = OpenVinoBackend(toy_model.weights), threading.Event()
    cancel.set()
    with backend._lock, pytest.raises(Cancelled):   # held, as by a pass of another study
        backend.run(CHANNELS, cancel)
    assert backend.run(CHANNELS).shape == (3, 8, 8, 8)


def test_the_variant_that_fits_is_opened(tmp_path, toy_model):
    small = Variant("toy.onnx", "a" * 64, "bfloat16", "two", needs=("amx_bf16",))
    opened = []
    found = session(provider("two", opened=opened), variants=(small,), machine=Machine("Linux", "x86_64", frozenset({"amx_bf16"})))
    assert (found.precision, opened) == ("bfloat16", [("toy.onnx", "bfloat16", 0)])
    assert session(provider("two"), variants=(small,)).precision == "float32"


@pytest.mark.parametrize(("asked", "taken", "note"), [
    (0, 0, ""), (3, 3, ""), (4, 4, ""), (100_000, 4, "the 100000 threads asked for were cut to 4, the number of cores")])
def test_whatever_runs_the_network_gets_no_more_threads_than_there_are_cores(monkeypatch, asked, taken, note):
    monkeypatch.setattr(runtime, "granted_cores", lambda: 4)
    opened = []
    found = session(provider("one", fails=ResourceError("x"), opened=opened), provider("two", opened=opened), threads=asked)
    assert [threads for _, _, threads in opened] == [taken, taken]
    assert found.note == "; ".join(filter(None, [note, "one did not start: x"]))


@pytest.mark.parametrize("threads", [-1, 1.5])
def test_a_number_of_threads_that_is_none_is_refused_and_costs_no_provider(toy_model, threads):
    with pytest.raises(ResourceError, match=rf"{threads} threads were asked for.*0 for all cores"):
        open_session(toy_model.weights, "cpu", threads)


def test_a_network_is_opened_once_in_a_process_and_again_when_its_file_changes(toy_model, tmp_path):
    path = tmp_path / "toy.onnx"
    path.write_bytes(toy_model.weights.read_bytes())
    first = open_session(path, "cpu", machine=PLAIN)
    assert open_session(path, "cpu", machine=PLAIN) is first
    assert open_session(path, "cpu", threads=1, machine=PLAIN) is not first
    path.write_bytes(toy_model.weights.read_bytes() + b"")
    path.touch()
    assert open_session(path, "cpu", machine=PLAIN) is not first


def test_open_networks_are_bounded(toy_model):
    for threads in range(1, 8):
        open_session(toy_model.weights, "cpu", threads=threads, machine=PLAIN)
    assert len(runtime._sessions) == runtime._KEPT


def test_a_session_that_fell_back_is_not_given_to_the_next_study(toy_model, monkeypatch):
    monkeypatch.setattr(runtime, "candidates", lambda device, name: (provider("one", errors=[ModelError("once")]), provider("two")))
    first = open_session(toy_model.weights, machine=PLAIN)
    first.run(CHANNELS)
    assert first.provider == "two"
    assert open_session(toy_model.weights, machine=PLAIN).provider == "one"


def test_a_provider_that_did_not_start_is_tried_again_after_a_minute(toy_model, monkeypatch):
    now, tries, full = [1000.0], [], [True]
    monkeypatch.setattr(runtime, "_sessions", OrderedDict())

    def busy(weights, precision, threads):
        tries.append(now[0])
        if full[0]:
            raise ResourceError("GPU memory is full")
        return Backend("one")

    monkeypatch.setattr(runtime, "candidates", lambda device, name: (Provider("one", "cuda", lambda machine: None, nothing, busy), provider("two")))
    monkeypatch.setattr(runtime, "time", SimpleNamespace(monotonic=lambda: now[0]))
    first = open_session(toy_model.weights, machine=PLAIN)
    assert (first.provider, list(first.broken)) == ("two", ["one"])
    now[0] += 30
    assert open_session(toy_model.weights, machine=PLAIN) is first
    now[0] += 31
    assert open_session(toy_model.weights, machine=PLAIN).provider == "two"
    full[0] = False
    now[0] += 61
    assert open_session(toy_model.weights, machine=PLAIN).provider == "two"
    now[0] += 60
    last = open_session(toy_model.weights, machine=PLAIN)
    assert (last.provider, last.note, tries) == ("one", "", [1000.0, 1061.0, 1182.0])
    now[0] += 1000
    assert open_session(toy_model.weights, machine=PLAIN) is last


def test_what_is_not_there_at_all_is_not_tried_again(toy_model, monkeypatch):
    now, none = [1000.0], Lack("no driver", "", notable=True)
    monkeypatch.setattr(runtime, "_sessions", OrderedDict())
    monkeypatch.setattr(runtime, "candidates", lambda device, name: (provider("one", lack=none), provider("two")))
    monkeypatch.setattr(runtime, "time", SimpleNamespace(monotonic=lambda: now[0]))
    first = open_session(toy_model.weights, machine=PLAIN)
    now[0] += 1000
    assert open_session(toy_model.weights, machine=PLAIN) is first


FORKED = """
import multiprocessing, os, signal, sys
from pathlib import Path
import numpy as np
from braintumorseg.errors import ResourceError
from braintumorseg.hardware import Machine
from braintumorseg.runtime import open_session

weights, channels = Path(sys.argv[1]), np.ones((4, 8, 8, 8), np.float32)
both = Machine("Linux", "x86_64", packages={"onnxruntime": "1.32.0", "openvino": "2026.4.1"})
session, named = open_session(weights, machine=both), open_session(weights, "cpu", provider="openvino")
truth = session.run(channels)
assert session.provider == "OpenVINO"

def child(pipe):
    signal.alarm(60)   # ends even what hangs
    found = session.run(channels)   # the parent's
    again = open_session(weights, machine=both)
    assert np.allclose(found, truth, atol=1e-5) and np.allclose(again.run(channels), truth, atol=1e-5)
    for go in (lambda: named.run(channels), lambda: open_session(weights, "cpu", threads=1, provider="openvino")):
        try:
            go()
        except ResourceError as error:
            assert "forked" in error.what and "'spawn'" in error.fix
        else:
            raise SystemExit("not refused")
    pipe.send((session.provider, session.note, again.provider, again.note))

ours, theirs = multiprocessing.get_context("fork").Pipe()
process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
process.start()
print(ours.recv() if ours.poll(60) else "nothing came")
process.join(60)
assert process.exitcode == 0, process.exitcode
if os.fork() == 0:
    signal.alarm(60)
    sys.exit()   # as a child does that never heard of us; it must not hang either
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert np.array_equal(session.run(channels), truth) and session.provider == "OpenVINO"   # and here all goes on
"""


@NEEDS_OPENVINO
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_goes_on_without_openvino_and_does_not_hang(toy_model):
    done = subprocess.run([sys.executable, "-c", FORKED, str(toy_model.weights)], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    why = "OpenVINO was in use before this process was forked, and would hang in it"
    assert done.stdout.strip() == str(("CPUExecutionProvider", f"OpenVINO failed: {why}", "CPUExecutionProvider", f"openvino did not start: {why}"))


@NEEDS_OPENVINO
def test_openvino_compiles_the_sizes_of_a_studys_four_sequences_once(toy_model):
    from braintumorseg.backend_openvino import OpenVinoBackend

    backend = OpenVinoBackend(toy_model.weights)
    shapes = [(8, 8, side) for side in (8, 16, 24, 32)]
    for _ in range(2):   # two studies
        graphs = [backend._compile((1, 4, *shape)) for shape in shapes]
    assert all(backend._compile((1, 4, *shape)) is graph for shape, graph in zip(shapes, graphs, strict=True))


@pytest.mark.parametrize("name", [OPENVINO, "onnxruntime"])
def test_a_cancel_stops_within_a_pass(name):
    """The default network on a volume that takes it seconds, told to stop a moment after it began."""
    from braintumorseg.model_zoo import load_model

    opened = open_session(load_model().weights, "cpu", threads=1, provider=name)
    cancel = threading.Event()
    timer = threading.Timer(0.4, cancel.set)
    timer.start()
    with pytest.raises(Cancelled):
        opened.run(np.zeros((4, 192, 224, 192), np.float32), cancel)
    assert np.isfinite(opened.run(np.zeros((4, 32, 32, 32), np.float32))).all()   # and the session still works


@pytest.mark.parametrize(("error", "kind"), [
    (RuntimeError("bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 8"), OutOfMemory),
    (RuntimeError("AllocateRawInternal Available memory of 16 is smaller than requested bytes of 32"), OutOfMemory),
    (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), OutOfMemory),
    (RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"), OutOfMemory),
    (RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), OutOfMemory),
    (RuntimeError("std::bad_alloc"), OutOfMemory),
    (RuntimeError("bad allocation"), OutOfMemory),
    (RuntimeError("cpu_memory.cpp:257: Failed to allocate 7663872811008 bytes of memory"), OutOfMemory),
    (MemoryError(), OutOfMemory),
    (RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=ward7"), ModelError),
    (RuntimeError("could not create a memory descriptor"), ModelError),
    (RuntimeError("cuDNN error 3"), ModelError),
])
@pytest.mark.parametrize("name", [OPENVINO, "onnxruntime"])
def test_memory_that_does_not_suffice_is_told_apart_from_other_failures(toy_model, monkeypatch, name, error, kind):
    from braintumorseg.backend_onnxruntime import OnnxRuntimeBackend
    from braintumorseg.backend_openvino import OpenVinoBackend

    def fail(*_):
        raise error

    monkeypatch.setattr(OnnxRuntimeBackend, "_bound", fail)
    monkeypatch.setattr(OpenVinoBackend, "_infer", fail)
    with pytest.raises(kind) as caught:
        open_session(toy_model.weights, "cpu", provider=name).run(CHANNELS)
    assert "ward7" not in str(caught.value)


def test_a_provider_that_onnx_runtime_would_silently_leave_out_is_refused(toy_model):
    from braintumorseg.backend_onnxruntime import OnnxRuntimeBackend

    with pytest.raises(ResourceError, match="has no CUDAExecutionProvider"):
        OnnxRuntimeBackend(toy_model.weights, "CUDAExecutionProvider")


def test_this_machine_can_run_the_default_network():
    machine = this_machine()
    assert {"onnxruntime", "onnxruntime-gpu", "openvino"} & machine.packages.keys()
