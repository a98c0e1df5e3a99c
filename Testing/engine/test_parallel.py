import threading

import pytest

from braintumorseg.parallel import at_once


def test_results_come_in_the_order_of_the_items_and_all_run_at_the_same_time():
    everyone = threading.Barrier(4, timeout=10)

    def work(item):
        everyone.wait()  # goes on only when four threads are here
        return item * item

    assert at_once(work, [3, 1, 2, 5]) == [9, 1, 4, 25]


def test_what_one_of_them_raises_is_raised():
    def work(item):
        if item == 2:
            raise ValueError("two")
        return item

    with pytest.raises(ValueError, match="two"):
        at_once(work, [1, 2, 3])


def test_one_item_needs_no_thread_and_no_item_no_work():
    assert at_once(lambda item: threading.current_thread(), [0]) == [threading.current_thread()]
    assert at_once(len, []) == []
