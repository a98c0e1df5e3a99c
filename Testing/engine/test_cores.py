"""How many cores a run may use, of a machine and of the groups that a container or a batch job puts it in (made-up proc and sys)."""

import os

import pytest

from braintumorseg import cohort_workers
from braintumorseg.cores import granted_cores


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine of 64 cores of which this process has 16."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_it_is_the_cores_that_a_batch_job_was_given_and_not_the_machines(root):
    assert granted_cores(root) == 16


def test_a_system_that_does_not_tell_gives_all(root, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert granted_cores(root) == 64


@pytest.mark.parametrize("limit, cores", [("400000 100000", 4), ("50000 100000", 1), ("max 100000", 16), ("9900000 100000", 16)])
def test_a_container_has_as_many_as_its_share_of_time_is_worth(root, limit, cores):
    write(root / "proc/self/cgroup", "0::/pod/one")
    write(root / "sys/fs/cgroup/pod/one/cpu.max", "max 100000")
    write(root / "sys/fs/cgroup/pod/cpu.max", limit)            # the group around it
    assert granted_cores(root) == cores


@pytest.mark.parametrize("quota, cores", [(300000, 3), (-1, 16)])
def test_in_groups_of_version_1_too(root, quota, cores):
    write(root / "proc/self/cgroup", "3:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123")
    write(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    write(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000)
    write(root / "sys/fs/cgroup/memory/cpu.cfs_quota_us", 100000)     # of another controller: not ours
    write(root / "sys/fs/cgroup/memory/cpu.cfs_period_us", 100000)
    assert granted_cores(root) == cores


def test_a_line_that_says_nothing_is_passed_over(root):
    write(root / "proc/self/cgroup", "\n4\n0::/pod\n\n")
    write(root / "sys/fs/cgroup/pod/cpu.max", "200000 100000")
    assert granted_cores(root) == 2


def test_a_cohort_has_half_of_them_in_work(monkeypatch):
    monkeypatch.setattr(cohort_workers, "free_bytes", lambda: 1e12)
    monkeypatch.setattr(cohort_workers, "granted_cores", lambda: 10)
    assert cohort_workers.at_once_here() == 5
