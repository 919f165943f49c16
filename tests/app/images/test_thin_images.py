"""Images far longer than wide are refused, as the resizing would enlarge their longer side."""

import base64
import io
import zipfile

import httpx
import PIL.Image
import pytest

from app.images.decoder import Decoder
from app.images.image_files import Facts
from tests.support.client import WAIT
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

SIDES = [(300_000, 1), (1, 300_000), (50_000_000, 1)]
NEAREST = 100, 101


def one_bit(width: int, height: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def packed(**files: bytes) -> dict[str, tuple[str, bytes, str]]:
    """A form with an archive that has one label, and these images of it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in files.items():
            made.writestr(f"cat/{name}.png", data)
    return {"file": ("a.zip", file.getvalue(), "application/zip")}


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("form", ["raw", "json", "multipart"])
def test_a_prediction_of_a_thin_image_is_refused(
    two: TwoComponents, sides: tuple[int, int], form: str
) -> None:
    data, client = one_bit(*sides), two.service.client
    if form == "raw":
        headers = {"Content-Type": "image/png"}
        answer = client.post("/v1/predictions", content=data, headers=headers)
    elif form == "json":
        encoded = {"b64": base64.b64encode(data).decode()}
        answer = client.post("/v1/predictions", json={"images": [encoded]})
    else:
        answer = two.post(data)
    assert answer.status_code == 200, answer.text
    error = answer.json()["results"][0]["error"]
    assert error["code"] == "bad_image"
    assert "one side more than 100 times the other" in error["detail"]


def test_the_thinnest_image_allowed_is_answered(two: TwoComponents) -> None:
    allowed, refused = (one_bit(side, 1) for side in NEAREST)
    results = two.post(allowed, refused).json()["results"]
    assert "predictions" in results[0] and results[1]["error"]["code"] == "bad_image"


def test_an_upload_names_the_thin_images_among_the_rejected(shared: Service) -> None:
    form = packed(good=image("cat", 1), thin=one_bit(300_000, 1), huge=one_bit(50_000_000, 1))
    made = shared.client.post("/v1/datasets", files=form).json()
    assert made["num_images"] == 1
    assert sorted(each["path"] for each in made["rejected"]) == ["cat/huge.png", "cat/thin.png"]
    for each in made["rejected"]:
        assert "one side more than 100 times the other" in each["reason"]


@pytest.fixture
def stored(two: TwoComponents, monkeypatch: pytest.MonkeyPatch) -> str:
    """A dataset that was stored when thin images were allowed; its id."""
    accepted = [Facts("image/png", 300_000, 1)]
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "examine", lambda _, files, __: accepted * len(files))
        form = packed(good=image("cat", 1), thin=one_bit(300_000, 1))
        made = two.service.client.post("/v1/datasets", files=form).json()
    assert made["num_images"] == 2
    return made["id"]


def refused(answer: httpx.Response) -> None:
    document = problem(answer, 422, "image_unreadable")
    assert "thin.png" in document["detail"] and "delete this image" in document["detail"]


def test_an_evaluation_on_a_stored_thin_image_fails_with_its_path(
    two: TwoComponents, stored: str
) -> None:
    body = {"dataset_id": stored}
    answer = two.service.client.post("/v1/evaluations", json=body, headers=WAIT)
    assert (answer.status_code, answer.json()["status"]) == (201, "failed")
    error = answer.json()["error"]
    assert error["code"] == "image_unreadable"
    assert "thin.png" in error["detail"] and "delete this image" in error["detail"]


def test_a_thumbnail_of_a_stored_thin_image_is_refused_and_its_bytes_are_given(
    two: TwoComponents, stored: str
) -> None:
    path = f"/v1/datasets/{stored}/images"
    listed = two.service.client.get(path).json()["data"]
    (thin,) = [each["id"] for each in listed if "thin" in each["path"]]
    refused(two.service.client.get(f"{path}/{thin}?size=64"))
    assert two.service.client.get(f"{path}/{thin}").content == one_bit(300_000, 1)
