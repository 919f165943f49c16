"""What was deleted after a backup is deleted again by a restore, before anything is served."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.backups import later_deletions
from app.backups.backup import back_up
from app.backups.restore import Restored, described, restore
from app.cli import main
from app.database.sessions import transaction
from app.settings import BadSettings, Settings
from app.store import components
from tangent.training.privacy import public_images
from tests.support.archives import zip_of
from tests.support.client import delete, upload, verify
from tests.support.images import image, packed
from tests.support.privacy import budget, files_of, train
from tests.support.service import Service, running
from tests.support.signing_keys import key_file
from tests.support.stored import Filled, fill, seen, settings_of
from tests.support.unlearning import image_id, occurrences, unlearn

Serve = Callable[..., Service]
SPLIT = [("train/dog/0.png", image("dog", 0)), ("test/dog/1.png", image("dog", 1))]


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty folder and an empty database of either kind."""
    url = request.getfixturevalue("empty_postgres") if request.param == "postgres" else None
    return settings_of(tmp_path / "restored", url)


def later(service: Service, file: Path, made: Filled) -> None:
    """Back up, then delete a component, an image, and a dataset that came after the backup."""
    back_up(service.settings, file)
    delete(service, f"components/{made.other}")
    gone = image_id(service, made.dataset, ("cat", 2))
    delete(service, f"datasets/{made.dataset}/images/{gone}")
    delete(service, f"datasets/{service.dataset({'owl': 2})}")


def check_replayed(target: Settings, restored: Restored, service: Service, made: Filled) -> None:
    """Check that the deletions happened again before anything was served."""
    before = service.client.get("/v1/receipts?limit=100").json()["data"]
    assert len(restored.repeated) == 2
    assert any(line.startswith(f"{made.other} was deleted again") for line in restored.repeated)
    with running(target) as again:
        shown = again.client.get("/v1/receipts?limit=100").json()["data"]
        assert shown[: len(before)] == before  # the ledger goes on, nothing in it is rewritten
        assert len(shown) == len(before) + 2
        assert again.client.get(f"/v1/components/{made.other}").status_code == 410
        assert not occurrences(again, image("cat", 2)[60:])
        assert not list(again.state.blobs.keys(f"components/{made.other}"))
        owls = before[-1]["body"]["subject"]["id"]
        assert again.client.get(f"/v1/datasets/{owls}").status_code == 410
        assert all(verify(again, each)["ok"] for each in shown)
        mine = [each["sha256"] for each in seen(again)["components"]["data"]]
        assert mine == [each["sha256"] for each in seen(service)["components"]["data"]]


def test_deletions_after_the_backup_are_done_again_from_saved_receipts(
    service, target, tmp_path, capsys
):
    made, file = fill(service), tmp_path / "backup.tar"
    later(service, file, made)
    saved = tmp_path / "receipts.jsonl"
    folder = str(service.settings.data_dir)
    assert main(["export-receipts", str(saved), "--data-dir", folder]) == 0
    assert main(["verify-receipts", str(saved)]) == 0

    restored = restore(target, file, later_deletions.read([saved], {}))

    check_replayed(target, restored, service, made)


def test_deletions_after_the_backup_are_done_again_from_the_old_store(service, tmp_path):
    made, file = fill(service), tmp_path / "backup.tar"
    later(service, file, made)
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    check_replayed(target, restored, service, made)


