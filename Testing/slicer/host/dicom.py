"""`slicer.dicomDatabase`, and the modules SampleData and DICOMLib, as far as a panel touches them."""

from __future__ import annotations

import shutil
import tempfile
import types
from pathlib import Path

from PySide6 import QtCore

__all__ = ["DicomDatabase", "ctkDICOMIndexer", "make_dicomlib", "make_sampledata"]


class DicomDatabase(QtCore.QObject):
    """The names of ctkDICOMDatabase that a panel reads, on files that a test has put in with `_add`."""

    def __init__(self):
        super().__init__()
        self._files: dict[str, str] = {}  # SOP instance UID -> file
        self._headers: dict = {}  # file -> what was read of it when it came; the real one keeps that, too, when the file is gone

    def _add(self, file) -> None:
        import pydicom

        header = self._headers[str(file)] = pydicom.dcmread(file, stop_before_pixels=True)
        self._files[str(header.SOPInstanceUID)] = str(file)

    def _clear(self) -> None:
        self._files.clear()
        self._headers.clear()

    def _header(self, file):
        return self._headers[str(file)]

    def fileForInstance(self, uid):
        return self._files.get(uid, "")

    def instanceForFile(self, file):
        return next((uid for uid, known in self._files.items() if known == str(file)), "")

    def seriesForFile(self, file):
        return str(self._header(file).SeriesInstanceUID) if str(file) in self._files.values() else ""

    def studyForSeries(self, series):
        return next((str(self._header(file).StudyInstanceUID) for file in self.filesForSeries(series)), "")

    def patientForStudy(self, study):
        return next((str(self._header(file).PatientID) for file in self._files.values() if str(self._header(file).StudyInstanceUID) == study), "")

    def filesForSeries(self, series, hits=-1):
        found = [file for file in self._files.values() if str(self._header(file).SeriesInstanceUID) == series]
        return tuple(found if hits < 0 else found[:hits])

    def instancesForSeries(self, series, hits=-1):
        return tuple(self.instanceForFile(file) for file in self.filesForSeries(series, hits))

    def fileValue(self, file, tag):
        """The text of a tag written as "0008,103e"; empty when it is absent."""
        group, element = (int(part, 16) for part in tag.split(","))
        found = self._header(file).get((group, element))
        if found is None:
            return ""
        return "\\".join(map(str, found.value)) if found.VM > 1 else str(found.value)

    def instanceValue(self, uid, tag):
        return self.fileValue(self.fileForInstance(uid), tag) if uid in self._files else ""

    isOpen = QtCore.Property(bool, lambda self: True)


class ctkDICOMIndexer(QtCore.QObject):
    """Puts files into a database; with copyFile a copy of the file, in a folder of the database's own."""

    def addFile(self, database, path, copyFile=False):
        if copyFile:
            folder = Path(tempfile.mkdtemp(prefix="dicom-", dir=QtCore.QCoreApplication.instance().temporaryPath))
            path = shutil.copy(path, folder)
        database._add(path)

    def waitForImportFinished(self, msecTimeout=-1):
        pass


def make_sampledata() -> types.ModuleType:
    """SampleData with the logic's registration; what was registered is in `SampleData.registered`."""
    module = types.ModuleType("SampleData")
    module.registered = []
    module.__file__ = __file__

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
                                           thumbnailFileName=None, loadFileType=None, loadFiles=None, loadFileProperties=None, checksums=None):
            module.registered.append({"category": category, "sampleName": sampleName, "uris": uris, "customDownloader": customDownloader,
                                      "fileNames": fileNames, "nodeNames": nodeNames})

    module.SampleDataLogic = SampleDataLogic
    return module


def make_dicomlib() -> types.ModuleType:
    """DICOMLib with DICOMUtils.importDicom, which puts the files of a folder into `slicer.dicomDatabase`."""
    module = types.ModuleType("DICOMLib")

    def import_dicom(folder, database=None, copyFiles=False):
        import slicer

        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                (database or slicer.dicomDatabase)._add(file)
        return True

    module.DICOMUtils = types.SimpleNamespace(importDicom=import_dicom)
    return module
