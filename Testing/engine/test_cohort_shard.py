"""Parts of a cohort that are begun at different times, of a folder that changes meanwhile."""

import json
import random
import shutil

import pytest

from braintumorseg.cohort_manifest import read_records
from braintumorseg.cohort_shard import Shard
from cohort_toys import command, lines_of, make_studies, run


@pytest.mark.parametrize(("studies", "shards"), [(24, 1), (24, 5), (3, 8), (0, 2), (1000, 7)])
def test_all_shards_together_have_each_study_once_in_parts_that_are_equal_by_and_large(studies, shards):
    names = [f"case{number}" for number in range(studies)]
    parts = [Shard(index, shards).of(random.Random(index).sample(names, studies), by=str) for index in range(1, shards + 1)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) <= 1.4 * studies / shards or studies < 100


def test_a_study_stays_in_its_part_whatever_others_come_and_go():
    names = [f"case{number}" for number in range(40)]
    for index in (1, 2, 3):
        before = Shard(index, 3).of(names, by=str)
        assert Shard(index, 3).of(["aaa", "case", *names[::2]], by=str) == [
            name for name in Shard(index, 3).of(["aaa", "case", *names], by=str) if name in names[::2] or name not in names]
        assert set(before) >= set(Shard(index, 3).of(names[::2], by=str))


def test_a_name_that_disks_spell_in_two_ways_is_in_one_part_and_any_name_is_in_some():
    for index in range(1, 6):
        assert len(Shard(index, 5).of(["M\u00fcller", "Mu\u0308ller"], by=str)) in (0, 2)
    assert sum(len(Shard(index, 5).of(["\udcff"], by=str)) for index in range(1, 6)) == 1


@pytest.mark.parametrize(("index", "count"), [(0, 3), (4, 3), (1, 0), (-1, 1)])
def test_there_is_no_part_beyond_the_last(index, count):
    with pytest.raises(ValueError, match="no part"):
        Shard(index, count)


FIRST = ["s0", "s1", "s2", "s3"]


def halves(names):
    return [Shard(index, 2).of(names, by=str) for index in (1, 2)]


def shard(capsys, studies, out, model, index, *more):
    return run(capsys, *command(studies, out, model, "--shard", f"{index}/2", *more))


def test_a_folder_that_grows_between_two_shards_is_done_whole_and_what_is_not_begun_is_told(toy_study, toy_model, tmp_path, capsys):
    studies, out = make_studies(tmp_path / "in", toy_study, FIRST), tmp_path / "out"
    mine, theirs = halves(FIRST)
    assert mine and theirs
    code, text, _ = shard(capsys, studies, out, toy_model, 1)
    assert code == 0
    assert f"{len(mine)} of {len(mine)} studies are done" in text and f"{len(theirs)} of the whole cohort's 4 studies are not begun" in text
    for name in ("a1", "a2", "a3"):   # before all others, in both parts
        shutil.copytree(studies / "s0", studies / name)
    late, others = halves(["a1", "a2", "a3"])
    assert late and others
    code, text, _ = shard(capsys, studies, out, toy_model, 2, "--json")
    assert code == 0
    assert {line["id"] for line in lines_of(out, "done")} == {*FIRST, *others}
    assert json.loads(text.splitlines()[-1])["not_begun"] == len(late)
    code, text, _ = run(capsys, "cohort", "--summary", out)
    assert (code, f"{7 - len(late)} of 7 studies are done" in text) == (0, True)
    assert (out / "cohort.csv").read_text(encoding="utf-8").count("listed") == len(late)
    assert shard(capsys, studies, out, toy_model, 1)[0] == 0
    assert sorted(line["id"] for line in lines_of(out, "done")) == ["a1", "a2", "a3", *FIRST]   # each once
    assert {record.state for record in read_records(out).values()} == {"done"}
    assert sorted(record.number for record in read_records(out).values()) == [1, 2, 3, 4, 5, 6, 7]


def test_a_cohort_that_was_dealt_by_position_is_ended_without_doing_a_study_twice(toy_study, toy_model, tmp_path, capsys):
    """As versions before did: every second one."""
    studies, out = make_studies(tmp_path / "in", toy_study, FIRST), tmp_path / "out"
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    whole = (out / "manifest.jsonl").read_text().splitlines()
    dealt = FIRST[::2]
    assert sorted(map(sorted, halves(FIRST))) != sorted([dealt, FIRST[1::2]])
    header = {name: value for name, value in json.loads(whole[0]).items()} | {"shard": "1/2"}
    header["made"].pop("card")
    kept = [line for line in whole[1:] if json.loads(line).get("id") in dealt]
    (out / "manifest-1-of-2.jsonl").write_text("\n".join([json.dumps(header), *kept, ""]))
    (out / "manifest.jsonl").unlink()
    for index in (1, 2):
        assert shard(capsys, studies, out, toy_model, index)[0] == 0
    assert sorted(line["id"] for line in lines_of(out, "done")) == FIRST


def test_a_shard_without_a_study_ends_well(toy_study, toy_model, tmp_path, capsys):
    studies, out = make_studies(tmp_path / "in", toy_study, ["s0"]), tmp_path / "out"
    empty = next(index for index in (1, 2) if not Shard(index, 2).of(["s0"], by=str))
    code, text, err = shard(capsys, studies, out, toy_model, empty)
    assert (code, err) == (0, "")
    assert f"No study falls to part {empty}/2." in text and "1 of the whole cohort's 1 studies is not begun" in text
    assert shard(capsys, studies, out, toy_model, 3 - empty)[0] == 0
    assert len(lines_of(out, "done")) == 1


def test_a_forced_shard_can_be_gone_on_with_whatever_was_there_before(toy_study, toy_model, tmp_path, capsys):
    """One run over the whole, then shards with another option: as long as there is a manifest made otherwise, none could be continued."""
    studies, out = make_studies(tmp_path / "in", toy_study, FIRST), tmp_path / "out"
    assert run(capsys, *command(studies, out, toy_model))[0] == 0
    for index in (1, 2):
        code, _, err = shard(capsys, studies, out, toy_model, index, "--sr", "--force")
        assert (code, err) == (0, "")
        assert shard(capsys, studies, out, toy_model, index, "--sr")[0] == 0   # and goes on from there: nothing is left to do
    assert sorted(line["id"] for line in lines_of(out, "done")) == FIRST
    assert sorted(record.number for record in read_records(out).values()) == [1, 2, 3, 4]
    code, _, err = shard(capsys, studies, out, toy_model, 1)
    assert (code, "was begun with --sr" in err) == (1, True)
    assert shard(capsys, studies, out, toy_model, 1, "--force")[0] == 0
    assert shard(capsys, studies, out, toy_model, 1)[0] == 0                    # the other part was made otherwise
    mine, theirs = halves(FIRST)
    assert {name: record.state for name, record in read_records(out).items()} == {**dict.fromkeys(mine, "done"), **dict.fromkeys(theirs, "listed")}
