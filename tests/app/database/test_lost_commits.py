"""A COMMIT whose answer is lost on the way: what was committed stays, files and rows alike."""

from collections.abc import Callable, Iterator

import pytest

from app.database import sessions as db
from app.database.sessions import on_commit, on_rollback, session_factory, transaction
from app.database.tables import Tombstone
from app.settings import Settings
from tests.support.archives import archive
from tests.support.cut_lines import Cut, proxied
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service
from tests.support.uploads import FILES, created, post, traces

Cutting = tuple[Service, Cut]


@pytest.fixture
def cutting(postgres: str, serve: Callable[..., Service]) -> Iterator[Cutting]:
    """A service whose lines to Postgres can be cut."""
    with proxied(postgres) as (url, cut):
        yield serve(database_url=url), cut


def test_an_upload_is_answered_and_keeps_its_images(cutting: Cutting):
    service, cut = cutting
    cut.after(b"INSERT INTO image ")

    answer = post(service, archive(FILES), headers={"Idempotency-Key": "k"})

    assert cut.done.is_set()
    assert answer.status_code == 201, answer.text
    dataset_id = answer.json()["id"]
    for each in service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]:
        path = f"/v1/datasets/{dataset_id}/images/{each['id']}"
        assert service.client.get(path).status_code == 200
    again = post(service, archive(FILES), headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (201, dataset_id)
    assert traces(service)["blobs"] == [f"datasets/{dataset_id}/images.pack"]


def test_an_upload_of_which_nobody_says_how_it_ended_keeps_its_file(
    cutting: Cutting, monkeypatch: pytest.MonkeyPatch
):
    service, cut = cutting
    monkeypatch.setattr(db, "PATIENCE", (0.0, 0.1))
    cut.after(b"INSERT INTO image ", refusing=True)

    answer = post(service, archive(FILES))

    assert cut.done.is_set()
    problem(answer, 503, "outcome_unknown")
    assert answer.headers["retry-after"] == "5"
    cut.refusing = False
    (dataset,) = service.client.get("/v1/datasets").json()["data"]
    assert traces(service)["blobs"] == [f"datasets/{dataset['id']}/images.pack"]


@pytest.mark.parametrize("noun", ["components", "datasets"])
def test_a_deletion_is_answered_and_leaves_nothing(cutting: Cutting, noun: str):
    service, cut = cutting
    component_id = service.component({"cat": 3})
    dataset_id = service.client.get(f"/v1/components/{component_id}").json()["dataset_id"]
    sha256 = service.client.get(f"/v1/components/{component_id}").json()["sha256"]
    files = {"images": ("a.png", FILES["pets/cat/1.png"], "image/png")}
    assert service.client.post("/v1/predictions", files=files).status_code == 200
    assert any(sha256 in str(key) for key in service.state.engine._composed._deltas)
    named = component_id if noun == "components" else f"{dataset_id}?cascade=true"
    cut.after(b"INSERT INTO tombstone ")

    answer = service.client.delete(f"/v1/{noun}/{named}")

    assert cut.done.is_set()
    assert answer.status_code == 200, answer.text
    assert not service.state.engine._composed._deltas
    assert list(service.state.blobs.keys("components")) == []
    found = service.client.post(f"/v1/receipts/{answer.json()['id']}/verify").json()
    assert found["ok"], found
    gone = service.client.get(f"/v1/components/{component_id}").json()
    assert gone["receipt_id"] == answer.json()["id"]


def test_images_leave_and_labels_change_although_the_answer_is_lost(cutting: Cutting):
    service, cut = cutting
    dataset_id = service.dataset({"cat": 4, "dog": 4})
    component_id = service.train(service.queued(dataset_id))
    old = service.client.get(f"/v1/components/{component_id}").json()["sha256"]
    image_id = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][0]["id"]
    cut.after(b"INSERT INTO tombstone ")

    answer = service.client.delete(f"/v1/datasets/{dataset_id}/images/{image_id}")

    assert cut.done.is_set()
    assert answer.status_code == 200, answer.text
    found = service.client.post(f"/v1/receipts/{answer.json()['id']}/verify").json()
    assert found["ok"], found
    delta = service.client.get(f"/v1/components/{component_id}/delta")
    assert delta.status_code == 200 and delta.headers["etag"].strip('"') != old
    assert len(list(service.state.blobs.keys("components"))) == 1


def test_an_imported_component_keeps_its_file(cutting: Cutting):
    service, cut = cutting
    delta = service.client.get(f"/v1/components/{service.component({'cat': 3})}/delta").content
    cut.after(b"INSERT INTO component ")

    file = {"file": ("a.safetensors", delta)}
    answer = service.client.post(
        "/v1/components/import", files=file, data={"allow_duplicate": "true"}
    )

    assert cut.done.is_set()
    assert answer.status_code == 201, answer.text
    copy = service.client.get(f"/v1/components/{answer.json()['id']}/delta")
    assert copy.content == delta


def test_what_waits_for_the_end_of_a_transaction_is_done_once_that_is_certain(
    postgres: str, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []

    def run(url: str, subject_id: str, error: Exception | None = None) -> None:
        engine = db.open_engine(Settings(**KEY_FREE | {"database_url": url}))
        try:
            with transaction(session_factory(engine)) as session:
                on_commit(session, lambda: said.append("committed"))
                on_rollback(session, lambda: said.append("rolled back"))
                session.add(Tombstone(subject_id=subject_id, receipt_id="rcpt_a"))
                session.flush()
                if error is not None:
                    raise error
        finally:
            engine.dispose()

    run(postgres, "ds_a")
    with pytest.raises(KeyError, match="mine"):
        run(postgres, "ds_b", KeyError("mine"))
    with proxied(postgres) as (url, cut):
        cut.after(b"INSERT INTO tombstone ")
        run(url, "ds_c")
        assert cut.done.is_set()
    assert said == ["committed", "rolled back", "committed"]
    monkeypatch.setattr(db, "PATIENCE", (0.0,))
    with proxied(postgres) as (url, cut), pytest.raises(db.Unsettled, match="COMMIT"):
        cut.after(b"INSERT INTO tombstone ", refusing=True)
        run(url, "ds_d")
    assert len(said) == 3


def test_a_commit_that_the_server_refuses_leaves_no_file(cutting: Cutting):
    """A constraint that is checked at the commit only."""
    service, _ = cutting
    with transaction(service.state.sessions) as session:
        session.connection().exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        session.connection().exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER refuses AFTER INSERT ON dataset "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        )

    assert post(service, archive(FILES)).status_code == 500

    found = traces(service)
    assert (found["dataset"], found["blobs"], found["scratch"]) == (0, [], [])
    with transaction(service.state.sessions) as session:
        session.connection().exec_driver_sql("DROP TRIGGER refuses ON dataset")
    assert created(service)["num_images"] == 3
