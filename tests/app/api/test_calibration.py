"""Novelty, margin and temperature over HTTP: what they are, and what they forget."""

import io
import json
from statistics import median
from typing import Any

import numpy as np
import PIL.Image
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sqlalchemy import text

import tangent
from app.database.sessions import transaction
from app.inference.engine.engine import Engine
from app.operations import calibration
from tests.support.archives import archive as zip_of
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

PNG = {"Content-Type": "image/png"}
COUNTS = {"cat": 6, "dog": 6}


def strange() -> bytes:
    """A picture unlike the coloured noise of all labels: black and white stripes."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[::4] = 255
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def asked(service: Service, picture: bytes, **query: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/predictions", content=picture, headers=PNG, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def judged(service: Service, picture: bytes, **query: Any) -> dict[str, Any]:
    """The numbers of an answer by themselves, without ids and times."""
    found = asked(service, picture, **query)
    return {"results": found["results"], "calibration": found["calibration"]}


def readout(*pictures: bytes) -> np.ndarray:
    space = tangent.open_space("resnet_micro_32", "head2toe")
    opened = [PIL.Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
    rows = [space.readout_alone(space.preprocess(each)[None])[0].numpy() for each in opened]
    return np.array(rows, np.float64)


def test_a_picture_of_another_kind_has_novelty_one_and_one_of_the_same_kind_less(
    service: Service,
) -> None:
    service.component({"cat": 20, "dog": 20})
    (foreign,) = asked(service, strange())["results"]
    (own,) = asked(service, image("cat", 900))["results"]
    assert foreign["novelty"] == 1 and own["novelty"] < 1
    assert foreign["label"] is not None  # nobody asked it to abstain


def test_the_numbers_are_those_of_refits_without_each_image(service: Service) -> None:
    """Leverages and temperature by least squares in numpy, from the pictures alone."""
    service.component(COUNTS)
    names = [name for name, count in COUNTS.items() for _ in range(count)]
    pictures = [image(name, i) for name, count in COUNTS.items() for i in range(count)]
    psi, (new,) = readout(*pictures), readout(image("dog", 901))
    labels, beta = ("cat", "dog"), 15.0
    settings = service.client.get("/v1/components").json()["data"][0]["hyperparameters"]
    c = len(labels) / 2 * settings["l2"] * len(psi)
    space = tangent.open_space("resnet_micro_32", "head2toe")
    base = space.base_rows(labels).numpy()
    targets = beta * np.array([[float(name == each) for each in labels] for name in names])
    usual, scores = [], []
    for out in range(len(psi)):
        kept = np.arange(len(psi)) != out
        matrix = psi[kept].T @ psi[kept] + c * np.eye(psi.shape[1])
        head = base + np.linalg.solve(matrix, psi[kept].T @ (targets[kept] - psi[kept] @ base.T)).T
        usual.append(psi[out] @ np.linalg.solve(matrix, psi[out]))
        scores.append(head @ psi[out])
    whole = psi.T @ psi + c * np.eye(psi.shape[1])
    novelty = np.mean(np.array(usual) < new @ np.linalg.solve(whole, new))
    truth = np.array([labels.index(name) for name in names])
    doubt = 1 / (len(psi) + 2)

    def loss(log_t: float) -> float:
        logs = log_softmax(np.array(scores) / np.exp(log_t), axis=1)
        own = logs[np.arange(len(psi)), truth]
        return float(-((1 - doubt) * own + doubt * logs.mean(1)).mean())

    best = np.exp(minimize_scalar(loss, bounds=(-8, 8), options={"xatol": 1e-10}).x)
    found = asked(service, image("dog", 901))
    assert found["calibration"]["images"] == 12
    assert found["calibration"]["temperature"] == pytest.approx(best, rel=1e-3)
    assert found["results"][0]["novelty"] == pytest.approx(novelty, abs=1e-9)
    first, second = (each["logit"] for each in found["results"][0]["predictions"])
    assert found["results"][0]["margin"] == pytest.approx(first - second, rel=1e-6)


def test_an_answer_abstains_with_the_reason(service: Service) -> None:
    service.component(COUNTS)
    (new,) = asked(service, strange(), abstain_above=0.95)["results"]
    assert new["label"] is None and new["abstention"]["by"] == "novelty"
    assert new["abstention"]["detail"] == "its novelty 1 is above 0.95"
    assert new["predictions"]  # what it would have said stays to be seen
    (near,) = asked(service, image("cat", 900), abstain_below=1e6)["results"]
    assert near["label"] is None and near["abstention"]["by"] == "margin"
    (sure,) = asked(service, image("cat", 900), abstain_above=1, abstain_below=0)["results"]
    assert sure["label"] == "cat" and "abstention" not in sure


@pytest.mark.parametrize("rule", ["joint", "average"])
def test_after_a_deletion_the_numbers_are_those_of_a_service_that_never_had_it(
    serve: Any, rule: str
) -> None:
    with_it, without = serve(), serve()
    for each in (with_it, without):
        each.component(COUNTS)
        each.component({"cat": 4, "cow": 5}, start=50)
    gone = with_it.component({"dog": 7, "yak": 5}, start=80)
    before = judged(with_it, image("cat", 900), rule=rule)
    assert with_it.client.delete(f"/v1/components/{gone}").status_code == 200
    after = judged(with_it, image("cat", 900), rule=rule)
    assert json.dumps(after) == json.dumps(judged(without, image("cat", 900), rule=rule))
    assert after["calibration"] != before["calibration"]


def test_after_the_deletion_of_an_image_the_numbers_are_those_without_it(serve: Any) -> None:
    with_it, without = serve(), serve()
    dataset = with_it.dataset({"cat": 6, "dog": 7})
    with_it.train(with_it.queued(dataset))
    without.component({"cat": 6, "dog": 6})
    asked(with_it, image("cat", 900))
    images = with_it.client.get(f"/v1/datasets/{dataset}/images?label=dog").json()["data"]
    last = next(each["id"] for each in images if each["path"] == "dog/0006.png")
    answer = with_it.client.delete(f"/v1/datasets/{dataset}/images/{last}")
    assert answer.status_code == 200, answer.text
    found, expected = (judged(each, image("cat", 900)) for each in (with_it, without))
    assert json.dumps(found) == json.dumps(expected)


def test_an_image_in_two_datasets_counts_once_and_is_taken_out_of_both(service: Service) -> None:
    service.component(COUNTS)
    alone = asked(service, image("cat", 900))
    service.component(COUNTS)
    twice = asked(service, image("cat", 900))
    assert twice["calibration"]["images"] == alone["calibration"]["images"] == 12
    # As if it were one image of weight two, which nobody has seen: no more sure than before.
    ratio = twice["calibration"]["temperature"] / alone["calibration"]["temperature"]
    assert 0.5 < ratio < 2


def test_a_selection_whose_images_are_elsewhere_says_so(serve: Any) -> None:
    home, abroad = serve(), serve()
    file = home.client.get(f"/v1/components/{home.component(COUNTS)}/delta").content
    sent = abroad.client.post("/v1/components/import", files={"file": file})
    assert sent.status_code == 201, sent.text
    found = asked(abroad, image("cat", 900))
    assert found["calibration"]["images"] == 0 and found["results"][0]["novelty"] is None
    for number in ("no_novelty", "no_temperature"):
        assert found["calibration"][number].startswith("there is no image of the training")
    one, two = found["results"][0]["predictions"]
    assert one["probability"] / two["probability"] == pytest.approx(
        np.exp(one["logit"] - two["logit"]), rel=1e-9
    )
    refused = abroad.client.post(
        "/v1/predictions?abstain_above=0.9", content=image("cat", 900), headers=PNG
    )
    assert "not known for this selection" in problem(refused, 409, "novelty_unknown")["detail"]


def test_at_block_scopes_there_is_a_novelty_and_no_temperature(service: Service) -> None:
    body = {"name": "blocks", "backbone": "vit_micro_32", "scope": "last-block"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    service.train(service.queued(service.dataset({"cat": 9, "dog": 9}), space="blocks"))
    found = asked(service, strange(), space="blocks")
    assert found["results"][0]["novelty"] == 1 and found["calibration"]["temperature"] is None
    assert "scope last-block" in found["calibration"]["no_temperature"]
    pictures = [image(label, number) for label in ("cat", "dog") for number in range(900, 905)]
    own = [asked(service, each, space="blocks")["results"][0]["novelty"] for each in pictures]
    assert median(own) < 0.9


def test_logits_alone_need_no_calibration(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component(COUNTS)
    monkeypatch.setattr(Engine, "calibrate", None)
    found = asked(service, image("cat", 900), **{"return": "logits"})
    assert found["calibration"] is None and "novelty" not in found["results"][0]
    assert found["results"][0]["label"] == "cat"


def test_a_selection_is_calibrated_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = service.component(COUNTS), service.component({"cow": 4}, start=50)
    made: list[Any] = []
    calibrate = Engine._calibrate
    monkeypatch.setattr(
        Engine, "_calibrate", lambda *given: made.append(given[1]) or calibrate(*given)
    )
    for query in ({}, {"components": f"{two},{one}"}, {"rule": "joint"}, {"top_k": 1}):
        asked(service, image("cat", 900), **query)
    assert len(made) == 1
    asked(service, image("cat", 900), rule="average")
    assert len(made) == 2


def test_a_training_image_that_is_damaged_is_left_out(service: Service) -> None:
    component = service.component(COUNTS)
    dataset = service.client.get(f"/v1/components/{component}").json()["dataset_id"]
    (pack,) = service.settings.data_dir.glob("blobs/datasets/*/*")
    with pack.open("r+b") as file:
        file.seek(20)
        file.write(b"\xff" * 8)
    assert asked(service, image("cat", 900))["calibration"]["images"] == 11
    assert service.client.get(f"/v1/datasets/{dataset}").json()["damaged_images"] == 1


@pytest.mark.parametrize(
    "query", ["abstain_above=1.5", "abstain_above=x", "abstain_below=-1", "abstain_below=nan"]
)
def test_thresholds_that_are_none_are_refused(service: Service, query: str) -> None:
    answer = service.client.post(f"/v1/predictions?{query}", content=image("cat", 1), headers=PNG)
    assert answer.status_code == 422, answer.text


def test_a_training_image_whose_row_is_damaged_is_left_out(service: Service) -> None:
    service.component(COUNTS)
    with transaction(service.state.sessions) as session:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'image'"
        for name in session.scalars(text(triggers)).all():
            session.execute(text(f"DROP TRIGGER {name}"))
        change = "UPDATE image SET label = 'owl' WHERE id = (SELECT min(id) FROM image)"
        session.execute(text(change))
    assert asked(service, image("cat", 900))["calibration"]["images"] == 11


def test_images_that_are_added_meanwhile_move_the_others_and_hide_none(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = service.component(COUNTS)
    dataset = service.client.get(f"/v1/components/{component}").json()["dataset_id"]
    listed = "file_name,label,split\nnew.png,cat,val\n"
    added = zip_of({"metadata.csv": listed.encode(), "new.png": image("cat", 800)})
    read, answers = calibration.read_images, []

    def read_late(*given: Any) -> Any:
        if not answers:
            file = {"file": ("new.zip", added, "application/zip")}
            answers.append(service.client.post(f"/v1/datasets/{dataset}/images", files=file))
        return read(*given)

    monkeypatch.setattr(calibration, "read_images", read_late)
    assert asked(service, image("cat", 900))["calibration"]["images"] == 12
    assert [answer.status_code for answer in answers] == [200]


def test_other_weights_of_the_same_components_need_no_image_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = service.component(COUNTS), service.component({"cow": 4, "dog": 5}, start=50)
    fresh = asked_weighted(service, one, two, 2.5)
    read: list[Any] = []
    readouts = Engine.readouts
    monkeypatch.setattr(Engine, "readouts", lambda *given: read.append(given) or readouts(*given))
    for weight in (0.5, 2.0):
        asked_weighted(service, one, two, weight)
    assert not read
    service.state.engine.respect(10**6)  # another process has deleted something
    again = asked_weighted(service, one, two, 2.5)
    assert read and again["calibration"] == fresh["calibration"]


def asked_weighted(service: Service, one: str, two: str, weight: float) -> dict[str, Any]:
    members = json.dumps([{"id": one}, {"id": two, "weight": weight}])
    return asked(service, image("cat", 900), components=members, rule="joint")
