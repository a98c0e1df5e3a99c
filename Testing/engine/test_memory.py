"""What a run may take, of a machine and of the groups that a container or a batch job puts it in (made-up proc and sys)."""

from types import SimpleNamespace

import psutil
import pytest

from braintumorseg.memory import free_bytes, granted_bytes

GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A root with 16 GB, 8 of them free; write with `machine(path, text)`."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GB, total=16 * GB))

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{text}\n")

    return SimpleNamespace(root=tmp_path, write=write)


def unified(machine, group, limit, taken, inactive=0, active=0):
    folder = f"sys/fs/cgroup/{group}"
    machine.write(f"{folder}/memory.max", limit)
    machine.write(f"{folder}/memory.current", taken)
    machine.write(f"{folder}/memory.stat", f"anon 5\ninactive_file {inactive}\nactive_file {active}")


def legacy(machine, group, limit, taken, inactive=0, active=0):
    folder = f"sys/fs/cgroup/memory/{group}"
    machine.write(f"{folder}/memory.limit_in_bytes", limit)
    machine.write(f"{folder}/memory.usage_in_bytes", taken)
    machine.write(f"{folder}/memory.stat", f"inactive_file 1\ntotal_inactive_file {inactive}\ntotal_active_file {active}")


def test_without_groups_it_is_what_the_machine_has_free(machine):
    assert free_bytes(machine.root) == 8 * GB
    assert granted_bytes(machine.root) == 16 * GB


def test_a_container_leaves_its_limit_less_what_it_has_and_files_pages_can_go(machine):
    machine.write("proc/self/cgroup", "0::/")
    unified(machine, "", 2 * GB, int(1.5 * GB), GB // 4, 3 * GB // 4)
    assert free_bytes(machine.root) == 1.5 * GB


def test_a_batch_job_is_held_by_the_group_around_its_step(machine):
    machine.write("proc/self/cgroup", "0::/slurm/job_1/step_0")
    unified(machine, "slurm/job_1/step_0", "max", GB)
    unified(machine, "slurm/job_1", 4 * GB, GB)
    unified(machine, "slurm", 16 * GB, GB)
    assert free_bytes(machine.root) == 3 * GB
    assert granted_bytes(machine.root) == 4 * GB


@pytest.mark.parametrize("group", ["docker/0123", "of/the/host"])
def test_in_groups_of_version_1_too_where_a_container_sees_its_own_as_the_outermost(machine, group):
    machine.write("proc/self/cgroup", f"3:cpu,cpuacct:/elsewhere\n2:memory:/{group}\n0::/")
    legacy(machine, "docker/0123" if group.startswith("docker") else "", 3 * GB, 2 * GB, GB // 4, GB // 4)
    machine.write("sys/fs/cgroup/memory/elsewhere/memory.limit_in_bytes", 1)   # of another controller: not ours
    assert free_bytes(machine.root) == 1.5 * GB


def test_a_group_without_a_limit_and_one_that_has_more_than_the_machine_change_nothing(machine):
    machine.write("proc/self/cgroup", "2:memory:/a\n0::/b")
    legacy(machine, "a", 9223372036854771712, GB)
    unified(machine, "b", "max", GB)
    assert free_bytes(machine.root) == 8 * GB
    assert granted_bytes(machine.root) == 16 * GB


def test_a_group_that_has_more_than_its_limit_leaves_nothing(machine):
    machine.write("proc/self/cgroup", "0::/")
    unified(machine, "", GB, GB + 4096)
    assert free_bytes(machine.root) == 0


def test_this_machine_is_looked_at_without_error():
    assert 0 < free_bytes() <= granted_bytes() <= psutil.virtual_memory().total
