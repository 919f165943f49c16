"""Images for a local training: a folder reads as an archive of it, within the same bounds."""

import os
from pathlib import Path

import pytest

from app.errors import Problem
from app.settings import Settings
from tests.support.archives import archive, noise, noise_at
from tests.support.local_training import as_folder
from training_worker.local.images import Bounds, training_images

FILES = noise_at(
    *("pets/cat/1.png", "pets/cat/2.png", "pets/dog/1.png", "pets/__MACOSX/cat/._1.png"),
    *("pets/cat/nested/3.png", "pets/.DS_Store"),
) | {"pets/notes.txt": b"hello", "pets/dog/broken.png": b"\x89PNG\r\n\x1a\n"}


def read(data: Path, scratch: Path, bounds: Bounds | None = None):
    """All that was found, without the places in the pack."""
    scratch.mkdir(exist_ok=True)
    with training_images(data, scratch, bounds or Bounds()) as found:
        upload = found.upload
        images = [(e.label, e.sha256, e.path, e.group) for e in found.entries]
        told = upload.rejected.listed, upload.duplicates, upload.files, upload.warnings
        assert found.pack.exists()
    assert list(scratch.iterdir()) == []
    return images, found.counts, told


def fault(data: Path, scratch: Path, bounds: Bounds | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        read(data, scratch, bounds)
    assert list(scratch.iterdir()) == []
    return caught.value


def test_the_bounds_are_those_of_the_service_s_settings():
    settings = Settings(api_key=None)
    for name, value in vars(Bounds()).items():
        assert value == getattr(settings, name), name
    assert Bounds().max_archive_entries == settings.max_archive_entries


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_a_folder_reads_as_an_archive_of_it(tmp_path, kind):
    files = dict(sorted(FILES.items()))
    (tmp_path / "archive").write_bytes(archive(files, kind))
    folder = as_folder(files, tmp_path / "folder")
    images, counts, told = read(folder, tmp_path / "a")
    assert (images, counts, told) == read(tmp_path / "archive", tmp_path / "b")
    assert counts == {"cat": 3, "dog": 1}
    assert [each["path"] for each in told[0]] == ["pets/dog/broken.png", "pets/notes.txt"]


def test_images_of_val_and_test_are_counted_and_left_out(tmp_path):
    files = noise_at("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/dog/4.png")
    _, counts, _ = read(as_folder(files, tmp_path / "x"), tmp_path / "s")
    assert counts == {"cat": 1, "dog": 1}
    only = as_folder(noise_at("val/cat/1.png", "test/dog/2.png"), tmp_path / "y")
    refused = fault(only, tmp_path / "s")
    assert refused.code == "nothing_to_train" and "are in test and val" in refused.detail


def test_links_and_devices_are_refused_and_read_by_nobody(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(noise(9))
    folder = as_folder(noise_at("cat/1.png"), tmp_path / "x")
    (folder / "cat" / "2.png").symlink_to(secret)
    assert fault(folder, tmp_path / "s").code == "archive_link"
    (folder / "cat" / "2.png").unlink()
    os.mkfifo(folder / "cat" / "pipe.png")
    assert fault(folder, tmp_path / "s").code == "archive_device"


def test_a_name_that_is_no_text_is_rejected_and_the_others_are_read(tmp_path):
    folder = as_folder(noise_at("cat/1.png"), tmp_path / "x")
    Path(os.fsdecode(os.fsencode(folder) + b"/cat/\xff.png")).write_bytes(noise(5))
    _, counts, (rejected, *_) = read(folder, tmp_path / "s")
    assert counts == {"cat": 1}
    assert "not in UTF-8" in rejected[0]["reason"]


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        ({"max_dataset_images": 2}, "too_many_images"),
        ({"max_labels": 1}, "too_many_labels"),
        ({"max_dataset_bytes": 300}, "archive_too_large"),
    ],
)
def test_bounds_hold_for_folders_too(tmp_path, bounds, code):
    folder = as_folder(noise_at("cat/1.png", "cat/2.png", "dog/3.png"), tmp_path / "x")
    assert fault(folder, tmp_path / "s", Bounds.given(bounds)).code == code


def test_a_bound_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(Problem, match="there are max_upload_bytes"):
        Bounds.given({"max_cats": 3})
    with pytest.raises(Problem, match="must be a number above 0"):
        Bounds.given({"max_labels": -1})


def test_data_that_is_none_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    assert fault(tmp_path / "empty", tmp_path / "s").code == "no_images"
    assert "No such file" in fault(tmp_path / "none", tmp_path / "s").detail
    (tmp_path / "text").write_text("hello, this is no archive")
    assert fault(tmp_path / "text", tmp_path / "s").code == "not_an_archive"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path):
    folder = as_folder(noise_at("cat/1.png", "dog/2.png"), tmp_path / "x")
    (folder / "dog").chmod(0)
    assert fault(folder, tmp_path / "s").code == "folder_unreadable"
    (folder / "dog").chmod(0o700)
