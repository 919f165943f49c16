"""Compositions as models of the Open Inference Protocol, asked by Triton's own client."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from app.database.sessions import transaction
from app.images.budget import Budget
from app.store import spaces
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
FILES = [image("cat", 5), image("dog", 6), image("cat", 7)]


@pytest.fixture(scope="module")
def served(shared: Service) -> Service:
    """A service with one composition, `pets`."""
    parts = [shared.component({"cat": 3}), shared.component({"dog": 3})]
    body = {"rule": "average", "components": [{"id": each} for each in parts]}
    shared.client.put("/v1/compositions/pets", json=body)
    return shared


@pytest.fixture
def client(served: Service):
    made = triton.InferenceServerClient(served.url.removeprefix("http://"))
    yield made
    made.close()


def files_input() -> triton.InferInput:
    made = triton.InferInput("images", [len(FILES)], "BYTES")
    made.set_data_from_numpy(np.array(FILES, object))
    return made


def by_prediction(served: Service, **fields: str) -> list[dict[str, float]]:
    files = [("images", (f"{n}.png", file, "image/png")) for n, file in enumerate(FILES)]
    data = {"composition": "pets", "deterministic": "true"} | fields
    answer = served.client.post("/v1/predictions", files=files, data=data).json()
    return [{each["label"]: each for each in result["predictions"]} for result in answer["results"]]


def numbers(expected: list[dict[str, Any]], labels: list[str], name: str) -> np.ndarray:
    return np.array([[row[label][name] for label in labels] for row in expected], np.float32)


def test_the_server_its_health_and_its_models_are_found(served, client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("pets") and not client.is_model_ready("nothing")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    about = client.get_model_metadata("pets")
    etag = served.client.get("/v1/compositions/pets").headers["ETag"]
    assert about["versions"] == [etag.strip('"')]
    assert [each["name"] for each in about["inputs"]] == ["images", "pixels"]
    assert about["inputs"][1]["shape"] == [-1, 32, 32, 3]


def test_image_files_in_binary_are_answered_as_predictions_are(served, client):
    found = client.infer("pets", [files_input()], parameters={"deterministic": True})
    labels = [each.decode() for each in found.as_numpy("labels")]
    assert labels == ["cat", "dog"]
    expected = by_prediction(served)
    np.testing.assert_array_equal(found.as_numpy("logits"), numbers(expected, labels, "logit"))
    np.testing.assert_array_equal(
        found.as_numpy("probabilities"), numbers(expected, labels, "probability")
    )


def test_pixels_are_answered_as_the_files_that_they_are_of(served, client):
    with transaction(served.state.reading) as session:
        space = spaces.get(session, spaces.DEFAULT)
    pixels = np.stack(served.state.spaces.pixels(space, FILES, Budget()))
    given = triton.InferInput("pixels", list(pixels.shape), "UINT8")
    exact = {"deterministic": True}
    by_files = client.infer("pets", [files_input()], parameters=exact).as_numpy("logits")
    for binary in (True, False):
        given.set_data_from_numpy(pixels, binary_data=binary)
        by_pixels = client.infer("pets", [given], parameters=exact).as_numpy("logits")
        np.testing.assert_array_equal(by_pixels, by_files)


def test_the_client_chooses_outputs_and_their_form(client):
    wanted = [
        triton.InferRequestedOutput("logits", binary_data=False),
        triton.InferRequestedOutput("labels", binary_data=True),
    ]
    found = client.infer("pets", [files_input()], outputs=wanted, request_id="seven")
    about = found.get_response()
    assert about["id"] == "seven" and about["model_name"] == "pets"
    assert [each["name"] for each in about["outputs"]] == ["logits", "labels"]
    assert "data" in about["outputs"][0] and "data" not in about["outputs"][1]
    assert found.as_numpy("logits").shape == (3, 2)


def test_json_alone_has_the_files_in_base64(served):
    data = [base64.b64encode(file).decode() for file in FILES]
    tensor = {"name": "images", "datatype": "BYTES", "shape": [3], "data": data}
    body = {"inputs": [tensor], "outputs": [{"name": "labels"}]}
    answer = served.client.post("/v2/models/pets/infer", json=body)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["outputs"] == [
        {"name": "labels", "datatype": "BYTES", "shape": [2], "data": ["cat", "dog"]}
    ]


def test_data_in_json_may_be_nested_as_the_shape_is(served):
    with transaction(served.state.reading) as session:
        space = spaces.get(session, spaces.DEFAULT)
    pixels = np.stack(served.state.spaces.pixels(space, FILES, Budget()))
    files = [base64.b64encode(file).decode() for file in FILES]

    def logits(name: str, datatype: str, shape: list[int], data: object) -> httpx.Response:
        tensor = {"name": name, "datatype": datatype, "shape": shape, "data": data}
        body = {"inputs": [tensor], "outputs": [{"name": "logits"}]}
        body["parameters"] = {"deterministic": True}
        return served.client.post("/v2/models/pets/infer", json=body)

    flat = logits("pixels", "UINT8", [*pixels.shape], pixels.reshape(-1).tolist()).json()
    nested = logits("pixels", "UINT8", [*pixels.shape], pixels.tolist()).json()
    assert nested["outputs"] == flat["outputs"]
    one_each = logits("images", "BYTES", [3, 1], [[file] for file in files]).json()
    assert one_each["outputs"] == logits("images", "BYTES", [3], files).json()["outputs"]
    for data in (pixels[:, :31].tolist(), [*pixels[:2].tolist(), 7]):
        refused = problem(logits("pixels", "UINT8", [*pixels.shape], data), 422, "invalid_tensor")
        assert "nested otherwise than its shape" in refused["detail"]


def test_a_client_reads_why_it_is_refused(client):
    with pytest.raises(InferenceServerException, match="no composition 'nothing'"):
        client.infer("nothing", [files_input()])
    broken = triton.InferInput("images", [2], "BYTES")
    broken.set_data_from_numpy(np.array([FILES[0], b"no image"], object))
    with pytest.raises(InferenceServerException, match="image 1: "):
        client.infer("pets", [broken])
    small = triton.InferInput("pixels", [1, 8, 8, 3], "UINT8")
    small.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InferenceServerException, match="pixels come as 32 x 32 x 3"):
        client.infer("pets", [small])
    other = triton.InferInput("input", [1, 3], "FP32")
    other.set_data_from_numpy(np.zeros((1, 3), np.float32))
    with pytest.raises(InferenceServerException, match="send one input: `images`"):
        client.infer("pets", [other])
    unknown = [triton.InferRequestedOutput("scores")]
    with pytest.raises(InferenceServerException, match="there is no output 'scores'"):
        client.infer("pets", [files_input()], outputs=unknown)


IMAGE = {"name": "images", "datatype": "BYTES", "shape": [1]}
SIZED = IMAGE | {"parameters": {"binary_data_size": 8}}


@pytest.mark.parametrize(
    ("tensor", "rest", "head", "code"),
    [
        (IMAGE, b"", None, "invalid_tensor"),
        (IMAGE | {"data": ["%"]}, b"", None, "bad_base64"),
        (IMAGE | {"data": ["", ""]}, b"", None, "invalid_tensor"),
        (IMAGE | {"data": [None]}, b"", None, "invalid_tensor"),
        (IMAGE | {"data": [1234]}, b"", None, "invalid_tensor"),
        (IMAGE | {"data": [[["QUJD"]]]}, b"", None, "invalid_tensor"),
        (SIZED, b"12345678", None, "malformed_request"),
        (SIZED, b"1234567", 0, "invalid_tensor"),
        (SIZED, b"\xff\xff\xff\xff1234", 0, "invalid_tensor"),
        (SIZED, b"\x02\0\0\0ab\x01\0", 0, "invalid_tensor"),
        (SIZED, b"12345678", 10**6, "malformed_request"),
        (SIZED, b"12345678", -3, "malformed_request"),
        (IMAGE | {"shape": [-1], "data": [""]}, b"", None, "invalid_tensor"),
        (IMAGE | {"shape": [10**30], "data": [""]}, b"", None, "too_many_images"),
        (IMAGE | {"shape": [0], "data": []}, b"", None, "no_images"),
        (
            {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [0, 256, 1]},
            *(b"", None, "invalid_tensor"),
        ),
        (
            {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [[0], 1]},
            *(b"", None, "invalid_tensor"),
        ),
    ],
    ids=range(17),
)
def test_a_body_that_fits_nothing_is_refused_in_a_sentence(served, tensor, rest, head, code):
    text = json.dumps({"inputs": [tensor]}).encode()
    length = {} if head is None else {"Inference-Header-Content-Length": str(head or len(text))}
    answer = served.client.post("/v2/models/pets/infer", content=text + rest, headers=length)
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] == code
    assert answer.json()["error"] == answer.json()["detail"]


def test_with_keys_a_model_needs_one_and_health_does_not(serve):
    service = serve(api_key="k" * 40)
    with service.client as client:
        client.headers.pop("Authorization", None)
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/models/pets").status_code == 401
        assert client.post("/v2/models/pets/infer", content=b"{}").status_code == 401


@pytest.mark.parametrize(
    ("tensor", "code"),
    [
        ({"shape": [10**9, 0, 1, 3], "data": []}, "invalid_tensor"),
        ({"shape": [10**9, 1, 1, 3], "data": []}, "too_many_images"),
        ({"shape": [0, 10**30, 1, 3], "data": []}, "invalid_tensor"),
        ({"shape": [1, 1, 1, 3], "data": [1.5, 2, 3]}, "invalid_tensor"),
        ({"shape": [1, 1, 1, 3], "data": [True, 2, 3]}, "invalid_tensor"),
        ({"shape": [1, 1, 1, 3], "data": ["1", 2, 3]}, "invalid_tensor"),
    ],
    ids=range(6),
)
def test_a_shape_that_promises_more_than_there_is_costs_nothing(served, tensor, code):
    pixels = {"name": "pixels", "datatype": "UINT8"} | tensor
    answer = served.client.post("/v2/models/pets/infer", json={"inputs": [pixels]})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize("length", ["\xb2", "9" * 5_000, "1.0", "-1"])
def test_a_length_of_the_json_that_is_none_is_refused(served, length):
    headers = {"Inference-Header-Content-Length": length.encode("latin-1")}
    answer = served.client.post("/v2/models/pets/infer", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_many_tiny_files_are_as_many_images(served):
    data = b"\0\0\0\0" * 100_000
    tensor = {"name": "images", "datatype": "BYTES", "shape": [100_000]}
    for shape in ([100_000], [1]):
        head = json.dumps(
            {"inputs": [tensor | {"shape": shape, "parameters": {"binary_data_size": len(data)}}]}
        ).encode()
        length = {"Inference-Header-Content-Length": str(len(head))}
        answer = served.client.post("/v2/models/pets/infer", content=head + data, headers=length)
        assert answer.json()["code"] in ("too_many_images", "invalid_tensor")


@pytest.mark.parametrize("value", ["true", 1, None, []])
@pytest.mark.parametrize("name", ["deterministic", "binary_data_output", "binary_data"])
def test_a_parameter_that_is_no_truth_value_is_refused(served, name, value):
    data = [base64.b64encode(file).decode() for file in FILES]
    body: dict[str, Any] = {"inputs": [IMAGE | {"shape": [3], "data": data}]}
    if name == "binary_data":
        body["outputs"] = [{"name": "labels", "parameters": {name: value}}]
    else:
        body["parameters"] = {name: value}
    document = problem(
        served.client.post("/v2/models/pets/infer", json=body), 400, "malformed_request"
    )
    shown = json.dumps(value)
    assert f"the parameter {name} is {shown}: send true or false" in document["detail"]


@pytest.mark.parametrize(
    "tensor",
    [
        IMAGE | {"shape": [0], "data": []},
        {"name": "pixels", "datatype": "UINT8", "shape": [0, 32, 32, 3], "data": []},
    ],
    ids=["images", "pixels"],
)
def test_an_empty_tensor_is_told_what_it_lacks(served, tensor):
    answer = served.client.post("/v2/models/pets/infer", json={"inputs": [tensor]})
    document = problem(answer, 422, "no_images")
    assert document["detail"] == f"{tensor['name']} is empty: send at least one image"
