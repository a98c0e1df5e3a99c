import pytest

from braintumorseg.errors import OutputError
from braintumorseg.io import output_paths as module
from braintumorseg.io.output_paths import check_paths, output_paths


def ours(file):
    return file.name.startswith("ours")


def write(partials, text="new"):
    partials[0].write_text(text)
    partials[1].mkdir()
    (partials[1] / "ours.txt").write_text(text)


@pytest.fixture
def targets(tmp_path):
    return [tmp_path / "file.txt", tmp_path / "folder"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_a_folder_appear_together(targets, tmp_path):
    with output_paths(targets) as partials:
        write(partials)
        assert not any(target.exists() for target in targets)
    assert names(tmp_path) == ["file.txt", "folder"]
    assert targets[0].read_text() == "new"


def test_when_the_block_raises_nothing_is_left_and_what_was_there_stays(targets, tmp_path):
    targets[0].write_text("old")
    with pytest.raises(KeyboardInterrupt), output_paths(targets, force=True) as partials:
        write(partials)
        raise KeyboardInterrupt
    assert names(tmp_path) == ["file.txt"]
    assert targets[0].read_text() == "old"


def test_when_one_cannot_be_put_in_place_the_others_go_back(targets, tmp_path, monkeypatch):
    with output_paths(targets) as partials:
        write(partials, "old")
    move = module._move

    def fails_for_the_folder(path, to, moved):
        if to == targets[1]:
            raise PermissionError(13, "Permission denied")
        move(path, to, moved)

    monkeypatch.setattr(module, "_move", fails_for_the_folder)
    with pytest.raises(OutputError, match="Permission denied"), output_paths(targets, force=True, ours=ours) as partials:
        write(partials)
    assert names(tmp_path) == ["file.txt", "folder"]
    assert targets[0].read_text() == (targets[1] / "ours.txt").read_text() == "old"


def test_force_replaces_ours_and_nothing_else(targets, tmp_path):
    with output_paths(targets) as partials:
        write(partials, "old")
    with pytest.raises(OutputError, match="nothing is overwritten"), output_paths(targets, ours=ours):
        pass
    with output_paths(targets, force=True, ours=ours) as partials:
        write(partials)
    assert names(tmp_path) == ["file.txt", "folder"]
    assert (targets[1] / "ours.txt").read_text() == "new"
    (targets[1] / "theirs.txt").write_text("precious")
    with pytest.raises(OutputError, match="not results of ours"):
        check_paths(targets, force=True, ours=ours)
    assert (targets[1] / "theirs.txt").read_text() == "precious"


def test_an_output_that_is_not_written_leaves_what_was_there(targets):
    targets[0].write_text("old")
    with output_paths(targets, force=True) as partials:
        partials[1].mkdir()
    assert targets[0].read_text() == "old"
    assert targets[1].is_dir()


def test_a_missing_folder_and_one_path_twice_are_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="folder for x does not exist"):
        check_paths([tmp_path / "no" / "x"])
    with pytest.raises(OutputError, match="same path"):
        check_paths([tmp_path / "x", tmp_path / "x"])


def test_a_name_that_the_disk_does_not_take_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="its name is too long"):
        check_paths([tmp_path / ("x" * 300)])
