"""An archive becomes a pack of checked, labelled images, and leaves nothing when it does not."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.archives import collection, image_checks, uploads
from app.archives.packs import read
from app.errors import DiskFull, Problem
from app.images.image_files import Facts
from tests.support.archives import KINDS, LIMITS, Limits, archive, noise, noise_at, tar_of, zip_of


class Uploaded:
    """The parts of an upload that a test checks after its block has ended."""

    def __init__(self, data: bytes, folder: Path, limits: Limits) -> None:
        with uploads.receive(io.BytesIO(data), folder / "pack", limits) as upload:
            self.upload = upload
            self.pack = upload.pack.read_bytes()
            self.files = {
                (label, image.path): read(upload.pack, *place)
                for label, image, place, *_ in upload.images
            }
        self.labels, self.duplicates = upload.labels, upload.duplicates
        self.rejected = {item["path"]: item["reason"] for item in upload.rejected.listed}
        assert not list(folder.iterdir())


@pytest.fixture
def upload(tmp_path):
    return lambda data, limits=LIMITS: Uploaded(data, tmp_path, limits)


@pytest.fixture
def refused(tmp_path):
    def problem(data: bytes, limits: Limits = LIMITS) -> Problem:
        with (
            pytest.raises(Problem) as caught,
            uploads.receive(io.BytesIO(data), tmp_path / "pack", limits),
        ):
            pytest.fail("the upload was accepted")
        assert not list(tmp_path.iterdir())
        return caught.value

    return problem


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_is_packed_with_its_label(upload, kind):
    files = noise_at("pets/cat/1.png", "pets/dog/1.png", "pets/cat/2.png")
    found = upload(archive(files, kind))
    assert found.labels == {"cat": 2, "dog": 1}
    assert found.files == {(path.split("/")[1], path): data for path, data in files.items()}
    assert found.upload.sha256 == hashlib.sha256(archive(files, kind)).hexdigest()
    assert [image.image.path for image in found.upload.images] == list(files)


def test_files_that_are_no_images_are_rejected_one_by_one(upload):
    inner = zip_of([("a.png", noise())])
    files = noise_at("cat/1.png") | {
        "cat/notes.txt": b"hello",
        "cat/cut.png": noise(3)[:-40],
        "cat/inner.zip": inner,
        "cat/inner.tar": tar_of({"a.png": noise()}),
        "cat/large.png": bytes(2**20 + 1),
        "README.md": b"",
        "table.csv": b"a,b\n1,2\n",
    }
    rejected = upload(archive(files)).rejected
    assert set(rejected) == set(files) - {"cat/1.png"}
    assert "not a JPEG" in rejected["cat/notes.txt"]
    assert "damaged or cut off" in rejected["cat/cut.png"]
    assert rejected["cat/inner.zip"] == "an archive (zip) inside the archive is not opened"
    assert "(tar) inside" in rejected["cat/inner.tar"]
    assert "has 1048577 bytes, more than the 1048576" in rejected["cat/large.png"]
    assert rejected["README.md"] == "the file is empty"
    assert "not a manifest" in rejected["table.csv"]


def test_rejected_files_are_listed_up_to_a_thousand_and_all_counted(upload):
    files = noise_at("cat/1.png") | {f"cat/{i}.txt": b"x" for i in range(1100)}
    found = upload(archive(files), replace(LIMITS, max_dataset_images=2000))
    assert len(found.rejected) == 1000
    assert found.upload.rejected.count == 1100


def test_the_same_bytes_are_kept_once_under_one_label_and_under_both_of_two(upload):
    one, two = noise(1), noise(2)
    found = upload(archive({"a/1.png": one, "a/2.png": one, "b/3.png": one, "b/4.png": two}))
    assert found.labels == {"a": 1, "b": 2}
    assert found.duplicates == 2
    assert set(found.files) == {("a", "a/1.png"), ("b", "b/3.png"), ("b", "b/4.png")}
    assert found.pack == one + two


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False])
def test_a_manifest_may_come_before_or_after_its_images(upload, kind, first):
    images = noise_at("img/1.png", "img/2.png", "img/3.png")
    text = b"file_name,label\nimg/1.png,cat\nimg/2.png,dog\nimg/9.png,dog\nimg/3.png,\n"
    table = {"metadata.csv": text}
    found = upload(archive(table | images if first else images | table, kind))
    assert found.labels == {"cat": 1, "dog": 1}
    assert found.rejected == {
        "img/3.png": "its label in metadata.csv, line 5, is empty",
        "img/9.png": "the manifest lists this image, but the archive lacks it",
    }


def test_the_pack_holds_nothing_that_was_not_accepted(upload):
    images = noise_at("img/1.png", "img/2.png", "img/3.png")
    found = upload(archive(images | {"metadata.jsonl": b'{"file_name":"img/2.png","label":1}'}))
    assert found.pack == images["img/2.png"]
    assert found.rejected["img/1.png"] == "the manifest does not list this image"


def test_images_without_a_folder_are_rejected_where_others_have_one(upload):
    found = upload(archive(noise_at("cat/1.png", "2.png", "dog \x07/3.png")))
    assert found.labels == {"cat": 1}
    assert "is not in a folder" in found.rejected["2.png"]
    assert "U+0007, which is a control" in found.rejected["dog \x07/3.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_without_images_is_refused_with_the_reasons(refused, kind):
    problem = refused(archive({"cat/a.txt": b"hello", ".DS_Store": b"x"}, kind))
    assert (problem.status, problem.code) == (422, "no_images")
    assert "cat/a.txt: this is a text, not a JPEG" in problem.detail
    assert problem.extra["num_rejected"] == 1
    if not kind.endswith("tar"):  # an empty tar is nothing but zeros
        assert "it is empty" in refused(archive({}, kind)).detail


def test_an_archive_without_labels_is_refused(refused):
    problem = refused(archive(noise_at("1.png", "2.png")))
    assert (problem.status, problem.code) == (422, "no_labels")
    assert "2 images without labels, as they are not in folders: put every" in problem.detail
    table = {"metadata.csv": b"file_name,label\nx.png,cat\n"}
    told = refused(archive(noise_at("1.png") | table)).detail
    assert "the manifest lists none of them (it lists 'x.png', not '1.png')" in told


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_dataset_images": 2}, "too_many_images"),
        ({"max_labels": 2}, "too_many_labels"),
        ({"max_upload_bytes": 300}, "archive_too_large"),
        ({"max_dataset_bytes": 300}, "archive_too_large"),
    ],
)
def test_limits_are_held(refused, limit, code):
    problem = refused(archive(noise_at("a/1.png", "b/1.png", "c/1.png")), replace(LIMITS, **limit))
    assert (problem.status, problem.code) == (413, code)
    assert str(next(iter(limit.values()))) in problem.detail


def test_all_images_together_have_a_limit_of_pixels(refused, monkeypatch):
    monkeypatch.setattr(collection, "FREE_PIXELS", 100)
    monkeypatch.setattr(collection, "PIXELS_PER_BYTE", 0)
    problem = refused(archive(noise_at("a/1.png", "a/2.png")))
    assert (problem.status, problem.code) == (413, "archive_bomb")
    assert "'a/2.png' have 128 pixels" in problem.detail


def test_a_manifest_that_is_too_large_is_refused_and_another_table_is_no_image(
    refused, upload, monkeypatch
):
    monkeypatch.setattr("app.archives.manifests.MAX_MANIFEST_BYTES", 10)
    table = b"file_name,label\na/1.png,x\n"
    problem = refused(archive(noise_at("a/1.png") | {"metadata.csv": table}))
    assert problem.code == "manifest_too_large"
    found = upload(archive(noise_at("a/1.png") | {"table.csv": table}))
    assert "a table of 26 bytes is not read" in found.rejected["table.csv"]


def _open_tar(files: dict[str, bytes]) -> bytes:
    """A tar of the files without its end mark, so that entries can follow."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as target:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
        length = target.offset
    return file.getvalue()[:length]


