"""Fixtures of the tests of the Slicer side."""

import sys
import tempfile
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


@pytest.fixture(scope="session")
def opened(started_host):
    """The panel, opened once as in Slicer: PySide6 does not survive many of them in one process."""
    from panel_case import PanelCase

    return PanelCase(started_host)


@pytest.fixture
def case(host, opened, tmp_path, monkeypatch):
    """The panel as it was just opened on an empty scene."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened.fresh()
    yield opened
    opened.logic.close()
    opened.steps.run()
    assert not opened.widget.busy
    assert list(tmp_path.glob("braintumorseg-*")) == [], "a private folder was left behind"
