from braintumorseg_training.run_log import LOG, append_row, cut_log, read_log


def test_what_a_run_writes_again_after_it_is_taken_up_is_cut_and_half_a_row_too(tmp_path):
    for step in (1, 2, 3):
        append_row(tmp_path, ("WT",), {"step": step, "loss": 0.5, "rate": "1e-3"})
        append_row(tmp_path, ("WT",), {"step": step, "dice_WT": 0.7})
    with (tmp_path / LOG).open("a") as file:
        file.write("4,0.")
    cut_log(tmp_path, ("WT",), step=3, validated=2)      # it was killed while it validated step 3
    assert [(row["step"], row["loss"], row["dice_WT"]) for row in read_log(tmp_path)] == [
        ("1", "0.5", ""), ("1", "", "0.7"), ("2", "0.5", ""), ("2", "", "0.7"), ("3", "0.5", "")]
    append_row(tmp_path, ("WT",), {"step": 4, "loss": 0.4, "rate": "1e-3"})
    assert [row["step"] for row in read_log(tmp_path)][-1] == "4"
    cut_log(tmp_path, ("WT",), step=0, validated=0)      # killed before its first checkpoint
    assert (tmp_path / LOG).read_text().splitlines() == ["step,loss,rate,dice_WT"]


def test_a_run_without_a_log_has_no_rows(tmp_path):
    cut_log(tmp_path, ("WT",), step=1, validated=0)
    assert read_log(tmp_path) == []