def hard_link(path: str, target: str) -> bytes:
    link = tarfile.TarInfo(path)
    link.type, link.linkname = tarfile.LNKTYPE, target
    return link.tobuf(tarfile.GNU_FORMAT)


def test_a_hard_link_is_the_file_that_it_links_to(upload):
    """GNU tar writes the second name of a file as a link to the first, whatever the length."""
    files = noise_at("cat/1.png", f"cat/{'x' * 120}.png") | {"cat/notes.txt": b"hello"}
    links = [("dog/1.png", "cat/1.png"), ("dog/2.png", f"./cat/{'x' * 120}.png")]
    links += [("dog/3.png", "dog/1.png"), ("dog/4.png", "owl/1.png"), ("dog/5", "cat/notes.txt")]
    found = upload(_open_tar(files) + b"".join(hard_link(*each) for each in links) + bytes(1024))
    assert found.labels == {"cat": 2, "dog": 2}
    assert found.files["dog", "dog/1.png"] == files["cat/1.png"]
    assert found.files["dog", "dog/2.png"] == files[f"cat/{'x' * 120}.png"]
    assert found.duplicates == 3
    assert found.rejected["dog/4.png"] == (
        "it is a hard link to 'owl/1.png', which the archive does not hold"
    )
    assert found.rejected["dog/5"] == "it is a hard link to 'cat/notes.txt', which was rejected"
    assert found.upload.files.total == 8


