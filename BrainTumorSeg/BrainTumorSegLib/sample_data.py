"""Sample data of the module: a made-up patient, computed on this computer by the engine, and two real tumours of Slicer's own."""

from __future__ import annotations

import json
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from .dicom import series_uid_of
from .process import Outcome

__all__ = ["PhantomFailed", "load_phantom", "make_phantom", "register"]

CATEGORY = "Brain Tumor Segmentation"
_TESTING_DATA = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
# As in Slicer's own SampleData module: one contrast-enhanced T1 each, of one patient at two times.
_TUMOURS = (("MRBrainTumor1", "RegLib_C01_1.nrrd", "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"),
            ("MRBrainTumor2", "RegLib_C01_2.nrrd", "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97"))
_ORDER = ("t1", "t1ce", "t2", "flair")


class PhantomFailed(Exception):
    """The made-up patient could not be had; the text says why and what to do."""


def register() -> None:
    """Add our data sets to the Sample Data module."""
    import SampleData

    add = SampleData.SampleDataLogic.registerCustomSampleDataSource
    thumbnail = str(Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "BrainTumorSegPhantom.png")
    icons = Path(SampleData.__file__).parent / "Resources" / "Icons"  # Slicer's own pictures of its own data
    for name, dicom in (("BrainTumorPhantom", False), ("BrainTumorPhantomDICOM", True)):
        add(category=CATEGORY, sampleName=name, uris=[], fileNames=[], nodeNames=[], thumbnailFileName=thumbnail,
            customDownloader=lambda source=None, dicom=dicom: _load_and_tell(dicom))
    for name, file, sha256 in _TUMOURS:
        add(category=CATEGORY, sampleName=name, uris=_TESTING_DATA + sha256, fileNames=file, nodeNames=name,
            checksums=f"SHA256:{sha256}", thumbnailFileName=str(icons / f"{name}.png"))


def load_phantom(engine=None, dicom: bool = False) -> list:
    """Volume nodes T1, T1ce, T2 and FLAIR of the made-up patient, made at the first call; the window stays alive meanwhile.

    Brain-only files, or with `dicom` whole heads through Slicer's DICOM database. Raises PhantomFailed.
    """
    folder = make_phantom(engine)
    if dicom:
        return _load_dicom(folder / "dicom")
    return [slicer.util.loadVolume(str(folder / "brain_only" / f"phantom_{role}.nii.gz"), {"name": f"Phantom_{role}", "show": role == "t1ce"})
            for role in _ORDER]


def make_phantom(engine=None, folder: Path | None = None) -> Path:
    """The folder of the made-up patient (see the engine's verb `phantom`), in Slicer's cache unless given. Raises PhantomFailed."""
    from braintumorseg import __version__

    from .logic import Logic

    folder = folder or Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / f"BrainTumorSegPhantom-{__version__}"
    if _is_whole(folder):
        return folder
    logic = Logic(engine)
    if not logic.engine.state().ready:
        raise PhantomFailed(_("The engine makes the phantom on this computer, and it is not ready: {reason} Open the module Brain Tumor "
                              "Segmentation, section Engine.").format(reason=logic.engine.state().text))
    folder.parent.mkdir(parents=True, exist_ok=True)
    outcome = _run_and_wait(logic, ["phantom", "--out", str(folder), "--force", "--json"])
    if not outcome.ok:
        raise PhantomFailed(f"{outcome.what} {outcome.fix}".strip())
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        return json.loads((folder / "report.json").read_text(encoding="utf-8"))["format"] == "braintumorseg phantom 1"
    except (OSError, ValueError, KeyError):
        return False


def _run_and_wait(logic, arguments) -> Outcome:
    """Run a verb with an event loop of our own, so that the caller gets its answer and the window stays alive."""
    import qt

    loop, found = qt.QEventLoop(), []

    def finished(outcome: Outcome) -> None:
        found.append(outcome)
        loop.quit()

    process = logic.call_engine(arguments, finished)
    dialog = None
    if slicer.util.mainWindow() is not None and not slicer.app.testingEnabled():
        dialog = qt.QProgressDialog(_("Making up a patient (about 20 s, only this once) ..."), _("Cancel"), 0, 0, slicer.util.mainWindow())
        dialog.connect("canceled()", process.cancel)
        dialog.show()
    if not found:
        loop.exec_()
    if dialog is not None:
        dialog.close()
    return found[0]


def _load_dicom(folder: Path) -> list:
    from DICOMLib import DICOMUtils

    if not slicer.dicomDatabase.isOpen:
        raise PhantomFailed(_("Slicer's DICOM database is not open. Open the module DICOM once to create it."))
    DICOMUtils.importDicom(str(folder))
    series = [slicer.dicomDatabase.fileValue(str(min((folder / role).iterdir())), "0020,000e") for role in _ORDER]
    nodes = [slicer.mrmlScene.GetNodeByID(node_id) for node_id in DICOMUtils.loadSeriesByUID(series)]
    return sorted(nodes, key=lambda node: series.index(series_uid_of(node)))


def _load_and_tell(dicom: bool) -> list:
    try:
        return load_phantom(dicom=dicom)
    except PhantomFailed as failure:
        slicer.util.errorDisplay(str(failure), windowTitle=_("Sample data"))
        return []
