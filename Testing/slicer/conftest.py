"""Fixtures of the tests of the Slicer side."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def started_host():
    for package in ("PySide6.QtWidgets", "slicer_core", "vtk"):  # "slicer" alone could be the folder Testing/slicer
        pytest.importorskip(package, exc_type=ImportError, reason=f"{package} cannot be imported: pip install -e '.[slicer]', and the Debian "
                                                                  "packages that the Makefile names")
    from host import start

    return start()


@pytest.fixture
def host(started_host):
    """The Qt host with an empty scene, whose dialogs a test answers."""
    started_host.dialogs.unexpected.clear()
    started_host.dialogs.shown.clear()
    yield started_host
    started_host.new_scene()
    assert not started_host.dialogs.pending, "an expected dialog did not come"
    assert not started_host.dialogs.unexpected, started_host.dialogs.unexpected
