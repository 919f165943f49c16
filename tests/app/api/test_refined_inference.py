"""Compositions that are asked by the Open Inference Protocol are refined as others are."""

import base64

from tests.support.images import image
from tests.support.merging import made
from tests.support.refinements import stocked
from tests.support.service import Service


def test_a_composition_that_only_v2_asks_for_is_refined_too(service: Service):
    blocks = stocked(service, {"cat": 4, "dog": 4}, {"cow": 5, "dog": 3})
    body = {"space": "blocks", "rule": "joint", "components": [{"id": id_} for id_ in blocks.made]}
    assert blocks.client.put("/v1/compositions/both", json=body).status_code == 201
    data = [base64.b64encode(image("cat", 9)).decode()]
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": data}
    answer = blocks.client.post("/v2/models/both/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    rows = blocks.client.get("/v1/components").json()["data"]
    (queued,) = [each["id"] for each in rows if (each["derived"] or {}).get("automatic")]
    made(blocks, queued)
    again = blocks.client.post("/v2/models/both/infer", json={"inputs": [tensor]})
    assert again.json()["outputs"] != answer.json()["outputs"]
