"""Archives that Orthanc cannot play: with TLS, with a server that counts wrong or answers nonsense."""

import shutil
import ssl
import subprocess

import pydicom
import pytest

from braintumorseg.errors import ConfigError, ConnectionLost, PacsError, PartialRetrieve
from braintumorseg.pacs import node as node_module
from braintumorseg.pacs.config import DimseSettings, Tls, WebSettings
from braintumorseg.pacs.node import Query, open_node
from made_up_patient import write_patient
from orthanc import free_port
from pacs_toys import IMAGE, SERIES, STUDY, as_json, in_envelope


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(node_module, "_FIRST_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities, and a certificate of each for 127.0.0.1: good.pem/key by ca.pem, other.pem/key by otherca.pem."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed (Debian: openssl)")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for ca, name in (("ca", "good"), ("otherca", "other")):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}", "-days", "2")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=127.0.0.1")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem",
                "-days", "2", "-extfile", "ext")
    return folder


@pytest.fixture
def tls_archive(certificates):
    """An archive that demands TLS with a certificate of ca.pem: (port, instances it holds by UID)."""
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import MRImageStorage, Verification

    held = {}

    def take(event):
        held[event.request.AffectedSOPInstanceUID] = event.encoded_dataset()
        return 0x0000

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    ae = AE(ae_title="TLS")
    ae.add_supported_context(Verification)
    ae.add_supported_context(MRImageStorage)
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_STORE, take)])
    yield port, held
    server.shutdown()


def over_tls(port, certificates, ca="ca", name="good", **more):
    tls = Tls(certificates / f"{ca}.pem", certificates / f"{name}.pem", certificates / f"{name}.key", **more)
    return open_node(DimseSettings("archive", "TLS", "127.0.0.1", port, timeout_s=5, tls=tls))


def test_with_the_right_certificates_images_are_stored_over_tls(tls_archive, certificates, tmp_path):
    port, held = tls_archive
    node = over_tls(port, certificates)
    node.echo()
    node.store(write_patient(tmp_path, series=1))
    assert len(held) == 4


@pytest.mark.parametrize("wrong", [{"ca": "otherca"}, {"name": "other"}, {"server_name": "pacs.example.org"}], ids=str)
def test_a_certificate_that_is_not_trusted_ends_the_connection(tls_archive, certificates, wrong):
    with pytest.raises(ConnectionLost, match="certificates"):
        over_tls(tls_archive[0], certificates, **wrong).echo()


def test_without_tls_a_tls_archive_is_not_reached(tls_archive):
    with pytest.raises(ConnectionLost, match="wants tls"):
        open_node(DimseSettings("archive", "TLS", "127.0.0.1", tls_archive[0], timeout_s=1)).echo()


def test_a_certificate_and_a_key_that_do_not_belong_together_are_refused(tls_archive, certificates):
    tls = Tls(certificates / "ca.pem", certificates / "good.pem", certificates / "other.key")
    with pytest.raises(ConfigError, match="do not belong together"):
        open_node(DimseSettings("archive", "TLS", "127.0.0.1", tls_archive[0], tls=tls)).echo()


def test_https_trusts_the_authority_of_the_settings_alone(web_server, certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    url = web_server(lambda request: as_json(), context)
    open_node(WebSettings("archive", url, ca=certificates / "ca.pem")).echo()
    for ca in (certificates / "otherca.pem", None):
        with pytest.raises(PacsError, match="not trusted"):
            open_node(WebSettings("archive", url, ca=ca)).echo()


def test_a_token_comes_from_a_command_and_is_sent(web_server):
    seen = []

    def answer(request):
        seen.append(request.headers["Authorization"])
        return as_json()

    url = web_server(answer)
    open_node(WebSettings("archive", url, token_command=("echo", "abc"))).echo()
    assert seen == ["Bearer abc"]
    with pytest.raises(ConfigError, match="token_command"):
        open_node(WebSettings("archive", url, token_command=("false",))).echo()


def test_pages_are_put_together_even_when_the_server_gives_less_than_asked_for(web_server):
    studies = [{STUDY: f"1.2.{n}"} for n in range(1, 8)]

    def answer(request):
        if "/series" in request.path:
            return as_json()
        offset = int(request.path.split("offset=")[1].split("&")[0])
        return as_json(*studies[offset:offset + 3])

    found = open_node(WebSettings("archive", web_server(answer))).find(Query(date_from="20200101"))
    assert {study.uid for study in found} == {f"1.2.{n}" for n in range(1, 8)}


def test_a_server_that_ignores_what_was_asked_shows_no_other_patient(web_server):
    def answer(request):
        return as_json() if "/series" in request.path else as_json({STUDY: "1.2.3", "00100020": "SOMEONE ELSE"})

    assert open_node(WebSettings("archive", web_server(answer))).find(Query(patient_id="QX-4711")) == []


def test_a_study_that_lists_fewer_images_than_the_archive_counts_is_not_whole(web_server, tmp_path):
    files = {str(pydicom.dcmread(file).SOPInstanceUID): file for file in write_patient(tmp_path / "in", series=1, slices=2)}
    study = str(pydicom.dcmread(next(iter(files.values()))).StudyInstanceUID)

    def answer(request):
        path = request.path.split("?")[0]
        if path.endswith("/series"):
            return as_json({SERIES: "1.2.3.4", "00080060": "MR", "00201209": 3})
        if path.endswith("/instances"):
            return as_json(*({IMAGE: uid} for uid in files))
        return in_envelope(files[path.rsplit("/", 1)[1]].read_bytes())

    with pytest.raises(PartialRetrieve, match="Only 2 of 3"):
        open_node(WebSettings("archive", web_server(answer))).retrieve(study, tmp_path / "out")


@pytest.mark.parametrize(("answer", "words"), [
    ((200, "text/html", b"<html>"), "DICOM JSON"), ((200, "application/json", b'{"a": 1}'), "DICOM JSON"),
    ((200, "application/json", b"[1]"), "DICOM JSON"), ((500, "text/plain", b"secret words"), "HTTP 500"),
    ((503, "text/plain", b""), "busy or down"), ((403, "text/plain", b""), "let us in"),
])
def test_an_answer_that_is_none_is_one_clear_line(web_server, answer, words):
    with pytest.raises(PacsError, match=words) as stop:
        open_node(WebSettings("archive", web_server(lambda request: answer))).find(Query(patient_id="QX-4711"))
    assert "QX-4711" not in str(stop.value)
    assert "secret words" not in str(stop.value)


@pytest.mark.parametrize("answer", [
    (409, "application/dicom+json", b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [290]}}]}}'),
    (202, "application/dicom+json", b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [290]}}]}}'),
    (409, "text/plain", b""),
])
def test_a_file_that_is_not_taken_is_said_so(web_server, answer, tmp_path):
    file = write_patient(tmp_path, series=1, slices=1)[0].rename(tmp_path / "seg.dcm")
    with pytest.raises(PacsError, match=r"did not take seg.dcm"):
        open_node(WebSettings("archive", web_server(lambda request: answer))).store([file])


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(PacsError, match=r"pip install .*pynetdicom requests"):
        open_node(DimseSettings("archive", "A", "127.0.0.1", 1))
