import pytest
from fakes import FakeProcess

from BrainTumorSegLib.run_queue import RunQueue


class Queue:
    def __init__(self):
        self.children, self.outcomes = [], {}
        self.queue = RunQueue(make_process=self._make)

    def _make(self, *callbacks):
        self.children.append(FakeProcess(*callbacks))
        return self.children[-1]

    def add(self, label):
        return self.queue.add(["python"], {}, on_finished=lambda outcome: self.outcomes.__setitem__(label, outcome))


@pytest.fixture
def three():
    queue = Queue()
    queue.runs = [queue.add(label) for label in "abc"]
    return queue


def started(queue):
    return [child.calls[:1] == ["start"] for child in queue.children]


def test_one_runs_and_the_others_wait(three):
    assert list(three.queue.waiting) == three.runs[1:]
    assert [child.calls for child in three.children] == [["start"], [], []]
    assert [run.running for run in three.runs] == [True, False, False]


def test_the_next_starts_when_one_ends_however_it_ends(three):
    three.children[0].end(None, "crashed")
    assert started(three) == [True, True, False]
    three.children[1].end(0, "")
    assert started(three) == [True, True, True]
    three.children[2].end(0, "")
    assert three.queue.waiting == ()
    assert list(three.outcomes) == ["a", "b", "c"]


def test_a_waiting_run_that_is_cancelled_never_starts(three):
    three.runs[1].cancel()
    assert three.outcomes["b"].cancelled
    three.children[0].end(0, "")
    assert started(three) == [True, False, True]


def test_cancel_all_ends_everything_and_starts_nothing(three):
    three.queue.cancel_all()
    assert three.queue.waiting == ()
    assert three.children[0].calls == ["start", "close_stdin"]
    three.children[0].end(130, "")
    assert all(three.outcomes[label].cancelled for label in "abc")
    assert [child.calls for child in three.children[1:]] == [[], []]
    assert not any(run.running for run in three.runs)


def test_cancel_all_starts_nothing_even_if_the_child_ends_at_once(three):
    three.children[0].close_stdin = lambda: three.children[0].end(130, "")
    three.queue.cancel_all()
    assert [child.calls for child in three.children[1:]] == [[], []]
    assert not any(run.running for run in three.runs)


def test_an_error_of_the_panel_does_not_stop_the_queue():
    queue = Queue()

    def breaks(outcome):
        raise ValueError("the panel")

    queue.queue.add(["python"], {}, on_finished=breaks)
    queue.add("b")
    with pytest.raises(ValueError, match="panel"):
        queue.children[0].end(0, "")
    assert started(queue) == [True, True]


def test_a_queue_that_closes_ends_what_waits_first_and_starts_nothing_when_the_current_one_ends(three):
    three.queue.close()
    assert list(three.outcomes) == ["b", "c"]
    assert three.children[0].calls == ["start", "close_stdin"]
    three.children[0].end(None, "quit")
    assert all(three.outcomes[label].cancelled for label in "abc")
    assert [child.calls for child in three.children[1:]] == [[], []]


def test_what_joins_a_closed_queue_is_cancelled(three):
    three.queue.close()
    three.children[0].end(None, "quit")
    run = three.add("late")
    assert three.outcomes["late"].cancelled
    assert not run.running
    assert three.children[-1].calls == []
