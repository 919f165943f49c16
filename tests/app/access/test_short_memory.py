"""A memory of what the database says: for a moment, and of a bounded number of names."""

from app.access.short_memory import ShortMemory
from tests.support.clocks import StandingClock


def test_a_value_is_kept_until_its_time_is_over():
    clock = StandingClock()
    memory = ShortMemory[str](clock)
    memory.keep("a", "x", memory.end_after(2.0))
    clock.time += 1.9
    assert memory.get("a") == "x" and memory.get("b") is None
    clock.time += 0.1
    assert memory.get("a") is None


def test_the_time_counts_from_before_the_reading():
    clock = StandingClock()
    memory = ShortMemory[str](clock)
    until = memory.end_after(2.0)
    clock.time += 3.0  # the database was slow
    memory.keep("a", "x", until)
    assert memory.get("a") is None


def test_the_oldest_goes_when_there_are_too_many():
    memory = ShortMemory[int](StandingClock(), most=3)
    for number in range(5):
        memory.keep(str(number), number, 1000.0)
    assert [memory.get(str(number)) for number in range(5)] == [None, None, 2, 3, 4]
    assert len(memory) == 3


def test_what_is_kept_again_is_the_newest():
    memory = ShortMemory[int](StandingClock(), most=2)
    for name in ("a", "b", "a", "c"):
        memory.keep(name, 1, 1000.0)
    assert memory.get("a") and memory.get("c") and memory.get("b") is None


def test_nothing_is_left_when_all_is_forgotten():
    memory = ShortMemory[int](StandingClock())
    memory.keep("a", 1, 1000.0)
    memory.forget()
    assert memory.get("a") is None
