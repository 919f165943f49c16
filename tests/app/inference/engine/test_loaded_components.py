"""Loaded components: each file is read once, and again only if it was written since."""

import pytest

import app.files.component_files as component_files
from app.files.blobs import LocalBlobs
from app.files.component_files import DamagedFile
from app.inference.engine.loaded_components import LoadedComponents
from tangent.components.source import Source
from tests.support.random_components import components

KEY = "components/cmp_1/a.safetensors"


@pytest.fixture
def blobs(tmp_path):
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def source(blobs, tmp_path):
    sha256 = components("head")[0].save(tmp_path / "a")
    blobs.put(tmp_path / "a", KEY)
    return Source(KEY, sha256)


@pytest.fixture
def reads(monkeypatch):
    made, load = [], component_files.load
    monkeypatch.setattr(component_files, "load", lambda *given: made.append(1) or load(*given))
    return made


def test_a_file_is_read_and_hashed_once(blobs, source, reads):
    loaded = LoadedComponents(blobs)
    assert loaded.get(source) is loaded.get(source)
    assert len(reads) == 1


def test_a_file_that_was_written_since_is_hashed_again(blobs, source):
    loaded, path = LoadedComponents(blobs), blobs.path(source.key)
    loaded.get(source)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="its component's row says"):
        loaded.get(source)


def test_a_file_that_has_gone_does_not_answer_from_memory(blobs, source):
    loaded = LoadedComponents(blobs)
    loaded.get(source)
    blobs.delete(source.key)
    with pytest.raises(DamagedFile, match="is missing"):
        loaded.get(source)


def test_a_deletion_frees_its_component_and_no_other(blobs, source, reads, tmp_path):
    other = Source("components/cmp_2/b", components("head")[1].save(tmp_path / "b"))
    blobs.put(tmp_path / "b", other.key)
    loaded = LoadedComponents(blobs)
    first, kept = loaded.get(source), loaded.get(other)
    loaded.forget([source.sha256])
    assert loaded.get(other) is kept
    assert loaded.get(source) is not first
    assert len(reads) == 3


@pytest.mark.parametrize(("is_its_own", "reads_needed"), [(True, 2), (False, 1)])
def test_only_a_deletion_of_its_own_loses_what_is_being_read(
    blobs, source, reads, monkeypatch, is_its_own, reads_needed
):
    loaded, load = LoadedComponents(blobs), component_files.load
    gone = source.sha256 if is_its_own else "0" * 64

    def overtaken(*given):
        loaded.forget([gone])
        return load(*given)

    with monkeypatch.context() as patch:
        patch.setattr(component_files, "load", overtaken)
        loaded.get(source)
    loaded.get(source)
    assert len(reads) == reads_needed
