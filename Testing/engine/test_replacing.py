import os
from pathlib import Path

import pytest

from braintumorseg.errors import OutputError
from braintumorseg.io import replacing as module
from braintumorseg.io.atomic import output_folder
from braintumorseg.io.replacing import put, replacing
from braintumorseg.model_card import read_card, write_card


@pytest.fixture
def held(monkeypatch):
    """As on Windows while another program looks at a new file: the first two renames are refused; says how many were tried."""
    tried = []

    def refuse(source, target):
        tried.append(Path(target).name)
        if len(tried) <= 2:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process", str(source))
        return rename(source, target)

    rename = os.replace
    monkeypatch.setattr(module.os, "replace", refuse)
    monkeypatch.setattr(module, "_HELD_FOR_S", 5.0)
    return tried


def test_what_a_scanner_holds_for_a_moment_is_put_in_place_all_the_same(tmp_path, held):
    with output_folder(tmp_path / "out") as folder:
        (folder / "report.json").write_text("{}")
    assert (tmp_path / "out" / "report.json").read_text() == "{}"
    assert len(held) == 3


def test_what_stays_held_is_refused_after_some_seconds(tmp_path, held, monkeypatch):
    monkeypatch.setattr(module, "_HELD_FOR_S", 0.01)
    (tmp_path / "a").write_text("new")
    with pytest.raises(PermissionError):
        put(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_text() == "new"


def test_a_block_that_raises_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        assert partial.name.endswith(".nii.gz")
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.nii.gz"]


def test_what_was_there_is_kept_under_another_name_when_asked(tmp_path):
    path = tmp_path / "new.pt"
    for text in ("first", "second"):
        with replacing(path, tmp_path / "before.pt") as partial:
            partial.write_text(text)
    assert (path.read_text(), (tmp_path / "before.pt").read_text()) == ("second", "first")


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no limit of a file's size")
def test_a_full_disk_costs_no_card(tmp_path):
    import resource
    import signal

    from braintumorseg import load_model

    card, path = load_model("glioma").card, tmp_path / "mine.json"
    write_card(card, path)
    limits, signals = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"mine\.json cannot be written"):
            write_card(card, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, signals)
    assert read_card(path) == card
    assert [one.name for one in tmp_path.iterdir()] == ["mine.json"]
