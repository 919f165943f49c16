"""An image file that is too large has one name on every way in; so have too many of them."""

import base64
from collections.abc import Callable

import httpx
import pytest

from app.images.image_files import BadImage
from app.operations.prediction_inputs import input_of
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
LIMIT, MOST = 50_000, 2
LARGE = image("cat", 90).ljust(LIMIT + 1, b"\0")
ENCODED = base64.b64encode(LARGE).decode()
TOLD = f"the image file has {LIMIT + 1} bytes, more than the {LIMIT} allowed: send a smaller one"


@pytest.fixture
def small(serve: Callable[..., Service]) -> Service:
    """A service of small images, with one composition, `pets`."""
    service = serve(max_image_bytes=LIMIT, max_prediction_images=MOST)
    components = [{"id": service.component({"cat": 2, "dog": 2})}]
    service.client.put("/v1/compositions/pets", json={"rule": "average", "components": components})
    return service


def files(count: int, data: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (f"{number}.png", data)) for number in range(count)]


def test_an_image_that_is_too_large_is_refused_alike_on_every_way_in(small: Service) -> None:
    def post(path: str, **body: object) -> httpx.Response:
        return small.client.post(path, **body)

    raw = {"content": LARGE, "headers": {"Content-Type": "image/png"}}
    encoded = {"json": {"images": [{"b64": ENCODED}]}}
    for body in (raw, encoded, {"files": files(1, LARGE)}):
        [result] = post("/v1/predictions", **body).json()["results"]
        error = result["error"]
        assert (error["status"], error["code"]) == (413, "image_too_large")
        assert error["detail"] == TOLD
    found = post("/v1/images/search", files={"image": ("a.png", LARGE)})
    assert problem(found, 413, "image_too_large")["detail"] == TOLD
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [ENCODED]}
    inferred = post("/v2/models/pets/infer", json={"inputs": [tensor]})
    assert problem(inferred, 413, "image_too_large")["detail"] == f"image 0: {TOLD}"


@pytest.mark.parametrize("count", [MOST + 1, 4 * MOST, 4 * MOST + 1, 100])
def test_too_many_files_of_a_form_are_too_many_images(small: Service, count: int) -> None:
    answer = small.client.post("/v1/predictions", files=files(count, b"x"))
    told = problem(answer, 422, "too_many_images")["detail"]
    some = count if count <= 4 * MOST else f"more than {4 * MOST}"
    assert told == f"the request has {some} images, the most is 2: send them in several requests"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("the file is empty", "the file is empty: send a JPEG, PNG or WebP image file"),
        ("cut off (x: y)", "cut off (x: y): send a JPEG, PNG or WebP image file"),
        ("this is AVIF: save it as PNG", "this is AVIF: save it as PNG"),
    ],
)
def test_a_bad_image_comes_with_one_advice(reason: str, told: str) -> None:
    assert input_of(BadImage(reason)).detail == told
