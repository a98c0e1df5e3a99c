"""A Qt host that gives a panel of Slicer its `qt`, `ctk` and `slicer` without Slicer: PySide6 and the slicer-core wheel. See README.md."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

__all__ = ["Host", "start"]

# What slicer.util got after 5.8: gone here, so that a panel that leans on it fails here as in the oldest Slicer.
_NEWER = ("executePythonModule", "LazyImport")
_host: Host | None = None


def start() -> Host:
    """The host of this process; made at the first call."""
    global _host
    if _host is None:
        _host = Host()
    return _host


class Host:
    """`dialogs` answers message boxes; `panel()` opens a scripted module's widget; `new_scene()` clears; `saved_scene()`,
    `load_scene(saved)`; `spin(...)` lets events run."""

    def __init__(self):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        slicer = _import_slicer()
        from .pythonqt import make_qt

        qt = make_qt()
        sys.modules["qt"] = qt
        ctk_widgets = importlib.import_module(f"{__name__}.ctk_widgets").WIDGETS
        sys.modules["ctk"] = ctk = types.ModuleType("ctk")
        vars(ctk).update(ctk_widgets)
        vars(slicer).update(importlib.import_module(f"{__name__}.qmrml_widgets").WIDGETS)
        application = importlib.import_module(f"{__name__}.application")
        slicer.app = self.app = application.Application()
        qt.QSettings = _settings_of(self.app, qt.QSettings)
        slicer.modules = types.SimpleNamespace()
        application.make_scene(self.app)
        util = slicer.util
        for name in _NEWER:
            for namespace in (util, slicer):
                if hasattr(namespace, name):
                    delattr(namespace, name)
        util.loadUI = application.load_ui
        util.delayDisplay = lambda *_, **__: self.app.processEvents()
        util.mainWindow = lambda: None
        util.selectModule = self._select
        util.selectedModule = lambda: self.selected_module
        util.pip_install = util.pip_uninstall = _forbidden
        for name in ("ScriptedLoadableModule", "parameterNodeWrapper", "i18n"):
            home = {"ScriptedLoadableModule": "scripted", "parameterNodeWrapper": "parameters", "i18n": "translation"}[name]
            module = importlib.import_module(f"{__name__}.{home}")
            sys.modules[f"slicer.{name}"] = module
            setattr(slicer, name, module)
        slicer.selfTests = {}
        dicom = importlib.import_module(f"{__name__}.dicom")
        slicer.dicomDatabase, ctk.ctkDICOMIndexer = dicom.DicomDatabase(), dicom.ctkDICOMIndexer
        for name in ("SampleData", "DICOMLib"):
            sys.modules[name] = getattr(dicom, f"make_{name.lower()}")()
        self.dialogs = importlib.import_module(f"{__name__}.dialogs").Dialogs()
        self.dialogs.install()
        self.selected_module = ""
        self._application = application

    def panel(self, script: Path | str):
        """The widget object of the scripted module in file `script`, set up as Slicer does it, with `slicer.modules` knowing it."""
        import qt
        import slicer

        path = Path(script)
        sys.path.insert(0, str(path.parent)) if str(path.parent) not in sys.path else None
        python = importlib.import_module(path.stem)
        entry = self._application.Module(path.stem, path)
        setattr(slicer.modules, path.stem.lower(), entry)
        getattr(python, path.stem)(entry)
        parent = slicer.qMRMLWidget()
        parent.setLayout(qt.QVBoxLayout())
        parent.setMRMLScene(slicer.mrmlScene)
        widget = getattr(python, f"{path.stem}Widget")(parent)
        widget.setup()
        if hasattr(widget, "enter"):
            widget.enter()
        entry._widget = parent
        setattr(slicer.modules, f"{path.stem}Widget", widget)
        return widget

    def new_scene(self) -> None:
        """Close the scene as File > Close scene does: it is the same scene object, empty but for singletons."""
        import slicer

        slicer.mrmlScene.Clear(0)

    def saved_scene(self) -> str:
        """The scene as File > Save writes it, for load_scene; without the voxels, which have files of their own."""
        import slicer

        slicer.mrmlScene.SetSaveToXMLString(1)
        slicer.mrmlScene.Commit()
        slicer.mrmlScene.SetSaveToXMLString(0)
        return slicer.mrmlScene.GetSceneXMLString()

    def load_scene(self, saved: str) -> None:
        """Add a saved scene to the one that is open."""
        import slicer

        slicer.mrmlScene.SetLoadFromXMLString(1)
        slicer.mrmlScene.SetSceneXMLString(saved)
        slicer.mrmlScene.Import()
        slicer.mrmlScene.SetLoadFromXMLString(0)

    def spin(self, until=lambda: False, seconds: float = 0.05) -> bool:
        """Run Qt's event loop until `until()` is true or that many seconds have passed; whether it became true."""
        import qt

        loop, done = qt.QEventLoop(), []
        poll = qt.QTimer()
        poll.timeout.connect(lambda: until() and (done.append(True), loop.quit()))
        poll.start(5)
        qt.QTimer.singleShot(int(seconds * 1000), loop.quit)
        loop.exec()
        poll.stop()
        return bool(done) or bool(until())

    def picture(self, widget, path: Path | str, width: int = 420) -> None:
        """Save what the widget looks like, at its own height."""
        top = widget.parent if hasattr(widget, "parent") and not callable(widget.parent) else widget
        top.resize(width, max(top.sizeHint().height(), top.layout().totalHeightForWidth(width) if top.layout() else 0))
        top.show()
        self.spin()
        top.grab().save(str(path))

    def _select(self, module) -> None:
        self.selected_module = module if isinstance(module, str) else module.name


def _import_slicer() -> types.ModuleType:
    """The wheel's package alone: it would take the folder Testing/slicer for a part of itself and import every test in it."""
    path, tests = list(sys.path), Path(__file__).resolve().parents[2]
    sys.path[:] = [entry for entry in path if Path(entry or ".").resolve() != tests]
    try:
        return importlib.import_module("slicer")
    finally:
        sys.path[:] = path


def _settings_of(application, original):
    """QSettings() without arguments is the application's; others are Qt's own."""
    class QSettings(original):
        def __new__(cls, *arguments):
            return application.settings() if not arguments else original(*arguments)

    return QSettings


def _forbidden(*arguments, **_):
    raise AssertionError("Nothing may be installed into Slicer's own Python.")