def test_the_command_says_what_it_deleted_again_and_what_backups_still_hold(
    service, tmp_path, capsys
):
    made, file = fill(service), tmp_path / "backup.tar"
    later(service, file, made)
    capsys.readouterr()

    folder, old = str(tmp_path / "restored"), str(service.settings.data_dir)
    assert main(["restore", str(file), "--data-dir", folder, "--ledger", old]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{made.other} was deleted again, see receipts ") for line in lines)
    assert "evaluations, batch predictions and compositions that were deleted" in lines[-2]
    assert "API keys that were revoked are valid again: look at `tangent keys list`" in lines[-2]
    assert lines[-1] == "this backup and older ones still hold what was deleted after them"
    again = str(tmp_path / "again")
    assert main(["restore", str(file), "--data-dir", again]) == 0
    said = capsys.readouterr().out
    assert "what was deleted after the backup is back: restore with --receipts" in said


def test_a_ledger_without_later_deletions_says_so_of_what_has_receipts_alone(service, tmp_path):
    back_up(service.settings, tmp_path / "backup.tar")
    ledger = later_deletions.of_database(service.settings)

    restored = restore(settings_of(tmp_path / "restored"), tmp_path / "backup.tar", ledger)

    said = "of the backup's components, datasets, images and spaces, none was deleted after it"
    assert said in described(restored, with_ledger=True)


def test_receipts_of_another_store_and_older_ones_are_refused_and_nothing_is_restored(
    serve, tmp_path
):
    service, other, file = serve(), serve(), tmp_path / "backup.tar"
    for each in (service, other):
        for _ in range(2):
            delete(each, f"datasets/{each.dataset({'cat': 2})}")
    back_up(service.settings, file)
    whole = later_deletions.of_database(service.settings)
    foreign = later_deletions.of_database(other.settings)
    short = later_deletions.Ledger(whole.receipts[:1], {})

    for given, reason in ((foreign, "the ledger of another store"), (short, "give a newer one")):
        with pytest.raises(BadSettings, match=reason):
            restore(settings_of(tmp_path / "restored"), file, given)
    restore(settings_of(tmp_path / "restored"), file, whole)  # the folder had stayed empty


def test_signed_receipts_of_later_deletions_need_their_public_key(serve, tmp_path, capsys):
    key = key_file(tmp_path / "key.pem")
    service, file = serve(receipt_key_file=key), tmp_path / "backup.tar"
    component_id = service.component({"cat": 3})
    back_up(service.settings, file)
    receipt = delete(service, f"components/{component_id}")
    saved, public = tmp_path / "receipts.jsonl", tmp_path / "public.pem"
    saved.write_text(json.dumps(receipt))
    public.write_text(service.client.get("/v1/receipts/key").json()["public_key"])
    arguments = ["restore", str(file), "--data-dir", str(tmp_path / "restored")]
    arguments += ["--receipts", str(saved)]

    assert main(arguments) == 2
    assert f"signed by the key {receipt['key_id']}" in capsys.readouterr().err
    assert main([*arguments, "--public-key", str(public)]) == 0
    with running(settings_of(tmp_path / "restored")) as again:
        assert verify(again, receipt)["signature_ok"] is True


def test_a_restore_killed_before_the_later_deletions_is_never_served(
    service, tmp_path, monkeypatch
):
    made, file = fill(service), tmp_path / "backup.tar"
    later(service, file, made)
    target = settings_of(tmp_path / "restored")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.backups.restore._repeat", die)
    with pytest.raises(KeyboardInterrupt):
        restore(target, file, later_deletions.of_database(service.settings))

    with (
        pytest.raises(BadSettings, match="its restore was not finished: empty database and data"),
        ExitStack() as stack,
    ):
        stack.enter_context(running_app(target))


def running_app(settings: Settings):
    from app.main import create_app, opened

    return opened(create_app(settings), settings)


def test_images_added_after_the_backup_are_named_as_they_cannot_be_added_again(service, tmp_path):
    made, file = fill(service), tmp_path / "backup.tar"
    back_up(service.settings, file)
    path = f"/v1/datasets/{made.dataset}/images"
    sent = {"file": ("more.zip", packed([("owl", 1), ("owl", 2)]))}
    assert service.client.post(path, files=sent).is_success
    delete(service, f"datasets/{made.dataset}/images/{image_id(service, made.dataset, ('owl', 1))}")
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    (open_end,) = restored.open_ends
    assert open_end.startswith(f"images were added to {made.dataset} after the backup")
    with running(target) as again:
        assert "owl" not in again.client.get(f"/v1/datasets/{made.dataset}").json()["labels"]
        for each in seen(again)["receipts"]["data"]:
            checked = verify(again, each)
            assert checked["chain_ok"] and checked["residue"] == []
        assert checked["manifest_ok"] is False  # components are as they were before the images


def test_a_space_and_several_images_deleted_after_the_backup_are_deleted_again(service, tmp_path):
    made, file = fill(service), tmp_path / "backup.tar"
    body = {"name": "scans", "backbone": "resnet_micro_32", "scope": "head"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    part = service.component({"owl": 2}, space="scans")
    back_up(service.settings, file)
    unlearn(service, made.dataset, [("cat", 1), ("cat", 2)])
    for _ in range(2):  # its name comes back, and goes again
        delete(service, "spaces/scans", cascade="true")
        assert service.client.post("/v1/spaces", json=body).status_code == 201
    delete(service, "spaces/scans", cascade="true")
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    assert restored.open_ends == []
    assert any("space 'scans' was deleted again" in line for line in restored.repeated)
    told = [line for line in restored.repeated if "image" in line or "img_" in line]
    assert [line.partition(", see")[0] for line in told] == [
        f"2 images of {made.dataset} were deleted again"
    ]
    with running(target) as again:
        assert again.client.get("/v1/spaces/scans").status_code == 404
        assert again.client.get(f"/v1/components/{part}").status_code == 410
        mine = [each["sha256"] for each in seen(again)["components"]["data"]]
        assert mine == [each["sha256"] for each in seen(service)["components"]["data"]]
        shown = again.client.get("/v1/receipts?limit=100").json()["data"]
        assert all(verify(again, each)["ok"] for each in shown)


def test_what_later_deletions_would_leave_without_an_image_goes_with_the_last_one(
    service, tmp_path
):
    """The images that were added before these deletions are not in the backup."""
    file = tmp_path / "backup.tar"
    whole, split = service.dataset({"cat": 2}), upload(service, zip_of(SPLIT))["id"]
    trained, waiting = service.queued(whole), service.queued(split)
    back_up(service.settings, file)
    for dataset, gone in ((whole, [("cat", 0), ("cat", 1)]), (split, [("dog", 0)])):
        sent = {"file": ("more.zip", packed([("owl", 1), ("owl", 2)]))}
        assert service.client.post(f"/v1/datasets/{dataset}/images", files=sent).is_success
        unlearn(service, dataset, gone)
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    assert any(line.startswith(f"{whole} had no other image than ") for line in restored.repeated)
    assert any(line.startswith(f"{waiting} had no other image ") for line in restored.repeated)
    assert [line.rpartition(": ")[2] for line in restored.open_ends] == [
        "upload them as a new dataset",
        "add them again",
    ]
    with running(target) as again:
        for path in (f"datasets/{whole}", f"components/{trained}", f"components/{waiting}"):
            assert again.client.get(f"/v1/{path}").status_code == 410
        assert again.client.get(f"/v1/datasets/{split}").json()["num_images"] == 1
        shown = again.client.get("/v1/receipts?limit=100").json()["data"]
        assert all(verify(again, each)["residue"] == [] for each in shown)


def test_a_deletion_that_is_refused_now_is_an_open_end_and_the_store_is_served(
    service, tmp_path, monkeypatch
):
    """A private component is whole again, whose file was damaged before the image was deleted."""
    monkeypatch.setattr(public_images, "COUNT", 64)
    file = tmp_path / "backup.tar"
    dataset = upload(service, zip_of(files_of({"a": 2, "b": 2}).items()))["id"]
    budget(service, dataset, epsilon=5.0)
    private = service.train(train(service, dataset))
    back_up(service.settings, file)
    damaged = {"code": "component_damaged", "detail": "its file is damaged"}
    with transaction(service.state.sessions) as session:
        assert components.move(session, private, "spoil", error=damaged)
    gone = image_id(service, dataset, ("dog", 0))
    delete(service, f"datasets/{dataset}/images/{gone}")
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    (open_end,) = restored.open_ends
    assert open_end.startswith(f"{gone} was deleted after the backup (receipt ")
    assert private in open_end and restored.repeated == []
    assert not any("none was deleted" in line for line in described(restored, with_ledger=True))
    with running(target) as again:
        assert again.client.get(f"/v1/datasets/{dataset}").json()["num_images"] == 4
