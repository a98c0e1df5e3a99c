"""A study of ours in the OHIF viewer, as a picture to look at. Run by hand, not by CI: whether it is right is for eyes to judge.

    python Testing/ohif/show_in_ohif.py STUDY_FOLDER PICTURE.png [--ohif DIST]

STUDY_FOLDER holds the DICOM files of one study: the source series and segmentation.dcm. A real Orthanc on loopback takes them; OHIF's files
(`npm pack @ohif/app@3.13.2`, or --ohif with its unpacked dist folder) are served beside a proxy to it, so that all is one origin; and headless
Chromium opens OHIF's segmentation mode. Needs Debian's orthanc, orthanc-dicomweb, dcmtk and chromium-driver, and node's npm unless --ohif is given.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pydicom

from orthanc import _CREDENTIALS, Orthanc, free_port, run_orthanc, why_no_orthanc

OHIF = "@ohif/app@3.13.2"
CONFIG = """window.config = {
  routerBasename: '/', showStudyList: true, extensions: [], modes: [], defaultDataSourceName: 'dicomweb', showWarningMessageForCrossOrigin: false,
  investigationalUseDialog: { option: 'never' },
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb', configuration: {
    friendlyName: 'test', name: 'test', wadoUriRoot: ROOT, qidoRoot: ROOT, wadoRoot: ROOT, qidoSupportsIncludeField: false, imageRendering: 'wadors',
    thumbnailRendering: 'wadors', enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true, singlepart: 'bulkdata,video',
    bulkDataURI: { enabled: true, relativeResolution: 'studies' } } }],
};
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="A study of ours in OHIF, as a picture.")
    parser.add_argument("study", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--ohif", type=Path, help="OHIF's dist folder")
    parser.add_argument("--seconds", type=int, default=60, help="how long the viewer may take to load and draw")
    args = parser.parse_args()
    if why_no_orthanc():
        print(why_no_orthanc(), file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dist = args.ohif or fetch_ohif(folder)
        (folder / "orthanc").mkdir()
        with run_orthanc(folder / "orthanc") as orthanc:
            files = list(args.study.rglob("*.dcm"))
            subprocess.run(["storescu", "-R", "-aet", "BRAINTUMORSEG", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.dicom_port), *files], check=True)
            seg, = [one for one in (pydicom.dcmread(file, stop_before_pixels=True) for file in files) if one.Modality == "SEG"]
            server = serve(dist, orthanc)
            try:
                take_picture(f"http://127.0.0.1:{server.server_port}/segmentation?StudyInstanceUIDs={seg.StudyInstanceUID}",
                             f"S:{seg.SeriesNumber}", seg.SegmentSequence[-1].SegmentLabel, args.picture, args.seconds)
            finally:
                server.shutdown()
    print(f"Look at {args.picture}: position, names and colours of the segments")
    return 0


def fetch_ohif(folder: Path) -> Path:
    subprocess.run(["npm", "pack", "--silent", OHIF], cwd=folder, check=True, capture_output=True)
    archive, = folder.glob("*.tgz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / "package" / "dist"


def serve(dist: Path, orthanc: Orthanc) -> ThreadingHTTPServer:
    """OHIF's files, its configuration, and Orthanc's DICOMweb under one address."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(dist), **kwargs)

        def do_GET(self):
            path = self.path.partition("?")[0]
            if path.startswith("/dicom-web/"):
                self._from_orthanc()
            elif path == "/app-config.js":
                root = f"'http://{self.headers['Host']}/dicom-web'"
                self._answer(200, "text/javascript", CONFIG.replace("ROOT", root).encode())
            else:
                if not (dist / path.lstrip("/")).is_file():
                    self.path = "/index.html"  # OHIF's own routes
                super().do_GET()

        def _from_orthanc(self):
            headers = {name: value for name, value in self.headers.items() if name.lower() in ("accept", "host")}
            request = urllib.request.Request(f"http://127.0.0.1:{orthanc.http_port}{self.path}", headers=headers | {"Authorization": _CREDENTIALS})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    self._answer(answer.status, answer.headers["Content-Type"], answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, "text/plain", error.read())

        def _answer(self, status: int, kind: str, content: bytes):
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def end_headers(self):
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")      # OHIF's decoders share memory between threads
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def take_picture(url: str, series: str, segment: str, picture: Path, seconds: int) -> None:
    """Open the study at `url`, its SEG of series number `series`, go to `segment`, and save what is seen (WebDriver, W3C 2018)."""
    port = free_port()
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: ask(port, "GET", "/status")["ready"], 20)
        options = {"args": ["--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                            "--ignore-gpu-blocklist", "--disable-dev-shm-usage", "--window-size=1600,1000"]}
        session = "/session/" + ask(port, "POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})["sessionId"]
        ask(port, "POST", f"{session}/url", {"url": url})

        def page() -> str:
            return ask(port, "POST", f"{session}/execute/sync", {"script": "return document.body.innerText", "args": []})

        def click(text: str, times: int = 1) -> bool:
            """Click on what shows `text`, with the mouse; False while it is not there."""
            found = ask(port, "POST", f"{session}/elements", {"using": "xpath", "value": f"//*[normalize-space(.)='{text}']"})
            if not found:
                return False
            press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
            move = {"type": "pointerMove", "duration": 0, "origin": found[-1], "x": 0, "y": 0}
            ask(port, "POST", f"{session}/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move, *press * times]}]})
            return True

        def opened() -> bool:
            if segment not in page() and not click("Yes"):
                click(series, times=2)  # its thumbnail; nothing happens while the viewer is still busy
                time.sleep(5)
            return segment in page()

        wait_for(opened, 2 * seconds)
        wait_for(lambda: click(segment), seconds)            # goes to its slice
        time.sleep(seconds / 4)
        picture.write_bytes(base64.b64decode(ask(port, "GET", f"{session}/screenshot")))
        ask(port, "DELETE", session)
    finally:
        driver.terminate()
        driver.wait()


def ask(port: int, method: str, path: str, body: dict | None = None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


def wait_for(ready, seconds: int) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():
                return
        except urllib.error.URLError:
            pass
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
