"""Find my data: where an image is held, by its bytes or by its looks."""

import hashlib
import io

import httpx
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from app.operations import image_search
from tests.support.archives import archive
from tests.support.client import delete, upload, verify
from tests.support.keys import by, sending
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
CHINA, FLOWER = (Image.fromarray(each) for each in load_sample_images().images)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.resize((160, 107)).save(file, "PNG")
    return file.getvalue()


TEMPLE, DAHLIA = png(CHINA), png(FLOWER)
DARKER = png(ImageEnhance.Brightness(CHINA).enhance(0.8))
WHITE = png(Image.new("RGB", (9, 9), "white"))


def search(client, data: bytes, query: str = ""):
    return client.post(f"/v1/images/search{query}", files={"image": ("a.png", data)})


def made_by(admin: httpx.Client, *scopes: str) -> str:
    """A new key with these scopes."""
    answer = admin.post("/v1/keys", json={"name": "k", "scopes": scopes})
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def listed(service: Service, data: bytes) -> list[dict]:
    digest = hashlib.sha256(data).hexdigest()
    return service.client.get(f"/v1/images?sha256={digest}").json()["data"]


@pytest.fixture
def held(either: Service) -> tuple[Service, dict, dict, str]:
    """A service with two datasets that share an image, and a component of the first."""
    files = {"temple/a.png": TEMPLE, "flower/b.png": DAHLIA, "blank/w.png": WHITE}
    first = upload(either, archive(files))
    second = upload(either, archive({"house/c.png": TEMPLE, "house/d.png": DARKER}))
    part = either.train(either.queued(first["id"]))
    return either, first, second, part


def test_an_image_is_found_by_the_hash_of_its_bytes(held):
    service, first, second, part = held
    found = listed(service, TEMPLE)
    assert [(each["dataset_id"], each["path"], each["label"]) for each in found] == [
        (first["id"], "temple/a.png", "temple"),
        (second["id"], "house/c.png", "house"),
    ]
    assert [each["components"] for each in found] == [[part], []]
    assert listed(service, b"of nobody") == []
    upper = hashlib.sha256(TEMPLE).hexdigest().upper()
    assert service.client.get(f"/v1/images?sha256={upper}").json()["data"] == found
    problem(service.client.get("/v1/images?sha256=77AA"), 422, "invalid_request")
    problem(service.client.get("/v1/images"), 422, "invalid_request")


def test_an_image_is_found_by_its_looks(held):
    service, first, second, _ = held
    found = search(service.client, TEMPLE).json()
    assert [each["dataset_id"] for each in found["exact"]] == [first["id"], second["id"]]
    [near] = found["near"]
    assert (near["path"], near["components"]) == ("house/d.png", [])
    assert 0 <= near["distance"] <= 16
    assert (found["has_more"], found["not_compared"]) == (False, 1)  # the white one
    unknown = search(service.client, png(CHINA.crop((0, 0, 300, 200)))).json()
    assert (unknown["exact"], unknown["near"]) == ([], [])


def test_what_is_near_is_a_matter_of_bits(held):
    service = held[0]
    reencoded = io.BytesIO()
    CHINA.resize((120, 80)).save(reencoded, "JPEG", quality=30)
    everything = search(service.client, reencoded.getvalue(), "?distance=48").json()["near"]
    distances = [each["distance"] for each in everything]
    assert len(everything) >= 3 and distances == sorted(distances)
    least = search(service.client, reencoded.getvalue(), f"?distance={distances[0]}").json()
    assert [each["distance"] for each in least["near"]] == distances[: len(least["near"])]
    problem(search(service.client, TEMPLE, "?distance=145"), 422, "invalid_request")


def test_an_even_image_is_found_by_its_bytes_alone(held):
    service, first, *_ = held
    found = search(service.client, WHITE).json()
    assert found["perceptual_hash"] is None
    assert [each["dataset_id"] for each in found["exact"]] == [first["id"]]
    assert (found["near"], found["not_compared"]) == ([], 0)


def test_what_was_deleted_is_found_no_more(held):
    service, first, second, _ = held
    delete(service, f"datasets/{first['id']}", cascade="true")
    assert [each["dataset_id"] for each in listed(service, TEMPLE)] == [second["id"]]
    [image, _] = service.client.get(f"/v1/datasets/{second['id']}/images").json()["data"]
    delete(service, f"datasets/{second['id']}/images/{image['id']}")
    found = search(service.client, TEMPLE).json()
    assert found["exact"] == [] and [each["path"] for each in found["near"]] == ["house/d.png"]


