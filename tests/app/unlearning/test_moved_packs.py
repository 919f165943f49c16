"""Images that come move a dataset's pack: what is reading it then begins again."""

import pytest

from app.database.sessions import transaction
from app.datasets import datasets
from app.store import components
from tests.support import merging
from tests.support.archives import archive
from tests.support.client import upload, verify
from tests.support.images import image
from tests.support.service import Service
from tests.support.unlearning import delta

OLD = {"train/cat/1.png": image("cat", 1), "train/dog/1.png": image("dog", 1)}
HELD_BACK = {"val/cat/2.png": image("cat", 2), "train/none.txt": b""}


def begin(service: Service, component_id: str) -> None:
    """Start the attempt of a worker that has read where the pack is."""
    with transaction(service.state.sessions) as session:
        assert components.start(session, component_id, executor_id="worker")


def queued(service: Service, dataset_id: str, kind: str) -> str:
    """Queue what reads the dataset's images: a training, or a merge that measures its parents'."""
    if kind == "trained":
        return service.queued(dataset_id)
    parents = [service.train(service.queued(dataset_id, seed=seed)) for seed in range(2)]
    return merging.queued(service, "fisher", *parents)


@pytest.mark.parametrize(("kind", "make"), [("trained", Service.train), ("derived", merging.made)])
def test_what_is_being_made_begins_again_when_only_held_back_images_come(serve, kind, make):
    service, never = serve(), serve()
    dataset_id, other_id = (upload(each, archive(OLD))["id"] for each in (service, never))
    component_id = queued(service, dataset_id, kind)
    other = make(never, queued(never, other_id, kind))
    begin(service, component_id)

    files = {"file": ("next-week.zip", archive(HELD_BACK))}
    answer = service.client.post(f"/v1/datasets/{dataset_id}/images", files=files)

    receipt = answer.json()["receipt"]
    outcomes = {each["id"]: each["outcome"] for each in receipt["body"]["components"]}
    assert outcomes[component_id] == "retraining"
    with transaction(service.state.reading) as session:
        row = components.get(session, component_id)
        pack = service.state.blobs.path(datasets.get(session, dataset_id).pack_key)
    assert (row.status, row.generation, row.retraining) == ("queued", 1, False) and pack.exists()
    make(service, component_id)
    assert delta(service, component_id).content == delta(never, other).content
    assert verify(service, receipt)["ok"]
