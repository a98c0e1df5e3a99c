"""What an archive sends, and whoever else reaches us, is looked at before it is believed: another patient's image, a redirect, an endless answer."""

import json
import threading
import time
from pathlib import Path

import pydicom
import pytest

from braintumorseg.errors import Cancelled, ConfigError, PacsError, PartialRetrieve
from braintumorseg.pacs import inbox as inbox_module
from braintumorseg.pacs import node as node_module
from braintumorseg.pacs.config import DimseSettings, WebSettings
from braintumorseg.pacs.dimse_link import listening, storage_contexts
from braintumorseg.pacs.inbox import Inbox
from braintumorseg.pacs.node import Query, open_node
from made_up_patient import write_patient
from orthanc import free_port
from pacs_toys import IMAGE, SERIES, STUDY, as_json, in_envelope

MR = "1.2.840.10008.5.1.4.1.1.4"
ONE_STUDY = Query(study_uid="1.2.3")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(node_module, "_FIRST_WAIT_S", 0.01)


@pytest.fixture
def images(tmp_path):
    """Two images of one study: (data set, bytes of the file)."""
    return [(pydicom.dcmread(file), file.read_bytes()) for file in write_patient(tmp_path / "in", series=1, slices=2)]


@pytest.fixture
def inbox(images, tmp_path):
    return Inbox(images[0][0].StudyInstanceUID, tmp_path / "out", [[ds.SOPInstanceUID for ds, _ in images]], 2)


# what is in an image

def someone_elses(ds, tmp_path, **values):
    """A file like that of `ds`, of another patient's study; the meta header tells nothing of it."""
    other = pydicom.dcmread(ds.filename)
    other.PatientID = "SOMEONE ELSE"
    for keyword, value in values.items():
        setattr(other, keyword, value)
    other.save_as(tmp_path / "other.dcm", enforce_file_format=False)
    return (tmp_path / "other.dcm").read_bytes()


@pytest.mark.parametrize("values", [{"StudyInstanceUID": "1.2.99"}, {"SOPInstanceUID": "1.2.99"}], ids=str)
def test_an_image_that_is_not_the_one_asked_for_is_refused(images, inbox, tmp_path, values):
    ds, _ = images[0]
    with pytest.raises(PacsError, match="not the one that was asked for"):
        inbox.put(ds.SOPInstanceUID, someone_elses(ds, tmp_path, **values))
    assert (inbox.count, list(tmp_path.glob("out/**/*.dcm"))) == (0, [])


def test_an_archive_that_answers_with_another_patients_images_gives_none(images, tmp_path, web_server):
    study, other = images[0][0].StudyInstanceUID, someone_elses(images[0][0], tmp_path, StudyInstanceUID="1.2.99")

    def answer(request):
        path = request.path.split("?")[0]
        if path.endswith("/series"):
            return as_json({SERIES: "1.2.3.4", "00080060": "MR"})
        return as_json(*({IMAGE: str(ds.SOPInstanceUID)} for ds, _ in images)) if path.endswith("/instances") else in_envelope(other)

    with pytest.raises(PacsError, match="not the one that was asked for"):
        open_node(WebSettings("archive", web_server(answer))).retrieve(study, tmp_path / "out")


def test_the_same_image_again_is_fine_and_another_under_its_number_is_not(images, inbox, tmp_path):
    ds, content = images[0]
    inbox.put(ds.SOPInstanceUID, content)
    again = pydicom.dcmread(ds.filename)
    again.file_meta.ImplementationVersionName = "ANOTHER TRANSFER"
    again.save_as(tmp_path / "again.dcm")
    inbox.put(ds.SOPInstanceUID, (tmp_path / "again.dcm").read_bytes())
    with pytest.raises(PacsError, match="came twice, and the two are not the same"):
        inbox.put(ds.SOPInstanceUID, someone_elses(ds, tmp_path))
    assert inbox.count == 1


