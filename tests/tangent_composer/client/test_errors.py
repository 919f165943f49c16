"""Errors of the client travel: a copy, or what a worker process sends back, is the same error."""

import copy
import multiprocessing
import pickle

import pytest

from tangent_composer.client import errors

PROBLEM = {"code": "deleted", "detail": "it is gone", "receipt_id": "rcpt_1", "request_id": "r"}


def families(of: type[errors.TangentError]) -> list[type[errors.TangentError]]:
    return [of, *(each for below in of.__subclasses__() for each in families(below))]


def made(family: type[errors.TangentError]) -> errors.TangentError:
    if issubclass(family, errors.Refused):
        return family(410, PROBLEM)
    return family("no_images", "there are no images", "give some")


def raise_gone(_: int) -> None:
    raise errors.refusal(410, PROBLEM)


@pytest.mark.parametrize("family", families(errors.TangentError))
def test_an_error_is_the_same_after_a_copy_and_after_pickling(family):
    error = made(family)
    error.add_note("in the second folder")
    carried = [pickle.loads(pickle.dumps(error, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*carried, copy.copy(error), copy.deepcopy(error)):
        assert type(again) is family
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_a_refusal_in_a_worker_process_reaches_the_one_that_waits():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        waited = pool.map_async(raise_gone, [1])
        with pytest.raises(errors.Gone, match="it is gone") as caught:
            waited.get(timeout=120)
    assert (caught.value.status, caught.value.receipt_id) == (410, "rcpt_1")