def test_a_hard_link_counts_as_an_image(refused):
    links = b"".join(hard_link(f"dog/{number}.png", "cat/1.png") for number in range(100))
    problem = refused(_open_tar(noise_at("cat/1.png")) + links + bytes(1024))
    assert (problem.status, problem.code) == (413, "too_many_images")


def test_a_hard_link_out_of_the_archive_is_refused(refused):
    data = _open_tar(noise_at("cat/1.png")) + hard_link("dog/1.png", "../x.png") + bytes(1024)
    assert refused(data).code == "unsafe_path"


def test_hostile_entries_after_good_images_leave_nothing(refused):
    good = tar_of(noise_at("cat/1.png"))[: 512 * 2]
    link = tarfile.TarInfo("cat/evil.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert refused(good + link.tobuf() + bytes(1024)).code == "archive_link"


def test_a_full_disk_is_told_and_leaves_nothing(refused, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.archives.packs.PackWriter.add", full)
    with pytest.raises(DiskFull, match="no room left"):
        raise refused(archive(noise_at("cat/1.png")))


def test_the_order_of_the_archive_is_kept_whatever_decodes_first(upload, monkeypatch):
    monkeypatch.setattr(image_checks, "BATCH_FILES", 1)
    monkeypatch.setattr(image_checks, "BATCHES_IN_FLIGHT", 2)
    files = {f"cat/{i:02d}.png": noise(i, size=200 if i % 3 else 4) for i in range(40)}
    found = upload(archive(files))
    assert [image.image.path for image in found.upload.images] == list(files)


def test_an_upload_that_has_used_up_its_time_is_refused_whole(refused, monkeypatch):
    monkeypatch.setattr(collection, "FREE_SECONDS", 1e-6)
    monkeypatch.setattr(collection, "SECONDS_PER_BYTE", 0.0)
    monkeypatch.setattr(image_checks, "BATCH_FILES", 1)
    problem = refused(archive({f"cat/{i}.png": noise(i) for i in range(5)}))
    assert problem.code == "archive_bomb"
    assert "more time of a processor than an archive of this size may" in problem.detail


def test_many_megapixels_are_checked_within_the_limit(upload):
    """An image of this size, within the limit of the settings."""
    file = io.BytesIO()
    Image.new("L", (3000, 2000), 7).save(file, "PNG")
    limits = replace(LIMITS, max_image_pixels=6_000_000)
    (image,) = upload(archive({"cat/1.png": file.getvalue()}), limits).upload.images
    assert image.image.facts == Facts("image/png", 3000, 2000)


WHOLE = [archive(noise_at("cat/1.png", "dog/2.png"), kind) for kind in KINDS]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    st.integers(0, 10**6) | st.none(),
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_changed_archive_is_an_upload_or_a_problem_and_leaves_nothing(tmp_path, data, flips, cut):
    changed = bytearray(data)
    for place, value in flips:
        changed[place % len(data)] = value
    changed = changed[: cut % len(data)] if cut else changed
    try:
        with uploads.receive(io.BytesIO(bytes(changed)), tmp_path / "pack", LIMITS) as upload:
            assert sum(upload.labels.values()) == len(upload.images) > 0
    except Problem as problem:
        assert 400 <= problem.status < 500
    assert not list(tmp_path.iterdir())