def test_another_copy_is_an_error_though_every_image_came(images, inbox, tmp_path):
    """Whoever sends all of them before the archive does would be believed otherwise."""
    from types import SimpleNamespace

    for ds, content in images:
        inbox.put(ds.SOPInstanceUID, content)
    ds, _ = images[0]
    event = SimpleNamespace(request=SimpleNamespace(AffectedSOPInstanceUID=ds.SOPInstanceUID), encoded_dataset=lambda: someone_elses(ds, tmp_path))
    with pytest.raises(PacsError, match="came twice"), inbox.whole("archive"):
        assert inbox.take(event) == 0xA900


# who sends during a C-MOVE

def send(port, *datasets, max_pdu=16382):
    """What another program's C-STOREs are answered, None where it is not let in."""
    from pynetdicom import AE

    ae = AE(ae_title="EVIL")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 5
    ae.add_requested_context(MR)
    link = ae.associate("127.0.0.1", port, ae_title="BRAINTUMORSEG", max_pdu=max_pdu)
    if not link.is_established:
        return None
    answers = [link.send_c_store(ds).get("Status") for ds in datasets]
    link.release()
    return answers


def listen_for(inbox, host, **more):
    from pynetdicom import evt

    settings = DimseSettings("archive", "ARCHIVE", host, 104, retrieve="move", store_port=free_port(), listen="127.0.0.1", timeout_s=5, **more)
    handlers = [(evt.EVT_C_STORE, inbox.take), (evt.EVT_PDU_RECV, inbox.coming), (evt.EVT_DIMSE_RECV, inbox.came_whole)]
    return settings.store_port, listening(settings, storage_contexts([MR], asking=False), handlers, inbox.turned_away)


def test_images_are_taken_from_the_archives_address_alone(images, inbox):
    port, door = listen_for(inbox, "127.0.0.9")
    with door:
        assert send(port, images[0][0]) is None
    assert (inbox.count, inbox.turned_away) == (0, {"127.0.0.1"})


@pytest.mark.parametrize(("host", "more"), [("127.0.0.1", {}), ("localhost", {}), ("127.0.0.9", {"sends_from": ("127.0.0.0/29",)}),
                                            ("127.0.0.9", {"sends_from": ("localhost",)})], ids=str)
def test_the_archive_and_those_named_in_sends_from_are_heard(images, inbox, host, more):
    port, door = listen_for(inbox, host, **more)
    with door:
        assert send(port, images[0][0]) == [0]
    assert (inbox.count, inbox.turned_away) == (1, set())


def test_a_transfer_of_which_nothing_came_says_who_was_turned_away_and_how_to_let_it_in(inbox):
    inbox.turned_away.add("10.0.0.7")
    for error in (None, PacsError("A702.")):
        with pytest.raises(PartialRetrieve, match=r"Only 0 of 2 images.*Turned away was 10\.0\.0\.7.*sends_from"), inbox.whole("archive"):
            if error:
                raise error


def test_a_name_that_has_no_address_is_told(inbox):
    _, door = listen_for(inbox, "127.0.0.1", sends_from=("nowhere.invalid",))
    with pytest.raises(ConfigError, match=r"nowhere.invalid.*sends_from"), door:
        pass


def test_what_was_not_promised_and_what_is_not_what_it_says_is_refused_on_the_wire(images, inbox):
    stranger, liar = pydicom.dcmread(images[0][0].filename), pydicom.dcmread(images[0][0].filename)
    stranger.SOPInstanceUID = stranger.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    liar.StudyInstanceUID = "1.2.99"
    port, door = listen_for(inbox, "127.0.0.1")
    with door:
        assert send(port, stranger) == [0xA900] and inbox.trouble is None
        assert send(port, liar) == [0xA900] and isinstance(inbox.trouble, PacsError)
    assert inbox.count == 0


