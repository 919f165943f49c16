"""Labels that changed after a backup are as in the newer store, and what they merged stays gone."""

from pathlib import Path

from app.backups import later_deletions
from app.backups.backup import back_up
from app.backups.later_deletions import Ledger
from app.backups.restore import restore
from tests.support.archives import zip_of
from tests.support.client import delete, upload, verify
from tests.support.images import image
from tests.support.service import Service, running
from tests.support.stored import fill, seen, settings_of
from tests.support.unlearning import image_id


def made(service: Service, *paths: str) -> str:
    """Upload a dataset; files of one name have the same bytes. Return its id."""
    files = [(path, image("any", int(Path(path).stem))) for path in paths]
    return str(upload(service, zip_of(files))["id"])


def held(service: Service, dataset: str) -> dict[str, str]:
    """Return the labels of the dataset's images by their ids."""
    rows = service.client.get(f"/v1/datasets/{dataset}/images?limit=100").json()["data"]
    return {row["id"]: row["label"] for row in rows}


def at(service: Service, dataset: str, path: str) -> str:
    """Return the id of the image that had this path in its archive."""
    rows = service.client.get(f"/v1/datasets/{dataset}/images?limit=100").json()["data"]
    (found,) = (row["id"] for row in rows if row["path"] == path)
    return str(found)


def rename(service: Service, dataset: str, **names: str) -> None:
    path = f"/v1/datasets/{dataset}/labels"
    assert service.client.post(path, json={"rename": names}).is_success


def correct(service: Service, dataset: str, path: str, label: str) -> None:
    where = f"/v1/datasets/{dataset}/images/{at(service, dataset, path)}"
    assert service.client.patch(where, json={"label": label}).is_success


def remove(service: Service, dataset: str, path: str) -> None:
    delete(service, f"datasets/{dataset}/images/{at(service, dataset, path)}")


def test_images_that_became_equal_to_deleted_ones_do_not_come_back(service, tmp_path):
    """By a renaming, by one correction, and where no image is left to tell the new name."""
    file = tmp_path / "backup.tar"
    renamed = made(service, "cat/1.png", "cat/2.png", "dog/3.png", "kat/1.png", "kat/2.png")
    corrected = made(service, "cat/1.png", "cat/2.png", "dog/1.png", "dog/3.png")
    back_up(service.settings, file)
    rename(service, renamed, kat="cat")
    correct(service, corrected, "dog/1.png", "cat")
    for dataset in (renamed, corrected):
        remove(service, dataset, "cat/1.png")
    whole = later_deletions.of_database(service.settings)
    alone = Ledger(whole.receipts, whole.keys)
    target, other = settings_of(tmp_path / "restored"), settings_of(tmp_path / "other")

    assert restore(target, file, whole).open_ends == []
    (open_end,) = restore(other, file, alone).open_ends
    assert open_end.startswith(f"the labels of {renamed} were renamed after the backup")

    for settings in (target, other):
        with running(settings) as again:
            for dataset in (renamed, corrected):
                assert held(again, dataset) == held(service, dataset)
            shown = again.client.get("/v1/receipts").json()["data"]
            assert shown and all(verify(again, each)["ok"] for each in shown)


def test_labels_are_those_of_the_newer_store_whatever_ways_led_to_them(service, tmp_path):
    file = tmp_path / "backup.tar"
    one = made(service, "cat/1.png", "dog/2.png", "dog/3.png")
    name_again = made(service, "cat/1.png", "cat/2.png", "dog/3.png")
    equal = made(service, "cat/1.png", "cat/2.png", "dog/3.png", "kat/1.png")
    copies = made(service, "cat/1.png", "kat/1.png", "kat/2.png")
    back_up(service.settings, file)
    rename(service, one, dog="hound")
    correct(service, one, "dog/2.png", "cat")
    rename(service, name_again, cat="kitty")
    correct(service, name_again, "dog/3.png", "cat")
    rename(service, equal, dog="hound")
    remove(service, equal, "cat/1.png")
    rename(service, equal, kat="cat")  # by now nothing there has the same bytes
    rename(service, copies, kat="cat")
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    assert restored.open_ends == []
    with running(target) as again:
        for dataset in (one, name_again, equal, copies):
            assert held(again, dataset) == held(service, dataset)
        path = f"/v1/datasets/{copies}/images"
        assert again.client.get(path).json()["data"] == service.client.get(path).json()["data"]


