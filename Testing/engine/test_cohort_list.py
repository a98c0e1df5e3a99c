import pytest

from braintumorseg.cohort_list import SYSTEM_NAMES, Entry, list_folder, read_list
from braintumorseg.errors import ConfigError, MissingFile


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a", ".hidden", "out"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "t1.nii.gz").write_bytes(b"12345")
    (tmp_path / "in" / "notes.txt").write_text("no study")
    return tmp_path / "in"


def table(tmp_path, text):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    return tmp_path / "list.csv"


def test_every_visible_folder_but_that_of_the_results_is_a_study(folder):
    assert [entry.id for entry in list_folder(folder, folder / "out")] == ["a", "b"]
    assert list_folder(folder)[0].paths == (folder / "a",)


def test_ids_that_only_begin_as_a_device_are_names_like_others(tmp_path):
    names = ["auxiliary", "com10", "console", "nul-1", "x.con"]
    assert [entry.id for entry in read_list(table(tmp_path, "id,path\n" + "".join(f"{name},x\n" for name in names)))] == names


def test_what_systems_leave_at_the_root_of_a_disk_is_no_study(folder):
    for name in ("$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle", "__MACOSX", "lost+found"):
        (folder / name).mkdir()
    assert [entry.id for entry in list_folder(folder)] == ["a", "b", "out"]
    assert all(name == name.lower() for name in SYSTEM_NAMES)


def test_a_folder_without_studies_or_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MissingFile, match="holds no folders"):
        list_folder(tmp_path)
    with pytest.raises(MissingFile, match="no folder of studies"):
        list_folder(tmp_path / "none")


def test_a_table_says_paths_and_roles_from_its_own_folder(tmp_path):
    rows = read_list(table(tmp_path, '\ufeffid,path,t1ce,study\nb,"one, two",4,2\na,,x/ce.nii.gz,\n'))
    assert rows[0] == Entry("a", (), {"t1ce": tmp_path / "x" / "ce.nii.gz"}, None)
    assert rows[1] == Entry("b", (tmp_path / "one, two",), {"t1ce": "4"}, 2)


@pytest.mark.parametrize(("text", "says"), [
    ("", "no column 'id'"),
    ("id,path\n", "lists no study"),
    ("id,pfad\na,x\n", "a column 'pfad'"),
    ("name,path\na,x\n", "a column 'name'"),
    ("id,path\na,x\nA,y\n", "Rows 1 and 2 of list.csv have one id"),
    ("id,path\n../a,x\n", "Row 1 of list.csv has an id that cannot name a folder"),
    ("id,path\n.a,x\n", "cannot name a folder"),
    *((f"id,path\n{name},x\n", "Row 1 of list.csv has an id that cannot name a folder")
      for name in ("case1.", "NUL", "aux", "com1.x", "LPT9", "con .txt", "COM²", "conin$")),
    ("id,path\nMüller,x\nMu\u0308ller,y\n", "Rows 1 and 2 of list.csv have one id"),
    ("id,path\n,x\n", "cannot name a folder"),
    ("id,path\na,\n", "neither a path nor a sequence"),
    ("id,path\na,x,y\n", "more values than there are columns"),
    ("id,path,study\na,x,two\n", "counts the DICOM studies"),
])
def test_what_is_wrong_with_a_table_is_said_with_its_row(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        read_list(table(tmp_path, text))


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(MissingFile):
        read_list(tmp_path / "none.csv")
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00id")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_list(tmp_path / "list.csv")


@pytest.mark.parametrize(("text", "words"), [("id,path,study\na,x,²\n", "counts the DICOM studies"), ("id,path,path\na,x,y\n", "two columns 'path'"),
                                             ("id,path\na,x\0y\n", "no path can have|cannot be read")])
def test_a_table_that_cannot_mean_what_it_says_is_one_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read_list(table(tmp_path, text))