def test_more_than_memory_should_hold_is_cut_off_while_it_comes(images, inbox, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_BYTES", 1 << 20)
    ds = images[0][0]
    port, door = listen_for(inbox, "127.0.0.1")
    with door:
        assert send(port, *([ds] * 3)) == [0] * 3    # each alone is small
        ds.PixelData = bytes(4 << 20)
        assert send(port, ds) == [None]
    assert "more than 1 MB at once" in str(inbox.trouble)


def test_what_nobody_asked_for_is_cut_off_when_it_is_large_and_the_transfer_goes_on(images, inbox, monkeypatch):
    monkeypatch.setattr(inbox_module, "_MOST_UNASKED", 1 << 20)
    wanted, stranger = images[0][0], pydicom.dcmread(images[0][0].filename)
    stranger.SOPInstanceUID = stranger.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    stranger.PixelData = bytes(4 << 20)
    port, door = listen_for(inbox, "127.0.0.1")
    with door:
        assert send(port, stranger) == [None]
        assert send(port, wanted) == [0]
    assert (inbox.count, inbox.trouble) == (1, None)


# what a server answers

def test_a_redirect_to_another_server_is_not_followed(web_server):
    asked = []
    other = web_server(lambda request: asked.append(request.path) or as_json())
    url = web_server(lambda request: (302, "text/plain", b"", {"Location": f"{other}/elsewhere{request.path}"}))
    with pytest.raises(PacsError, match="redirects to another server") as stop:
        open_node(WebSettings("archive", url)).find(Query(patient_id="QX-4711"))
    assert (asked, "QX-4711" in str(stop.value)) == ([], False)
    broken = web_server(lambda request: (302, "text/plain", b"", {"Location": "http://[::1"}))
    with pytest.raises(PacsError, match="broke off"):
        open_node(WebSettings("archive", broken)).echo()


def test_a_redirect_within_the_server_is_followed_and_one_in_a_circle_given_up(web_server):
    url = web_server(lambda request: as_json() if request.path.startswith("/new") else (302, "", b"", {"Location": f"/new{request.path}"}))
    open_node(WebSettings("archive", url)).echo()
    url = web_server(lambda request: (302, "", b"", {"Location": request.path}))
    with pytest.raises(PacsError, match="HTTP 302"):
        open_node(WebSettings("archive", url)).echo()


@pytest.mark.parametrize("body", [
    {STUDY: {"Value": 5}}, {STUDY: {"Value": {"a": 1}}}, {STUDY: 7}, {STUDY: {"Value": [["1.2"]]}}, {STUDY: {"Value": [None]}},
    {STUDY: {"Value": ["../../other"]}}, {}, 7], ids=json.dumps)
def test_answers_of_another_form_are_one_line(web_server, body):
    url = web_server(lambda request: (200, "application/dicom+json", json.dumps([body]).encode()))
    with pytest.raises(PacsError, match="DICOM JSON"):
        open_node(WebSettings("archive", url)).find(ONE_STUDY)


def test_an_answer_nested_without_end_is_one_line_for_a_search_and_for_what_is_sent(web_server, images):
    url = web_server(lambda request: (200, "application/dicom+json", b"[" * 200_000))
    with pytest.raises(PacsError, match="DICOM JSON"):
        open_node(WebSettings("archive", url)).find(ONE_STUDY)
    open_node(WebSettings("archive", url)).store([Path(images[0][0].filename)])


@pytest.mark.parametrize("value", [5, [7], [None], {"a": 1}], ids=json.dumps)
def test_odd_values_beside_a_good_number_are_empty(web_server, value):
    study = [{STUDY: {"Value": ["1.2.3"]}, "00080020": {"Value": value}, "00100010": value}]
    url = web_server(lambda request: as_json() if "/series" in request.path else (200, "application/dicom+json", json.dumps(study).encode()))
    (found,) = open_node(WebSettings("archive", url)).find(ONE_STUDY)
    assert found.uid == "1.2.3" and found.identity["patient_name"] == ""


class Dripping:
    """A socket server that promises much and gives a byte now and then."""

    def __init__(self, kind="application/dicom+json"):
        import socket

        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 1000000\r\n\r\n".encode()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                connection, _ = self._listener.accept()
                connection.recv(1 << 16)
                connection.sendall(self._head)
                for _ in range(400):
                    connection.sendall(b" ")
                    time.sleep(0.02)
        except OSError:
            return

    def close(self):
        self._listener.close()


@pytest.fixture
def dripping():
    server = Dripping()
    yield server
    server.close()


def test_an_archive_that_drips_is_given_up(dripping):
    began = time.monotonic()
    with pytest.raises(PacsError, match="too slowly"):
        open_node(WebSettings("archive", dripping.url, timeout_s=0.1)).echo()
    assert time.monotonic() - began < 4


def test_a_search_that_drips_ends_with_a_cancel(dripping, tmp_path):
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Cancelled):
        open_node(WebSettings("archive", dripping.url)).retrieve("1.2.3", tmp_path / "out", cancel=cancel)