def test_a_file_that_is_no_image_is_refused(service: Service):
    problem(search(service.client, b"no image"), 422, "bad_image")
    problem(service.client.post("/v1/images/search"), 415, "unsupported_media_type")
    assert not any(service.state.blobs.scratch.iterdir())


def test_no_more_than_a_page_is_shown(held, monkeypatch):
    service = held[0]
    monkeypatch.setattr(image_search, "SHOWN", 1)
    found = search(service.client, TEMPLE).json()
    assert (len(found["exact"]), len(found["near"]), found["has_more"]) == (1, 1, True)


def test_an_upload_says_which_datasets_hold_its_images(held):
    service, first, second, _ = held
    assert first["duplicate_of"] == []
    assert second["duplicate_of"] == [{"dataset_id": first["id"], "images": 1}]
    third = upload(service, archive({"x/1.png": TEMPLE, "x/2.png": DARKER, "y/3.png": DAHLIA}))
    assert third["duplicate_of"] == [
        {"dataset_id": first["id"], "images": 2},
        {"dataset_id": second["id"], "images": 2},
    ]


def test_a_preview_says_what_else_holds_the_data(held):
    service, first, second, part = held
    file = service.client.get(f"/v1/components/{part}/delta").content
    sent = {"file": ("a.safetensors", file)}
    twice = service.client.post("/v1/components/import", files=sent)
    assert problem(twice, 409, "component_duplicate")["duplicate_of"] == [part]
    copy = service.client.post(
        "/v1/components/import", files=sent, data={"allow_duplicate": "true"}
    ).json()
    assert copy["duplicate_of"] == [part]
    seen = service.client.get(f"/v1/components/{part}/deletion-preview").json()["also_held"]
    assert seen == {
        "datasets": [
            {"dataset_id": first["id"], "images": 3},
            {"dataset_id": second["id"], "images": 1},
        ],
        "components": [copy["id"]],
        "cannot_be_looked_into": [copy["id"]],
    }
    seen = service.client.get(f"/v1/components/{copy['id']}/deletion-preview").json()["also_held"]
    assert seen == {"datasets": [], "components": [part], "cannot_be_looked_into": []}


def test_a_receipt_counts_what_else_holds_the_data(held):
    service, first, second, part = held

    def also_held(path: str, **query: str):
        return delete(service, path, **query)["body"].get("also_held")

    image = service.client.get(f"/v1/datasets/{second['id']}/images").json()["data"][0]
    place = f"datasets/{second['id']}/images"
    assert also_held(f"{place}/{image['id']}") == {"datasets": 1, "images": 1, "components": 0}
    copy = upload(service, archive({"other/a.png": TEMPLE, "more/b.png": DAHLIA}))
    assert also_held(f"components/{part}") == {"datasets": 1, "images": 2, "components": 0}
    receipt = delete(service, f"datasets/{first['id']}", cascade="true")
    assert receipt["body"]["also_held"] == {"datasets": 1, "images": 2, "components": 0}
    assert verify(service, receipt)["ok"]
    assert also_held(f"datasets/{copy['id']}") is None


def test_an_image_under_two_labels_is_held_by_its_own_dataset(either: Service):
    both = upload(either, archive({"a/1.png": TEMPLE, "b/1.png": TEMPLE, "b/2.png": DAHLIA}))
    image = either.client.get(f"/v1/datasets/{both['id']}/images").json()["data"][0]
    receipt = delete(either, f"datasets/{both['id']}/images/{image['id']}")
    assert receipt["body"]["also_held"] == {"datasets": 1, "images": 1, "components": 0}


def test_a_key_finds_only_what_it_may_see(held):
    service, first, _, part = held
    space = {"name": "mine", "backbone": "resnet_micro_32", "scope": "head"}
    with (
        by(service, "admin") as admin,
        sending(service, made_by(admin, "train", "read")) as owner,
        sending(service, made_by(admin, "read")) as stranger,
    ):
        assert owner.post("/v1/spaces", json=space).status_code == 201
        files = {"file": ("a.zip", archive({"x/1.png": DAHLIA}))}
        mine = owner.post("/v1/datasets", files=files, data={"space": "mine"}).json()
        assert mine["duplicate_of"] == [{"dataset_id": first["id"], "images": 1}]
        found = [
            [each["dataset_id"] for each in search(client, DAHLIA).json()["exact"]]
            for client in (owner, stranger)
        ]
        assert found == [[first["id"], mine["id"]], [first["id"]]]
        body = {"dataset_id": first["id"], "space": "mine"}
        hidden = owner.post("/v1/components", json=body).json()["id"]
        holders = [
            search(client, DAHLIA).json()["exact"][0]["components"] for client in (owner, stranger)
        ]
    assert holders == [[part, hidden], [part]]
