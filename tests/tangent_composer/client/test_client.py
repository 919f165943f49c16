"""The client against a live service: the whole story, in its blocking and asynchronous form."""

import asyncio
import io
import json
import threading
import zipfile

import numpy as np
import PIL.Image
import pytest

from tangent_composer import AsyncClient, Client
from tangent_composer.client import errors
from tests.support.images import archive, image
from tests.support.service import Service

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def trained(service: Service, client: Client, counts: dict[str, int], start: int = 0):
    """A dataset and its component, uploaded and queued by the client."""
    dataset = client.datasets.upload(archive(counts, start))
    component = client.components.train(dataset.id, name=f"of {start}")
    if component.status != "ready":
        service.train(component.id)
    return dataset, component.wait(timeout=60)


def folder_of(place, counts):
    with zipfile.ZipFile(io.BytesIO(archive(counts))) as packed:
        packed.extractall(place)
    (place / ".DS_Store").write_text("not sent")
    return place


def test_a_folder_is_uploaded_as_its_labels(client, tmp_path):
    dataset = client.datasets.upload(folder_of(tmp_path / "pets", {"cat": 3, "dog": 2}))
    assert (dataset.name, dataset.labels) == ("pets", {"cat": 3, "dog": 2})
    assert dataset.num_rejected == 0
    assert not dataset.was_there


def test_the_same_folder_is_uploaded_once(client, tmp_path):
    first = client.datasets.upload(folder_of(tmp_path / "once", {"cow": 2}))
    again = client.datasets.upload(tmp_path / "once")
    renamed = client.datasets.upload(tmp_path / "once", name="another")
    assert (again.id, again.was_there) == (first.id, True)
    assert renamed.id != first.id


def test_an_upload_tells_how_far_it_is(client):
    steps = []
    data = archive({"ant": 12})
    client.datasets.upload(data, progress=steps.append)
    assert steps[-1].done == steps[-1].total == len(data)
    assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_a_cancelled_training_is_queued_again_when_asked_for_again(service, client):
    dataset = client.datasets.upload(archive({"eel": 3, "cod": 3}))
    first = client.components.train(dataset.id)
    assert client.components.train(dataset.id).id == first.id
    assert first.cancel().status == "cancelled"
    with pytest.raises(errors.Failed, match="is cancelled: train it again") as caught:
        first.wait()
    assert caught.value.code == "cancelled"
    second = client.components.train(dataset.id)
    assert second.id != first.id
    assert client.components.train(dataset.id).id == second.id


def test_a_wait_ends_in_time_and_may_go_on(service, client):
    dataset = client.datasets.upload(archive({"fox": 4, "owl": 4}))
    component = client.components.train(dataset.id)
    with pytest.raises(errors.NotFinished, match=r"is queued after 0 s: call wait\(\) again"):
        component.wait(timeout=0)
    service.train(component.id)
    steps = []
    assert component.wait(progress=steps.append).status == "ready"
    assert steps


def test_images_of_every_form_have_the_answers_of_their_files(service, client, tmp_path):
    trained(service, client, {"cat": 6, "dog": 6}, start=20)
    file = image("cat", 90)
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "cat.png").write_bytes(file)
    (tmp_path / "many" / "dog.png").write_bytes(image("dog", 91))
    (tmp_path / "many" / "notes.txt").write_text("no image")
    opened = PIL.Image.open(io.BytesIO(file))
    forms = [file, tmp_path / "many" / "cat.png", str(tmp_path / "many" / "cat.png"), opened]
    forms += [np.asarray(opened), [file], np.asarray(opened)[None], io.BytesIO(file)]

    answers = [client.predict(form, top_k=2) for form in forms]
    folder = client.predict(tmp_path / "many")

    assert all(found.labels == answers[0].labels for found in answers)
    assert {round(found[0].predictions[0].logit, 4) for found in answers} == {
        round(answers[0][0].predictions[0].logit, 4)
    }
    assert (folder.names, folder.labels) == (["cat.png", "dog.png"], ["cat", "dog"])


