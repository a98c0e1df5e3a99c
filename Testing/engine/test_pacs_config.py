"""The settings file: whatever is wrong in it is one clear line, and no secret lies open."""

import os
from pathlib import Path

import pytest

from braintumorseg.errors import ConfigError, MissingFile
from braintumorseg.pacs.config import DimseSettings, WebSettings, default_config, load_settings

DIMSE = '[hospital]\nkind = "dimse"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = 4242\n'
WEB = '[research]\nkind = "dicomweb"\nurl = "https://example.org/dicom-web"\n'
SECRET = WEB + 'user = "reader"\npassword = "hunter2"\n'


def load(folder, text, mode=0o600):
    path = folder / "pacs.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return load_settings(path)


def test_archives_are_read_with_their_defaults(tmp_path):
    settings = load(tmp_path, DIMSE + WEB)
    assert settings["hospital"] == DimseSettings("hospital", "ORTHANC", "127.0.0.1", 4242)
    assert settings["research"] == WebSettings("research", "https://example.org/dicom-web")


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "ca.pem").write_text("x")
    assert load(tmp_path, DIMSE + '[hospital.tls]\nca = "ca.pem"\n')["hospital"].tls.ca == tmp_path / "ca.pem"


@pytest.mark.parametrize(("text", "words"), [
    (DIMSE.replace("dimse", "dimsy"), 'kind must be "dimse" or "dicomweb"'),
    (DIMSE.replace("host", "hots"), "hots is not a setting here; host is"),
    (DIMSE.replace("port = 4242\n", ""), "port must be given"),
    (DIMSE.replace("4242", '"4242"'), "port must be a number"),
    (DIMSE.replace("4242", "true"), "port must be a number"),
    (DIMSE.replace("4242", "70000"), "1 to 65535"),
    (DIMSE.replace("ORTHANC", "A" * 17), "1 to 16 characters"),
    (DIMSE + 'retrieve = "move"\n', "store_port"),
    (DIMSE + "store_port = 11112\n", "store_port"),
    (DIMSE + 'retrieve = "take"\n', "get or move"),
    (DIMSE + '[hospital.tls]\nca = "nowhere.pem"\n', "not there"),
    (DIMSE + 'sends_from = ["10.0.0.7"]\n', "sends_from goes with"),
    (DIMSE + "timeout_s = 0\n", "timeout_s"),
    (WEB.replace("https://", "ftp://"), "https://"),
    (WEB.replace("https://", "https://me:pass@"), "must not hold a password"),
    (WEB + 'user = "reader"\n', "user and password go together"),
    (SECRET + 'token = "abc"\n', "one of"),
    (SECRET.replace("https://", "http://"), "could be read on the way"),
    (WEB + 'token_command = "pass show"\n', "list of words"),
    (WEB + 'token = "two words"\n', "printable ASCII"),
    (WEB + 'token = "TOK\u2026EN"\n', "printable ASCII"),
    (WEB + 'token = "TOK\\nEN"\n', "printable ASCII"),
    ("[[hospital]\n", "not valid TOML"),
    ("hospital = 3\n", "table"),
])
def test_a_contradiction_is_one_line_that_names_the_archive(tmp_path, text, words):
    with pytest.raises(ConfigError) as stop:
        load(tmp_path, text)
    assert words in str(stop.value)
    assert "pacs.toml" in str(stop.value)
    assert "\n" not in str(stop.value)
    assert "hunter2" not in str(stop.value)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_password_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path):
    assert load(tmp_path, SECRET)["research"].password == "hunter2"
    with pytest.raises(ConfigError, match=r"other users may read.*chmod 600 .*pacs.toml"):
        load(tmp_path, SECRET, 0o640)
    assert load(tmp_path, DIMSE, 0o644)  # nothing secret in it


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("mode", [0o666, 0o664, 0o602], ids=oct)
def test_settings_that_others_can_change_are_refused_though_nothing_in_them_is_secret(tmp_path, mode):
    with pytest.raises(ConfigError, match=r"where patients' images go, and other users may change it.*chmod go-w .*pacs.toml"):
        load(tmp_path, DIMSE, mode)


def test_settings_that_begin_with_a_byte_order_mark_are_read(tmp_path):
    assert list(load(tmp_path, "\ufeff" + DIMSE)) == ["hospital"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_private_key_that_others_can_read_is_refused(tmp_path):
    for name in ("ca.pem", "our.pem", "our.key"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    with pytest.raises(ConfigError, match=r"our.key holds a private key"):
        load(tmp_path, DIMSE + '[hospital.tls]\nca = "ca.pem"\ncertificate = "our.pem"\nkey = "our.key"\n', 0o644)


def test_a_password_is_not_shown_by_repr(tmp_path):
    assert "hunter2" not in repr(load(tmp_path, SECRET))


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINTUMORSEG_PACS", str(tmp_path / "mine.toml"))
    assert default_config() == tmp_path / "mine.toml"
    with pytest.raises(MissingFile, match=r"mine.toml"):
        load_settings()
    monkeypatch.delenv("BRAINTUMORSEG_PACS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_config() == Path(tmp_path) / "braintumorseg" / "pacs.toml"