def test_a_search_that_never_ends_is_given_up(web_server, monkeypatch):
    monkeypatch.setattr(node_module, "_MOST_ANSWERS", 50)

    def answer(request):
        offset = int(request.path.split("offset=")[1].split("&")[0])
        return as_json(*({STUDY: f"1.2.{offset + n}"} for n in range(1, 21)))

    with pytest.raises(PacsError, match="more than 50 entries"):
        open_node(WebSettings("archive", web_server(answer))).find(Query(date_from="20200101"))
    monkeypatch.setattr(node_module, "_MOST_ANSWERS", 10**9)
    monkeypatch.setattr(node_module, "_SEARCH_WAITS", 1)
    with pytest.raises(PacsError, match="too long over a search"):
        open_node(WebSettings("archive", web_server(answer), timeout_s=0.2)).find(Query(date_from="20200101"))


def test_a_search_of_the_classic_network_that_never_ends_is_given_up_and_can_be_cancelled(monkeypatch, tmp_path):
    from pynetdicom import AE, evt

    cancel = threading.Event()

    def answers(event):
        for n in range(100_000):
            cancel.set()
            found = pydicom.Dataset()
            found.QueryRetrieveLevel, found.StudyInstanceUID, found.SeriesInstanceUID = event.identifier.QueryRetrieveLevel, f"1.2.{n}", f"1.3.{n}"
            yield 0xFF00, found

    ae, port = AE("ARCHIVE"), free_port()
    ae.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, answers)])
    node = open_node(DimseSettings("archive", "ARCHIVE", "127.0.0.1", port, timeout_s=5))
    try:
        with pytest.raises(Cancelled):
            node.retrieve("1.2.3", tmp_path / "out", cancel=cancel)
        monkeypatch.setattr(node_module, "_MOST_ANSWERS", 20)
        with pytest.raises(PacsError, match="more than 20 entries"):
            node.find(Query(date_from="20200101"))
    finally:
        server.shutdown()


def test_an_answer_larger_than_memory_should_hold_is_not_read_to_its_end(web_server, monkeypatch):
    from braintumorseg.pacs import web

    monkeypatch.setattr(web, "_MOST_JSON", 1 << 20)
    url = web_server(lambda request: (200, "application/dicom+json", b" " * (2 << 20)))
    with pytest.raises(PacsError, match="more than 1 MB at once"):
        open_node(WebSettings("archive", url)).find(ONE_STUDY)


# tokens

@pytest.mark.parametrize("printed", ["abc", "abc\nuser: me\nurl: https://example.org\n", "\ufeffabc\r\nuser: me\r\n"], ids=repr)
def test_the_token_is_the_first_line_that_a_command_prints(web_server, printed):
    seen = []
    url = web_server(lambda request: seen.append(request.headers["Authorization"]) or as_json())
    open_node(WebSettings("archive", url, token_command=("printf", "%s", printed))).echo()
    assert seen == ["Bearer abc"]


@pytest.mark.parametrize("printed", ["", "\nabc\n", "two words\n", "schlüssel\n"], ids=repr)
def test_a_command_that_prints_no_token_is_told_so(web_server, printed):
    with pytest.raises(ConfigError, match="token_command of archive printed no token"):
        open_node(WebSettings("archive", web_server(lambda request: as_json()), token_command=("printf", "%s", printed))).echo()
