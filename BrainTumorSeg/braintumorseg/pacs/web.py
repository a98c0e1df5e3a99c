"""An archive that speaks DICOMweb (PS3.18): QIDO-RS finds, WADO-RS retrieves, STOW-RS stores."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from ..errors import ConfigError, ConnectionLost, PacsError
from .config import WebSettings, is_token
from .inbox import MOST_BYTES, Inbox
from .multipart import pack, unpack
from .node import Patience, Query, SeriesFound, StudyFound, check_uid, newest_first, of_modality, stop_if, with_retries

__all__ = ["WebNode"]

_PAGE = 500
_JSON = "application/dicom+json"
_MOST_JSON = 256 << 20   # bytes of one answer to a search
_CHUNK, _LEAST_PER_S = 1 << 16, 10_000   # an answer may take a few times timeout_s, and a second more for so many bytes
_WAITS = 3
_MOST_REDIRECTS = 5
_PASSING = (408, 429, 502, 503, 504)   # trouble that may be over in a moment
# Tags as QIDO's answers write them.
_STUDY, _SERIES, _IMAGE = "0020000D", "0020000E", "00080018"
_DATE, _ACCESSION, _DESCRIPTION = "00080020", "00080050", "00081030"
_NAME, _ID, _BIRTH = "00100010", "00100020", "00100030"


class WebNode:
    """See `Node`. Images are fetched one by one, so that a broken connection costs one image and every count is exact."""

    def __init__(self, settings: WebSettings):
        self.settings = settings
        self.name = settings.name
        self._session: requests.Session | None = None

    def echo(self) -> None:
        self._get("studies", {"limit": 1}, _JSON)

    def find(self, query: Query) -> list[StudyFound]:
        asked = {"StudyInstanceUID": query.study_uid, "PatientID": query.patient_id, "AccessionNumber": query.accession,
                 "StudyDate": query.date_range, "ModalitiesInStudy": query.modality}
        answers = self._list("studies", _STUDY, {**{key: value for key, value in asked.items() if value}, "includefield": _DESCRIPTION})
        # An archive that does not know a key ignores it and answers with other patients' studies.
        answers = [one for one in answers if all(not wanted or _text(one, tag) == wanted for tag, wanted in (
            (_STUDY, query.study_uid), (_ID, query.patient_id), (_ACCESSION, query.accession)))]
        studies = [StudyFound(_text(one, _STUDY), _text(one, _DATE), tuple(self._series(_text(one, _STUDY))), {
            "patient_name": _text(one, _NAME), "patient_id": _text(one, _ID), "birth_date": _text(one, _BIRTH),
            "accession": _text(one, _ACCESSION), "description": _text(one, _DESCRIPTION)}) for one in answers]
        return newest_first(studies, query)

    def retrieve(self, study_uid: str, folder: Path, *, modality: str = "", progress: Callable[[float], None] = lambda done: None,
                 cancel: threading.Event | None = None) -> int:
        wanted = of_modality(self.name, self._series(check_uid(study_uid), cancel), modality)
        images = {one.uid: self._images(study_uid, one.uid, cancel) for one in wanted}
        promised = sum(max(len(images[one.uid]), one.images or 0) for one in wanted)
        inbox = Inbox(study_uid, folder, list(images.values()), promised, progress)
        with inbox.whole(self.name):
            for series_uid, uid in [(series_uid, uid) for series_uid, uids in images.items() for uid in uids]:
                content = with_retries(lambda series_uid=series_uid, uid=uid: self._image(study_uid, series_uid, uid, cancel), cancel)
                if content is not None:
                    inbox.put(uid, content)
        return inbox.count

    def store(self, files: Sequence[Path], *, progress: Callable[[float], None] = lambda done: None,
              cancel: threading.Event | None = None) -> None:
        for number, file in enumerate(files, start=1):
            with_retries(lambda file=file: self._post(file), cancel)
            progress(number / len(files))

    def _series(self, study_uid: str, cancel: threading.Event | None = None) -> list[SeriesFound]:
        return [SeriesFound(_text(one, _SERIES), _text(one, "00080060"), _number(one, "00201209"), _number(one, "00200011"), _text(one, "0008103E"))
                for one in self._list(f"studies/{study_uid}/series", _SERIES, {"includefield": "00201209"}, cancel)]

    def _images(self, study_uid: str, series_uid: str, cancel: threading.Event | None) -> list[str]:
        found = self._list(f"studies/{study_uid}/series/{series_uid}/instances", _IMAGE, {}, cancel)
        return [_text(one, _IMAGE) for one in sorted(found, key=lambda one: _number(one, "00200013") or 0)]

    def _list(self, path: str, key: str, query: Mapping, cancel: threading.Event | None = None) -> list[Mapping]:
        """Every answer to a search, page by page: a server may give fewer at once than it was asked for, so only an empty page is the end."""
        found: dict[str, Mapping] = {}
        patience = Patience(self.settings, cancel)
        while True:
            asked = {**query, "limit": _PAGE, "offset": len(found)}
            body, _ = with_retries(lambda asked=asked: self._get(path, asked, _JSON, cancel, _MOST_JSON), cancel)
            page = _json(body) if body.strip() else []
            if not isinstance(page, list) or not all(isinstance(one, Mapping) and re.fullmatch("[0-9][0-9.]*", _text(one, key)) for one in page):
                raise PacsError(f"{self.name} does not answer a search in DICOM JSON.",
                                "Check that url is the DICOMweb address, often .../dicom-web.")
            new = {_text(one, key): one for one in page}
            if not new.keys() - found.keys():   # empty, or a server without paging that says the same again
                return list(found.values())
            found |= new
            patience.check(len(found))

    def _image(self, study_uid: str, series_uid: str, uid: str, cancel: threading.Event | None) -> bytes | None:
        """One image as the archive keeps it; None when it is listed there and cannot be had."""
        answer = self._get(f"studies/{study_uid}/series/{series_uid}/instances/{uid}", {},
                           'multipart/related; type="application/dicom"; transfer-syntax=*', cancel, gone_is_none=True)
        parts = unpack(*answer) if answer is not None else None
        if answer is not None and (parts is None or len(parts) != 1 or parts[0][128:132] != b"DICM"):
            raise ConnectionLost(f"{self.name} sent an image that is cut off or damaged.", "Try again; ask those who run the archive if it stays so.")
        return parts[0] if parts else None

    def _post(self, file: Path) -> None:
        body, kind = pack([file.read_bytes()])
        with self._send("POST", "studies", data=body, headers={"Content-Type": kind, "Accept": _JSON}, allow_redirects=False, stream=True) as answer:
            said = self._body(answer, time.monotonic() + _WAITS * self.settings.timeout_s, None, _MOST_JSON)
        failed = _values(_json(said), "00081198")
        if answer.status_code == 409 or failed:
            reason = _number(failed[0], "00081197") if failed else None
            raise PacsError(f"{self.name} did not take {file.name}" + (f" (failure {reason:04X})." if reason is not None else "."),
                            "Ask those who run it to allow this kind of object.")
        self._check(answer)

    def _get(self, path: str, query: Mapping, accept: str, cancel: threading.Event | None = None, most: int = MOST_BYTES,
             gone_is_none: bool = False) -> tuple[bytes, str] | None:
        """(body, its Content-Type); None for what is not there, where that is asked for."""
        end = time.monotonic() + _WAITS * self.settings.timeout_s
        options = {"headers": {"Accept": accept}, "allow_redirects": False, "stream": True}
        answer = self._send("GET", path, params=query, **options)
        for _ in range(_MOST_REDIRECTS):
            if not answer.is_redirect:
                break
            answer.close()
            answer = self._send("GET", self._redirected(answer), **options)
        with answer:
            if gone_is_none and answer.status_code in (404, 410):
                return None
            self._check(answer)
            return self._body(answer, end, cancel, most), answer.headers.get("Content-Type", "")

    def _body(self, answer: requests.Response, end: float, cancel: threading.Event | None, most: int) -> bytes:
        """What an answer holds, read piece by piece: each comes within timeout_s, and all of it by `end` or as fast as a slow line."""
        body = bytearray()
        read = getattr(answer.raw, "read1", answer.raw.read)   # an old urllib3 has no read1
        try:
            while piece := read(_CHUNK, decode_content=True):
                body += piece
                stop_if(cancel)
                if len(body) > most:
                    raise PacsError(f"{self.name} answers with more than {most >> 20} MB at once.", "Ask those who run it what it sends.")
                if time.monotonic() > end + len(body) / _LEAST_PER_S:
                    raise PacsError(f"{self.name} answers too slowly to go on.", "Try again later, or raise timeout_s in the settings.")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._lost(error) from None
        return bytes(body)

    def _redirected(self, answer: requests.Response) -> str:
        """Where a redirect leads. Raises PacsError when it leaves the server: the address asked for may hold a patient's ID."""
        target = urljoin(answer.url, answer.headers["Location"])
        if urlsplit(target)[:2] != urlsplit(answer.url)[:2]:   # scheme; host and port
            raise PacsError(f"{self.name} redirects to another server, which is not followed: what is asked for may hold a patient's ID.",
                            "Set url to the address where the archive really is.")
        return target

    def _send(self, method: str, path: str, **options) -> requests.Response:
        if self._session is None:
            self._session = _session(self.settings)
        try:
            return self._session.request(method, urljoin(f"{self.settings.url.rstrip('/')}/", path), timeout=self.settings.timeout_s, **options)
        except requests.exceptions.SSLError:
            raise PacsError(f"The certificate of {self.name} is not trusted, or it does not trust ours.",
                            "Set ca (and certificate and key) in the settings to what those who run it gave you.") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:   # the last for a redirect to no address
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> ConnectionLost:   # without its text, which holds the address, and that a patient's ID
        return ConnectionLost(f"{self.name} cannot be reached or broke off ({error.__class__.__name__}).",
                              "Check url in the settings and the network; raise timeout_s if the archive is slow.")

    def _check(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status in _PASSING:
            raise ConnectionLost(f"{self.name} is busy or down (HTTP {status}).", "Try again later.")
        if status in (401, 403):
            raise PacsError(f"{self.name} does not let us in (HTTP {status}).", "Check user and password, or the token, in the settings.")
        if status == 404:
            raise PacsError(f"{self.name} has nothing at that address (HTTP 404).", "Check url in the settings; it often ends in /dicom-web.")
        if not 200 <= status < 300:
            raise PacsError(f"{self.name} answered with HTTP {status}.", "Its own log says why.")


def _session(settings: WebSettings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False   # no proxy and no .netrc: patients' data goes where the settings say, with the credentials they name
    session.headers["Accept-Encoding"] = "identity"   # packing costs an archive five times what it saves: 130 ms an image, not 28
    session.verify = str(settings.ca) if settings.ca else True
    if settings.certificate:
        session.cert = (str(settings.certificate), str(settings.key))
    if settings.user:
        session.auth = (settings.user.encode(), settings.password.encode())   # as UTF-8; requests would take Latin-1
    elif settings.token or settings.token_command:
        session.headers["Authorization"] = f"Bearer {settings.token or _token(settings)}"
    return session


def _token(settings: WebSettings) -> str:
    try:
        done = subprocess.run(settings.token_command, capture_output=True, text=True, timeout=settings.timeout_s, check=True,
                              stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"token_command of {settings.name} failed ({error.__class__.__name__}).", "Run it yourself to see why.") from None
    token = next(iter(done.stdout.lstrip("\ufeff").splitlines()), "").strip()   # `pass` keeps notes in the lines below
    if not is_token(token):
        raise ConfigError(f"token_command of {settings.name} printed no token in its first line.",
                          "It must print the token alone there, in printable ASCII without spaces.")
    return token


def _json(body: bytes) -> object:
    """A body as JSON; None when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _values(answer: object, tag: str) -> list:
    """The values of an attribute in the DICOM JSON model (PS3.18 F); [] where there are none, or something else is there."""
    element = answer.get(tag) if isinstance(answer, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values if isinstance(values, list) else []


def _text(answer: object, tag: str) -> str:
    """The first of an attribute's values; '' when there is none."""
    first = next(iter(_values(answer, tag)), None)
    if isinstance(first, Mapping):
        first = first.get("Alphabetic")
    return str(first).strip() if isinstance(first, str | int | float) else ""


def _number(answer: object, tag: str) -> int | None:
    try:
        return int(_text(answer, tag))
    except ValueError:
        return None
