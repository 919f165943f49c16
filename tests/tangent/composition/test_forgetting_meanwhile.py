"""Forgetting while another thread composes: nobody waits, no byte is wrong, nothing comes back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tangent.composition.incremental import IncrementalComposition
from tests.support.models import delta_bytes, space
from tests.support.saved_components import HeldUpComponents, SavedComponents

SECONDS = 30
SCOPES = {"head": "joint", "last-block": "average"}
rules = pytest.mark.parametrize(("scope", "rule"), SCOPES.items(), ids=SCOPES.values())


def forgotten_meanwhile(files, incremental, chosen, rule, held_up, forget) -> bytes:
    """Compose; while `held_up` is read, call `forget`. Return the delta's bytes."""
    files.hold_up(held_up)
    with ThreadPoolExecutor(1) as thread:
        parts, where = files.parts(chosen, rule), space("mini", files.scope)
        composing = thread.submit(incremental.compose, where, parts, rule)
        try:
            assert files.begun.wait(SECONDS)
            forget()
            assert not composing.done()
        finally:
            files.go.set()
        return delta_bytes(composing.result(SECONDS))


@rules
@pytest.mark.parametrize("before", [[], [0, 1, 2]], ids=["from nothing", "from other sums"])
def test_what_is_forgotten_while_it_is_composed_is_not_kept(scope, rule, before, tmp_path):
    files = HeldUpComponents(scope, tmp_path)
    incremental = IncrementalComposition(files.load)
    if before:
        incremental.compose(space("mini", scope), files.parts(before, rule), rule)
    gone = [files.sources[1].sha256]
    made = forgotten_meanwhile(
        files, incremental, [0, 1, 2, 3], rule, "3", lambda: incremental.forget(gone)
    )
    assert made == files.fresh([0, 1, 2, 3], rule)
    assert not incremental.holds(gone)


@rules
def test_sums_of_others_are_kept_although_one_is_forgotten_meanwhile(scope, rule, tmp_path):
    files = HeldUpComponents(scope, tmp_path)
    incremental = IncrementalComposition(files.load)
    gone = [files.sources[1].sha256]
    forgotten_meanwhile(files, incremental, [0, 2, 3], rule, "3", lambda: incremental.forget(gone))
    files.read.clear()
    found = incremental.compose(space("mini", scope), files.parts([0, 2, 3], rule), rule)
    assert files.read == []
    assert delta_bytes(found) == files.fresh([0, 2, 3], rule)


@rules
def test_what_a_composition_takes_out_may_be_forgotten_and_deleted_meanwhile(scope, rule, tmp_path):
    files = HeldUpComponents(scope, tmp_path)
    incremental = IncrementalComposition(files.load)
    incremental.compose(space("mini", scope), files.parts([0, 1, 2], rule), rule)

    def delete():
        incremental.forget([files.sources[1].sha256])
        (tmp_path / "1").unlink()

    made = forgotten_meanwhile(files, incremental, [0, 2, 3], rule, "3", delete)
    assert made == files.fresh([0, 2, 3], rule)
    assert not incremental.holds([files.sources[1].sha256])


def test_what_is_cleared_while_it_is_composed_is_not_kept(tmp_path):
    files = HeldUpComponents("head", tmp_path)
    incremental = IncrementalComposition(files.load)
    made = forgotten_meanwhile(files, incremental, [0, 1, 2], "joint", "2", incremental.clear)
    assert made == files.fresh([0, 1, 2], "joint")
    assert not incremental.holds([each.sha256 for each in files.sources])


@rules
def test_threads_that_forget_at_any_moment_change_no_byte(scope, rule, tmp_path):
    files, chance = SavedComponents(scope, tmp_path), Random(0)
    incremental, where = IncrementalComposition(files.load), space("mini", scope)
    choices = [chance.sample(range(4), chance.choice([3, 4])) for _ in range(40)]
    expected = {tuple(each): files.fresh(each, rule) for each in choices}
    is_over = threading.Event()

    def forget(seed):
        mine, count = Random(seed), 0
        while not is_over.is_set():
            incremental.forget([files.sources[mine.randrange(4)].sha256])
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        forgetting = [threads.submit(forget, seed) for seed in range(2)]
        try:
            for each in choices:
                found = incremental.compose(where, files.parts(each, rule), rule)
                assert delta_bytes(found) == expected[tuple(each)]
        finally:
            is_over.set()
        assert all(each.result(SECONDS) for each in forgetting)
    incremental.forget([each.sha256 for each in files.sources])
    assert not incremental.holds([each.sha256 for each in files.sources])
