"""A real archive for tests: Debian's Orthanc with its DICOMweb plugin, on loopback alone, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Orthanc", "free_port", "run_orthanc", "why_no_orthanc"]

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "pässwörd"
_CREDENTIALS = "Basic cmVhZGVyOnDDpHNzd8O2cmQ="   # base64 of both as UTF-8


@dataclass(frozen=True)
class Orthanc:
    dicom_port: int
    http_port: int
    store_port: int      # where it believes that BRAINTUMORSEG listens
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def rest(self, path: str, method: str = "GET", body: str = ""):
        """Orthanc's own interface, so that what arrived is seen without our code."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", method=method, data=body.encode() or None,
                                         headers={"Authorization": _CREDENTIALS})
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if answer.headers.get_content_type() == "application/json" else content

    def store(self, files: Iterable[Path]) -> None:
        """Put files there with another program than ours."""
        subprocess.run(["storescu", "-aet", "BRAINTUMORSEG", "-aec", "ORTHANC", "127.0.0.1", str(self.dicom_port), *map(str, files)], check=True)

    def empty(self) -> None:
        for patient in self.rest("/patients"):
            self.rest(f"/patients/{patient}", "DELETE")


def why_no_orthanc() -> str:
    """Why there can be none here; '' when there can."""
    if not shutil.which("Orthanc"):
        return "Orthanc is not installed (Debian: orthanc)"
    if not shutil.which("storescu"):
        return "storescu is not installed (Debian: dcmtk)"
    return "" if _PLUGIN.exists() else "Orthanc's DICOMweb plugin is not installed (Debian: orthanc-dicomweb)"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def run_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start it in `folder`, yield it once it answers, stop it. It admits BRAINTUMORSEG from 127.0.0.1 and nobody else."""
    orthanc = Orthanc(free_port(), free_port(), free_port(), folder / "orthanc.log")
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"), "Plugins": [str(_PLUGIN)],
        "DicomAet": "ORTHANC", "DicomPort": orthanc.dicom_port, "HttpPort": orthanc.http_port, "HttpServerEnabled": True,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
        "DicomAlwaysAllowEcho": False, "DicomAlwaysAllowStore": False, "DicomAlwaysAllowFind": False, "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False, "DicomCheckModalityHost": True, "DicomCheckCalledAet": True, "UnknownSopClassAccepted": True,
        "DicomModalities": {"us": {"AET": "BRAINTUMORSEG", "Host": "127.0.0.1", "Port": orthanc.store_port, "AllowGet": True, "AllowMove": True}},
        "MaximumStorageCacheSize": 0,   # what a test deletes from the disk must be gone
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    with orthanc.log.open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait_until_it_answers(orthanc, process)
            yield orthanc
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_it_answers(orthanc: Orthanc, process: subprocess.Popen) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            orthanc.rest("/system")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start: {orthanc.log.read_text(errors='replace')[-2000:]}")
