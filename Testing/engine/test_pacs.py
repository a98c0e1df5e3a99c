"""Against a real Orthanc: C-ECHO, C-FIND, C-GET, C-MOVE, C-STORE, and QIDO, WADO, STOW."""

import threading

import pydicom
import pytest

from braintumorseg.errors import Cancelled, ConfigError, ConnectionLost, PacsError, PartialRetrieve
from braintumorseg.pacs import node as node_module
from braintumorseg.pacs.config import DimseSettings, WebSettings
from braintumorseg.pacs.node import Query, open_node
from made_up_patient import ACCESSION, PATIENT_ID, write_patient
from orthanc import PASSWORD, USER, free_port

WAYS = ("get", "move", "web")


def settings(orthanc, way, **changes):
    if way == "web":
        return WebSettings(**{"name": "archive", "url": orthanc.url, "user": USER, "password": PASSWORD, "timeout_s": 20} | changes)
    more = {"retrieve": "move", "store_port": orthanc.store_port} if way == "move" else {}
    usual = {"name": "archive", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port, "timeout_s": 20}
    return DimseSettings(**usual | more | changes)


@pytest.fixture(params=WAYS)
def node(request, orthanc):
    return open_node(settings(orthanc, request.param))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(node_module, "_FIRST_WAIT_S", 0.01)


@pytest.fixture
def patient(tmp_path):
    """Files of a study of two series of four images, and its UID."""
    files = write_patient(tmp_path / "patient")
    return files, str(pydicom.dcmread(files[0]).StudyInstanceUID)


@pytest.fixture
def full(orthanc, patient):
    """The archive holds the study, put there by another program."""
    orthanc.store(patient[0])
    return orthanc


def test_it_answers_an_echo(node):
    node.echo()


def test_what_is_stored_is_there(orthanc, node, patient):
    told = []
    node.store(patient[0], progress=told.append)
    assert orthanc.rest("/statistics")["CountInstances"] == 8
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize("query", [{"patient_id": PATIENT_ID}, {"accession": ACCESSION}, {"date_from": "20190901", "date_to": "20191001"},
                                   {"date_from": "20190923", "date_to": "20190923", "modality": "MR"}, {"date_to": "20191001"}], ids=str)
def test_a_study_is_found_by_what_is_known_of_it(full, node, patient, query):
    found = node.find(Query(**query))
    assert [study.uid for study in found] == [patient[1]]
    assert found[0].date == "20190923"
    assert found[0].modalities == ("MR",)
    assert sorted((one.number, one.images) for one in found[0].series) == [(1, 4), (2, 4)]
    assert found[0].identity["patient_id"] == PATIENT_ID
    assert found[0].identity["patient_name"].startswith("Wanderløst^Griselda")


@pytest.mark.parametrize("query", [{"patient_id": "QX-471"}, {"study_uid": "1.2.3"}, {"date_from": "20200101"},
                                   {"date_from": "20190923", "modality": "CT"}], ids=str)
def test_nothing_else_is_found(full, node, query):
    assert node.find(Query(**query)) == []


@pytest.mark.parametrize("query", [{}, {"modality": "MR"}, {"patient_id": "*"}, {"study_uid": "1.2.*"}, {"date_from": "2019"}], ids=str)
def test_a_search_for_the_whole_archive_is_refused(query):
    with pytest.raises(ConfigError):
        Query(**query)


def test_a_study_comes_whole_and_unchanged(full, node, patient, tmp_path):
    told = []
    assert node.retrieve(patient[1], tmp_path / "got", progress=told.append) == 8
    assert sorted(str(path.relative_to(tmp_path / "got")) for path in (tmp_path / "got").rglob("*.dcm")) == [
        f"{series:02d}/{index:04d}.dcm" for series in (1, 2) for index in (1, 2, 3, 4)]
    assert told == [count / 8 for count in range(1, 9)]
    sent = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, patient[0])}
    for path in (tmp_path / "got").rglob("*.dcm"):
        got = pydicom.dcmread(path)
        was = sent.pop(got.SOPInstanceUID)
        del was[0xFFFCFFFC]  # padding, which no transfer carries
        assert got == was
    assert sent == {}


def test_only_the_modality_asked_for_comes(full, node, patient, tmp_path):
    with pytest.raises(PacsError, match="no CT series"):
        node.retrieve(patient[1], tmp_path / "got", modality="CT")
    assert node.retrieve(patient[1], tmp_path / "got", modality="MR") == 8


def test_compressed_images_come_as_they_are_kept(orthanc, node, patient, tmp_path):
    from pydicom.uid import RLELossless

    for file in patient[0]:
        ds = pydicom.dcmread(file)
        ds.compress(RLELossless)
        ds.save_as(file)
    node.store(patient[0])
    node.retrieve(patient[1], tmp_path / "got")
    assert {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in (tmp_path / "got").rglob("*.dcm")} == {RLELossless}


