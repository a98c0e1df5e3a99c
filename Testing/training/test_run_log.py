from pathlib import Path

from braintumorseg_training.run_log import LOG, RunLog, cut_log, read_log


def test_what_a_run_writes_again_after_it_is_taken_up_is_cut_and_half_a_row_too(tmp_path):
    log = RunLog(tmp_path, ("WT",), print)
    for step in (1, 2, 3):
        log.add({"step": step, "loss": 0.5, "rate": "1e-3"})
        log.add({"step": step, "dice_WT": 0.7})
    with (tmp_path / LOG).open("a") as file:
        file.write("4,0.")
    cut_log(tmp_path, ("WT",), step=3, validated=2)      # it was killed while it validated step 3
    assert [(row["step"], row["loss"], row["dice_WT"]) for row in read_log(tmp_path)] == [
        ("1", "0.5", ""), ("1", "", "0.7"), ("2", "0.5", ""), ("2", "", "0.7"), ("3", "0.5", "")]
    log.add({"step": 4, "loss": 0.4, "rate": "1e-3"})
    assert [row["step"] for row in read_log(tmp_path)][-1] == "4"
    cut_log(tmp_path, ("WT",), step=0, validated=0)      # killed before its first checkpoint
    assert (tmp_path / LOG).read_text().splitlines() == ["step,loss,rate,dice_WT"]


def test_a_run_without_a_log_has_no_rows(tmp_path):
    cut_log(tmp_path, ("WT",), step=1, validated=0)
    assert read_log(tmp_path) == []


def test_rows_that_cannot_be_written_while_another_program_holds_the_log_wait_and_that_is_said_once(tmp_path, monkeypatch):
    said, held = [], Path.open
    log = RunLog(tmp_path, ("WT",), said.append)

    def refuse(path, *given, **more):
        raise PermissionError(13, "Permission denied")

    log.add({"step": 1, "loss": 0.5})
    monkeypatch.setattr(Path, "open", refuse)
    log.add({"step": 2, "loss": 0.4})
    log.add({"step": 2, "dice_WT": 0.7})
    assert [line.startswith("log.csv cannot be written (Permission denied)") for line in said] == [True]
    monkeypatch.setattr(Path, "open", held)
    log.add({"step": 3, "loss": 0.3})
    assert [(row["step"], row["loss"], row["dice_WT"]) for row in read_log(tmp_path)] == [
        ("1", "0.5", ""), ("2", "0.4", ""), ("2", "", "0.7"), ("3", "0.3", "")]
    log.close()
    assert len(said) == 1
    monkeypatch.setattr(Path, "open", refuse)
    log.add({"step": 4, "loss": 0.3})
    log.close()
    assert said[1:] == ["log.csv could not be written to the end: 1 row is lost."]


def test_a_log_that_a_spreadsheet_has_saved_is_read_with_its_byte_order_mark(tmp_path):
    (tmp_path / LOG).write_text("step,loss,rate\n1,0.5,1e-3\n", encoding="utf-8-sig")
    assert [row["step"] for row in read_log(tmp_path)] == ["1"]
