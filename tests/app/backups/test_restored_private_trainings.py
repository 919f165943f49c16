"""A restore makes no private component that the store of the backup may have made since."""

import pytest

from app.backups.backup import back_up
from app.backups.move import move
from app.backups.restore import described, restore
from app.database import migrate
from app.database.sessions import transaction
from app.store import components
from tangent.training.privacy import public_images
from tests.support.archives import zip_of
from tests.support.client import upload
from tests.support.privacy import files_of, ledger, train
from tests.support.problems import problem
from tests.support.service import running
from tests.support.stored import settings_of

SCOPE = "head"


@pytest.fixture(autouse=True)
def few_public_images(monkeypatch):
    monkeypatch.setattr(public_images, "COUNT", 64)


def uploaded(service) -> str:
    return upload(service, zip_of(files_of({"a": 2, "b": 2}).items()))["id"]


@pytest.fixture(params=["queued", "training"])
def started(request: pytest.FixtureRequest) -> bool:
    """Says whether a worker has begun with the component before the backup."""
    return request.param == "training"


def test_a_private_training_of_the_backup_fails_and_its_spend_counts(either, tmp_path, started):
    dataset = uploaded(either)
    private = train(either, dataset)
    if started:
        with transaction(either.state.sessions) as session:
            assert components.start(session, private, executor_id="test")
    other = either.queued(either.dataset({"cat": 2}))
    back_up(either.settings, tmp_path / "backup.tar")
    either.train(private)  # and is out
    spent = ledger(either, dataset)

    target = settings_of(tmp_path / "restored")
    restored = restore(target, tmp_path / "backup.tar")

    assert (restored.failed, restored.queued) == ([private], 1)
    said = [line for line in described(restored, with_ledger=False) if private in line]
    assert said == [line for line in said if "is private and has failed" in line] != []
    with running(target) as again:
        shown = again.client.get(f"/v1/components/{private}").json()
        assert (shown["status"], shown["error"]["code"]) == ("failed", "private_not_repeated")
        assert ledger(again, dataset)["spent"] == spent["spent"]
        assert [each["state"] for each in ledger(again, dataset)["spends"]] == ["spent"]
        retrained = again.client.post(f"/v1/components/{private}/retrain")
        problem(retrained, 409, "private_component")
        assert again.client.get(f"/v1/components/{other}").json()["status"] == "queued"
        events = again.client.get(f"/v1/components/{private}/events?after=0").json()["data"]
        assert events[-1]["data"]["error"]["code"] == "private_not_repeated"


def test_a_private_training_goes_on_after_a_move(tmp_path, empty_postgres):
    """Nothing runs on the old database any more, so it comes out once."""
    folder = tmp_path / "data"
    migrate.upgrade(settings_of(folder))
    with running(settings_of(folder)) as service:
        private = train(service, uploaded(service))

    assert move(settings_of(folder), empty_postgres).queued == 1

    with running(settings_of(folder, empty_postgres)) as service:
        assert service.client.get(f"/v1/components/{private}").json()["status"] == "queued"
