"""Metrics that come with an imported component: shown as the party's own, and checked."""

import json

import pytest

from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


@pytest.fixture(scope="module")
def ready(shared: Service) -> str:
    return shared.component({"cow": 3, "hen": 3})


def imported(service: Service, data: bytes, **form: str):
    files = {"file": ("north.safetensors", data, "application/octet-stream")}
    fields = {"allow_duplicate": "true"} | form
    return service.client.post("/v1/components/import", files=files, data=fields)


MEASURED = {
    "departure_at_0.1": 0.0,
    "train_accuracy": 0.97,
    "holdout_accuracy": None,
    "l2": 0.5,
    "environment": "x86",
    "tried_l2": [{"l2": 0.5, "left_out_error": 0.25}, {"l2": 1.0, "left_out_error": 0.5}],
}


def test_metrics_that_come_with_an_import_are_shown_as_the_party_s_own(shared, ready, serve):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    assert shared.client.get(f"/v1/components/{ready}").json()["metrics_by"] == "service"
    other = serve()
    row = imported(other, data, metrics=json.dumps(MEASURED)).json()
    assert (row["metrics"], row["metrics_by"]) == (MEASURED, "party")
    held = shared.client.get(f"/v1/components/{ready}").json()
    assert row["sha256"] == held["sha256"]
    # The penalty is that of the file, whatever the party says of it.
    assert row["hyperparameters"] == held["hyperparameters"]
    bare = imported(other, data).json()
    assert (bare["metrics"], bare["metrics_by"]) == ({}, None)
    assert other.client.get(f"/v1/components/{row['id']}").json()["metrics_by"] == "party"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[1]", "/metrics"),
        ('{"a": [1]}', "/metrics/a"),
        ('{"a": NaN}', "/metrics/a"),
        ('{"a": [{"b": [1]}]}', "/metrics/a"),
        ('{"a": [{"b": "x"}]}', "/metrics/a"),
        (json.dumps({"a": [{"b": 1}] * 301}), "/metrics/a"),
        (json.dumps({"a": [{f"b{i}": i for i in range(5)}]}), "/metrics/a"),
        ('{"A b": 1}', "/metrics"),
        ('{"a": "' + "x" * 301 + '"}', "/metrics/a"),
        (json.dumps({f"m{i}": i for i in range(101)}), "/metrics"),
        ('{"a": "\\u0000"}', "/metrics/a"),
    ],
)
def test_metrics_that_are_none_are_refused_and_nothing_is_stored(shared, ready, text, place):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    before = len(list(shared.state.blobs.keys()))
    document = problem(
        imported(shared, data, metrics=text),
        422,
        "invalid_request",
    )
    assert document["errors"][0]["pointer"].startswith(place)
    assert len(list(shared.state.blobs.keys())) == before