def test_a_study_that_is_not_there_is_said_so(orthanc, node, tmp_path):
    with pytest.raises(PacsError, match="no series of that study"):
        node.retrieve("1.2.3", tmp_path / "got")


def test_an_image_that_the_archive_lists_and_cannot_give_is_noticed(full, node, patient, tmp_path):
    last = pydicom.dcmread(patient[0][-1])
    found = full.rest("/tools/lookup", "POST", last.SOPInstanceUID)
    uuid = full.rest(f"{found[0]['Path']}/attachments/dicom/info")["Uuid"]
    image = full.log.parent / "storage" / uuid[:2] / uuid[2:4] / uuid
    with pytest.raises(PartialRetrieve, match=r"Only [47] of 8 images came from archive"):
        node.retrieve(patient[1], tmp_path / "got", progress=lambda done: image.unlink(missing_ok=True))


def test_a_cancel_stops_between_images(full, node, patient, tmp_path):
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        node.retrieve(patient[1], tmp_path / "got", progress=lambda done: cancel.set(), cancel=cancel)
    with pytest.raises(Cancelled):
        node.store(patient[0], progress=lambda done: None, cancel=cancel)
    full.rest("/system")  # and it still answers


def through_a_proxy(orthanc, way, breaking_proxy):
    proxy = breaking_proxy(orthanc.http_port if way == "web" else orthanc.dicom_port)
    change = {"url": f"http://127.0.0.1:{proxy.port}/dicom-web"} if way == "web" else {"port": proxy.port}
    return proxy, open_node(settings(orthanc, way, **change))


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_breaks_is_made_again_and_the_study_is_whole(full, way, patient, tmp_path, breaking_proxy):
    proxy, node = through_a_proxy(full, way, breaking_proxy)
    assert node.retrieve(patient[1], tmp_path / "got", progress=lambda done: proxy.cut() if done in (0.25, 0.75) else None) == 8
    assert proxy.broken == 2


@pytest.mark.parametrize("way", ["get", "web"])
def test_files_sent_over_a_breaking_connection_arrive(orthanc, way, patient, breaking_proxy):
    proxy, node = through_a_proxy(orthanc, way, breaking_proxy)
    node.store(patient[0], progress=lambda done: proxy.cut() if done in (0.25, 0.75) else None)
    assert orthanc.rest("/statistics")["CountInstances"] == 8
    assert proxy.broken == 2


@pytest.mark.parametrize("way", ["get", "web"])
def test_a_connection_that_always_breaks_is_given_up(orthanc, way, patient, breaking_proxy):
    proxy, node = through_a_proxy(orthanc, way, breaking_proxy)
    for _ in range(100):
        proxy.cut()
    with pytest.raises(ConnectionLost):
        node.store(patient[0])
    assert proxy.broken >= 3


@pytest.mark.parametrize("way", WAYS)
def test_a_port_where_nobody_listens_is_said_so(orthanc, way):
    port = free_port()
    change = {"url": f"http://127.0.0.1:{port}/dicom-web"} if way == "web" else {"port": port}
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        open_node(settings(orthanc, way, **change)).echo()


@pytest.mark.parametrize("way", WAYS)
def test_a_peer_that_says_nothing_does_not_hang_us(orthanc, way, silent_port):
    change = {"url": f"http://127.0.0.1:{silent_port}/dicom-web"} if way == "web" else {"port": silent_port}
    with pytest.raises(ConnectionLost):
        open_node(settings(orthanc, way, timeout_s=0.2, **change)).echo()


def test_an_unregistered_application_entity_is_told_what_to_ask_for(orthanc):
    with pytest.raises(PacsError, match="register STRANGER"):
        open_node(settings(orthanc, "get", our_ae="STRANGER")).find(Query(study_uid="1.2.3"))


def test_a_wrong_ae_title_of_the_archive_is_told(orthanc):
    with pytest.raises(PacsError, match="refuses"):
        open_node(settings(orthanc, "get", ae_title="OTHER")).echo()


def test_a_wrong_password_is_told_without_showing_it(orthanc):
    with pytest.raises(PacsError, match="does not let us in") as stop:
        open_node(settings(orthanc, "web", password="hunter2")).echo()
    assert "hunter2" not in repr(stop.value)


def test_a_wrong_address_of_the_web_service_is_told(orthanc):
    with pytest.raises(PacsError, match="nothing at that address"):
        open_node(settings(orthanc, "web", url=f"http://127.0.0.1:{orthanc.http_port}/dicomweb")).echo()


def test_a_move_to_a_port_the_archive_does_not_know_is_noticed(full, patient, tmp_path):
    with pytest.raises(PacsError):
        open_node(settings(full, "move", store_port=free_port())).retrieve(patient[1], tmp_path / "got")
    assert not list(tmp_path.rglob("got/**/*.dcm"))


def test_a_taken_port_is_told(full, patient, tmp_path):
    with pytest.raises(PacsError, match="cannot be listened on"):
        open_node(settings(full, "move", store_port=full.http_port)).retrieve(patient[1], tmp_path / "got")
