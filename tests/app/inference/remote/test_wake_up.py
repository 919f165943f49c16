"""A wake-up call is heard once, whatever calls come before it is cleared."""

import os
import select
from threading import Thread

from app.inference.remote.connection import WakeUp


def is_called(wake_up: WakeUp) -> bool:
    return bool(select.select([wake_up.fd], [], [], 0)[0])


def test_calls_before_a_clearing_write_once():
    wake_up = WakeUp()
    assert not is_called(wake_up)
    wake_up.call()
    wake_up.call()
    assert is_called(wake_up)
    assert os.read(wake_up.fd, 10) == b"\0"
    wake_up.close()


def test_a_call_after_a_clearing_is_heard_again():
    wake_up = WakeUp()
    wake_up.call()
    wake_up.clear()
    assert not is_called(wake_up)
    wake_up.call()
    assert is_called(wake_up)
    wake_up.close()


def test_nothing_that_was_put_before_a_call_is_left_by_whoever_looks_after_a_clearing():
    wake_up, put, found = WakeUp(), list[int](), 0

    def work():
        for number in range(5000):
            put.append(number)
            wake_up.call()

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while found < 15000:
        assert select.select([wake_up.fd], [], [], 10)[0], "a call was not heard"
        wake_up.clear()
        found = len(put)
    for thread in threads:
        thread.join()
    wake_up.close()