def test_more_images_than_a_request_takes_are_sent_in_several(service, client):
    trained(service, client, {"cat": 6, "dog": 6}, start=20)
    most = client.limits().max_prediction_images
    given = [image(label, 100 + n) for n in range(most // 2 + 2) for label in ("cat", "dog")]

    steps = []
    found = client.predict(given, progress=steps.append)

    assert len(found) == len(given) > most
    assert [result.index for result in found] == list(range(len(given)))
    assert [step.done for step in steps] == [most, len(given)]
    assert found.labels[:2] == ["cat", "dog"]


def test_a_text_is_one_label_and_not_its_letters(service, client):
    trained(service, client, {"cat": 6, "dog": 6}, start=20)
    found = client.predict(image("cat", 99), labels="cat")
    assert [each.label for each in found[0].predictions] == ["cat"]
    made = client.spaces.create("one-label", "resnet_micro_32", scope="head", labels="healthy")
    assert made.declared_labels == ["healthy"]


def test_a_broken_image_has_its_error_and_the_others_their_answers(service, client):
    trained(service, client, {"cat": 6, "dog": 6}, start=20)
    found = client.predict([image("cat", 99), b"no image at all"])
    assert found.labels == ["cat", None]
    assert found[1].error.code
    table = found.to_pandas()
    assert list(table["image"]) == ["image 0", "image 1"]
    assert table["error"].notna().tolist() == [False, True]


def test_what_is_no_image_is_refused_before_it_is_sent(client, tmp_path):
    for given, sentence in (
        (tmp_path, "there are no images to predict: give image files"),
        (7, "int is no image"),
        (np.zeros((4, 4)), r"an array of float64 is no image: give numbers from 0 to 255"),
        (np.zeros((4, 4, 7), "uint8"), r"an array of shape \(4, 4, 7\) is no image"),
        (tmp_path / "none.png", "none.png cannot be read: No such file"),
    ):
        with pytest.raises(errors.BadInput, match=sentence):
            client.predict(given)


def test_evaluations_stand_side_by_side(service, client):
    dataset, one = trained(service, client, {"cat": 6, "dog": 6}, start=20)
    _, other = trained(service, client, {"cow": 6, "hen": 6}, start=40)

    good = client.evaluate(dataset.id, components=[one.id])
    side = client.compare(dataset.id, {"components": [other.id]}, {"components": [one.id]})

    assert good.accuracy == 1.0
    assert list(good.wrong()) == []
    assert (side.before.accuracy, side.after.accuracy) == (0.0, 1.0)
    assert (len(side.fixed), len(side.broken)) == (12, 0)
    assert side.to_pandas().iloc[-1].to_dict() == {
        "label": "all",
        "images": 12,
        "before": 0.0,
        "after": 1.0,
        "trained_on_before": 0,
        "trained_on_after": 12,
        "note": f"after: {good.note}",
    }
    assert good.note and good.note.startswith("measured on training images: 12 of these 12")
    assert {row["note"] for row in side.rows()} == {f"after: {good.note}"}


def test_an_image_is_found_in_what_holds_it(service, client):
    dataset, component = trained(service, client, {"cat": 6, "dog": 6}, start=20)
    found = client.find(image("cat", 21))
    assert dataset.id in {held.dataset_id for held in found.exact}
    assert component.id in {id_ for held in found.exact for id_ in held.components}
    assert [held.id for held in client.images.each(found.sha256)]


def test_compositions_are_made_listed_and_deleted(service, client):
    _, one = trained(service, client, {"cat": 6, "dog": 6}, start=20)
    made = client.compositions.put("mine", {one.id: 0.5}, rule="weighted")
    assert [(each.id, each.weight) for each in made.components] == [(one.id, 0.5)]
    assert "mine" in {each.name for each in client.compositions.each()}
    with pytest.raises(errors.StaleVersion, match="read it again") as caught:
        client.compositions.put("mine", if_match="another")
    assert caught.value.status == 412
    client.compositions.delete("mine", if_match=made.etag)
    with pytest.raises(errors.NotFound, match="mine"):
        client.compositions.get("mine")


def test_a_refusal_is_an_exception_with_code_detail_and_receipt(service, client):
    _, component = trained(service, client, {"bee": 3, "bat": 3}, start=60)
    assert component.preview().component_id == component.id
    receipt = component.unlearn()
    with pytest.raises(errors.Gone, match="was deleted") as caught:
        component.refresh()
    assert (caught.value.code, caught.value.receipt_id) == ("component_deleted", receipt.id)
    with pytest.raises(errors.Invalid, match="/rule: Input should be") as invalid:
        client.predict(image("cat", 1), rule="sum")
    assert invalid.value.places[0]["pointer"] == "/rule"
    assert client.receipts.verify(receipt.id).ok


def test_the_asynchronous_client_does_the_same(service):
    async def story() -> tuple[bool, list[str | None]]:
        async with AsyncClient(service.url, progress=False) as client:
            data = archive({"elk": 6, "gnu": 6})
            first, second = await asyncio.gather(
                client.datasets.upload(data), client.datasets.upload(data)
            )
            component = await client.components.train(first.id)
            await asyncio.to_thread(service.train, component.id)
            ready = await component.wait(timeout=60)
            found = await client.predict(image("elk", 9), components=[ready.id])
            listed = [each.id async for each in client.components.each(dataset_id=first.id)]
            assert listed == [ready.id]
            return first.id == second.id, found.labels

    assert asyncio.run(story()) == (True, ["elk"])


def test_a_service_that_is_away_is_an_error_with_the_remedy(free_port):
    sentence = r"cannot be reached .* look whether"
    with (
        Client(f"http://127.0.0.1:{free_port}", retries=0) as client,
        pytest.raises(errors.NoAnswer, match=sentence) as caught,
    ):
        client.ready()
    assert caught.value.code == "not_reached"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://x", "", "http://", "http://a/?b", "http://a#b"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(errors.BadInput, match="is no address of a service"):
        Client(url or " ")


def test_something_else_at_the_address_is_no_service():
    class Page(threading.Thread):
        def __init__(self) -> None:
            super().__init__(daemon=True)
            import socket

            self.listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

        def run(self) -> None:
            connection, _ = self.listener.accept()
            connection.recv(4096)
            body = json.dumps({"hello": 1}).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
            connection.sendall(head + body)
            connection.close()
            self.listener.close()

    page = Page()
    page.start()
    with (
        Client(page.url) as client,
        pytest.raises(errors.UnexpectedAnswer, match="something else than Ready"),
    ):
        client.ready()
    page.join(10)


def test_a_dataset_grows_and_its_labels_are_corrected(client):
    dataset = client.datasets.upload(archive({"elk": 3, "doe": 3}, 700))
    added = client.datasets.add_images(dataset.id, archive({"elk": 2}, 720))
    again = client.datasets.add_images(dataset.id, archive({"elk": 2}, 720))
    assert (added.labels, again.labels) == ({"elk": 5, "doe": 3}, {"elk": 5, "doe": 3})
    assert added.receipt is not None and again.receipt is None
    image_ = next(client.datasets.images(dataset.id, label="elk"))
    client.datasets.unlearn_image(dataset.id, image_.id)
    other = next(client.datasets.images(dataset.id, label="elk"))
    corrected = client.datasets.correct_label(dataset.id, other.id, "doe")
    assert (corrected.id, corrected.label) == (other.id, "doe")
    assert client.datasets.get(dataset.id).labels == {"elk": 3, "doe": 4}
    assert client.datasets.relabel(dataset.id, {"elk": "deer", "doe": "deer"}).labels == {"deer": 7}


def test_wrong_labels_are_found(service, client):
    dataset, component = trained(service, client, {"cat": 6, "dog": 6}, start=800)
    found = client.datasets.label_report(dataset.id, components=[component.id], all=True, limit=5)
    assert len(found.images) == 5
    named = client.datasets.label_report(dataset.id, components=component.id, label="cat", all=True)
    assert {each.label for each in named.images} == {"cat"}