def test_labels_that_cannot_be_set_again_are_an_open_end_and_no_image_is_lost(service, tmp_path):
    """Two images with the same bytes have changed places, by way of a third label."""
    file = tmp_path / "backup.tar"
    dataset = made(service, "cat/1.png", "dog/1.png", "cat/2.png", "dog/3.png")
    back_up(service.settings, file)
    before = held(service, dataset)
    correct(service, dataset, "cat/1.png", "owl")
    correct(service, dataset, "dog/1.png", "cat")
    correct(service, dataset, "cat/1.png", "dog")
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, later_deletions.of_database(service.settings))

    (open_end,) = restored.open_ends
    assert f"the labels of {dataset} were changed after the backup" in open_end
    with running(target) as again:
        assert held(again, dataset) == before


def test_a_label_of_an_image_that_was_deleted_then_is_no_open_end(service, tmp_path):
    file = tmp_path / "backup.tar"
    dataset = made(service, "cat/1.png", "dog/2.png", "dog/3.png")
    back_up(service.settings, file)
    correct(service, dataset, "dog/2.png", "cat")
    remove(service, dataset, "dog/2.png")
    whole = later_deletions.of_database(service.settings)

    restored = restore(settings_of(tmp_path / "new"), file, Ledger(whole.receipts, whole.keys))

    assert restored.open_ends == [] and len(restored.repeated) == 1


def test_labels_renamed_after_the_backup_are_renamed_again_from_the_old_store(service, tmp_path):
    """From saved receipts they cannot be: those hold no names."""
    made, file = fill(service), tmp_path / "backup.tar"
    back_up(service.settings, file)
    path = f"/v1/datasets/{made.dataset}"
    assert service.client.post(f"{path}/labels", json={"rename": {"dog": "hound"}}).is_success
    gone = image_id(service, made.dataset, ("cat", 2))
    delete(service, f"datasets/{made.dataset}/images/{gone}")
    whole = later_deletions.of_database(service.settings)
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, whole)

    assert len(restored.repeated) == 2 and restored.open_ends == []
    with running(target) as again:
        wanted = {name: service.client.get(path).json()[name] for name in ("labels", "num_images")}
        assert {name: again.client.get(path).json()[name] for name in wanted} == wanted
        assert list(wanted["labels"]) == ["cat", "hound"]
        assert all(verify(again, each)["ok"] for each in seen(again)["receipts"]["data"])
    without = later_deletions.Ledger(whole.receipts, whole.keys)
    (open_end,) = restore(settings_of(tmp_path / "other"), file, without).open_ends
    assert open_end.startswith(f"the labels of {made.dataset} were renamed after the backup")


def test_a_label_corrected_after_the_backup_is_corrected_again_from_the_old_store(
    service, tmp_path
):
    made, file = fill(service), tmp_path / "backup.tar"
    back_up(service.settings, file)
    wrong = f"/v1/datasets/{made.dataset}/images/{image_id(service, made.dataset, ('cat', 2))}"
    assert service.client.patch(wrong, json={"label": "dog"}).is_success
    whole = later_deletions.of_database(service.settings)
    target = settings_of(tmp_path / "restored")

    restored = restore(target, file, whole)

    assert len(restored.repeated) == 1 and restored.open_ends == []
    with running(target) as again:
        counts = [
            each.client.get(f"/v1/datasets/{made.dataset}").json()["labels"]
            for each in (service, again)
        ]
        assert counts[0] == counts[1]
        mine = [each["sha256"] for each in seen(again)["components"]["data"]]
        assert mine == [each["sha256"] for each in seen(service)["components"]["data"]]
    without = later_deletions.Ledger(whole.receipts, whole.keys)
    (open_end,) = restore(settings_of(tmp_path / "other"), file, without).open_ends
    assert open_end.startswith(f"the label of {wrong.rpartition('/')[2]} was corrected after")
