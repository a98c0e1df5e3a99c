import pytest
from fakes import FakeProcess

from BrainTumorSegLib.run_queue import RunQueue


class Queue:
    def __init__(self):
        self.children, self.outcomes, self.changes = [], {}, 0
        self.queue = RunQueue(self._changed, make_process=self._make)

    def _changed(self):
        self.changes += 1

    def _make(self, *callbacks):
        self.children.append(FakeProcess(*callbacks))
        return self.children[-1]

    def add(self, label):
        return self.queue.add(label, ["python"], {}, on_finished=lambda outcome: self.outcomes.__setitem__(label, outcome))


@pytest.fixture
def three():
    queue = Queue()
    queue.runs = [queue.add(label) for label in "abc"]
    return queue


def test_one_runs_and_the_others_wait(three):
    assert three.queue.current.label == "a"
    assert [run.label for run in three.queue.waiting] == ["b", "c"]
    assert [child.calls for child in three.children] == [["start"], [], []]
    assert [run.state for run in three.runs] == ["running", "waiting", "waiting"]


def test_the_next_starts_when_one_ends_however_it_ends(three):
    three.children[0].end(None, "crashed")
    assert three.queue.current.label == "b"
    three.children[1].end(0, "")
    assert three.queue.current.label == "c"
    three.children[2].end(0, "")
    assert not three.queue.busy
    assert list(three.outcomes) == ["a", "b", "c"]


def test_a_waiting_run_that_is_cancelled_never_starts(three):
    three.queue.cancel(three.runs[1])
    assert three.outcomes["b"].cancelled
    three.children[0].end(0, "")
    assert three.queue.current.label == "c"
    assert three.children[1].calls == []


def test_cancel_all_ends_everything_and_starts_nothing(three):
    three.queue.cancel_all()
    assert three.queue.waiting == ()
    assert three.children[0].calls == ["start", "close_stdin"]
    three.children[0].end(130, "")
    assert all(three.outcomes[label].cancelled for label in "abc")
    assert [child.calls for child in three.children[1:]] == [[], []]
    assert not three.queue.busy


def test_cancel_all_starts_nothing_even_if_the_child_ends_at_once(three):
    three.children[0].close_stdin = lambda: three.children[0].end(130, "")
    three.queue.cancel_all()
    assert [child.calls for child in three.children[1:]] == [[], []]
    assert not three.queue.busy


def test_an_error_of_the_panel_does_not_stop_the_queue():
    queue = Queue()

    def breaks(outcome):
        raise ValueError("the panel")

    queue.queue.add("a", ["python"], {}, on_finished=breaks)
    queue.add("b")
    with pytest.raises(ValueError, match="panel"):
        queue.children[0].end(0, "")
    assert queue.queue.current.label == "b"


def test_the_panel_hears_of_every_change(three):
    before = three.changes
    three.children[0].end(0, "")
    assert three.changes > before


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
    assert run.state == "ended"
    assert three.children[-1].calls == []
