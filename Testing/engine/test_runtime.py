import sys
import threading

import numpy as np
import pytest

from braintumorseg.errors import Cancelled, ModelError, ResourceError
from braintumorseg.runtime import open_session


def test_a_session_answers_with_probabilities_and_names_its_provider(toy_model):
    session = open_session(toy_model.weights, "cpu")
    channels = np.zeros((4, 8, 8, 8), np.float32)
    channels[3, 2, 3, 4] = 5
    found = session.run(channels)
    assert session.provider == "CPUExecutionProvider"
    assert found.shape == (3, 8, 8, 8)
    assert np.argwhere(found[0] > 0.5).tolist() == [[2, 3, 4]]


def test_a_file_that_is_no_network_is_refused_in_one_line(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"this is no network")
    with pytest.raises(ModelError, match=r"bad\.onnx cannot be opened"):
        open_session(path, "cpu")


def test_cuda_that_is_not_there_is_an_error_when_asked_for_and_none_with_auto(toy_model):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(ResourceError, match=r"--device cuda.*braintumorseg\[gpu\]"):
        open_session(toy_model.weights, "cuda")
    assert open_session(toy_model.weights, "auto").provider == "CPUExecutionProvider"


def test_without_a_runtime_both_ways_to_get_one_are_named(toy_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ResourceError, match=r"braintumorseg\[cpu\].*braintumorseg\[gpu\]"):
        open_session(toy_model.weights)


def test_a_cancel_that_was_given_before_the_pass_stops_it(toy_model):
    cancel = threading.Event()
    cancel.set()

    class Slow:
        """Waits until it is told to stop, as a long pass would."""

        def get_inputs(self):
            return [type("Input", (), {"name": "channels"})]

        def run(self, outputs, feed, options):
            for _ in range(200):
                if options.terminate:
                    raise RuntimeError("Exiting due to terminate flag")
                threading.Event().wait(0.01)
            raise AssertionError("was not told to stop")

    from braintumorseg.runtime import Session

    with pytest.raises(Cancelled):
        Session(Slow(), "fake").run(np.zeros((4, 8, 8, 8), np.float32), cancel)


def test_an_input_that_the_network_cannot_read_is_a_model_error(toy_model):
    with pytest.raises(ModelError, match="could not be run"):
        open_session(toy_model.weights, "cpu").run(np.zeros((3, 8, 8, 8), np.float32))
