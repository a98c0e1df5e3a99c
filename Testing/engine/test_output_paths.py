import os
import stat

import pytest

from braintumorseg.errors import OutputError
from braintumorseg.io import output_paths as module
from braintumorseg.io.output_paths import check_paths, output_paths
from braintumorseg.io.owner import owner_mark


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


UNLINK = os.unlink


def test_an_old_file_that_is_read_only_is_deleted_as_windows_lets_it(targets, tmp_path, monkeypatch):
    def as_windows(path, *, dir_fd=None):
        if not os.stat(path, dir_fd=dir_fd).st_mode & stat.S_IWUSR:
            raise PermissionError(13, "Access is denied")
        UNLINK(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", as_windows)
    targets[0].write_text("old")
    targets[0].chmod(0o444)
    with output_paths(targets, force=True) as partials:
        write(partials)
    assert names(tmp_path) == ["file.txt", "folder"]
    assert targets[0].read_text() == "new"


def test_an_old_file_that_is_open_waits_for_the_next_run_to_remove_it(targets, tmp_path, monkeypatch):
    def open_in_a_viewer(path, *, dir_fd=None):
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")

    targets[0].write_text("old")
    with monkeypatch.context() as viewer, output_paths(targets[:1], force=True) as partials:
        partials[0].write_text("new")
        viewer.setattr(os, "unlink", open_in_a_viewer)
    assert targets[0].read_text() == "new"
    (left,) = (path for path in tmp_path.iterdir() if path != targets[0])
    left.rename(as_of_a_dead_process(left))
    targets[0].unlink()
    check_paths(targets)
    assert names(tmp_path) == []   # nor does the old one come back


@pytest.mark.parametrize("newer", [True, False])
def test_what_a_killed_run_left_is_put_in_order_by_the_next(targets, tmp_path, newer):
    for kind in ("partial", "aside"):
        stage = as_of_a_dead_process(tmp_path / f".braintumorseg.{kind}-{owner_mark()}-0123abcd")
        stage.mkdir()
        (stage / "file.txt").write_text(kind)
    live = tmp_path / f".braintumorseg.partial-{owner_mark()}-0123abcd"
    live.mkdir()
    if newer:
        targets[0].write_text("newer")
    check_paths(targets, force=True)
    assert names(tmp_path) == [live.name, "file.txt"]
    assert targets[0].read_text() == ("newer" if newer else "aside")


def as_of_a_dead_process(stage):
    return stage.with_name(stage.name.replace(f"-{os.getpid()}-", "-999999999-"))


def test_what_is_being_written_is_for_this_users_eyes_alone_and_what_is_written_is_as_umask_says(targets):
    with output_paths(targets) as partials:
        write(partials)
        assert {stat.S_IMODE(partial.parent.stat().st_mode) for partial in partials} == {0o700}
        mode = partials[0].stat().st_mode
    assert targets[0].stat().st_mode == mode
    assert stat.S_IMODE(mode) == 0o666 & ~umask()


def umask():
    now = os.umask(0)
    os.umask(now)
    return now
