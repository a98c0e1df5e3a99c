"""The same work on a Ray cluster of two nodes, one worker and then one node of which are killed."""

import os
import signal

import pytest

from braintumorseg.cohort import run_cohort
from braintumorseg.cohort_list import list_folder
from braintumorseg.cohort_manifest import open_manifest
from braintumorseg.cohort_ray import ray_workers
from braintumorseg.cohort_workers import Options
from braintumorseg.errors import ModelError, ResourceError
from cohort_toys import command, lines_of, make_studies, run
from toys import make_toy_study

NAMES = [f"Doe^Jane {number}" for number in range(8)]
OPTIONS = {"registered": True, "stripped": True, "device": "cpu"}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each on this machine."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000})
    cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield cluster
    cluster.shutdown()


class Killer:
    """Kills, as the run goes on, first the process of a worker, then the second node, each while a study is in work there. `held`: what was
    ever handed to a worker that was killed; a study may still be, until its loss is known.
    """

    def __init__(self, cluster, workers):
        self.cluster, self.workers, self.killed, self.held = cluster, workers, [], set()
        self.second, self.submit = *cluster.worker_nodes, workers.submit
        workers.submit = self.watched

    def watched(self, entry):
        self.submit(entry)
        self.look()

    def look(self):
        self.held.update(entry.id for one in self.killed for entry in one.in_work.values())

    def __call__(self, update):
        if len(self.killed) == 0 and update.counts["finished"] >= 1:
            self.kill(next((one for one in self.workers._hired if one.in_work), None), self.kill_process)
        elif len(self.killed) == 1 and update.counts["finished"] >= 3:
            self.kill(next((one for one in self.workers._hired if one.in_work and one.node == self.second.node_id), None), self.remove_second)

    def kill(self, one, how):
        if one is not None:
            self.killed.append(one)
            self.look()
            how(one)

    def kill_process(self, one):
        import ray

        os.kill(ray.get(one.actor.pid.remote()), signal.SIGKILL)

    def remove_second(self, one):
        self.cluster.remove_node(self.second, allow_graceful=False)


def test_every_study_is_done_once_though_a_worker_and_a_node_are_killed(cluster, toy_model, tmp_path):
    make_studies(tmp_path / "in", make_toy_study((100, 110, 90)), NAMES)
    out, options = tmp_path / "out", Options(str(toy_model.weights), **OPTIONS)
    ended = []
    with open_manifest(out, options.made(toy_model)) as manifest, ray_workers(cluster.address, options, toy_model.card.sha256, out, 2) as workers:
        killer = Killer(cluster, workers)
        run_cohort(list_folder(tmp_path / "in"), workers, manifest, listener=killer, ended=ended.append)
    assert len(killer.killed) == 2
    assert sorted(line["id"] for line in lines_of(out, "done")) == NAMES      # each once
    assert sorted(record.id for record in ended) == NAMES
    assert lines_of(out, "failed") == []
    assert all((out / name / "report.json").is_file() for name in NAMES)
    begun = [line["id"] for line in lines_of(out, "begun")]
    assert {name for name in NAMES if begun.count(name) > 1} <= killer.held   # only those were begun again
    assert len(begun) > len(NAMES)


def test_the_command_works_on_a_cluster_and_nothing_of_a_name_is_in_rays_logs(cluster, toy_model, toy_study, tmp_path, capsys):
    import ray

    make_studies(tmp_path / "in", toy_study, NAMES[:2])
    code, text, err = run(capsys, *command(tmp_path / "in", tmp_path / "out", toy_model, "--ray", cluster.address, "--device", "cpu"))
    assert (code, err) == (0, "")
    assert "2 of 2 studies are done" in text
    assert not ray.is_initialized()
    logs = list((tmp_path.__class__(cluster.head_node.get_session_dir_path()) / "logs").rglob("*"))
    assert len(logs) > 5
    assert [path.name for path in logs if path.is_file() and b"Doe" in path.read_bytes()] == []


def test_a_node_with_another_network_ends_the_run_with_the_reason(cluster, toy_model, tmp_path):
    options = Options(str(toy_model.weights), **OPTIONS)
    with open_manifest(tmp_path / "out", {}) as manifest, ray_workers(cluster.address, options, "0" * 64, tmp_path / "out") as workers:
        (tmp_path / "in" / "a").mkdir(parents=True)
        with pytest.raises(ModelError, match="other weights for toy"):
            run_cohort(list_folder(tmp_path / "in"), workers, manifest)


def test_without_ray_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ResourceError, match=r"python -m pip install ray"), ray_workers("local", Options(), "", tmp_path):
        pass
