"""The label report: exact answers without each image, and flipped labels found by them."""

import io
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
import torch
from sklearn.metrics import roc_auc_score

import tangent
from app.database.sessions import transaction
from app.datasets import datasets
from app.inference.models import SpaceKey
from tangent_composer.samples import digits
from tests.support.archives import archive
from tests.support.client import compose, delete, upload
from tests.support.images import image, packed
from tests.support.merging import derived
from tests.support.service import Service
from tests.support.unlearning import SPACES

MIXED = {
    **{f"cat/{n}.png": image("cat", n) for n in range(6)},
    **{f"dog/{n}.png": image("dog", n) for n in range(6)},
    "dog/wrong.png": image("cat", 77),
}


def report(service: Service, dataset_id: str, **query: Any) -> httpx.Response:
    return service.client.get(f"/v1/datasets/{dataset_id}/label-report", params=query)


def found(service: Service, dataset_id: str, **query: Any) -> dict[str, Any]:
    answer = report(service, dataset_id, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def files_of(service: Service, dataset_id: str) -> list[tuple[str, str, bytes]]:
    """Id, label and file of the dataset's images."""
    with transaction(service.state.reading) as session:
        dataset = datasets.get(session, dataset_id)
        rows = datasets.rows(session, dataset_id)
    return [
        (each.id, each.label, datasets.read(service.state.blobs, dataset, each)) for each in rows
    ]


def psi_of(service: Service, files: list[bytes]) -> tuple[tangent.Space, np.ndarray]:
    """The default space, and the images' features."""
    space = service.state.engine.opened(SpaceKey("resnet_micro_32", "head2toe", (), "float32"))
    pixels = [np.asarray(each) for each in decoded(files)]
    return space, space.readout_alone(
        space.preprocess.normalize(torch.tensor(np.stack(pixels)))
    ).double().numpy()


def decoded(files: list[bytes]) -> list[np.ndarray]:

    return [np.array(PIL.Image.open(io.BytesIO(each)).convert("RGB")) for each in files]


def refitted(
    space: tangent.Space, psi: np.ndarray, labels: list[str], without: set[int], l2: float
) -> tuple[list[str], np.ndarray]:
    """The head of the square loss over all images but some, by least squares; c is that of all."""
    names, beta = sorted(set(labels)), 15.0
    base = space.base_rows(names).numpy()
    kept = [row for row in range(len(psi)) if row not in without]
    targets = beta * np.array([[float(labels[row] == each) for each in names] for row in kept])
    c = len(names) / 2 * l2 * len(psi)
    a = np.vstack([psi[kept], c**0.5 * np.eye(psi.shape[1])])
    b = np.vstack([targets - psi[kept] @ base.T, np.zeros((psi.shape[1], len(names)))])
    return names, base + np.linalg.lstsq(a, b, rcond=None)[0].T


def test_every_score_is_that_of_a_refit_without_the_image(serve):
    service = serve()
    dataset_id = upload(service, archive(MIXED))["id"]
    component_id = service.train(service.queued(dataset_id, hyperparameters={"l2": 0.01}))
    rows = files_of(service, dataset_id)
    space, psi = psi_of(service, [file for *_, file in rows])
    labels = [label for _, label, _ in rows]

    shown = {each["id"]: each for each in found(service, dataset_id, all=True)["images"]}

    assert len(shown) == len(rows) == 13
    for row, (id_, label, _) in enumerate(rows):
        names, head = refitted(space, psi, labels, {row}, 0.01)
        scores = psi[row] @ head.T / 15.0
        assert shown[id_]["score"] == pytest.approx(scores[names.index(label)], abs=1e-9)
        assert shown[id_]["preferred_score"] == pytest.approx(scores.max(), abs=1e-9)
        assert shown[id_]["preferred"] == names[scores.argmax()]
        assert shown[id_]["residual"] == pytest.approx(1 - shown[id_]["score"])
        assert shown[id_]["left_out_of"] == 1
    assert component_id in {each["id"] for each in found(service, dataset_id)["components"]}


def test_an_image_that_another_party_holds_too_is_left_out_of_both(serve):
    service = serve()
    parts = [{f"cat/{n}.png": image("cat", n) for n in range(4)}, {}]
    parts[0] |= {f"dog/{n}.png": image("dog", n) for n in range(4)}
    parts[1] = {f"dog/{n}.png": image("dog", n) for n in range(10, 14)}
    parts[1] |= {f"cat/{n}.png": image("cat", n) for n in (0, 10, 11)}  # cat 0 is in both
    ids = [upload(service, archive(each))["id"] for each in parts]
    for each in ids:
        service.train(service.queued(each, hyperparameters={"l2": 0.01}))
    rows = [row for each in ids for row in files_of(service, each)]
    space, psi = psi_of(service, [file for *_, file in rows])
    labels = [label for _, label, _ in rows]

    shown = {each["id"]: each for each in found(service, ids[0], all=True)["images"]}

    assert len(shown) == 8
    for row, (id_, label, file) in enumerate(rows[:8]):
        equal = {at for at, each in enumerate(rows) if each[2] == file}
        names, head = refitted(space, psi, labels, equal, 0.01)
        own = (psi[row] @ head.T / 15.0)[names.index(label)]
        assert shown[id_]["score"] == pytest.approx(own, abs=1e-9)
        assert shown[id_]["left_out_of"] == len(equal)
    assert sorted(each["left_out_of"] for each in shown.values()) == [*[1] * 7, 2]


def test_a_wrong_label_comes_first_and_is_gone_once_it_is_corrected(serve):
    service = serve()
    dataset_id = upload(service, archive(MIXED))["id"]
    service.train(service.queued(dataset_id))

    first = found(service, dataset_id)

    assert first["num_images"] == 13 and first["num_disputed"] >= 1
    wrong = first["images"][0]
    assert (wrong["path"], wrong["preferred"]) == ("dog/wrong.png", "cat")
    thumbnail = service.client.get(wrong["thumbnail"])
    assert thumbnail.headers["content-type"] == "image/png"
    path = f"/v1/datasets/{dataset_id}/images/{wrong['id']}"
    assert service.client.patch(path, json={"label": wrong["preferred"]}).status_code == 200
    again = found(service, dataset_id)
    assert again["num_disputed"] == first["num_disputed"] - 1
    assert again["accuracy"] == 1 - again["num_disputed"] / 13
    assert wrong["id"] not in {each["id"] for each in again["images"]}


@pytest.mark.parametrize("rule", ["joint", "average"])
def test_flipped_labels_of_digits_are_found(serve, rule):
    """The measurement of the docs: AUROC of the residual at one flipped label in twenty."""
    service = serve()
    training, _ = digits.load(per_label=50)
    flipped, files = set(), {}
    for number, digit in enumerate(training):
        label = digit.label
        if number % 20 == 7:
            label = str((int(digit.label) + 1 + number // 20 % 9) % 10)
            flipped.add(f"{label}/{digit.number}.png")
        files[f"{label}/{digit.number}.png"] = digit.png
    dataset_id = upload(service, archive(files))["id"]
    service.train(service.queued(dataset_id))

    shown = found(service, dataset_id, all=True, limit=1000, rule=rule)["images"]

    assert len(shown) == 400 and len(flipped) == 20
    residuals = [each["residual"] for each in shown]
    assert residuals == sorted(residuals, reverse=True)
    assert roc_auc_score([each["path"] in flipped for each in shown], residuals) >= 0.948
    top = {each["path"] for each in shown[:20]}
    assert len(top & flipped) >= 15


def test_a_dataset_that_nothing_was_trained_on_is_judged_as_it_is(serve):
    service = serve()
    service.component({"cat": 5, "dog": 5}, start=20)
    new = {**MIXED, "cow/1.png": image("cow", 1)}
    dataset_id = upload(service, archive(new))["id"]

    shown = found(service, dataset_id, all=True)

    assert (shown["num_images"], shown["num_unknown"]) == (13, 1)
    assert {each["left_out_of"] for each in shown["images"]} == {0}
    assert shown["images"][0]["path"] == "dog/wrong.png"


def test_a_composition_components_and_a_label_can_be_named(serve):
    service = serve()
    dataset_id = upload(service, archive(MIXED))["id"]
    mine = service.train(service.queued(dataset_id))
    other = service.component({"cat": 5, "dog": 5}, start=20)
    compose(service, "both", [mine, other], rule="joint")

    by_name = found(service, dataset_id, composition="both", all=True)
    by_ids = found(service, dataset_id, components=f"{mine},{other}", rule="joint", all=True)

    assert by_name["composition"]["name"] == "both"
    assert by_name["images"] == by_ids["images"]
    assert found(service, dataset_id, components=other)["components"][0]["id"] == other
    dogs = found(service, dataset_id, label="dog", all=True)
    assert {each["label"] for each in dogs["images"]} == {"dog"} and dogs["num_images"] == 7
    assert len(found(service, dataset_id, all=True, limit=2)["images"]) == 2


def test_an_imported_component_is_named_as_one_that_nothing_can_be_left_out_of(serve):
    service = serve()
    dataset_id = upload(service, archive(MIXED))["id"]
    mine = service.train(service.queued(dataset_id))
    file = service.client.get(f"/v1/components/{mine}/delta").content
    sent = {"file": ("a.safetensors", file)}
    form = {"allow_duplicate": "true"}
    other = service.client.post("/v1/components/import", files=sent, data=form).json()["id"]

    shown = found(service, dataset_id, components=f"{mine},{other}")

    assert shown["cannot_be_looked_into"] == [other]


def test_what_cannot_be_left_out_is_refused_with_the_reason(serve):
    service = serve(max_report_images=12)
    dataset_id = upload(service, archive(MIXED))["id"]
    answer = report(service, dataset_id)
    assert (answer.status_code, answer.json()["code"]) == (422, "report_too_large")
    service.train(service.queued(dataset_id))
    assert report(service, dataset_id, label="dog").status_code == 200
    answer = report(service, dataset_id, label="dog", rule="discriminant")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_left_out")

    service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
    small = upload(service, packed([("cat", 1), ("dog", 1)]))["id"]
    service.train(service.queued(small, "blocks"))
    answer = report(service, small, space="blocks")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_left_out")
    assert "head and head2toe" in answer.json()["detail"]
    views = service.train(service.queued(small, hyperparameters={"views": 2}))
    answer = report(service, small, components=views)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_left_out")
    for ids, status, code in (
        ("cmp_none", 404, "component_not_found"),
        ("c" * 65, 404, "component_not_found"),
        ("c," * 1001, 422, "too_many_components"),
    ):
        answer = report(service, small, components=ids)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert report(service, "ds_none").json()["code"] == "dataset_not_found"
    delete(service, f"datasets/{small}", cascade="true")
    assert report(service, small).json()["code"] == "dataset_deleted"


def test_a_derived_component_is_refused(serve):
    service = serve()
    dataset_id = upload(service, archive(MIXED))["id"]
    parents = [service.train(service.queued(dataset_id)), service.component({"cat": 3}, 30)]
    made = derived(service, "task_arithmetic", *parents)

    for rule in ("joint", "average"):
        answer = report(service, dataset_id, components=f"{parents[0]},{made}", rule=rule)
        assert (answer.status_code, answer.json()["code"]) == (422, "component_derived")
        assert made in answer.json()["detail"]
