"""How the driver deals with workers that open, work and are lost; a stand-in for the package `ray` plays the cluster, without processes."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from braintumorseg import cohort_ray
from braintumorseg.cohort import MOST_DEATHS, run_cohort
from braintumorseg.cohort_list import Entry
from braintumorseg.cohort_manifest import open_manifest
from braintumorseg.cohort_ray import RayWorkers
from braintumorseg.cohort_workers import Options, Outcome
from braintumorseg.errors import ModelError, ResourceError
from cohort_toys import lines_of

DONE = Outcome("done", {"seconds": 1.0})


class RayError(Exception):
    pass


@dataclass(eq=False)
class Promise:
    actor: SimpleNamespace
    ask: Callable
    arguments: tuple = ()


class FakeRay:
    """Nodes by name with their cores and GPUs. `does` says what an actor on a node makes of a study; RayError: it is lost with all it has."""

    def __init__(self, nodes, does=lambda node, entry: DONE, opens=lambda node: None):
        self.alive, self.does, self.opens, self.hired, self.killed = dict(nodes), does, opens, [], []
        self.exceptions = SimpleNamespace(RayError=RayError)
        strategy = lambda node, soft: node   # noqa: E731
        self.util = SimpleNamespace(scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=strategy))

    def nodes(self):
        return [{"NodeID": name, "Alive": resources is not None, "Resources": resources or {}} for name, resources in self.alive.items()]

    def remote(self, kind):
        return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=lambda *arguments: self._hire(asked, arguments)))

    def _hire(self, asked, arguments):
        actor = SimpleNamespace(node=asked["scheduling_strategy"], asked=asked, options=arguments[0], lost=False)
        actor.open = SimpleNamespace(remote=lambda: Promise(actor, self.opens))
        actor.segment = SimpleNamespace(remote=lambda entry: Promise(actor, self.does, (entry,)))
        actor.stop = SimpleNamespace(remote=lambda: None)
        self.hired.append(actor)
        return actor

    def wait(self, promises, num_returns, timeout):
        return promises[:num_returns], promises[num_returns:]

    def get(self, promise):
        actor = promise.actor
        if not actor.lost:
            found = promise.ask(actor.node, *promise.arguments)
            actor.lost = found is RayError
        if actor.lost:
            raise RayError
        return found

    def kill(self, actor):
        self.killed.append(actor)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_ray.time, "sleep", lambda seconds: None)

    def run(ray, names="abcdef", at_once=2, **options):
        with open_manifest(tmp_path / "out", {}) as manifest:
            entries = [Entry(name, number=number) for number, name in enumerate(names, start=1)]
            run_cohort(entries, RayWorkers(ray, Options(**options), "", tmp_path / "out", at_once), manifest)
        return sorted(line["id"] for line in lines_of(tmp_path / "out", "done"))

    return run


def lost_once(*names):
    """Each of the studies `names` takes the first worker that has it with it."""
    left = list(names)

    def does(node, entry):
        if entry.id in left:
            left.remove(entry.id)
            return RayError
        return DONE

    return does


def test_what_a_lost_worker_had_in_work_is_done_by_the_others(run):
    ray = FakeRay({"one": {"CPU": 4}, "two": {"CPU": 4}}, lost_once("b"))
    assert run(ray) == list("abcdef")
    assert len(ray.killed) == len(ray.hired)   # the lost one, and at the end the others


def test_the_only_worker_that_is_lost_gets_a_successor(run):
    ray = FakeRay({"one": {"CPU": 4}}, lost_once("b", "d"))
    assert run(ray) == list("abcdef")
    assert len(ray.hired) == 3


def test_a_study_that_takes_every_worker_with_it_is_given_up_and_the_others_are_done(run, tmp_path):
    ray = FakeRay({"one": {"CPU": 4}}, lambda node, entry: RayError if entry.id == "c" else DONE)
    assert run(ray, at_once=1) == list("abdef")
    assert [line["id"] for line in lines_of(tmp_path / "out", "failed")] == ["c"]
    assert len(ray.hired) == MOST_DEATHS   # a lost study goes to the end of the queue: the others came first


def test_a_node_whose_workers_end_at_once_is_left_and_the_others_do_the_work(run):
    ray = FakeRay({"bad": {"CPU": 4}, "good": {"CPU": 4}}, lambda node, entry: DONE, opens=lambda node: RayError if node == "bad" else None)
    assert run(ray) == list("abcdef")


def test_where_no_node_can_work_the_run_ends_with_that(run):
    with pytest.raises(ResourceError, match="No node of the Ray cluster can work"):
        run(FakeRay({"bad": {"CPU": 4}}, opens=lambda node: RayError))


def test_a_dead_node_gets_no_worker_and_one_that_joins_does(run):
    def does(node, entry):
        ray.alive["late"] = {"CPU": 2}
        return lost(node, entry)

    lost = lost_once("a")
    ray = FakeRay({"dead": None, "one": {"CPU": 2}}, does)
    assert run(ray) == list("abcdef")
    assert {actor.node for actor in ray.hired} == {"one", "late"}


def test_what_is_wrong_with_a_node_ends_the_run(run):
    with pytest.raises(ModelError, match="other weights"):
        run(FakeRay({"one": {"CPU": 4}}, opens=lambda node: ModelError("A node has other weights.")))


@pytest.mark.parametrize(("resources", "options", "workers", "cpus", "gpus", "threads"), [
    ({"CPU": 16}, {}, 1, 16, 0, 16),
    ({"CPU": 16}, {"threads": 4}, 4, 4, 0, 4),
    ({"CPU": 16}, {"threads": 5}, 3, 5, 0, 5),
    ({"CPU": 16}, {"threads": 64}, 1, 16, 0, 16),
    ({"CPU": 16, "GPU": 2}, {"threads": 4}, 2, 8, 1, 4),
    ({"CPU": 16, "GPU": 2}, {"threads": 64}, 2, 8, 1, 16),
    ({"CPU": 16, "GPU": 2}, {}, 2, 8, 1, 8),
    ({"CPU": 16, "GPU": 2}, {"device": "cpu"}, 1, 16, 0, 16),
    ({"GPU": 2}, {"threads": 4}, 2, 0, 1, 4),
    ({}, {}, 0, None, None, None),
])
def test_a_node_has_a_worker_for_every_gpu_or_one_for_its_cores(tmp_path, resources, options, workers, cpus, gpus, threads):
    ray = FakeRay({"one": resources})
    RayWorkers(ray, Options(**options), "", tmp_path)
    assert [(actor.asked["num_cpus"], actor.asked["num_gpus"], actor.options.threads) for actor in ray.hired] == [(cpus, gpus, threads)] * workers
