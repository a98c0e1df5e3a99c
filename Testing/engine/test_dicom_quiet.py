import logging
import threading
import warnings

from braintumorseg.io.dicom_quiet import quiet


def test_who_leaves_first_does_not_let_the_others_speak(recwarn):
    logger = logging.getLogger("pydicom")
    one_is_in, other_is_in, one_has_left = threading.Event(), threading.Event(), threading.Event()
    heard = []

    def one():
        with quiet():
            one_is_in.set()
            other_is_in.wait(10)
        one_has_left.set()

    thread = threading.Thread(target=one)
    thread.start()
    one_is_in.wait(10)
    with quiet():
        other_is_in.set()
        one_has_left.wait(10)
        warnings.warn("born 19500101", UserWarning, stacklevel=1)
        heard.append(logger.disabled)
    thread.join()
    assert [str(warning.message) for warning in recwarn] == []
    assert heard == [True]
    assert not logger.disabled
    warnings.warn("afterwards", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["afterwards"]
