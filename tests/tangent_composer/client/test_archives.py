"""A folder is sent as `tangent fit` reads it: the same files, refused with the same sentences."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import Problem
from tangent_composer.client.archives import opened
from tangent_composer.client.errors import BadInput
from tangent_composer.client.open_files import PIECE
from tangent_composer.client.pictures import pictures
from tests.support.archives import noise, noise_at
from tests.support.local_training import as_folder
from training_worker.local.images import Bounds, training_images

ORDINARY = noise_at("cat/1.png", "cat/b/2.png", "cat/b.png", "dog/3.png", "dog/.git/4.png")
ODD = ORDINARY | {"cat/.DS_Store": b"x", ".22 calibre/5.png": noise(5), "dog/notes.txt": b"hello"}


def packed(folder: Path) -> bytes:
    with opened(folder) as read:
        file = read().file
        file.seek(0)
        return file.read()


def read_as(data: Path, scratch: Path):
    """The images that a training finds, and what it tells."""
    scratch.mkdir()
    with training_images(data, scratch, Bounds()) as found:
        return [(e.label, e.sha256, e.path) for e in found.entries], found.upload.rejected.listed


def refusals(folder: Path, scratch: Path) -> tuple[str, str]:
    """The words of an upload and of a training about the folder."""
    with pytest.raises(BadInput) as uploaded:
        packed(folder)
    scratch.mkdir(exist_ok=True)
    with pytest.raises(Problem) as trained, training_images(folder, scratch, Bounds()):
        pass
    assert uploaded.value.code == trained.value.code
    return str(uploaded.value), trained.value.detail


@pytest.mark.parametrize("files", [ORDINARY, ODD])
def test_what_is_sent_of_a_folder_reads_as_the_folder(tmp_path, files):
    folder = as_folder(files, tmp_path / "folder")
    (tmp_path / "sent.zip").write_bytes(packed(folder))
    assert read_as(tmp_path / "sent.zip", tmp_path / "a") == read_as(folder, tmp_path / "b")


def test_links_of_every_kind_are_refused_with_the_same_sentence(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "secret.txt").write_text("a secret")
    targets = ("../../secret/secret.txt", "../../secret", "1.png", "nowhere", ".")
    for number, target in enumerate(targets):
        folder = as_folder(noise_at("cat/1.png"), tmp_path / f"folder {number}")
        (folder / "cat" / "link.png").symlink_to(target)
        sent, trained = refusals(folder, tmp_path / "s")
        assert sent == trained
        assert sent.startswith("'cat/link.png' is a symbolic link: pack plain files")
        with pytest.raises(BadInput, match=r"'cat/link.png' is a symbolic link"):
            pictures(folder)


def test_devices_are_refused_with_the_same_sentence(tmp_path):
    folder = as_folder(noise_at("cat/1.png"), tmp_path / "folder")
    os.mkfifo(folder / "cat" / "pipe.png")
    sent, trained = refusals(folder, tmp_path / "s")
    assert sent == trained
    assert sent.startswith("'cat/pipe.png' is a named pipe: leave it out")


def test_a_link_to_the_folder_itself_is_followed(tmp_path):
    folder = as_folder(ORDINARY, tmp_path / "folder")
    (tmp_path / "link").symlink_to(folder)
    assert packed(tmp_path / "link") == packed(folder)


def test_a_folder_deeper_than_python_calls_is_sent(tmp_path):
    folders = [f"{tmp_path}/deep" + "/d" * depth for depth in range(1201)]
    for folder in folders:
        os.mkdir(folder)
    file = Path(folders[-1], "1.png")
    file.write_bytes(noise(1))
    try:
        with zipfile.ZipFile(io.BytesIO(packed(Path(folders[0])))) as archive:
            assert archive.namelist() == ["d/" * 1200 + "1.png"]
    finally:
        file.unlink()
        for folder in reversed(folders):
            os.rmdir(folder)


def test_a_name_that_is_no_text_is_refused_with_the_remedy(tmp_path):
    folder = as_folder(noise_at("cat/1.png"), tmp_path / "folder")
    Path(os.fsdecode(os.fsencode(folder) + b"/cat/caf\xe9.png")).write_bytes(noise(5))
    with pytest.raises(BadInput, match=r"'cat/caf.*' in .* is not in UTF-8: rename it, as by conv"):
        packed(folder)


def test_an_archive_whose_name_is_no_text_is_sent_under_one_that_is(tmp_path):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.zip"))
    file.write_bytes(b"content")
    with opened(file) as read:
        assert read().name == "caf\N{REPLACEMENT CHARACTER}.zip"


class Stream:
    """A file that can only be read, as those that other libraries give."""

    def __init__(self, data: object) -> None:
        self._data = data

    def read(self, size: int) -> object:
        """Return the next `size` of what it has."""
        data, self._data = self._data[:size], self._data[size:]
        return data


def test_an_open_file_is_sent_as_its_path_is(tmp_path):
    (tmp_path / "pets.zip").write_bytes(data := noise(5) * 2**14)
    assert len(data) > PIECE
    with opened(tmp_path / "pets.zip") as read:
        by_path = replace(read(), file=None)
    with open(tmp_path / "pets.zip", "rb") as file:
        for given in (file, io.BytesIO(data), Stream(data)):
            with opened(given) as read:
                archive = read()
                assert [archive.file.seek(0) or archive.file.read() for _ in range(2)] == [data] * 2
            name = "pets.zip" if given is file else "upload.zip"
            assert replace(archive, file=None) == replace(by_path, name=name)
        assert not file.closed


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


NO_FILES = [
    (lambda: io.StringIO("text"), "open file StringIO gives no bytes: open it by open"),
    (lambda: Stream("text"), "open file Stream gives no bytes"),
    (lambda: Stream(None), "open file Stream cannot be read: 'NoneType'"),
    (io.BytesIO, r"has nothing left to read: seek\(0\)"),
    (closed_file, "cannot be read: I/O operation on closed file"),
]


@pytest.mark.parametrize(("make", "sentence"), NO_FILES)
def test_what_gives_no_bytes_is_neither_archive_nor_image(make, sentence):
    with pytest.raises(BadInput, match=sentence), opened(make()) as read:
        read()
    with pytest.raises(BadInput, match=sentence):
        pictures([make()])


@pytest.mark.parametrize("given", [None, 7, iter([b"x"]), [b"x"], io.BytesIO])
def test_what_is_no_archive_is_refused_with_what_to_give(given):
    with pytest.raises(BadInput, match=r"is no archive: give a zip or tar archive"), opened(given):
        pass


def test_open_images_are_read_whole_and_named_by_their_files(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"many\nlines\nof bytes\n")
    with open(tmp_path / "cat.png", "rb") as file:
        found = pictures([file, io.BytesIO(b"a\nb")])
    assert [(each.name, each.read()) for each in found] == [
        ("cat.png", b"many\nlines\nof bytes\n"),
        ("image 1", b"a\nb"),
    ]
    assert [each.read() for each in pictures(io.BytesIO(b"a\nb"))] == [b"a\nb"]
