"""Promises of privacy on the command line: as the API has them, and none is dropped in silence."""

import json

import pytest

from tests.support.privacy import files_of, ledger

SETTINGS = {"api_key": "a key of these tests"}


def test_a_budget_and_a_promise_about_groups_are_those_of_the_api(service, tangent, tmp_path):
    for name, data in files_of({"a": 3, "b": 2}).items():
        (tmp_path / name).write_bytes(data)
    budget = ("--budget-epsilon", 4, "--budget-unit", "group")
    status, out, told = tangent("upload", tmp_path, *budget, "--json")
    assert status == 0, told
    dataset = json.loads(out)["id"]
    found = ledger(service, dataset)
    assert (found["unit"], found["budget"]["epsilon"]) == ("group", 4.0)
    promise = ("--epsilon", 1, "--unit", "group", "--no-wait", "--json")
    status, _, told = tangent("train", dataset, *promise)
    assert status == 0, told
    (spend,) = ledger(service, dataset)["spends"]
    assert (spend["unit"], spend["epsilon"]) == ("group", 1.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--epsilon", 1, "--unit", "ward"), "there is no unit 'ward': choose one of image, group"),
        (("--unit", "group"), "unit group says what an epsilon is about: give an epsilon too"),
        (("--delta", 0.1), "delta 0.1 is the delta of an epsilon: give an epsilon too"),
    ],
)
def test_a_promise_that_would_not_be_kept_is_refused(tangent, options, sentence):
    budget = [str(each).replace("--", "--budget-") for each in options]
    here = ("fit", "--space", "space.card", "--data", "x.zip")
    for command in (("train", "ds_1", *options), ("upload", "x.zip", *budget), (*here, *options)):
        status, out, err = tangent(*command)
        assert (status, out) == (2, "") and sentence in err


def test_options_that_need_others_are_refused(tangent):
    status, _, err = tangent("find", "0" * 64, "--distance", 3)
    assert status == 2 and "--distance is of images that look like one" in err
    status, _, err = tangent("fit", "--space", "a", "--data", "b", "--mechanism", "adassp")
    assert status == 2 and "mechanism adassp is a way to keep an epsilon" in err
