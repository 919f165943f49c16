"""Component files over HTTP: downloaded, whole or by range, and imported elsewhere."""

import hashlib
import json
import struct

import pytest
import safetensors.torch

import tangent
from tests.support.client import delete
from tests.support.problems import problem
from tests.support.service import Service


@pytest.fixture(scope="module")
def ready(shared: Service) -> str:
    return shared.component({"cow": 3, "hen": 3})


def test_the_download_is_the_file_that_the_row_tells_of(shared, ready):
    row = shared.client.get(f"/v1/components/{ready}").json()

    answer = shared.client.get(f"/v1/components/{ready}/delta")

    assert hashlib.sha256(answer.content).hexdigest() == row["sha256"]
    assert len(answer.content) == row["bytes"]
    assert answer.headers["ETag"] == f'"{row["sha256"]}"'
    assert f"{ready}.safetensors" in answer.headers["Content-Disposition"]


def test_a_range_of_the_download_and_an_unchanged_one(shared, ready):
    url = f"/v1/components/{ready}/delta"
    whole = shared.client.get(url)

    part = shared.client.get(url, headers={"Range": "bytes=8-107"})
    same = shared.client.get(url, headers={"If-None-Match": whole.headers["ETag"]})
    beyond = shared.client.get(url, headers={"Range": f"bytes={len(whole.content)}-"})

    assert (part.status_code, part.content) == (206, whole.content[8:108])
    assert part.headers["Content-Range"] == f"bytes 8-107/{len(whole.content)}"
    assert (same.status_code, same.content) == (304, b"")
    told = problem(beyond, 416, "range_not_satisfiable")["detail"]
    assert f"has {len(whole.content)} bytes" in told
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole.content)}"


@pytest.mark.parametrize("given", ["bytes=9-5", "bytes=abc", "lines=1-2", "bytes=", "bytes"])
def test_a_range_that_is_none_is_passed_over(shared, ready, given):
    """RFC 9110, section 14.2: a recipient ignores a Range that it does not understand."""
    answer = shared.client.get(f"/v1/components/{ready}/delta", headers={"Range": given})
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"])


def imported(service: Service, data: bytes, filename: str = "north.safetensors", **more):
    more["data"] = more.pop("form", {"allow_duplicate": "true"})
    files = {"file": (filename, data, "application/octet-stream")}
    return service.client.post("/v1/components/import", files=files, **more)


def test_an_exported_component_imported_elsewhere_is_the_same_component(shared, ready, serve):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    other = serve()

    answer = imported(other, data)

    row, original = answer.json(), shared.client.get(f"/v1/components/{ready}").json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/components/{row['id']}"
    assert (row["status"], row["name"], row["dataset_id"]) == ("ready", "north", None)
    same = ("sha256", "bytes", "labels", "images", "fingerprint", "hyperparameters", "seed")
    assert {key: row[key] for key in same} == {key: original[key] for key in same}
    assert other.client.get(f"/v1/components/{row['id']}/delta").content == data
    assert other.client.get("/v1/spaces/default").json()["labels"] == row["labels"]


def test_a_repeated_import_with_a_key_stores_one_component_and_one_file(shared, ready, serve):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    other = serve()

    answers = [imported(other, data, headers={"Idempotency-Key": "k"}) for _ in range(2)]

    assert answers[0].json() == answers[1].json()
    assert len(list(other.state.blobs.keys())) == 1
    assert list(other.state.blobs.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "the file is a pointer of Git LFS"),
        (b"<!DOCTYPE html><title>Sign in</title>", "the file is a web page"),
        (b"PK\x03\x04" + bytes(300), "an archive or a compressed file (zip)"),  # .pt of PyTorch
        (b"\x80\x02}q\0." + bytes(300), "the file is a pickle of Python"),
        (b'{"weight_map": {}}', "the file is JSON"),
        (b"GGUF\3\0\0\0" + bytes(99), "the file is a GGUF model"),
        (b"", "it is empty"),
    ],
)
def test_what_is_sent_in_place_of_a_component_is_named(shared, data, told):
    assert told in problem(imported(shared, data), 422, "bad_component")["detail"]


def test_a_second_import_of_a_file_is_told(shared, ready, serve):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    other = serve()
    first = imported(other, data).json()
    assert not any("has the same file" in each for each in first["warnings"])
    second = imported(other, data).json()
    assert f"{first['id']} of this space has the same file" in second["warnings"][0]
    assert second["duplicate_of"] == [first["id"]]


def test_a_second_import_of_a_file_is_refused_unless_it_is_meant(shared, ready, serve):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    other = serve()
    first = imported(other, data, form={"allow_duplicate": "false"}).json()
    again = problem(
        imported(other, data, form={"allow_duplicate": "false"}), 409, "component_duplicate"
    )
    assert again["duplicate_of"] == [first["id"]] and "allow_duplicate=true" in again["detail"]
    assert len(list(other.state.blobs.keys())) == 1
    delete(other, f"components/{first['id']}")
    assert imported(other, data, form={"allow_duplicate": "false"}).status_code == 201


def test_a_component_that_was_cut_off_is_told_so(shared, ready):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    (length,) = struct.unpack("<Q", data[:8])
    for cut, told in (
        (data[: length // 2], "it ends within its header"),
        (data[:-9], f"it was cut off: it has {len(data) - 9} of the {len(data)} bytes"),
        (data + b"xx", "2 bytes follow its last tensor"),
    ):
        assert told in problem(imported(shared, cut), 422, "bad_component")["detail"]


def metadata(data: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])["__metadata__"]


def tampered(data: bytes, change) -> bytes:
    """Return the component file with changed metadata."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["tangent"])
    change(about)
    header["__metadata__"]["tangent"] = json.dumps(about)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def labelled(data: bytes, label: str) -> bytes:
    """Return the component file with another first label."""

    def change(about):
        _, second = sorted(about["labels"])
        about["labels"] = {label: 3, second: 3}
        about["head_labels"] = sorted(about["labels"])

    return tampered(data, change)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda data: b"PK\3\4 not safetensors", 422, "bad_component"),
        (lambda data: b"", 422, "bad_component"),
        (lambda data: data[:-50], 422, "bad_component"),
        (lambda data: tampered(data, lambda a: a.update(format=99)), 422, "bad_component"),
        (
            lambda data: tampered(data, lambda a: a.update(fingerprint="f" * 64)),
            409,
            "fingerprint_mismatch",
        ),
        (lambda data: tampered(data, lambda a: a.update(seed=2**70)), 422, "bad_component"),
        (
            lambda data: tampered(data, lambda a: a["hyperparameters"].update(lr=1e99)),
            422,
            "bad_hyperparameter",
        ),
        (
            lambda data: tampered(data, lambda a: a["hyperparameters"].update(loss="\ud800")),
            422,
            "bad_component",
        ),
        (
            lambda data: tampered(data, lambda a: a.update(fingerprint="\ud800" * 64)),
            422,
            "bad_component",
        ),
        (lambda data: tampered(data, lambda a: a.update(scope="\udfff")), 422, "bad_component"),
        (lambda data: tampered(data, lambda a: a.update(scope="all")), 422, "bad_component"),
        (lambda data: tampered(data, lambda a: a.update(seed=True)), 422, "bad_component"),
        (lambda data: labelled(data, "c\0w"), 422, "bad_component"),
        (lambda data: labelled(data, "c\ud800w"), 422, "bad_component"),
        (lambda data: labelled(data, " "), 422, "bad_component"),
        (lambda data: labelled(data, "cafe\u0301"), 422, "bad_component"),
        (lambda data: labelled(data, "a\u202eb"), 422, "bad_component"),
        (lambda data: labelled(data, "c" * 256), 422, "bad_component"),
        (lambda data: data[:-8] + struct.pack("<d", float("nan")), 422, "bad_component"),
        # sums of features that no images on the grid have would leave a trace where they are added
        (lambda data: data[:-8] + struct.pack("<d", 1 / 3), 422, "bad_component"),
        (lambda data: data[:-8] + struct.pack("<d", 1e20), 422, "bad_component"),
        (
            lambda data: tampered(data, lambda a: a["labels"].update(cow=2**52)),
            422,
            "bad_component",
        ),
    ],
)
def test_a_file_that_is_no_component_of_this_service_is_refused_and_leaves_nothing(
    shared, ready, change, status, code
):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    blobs, rows = (
        list(shared.state.blobs.keys()),
        shared.client.get("/v1/components?limit=100").json(),
    )

    answer = imported(shared, change(data))

    problem(answer, status, code)
    assert list(shared.state.blobs.keys()) == blobs
    assert list(shared.state.blobs.scratch.iterdir()) == []
    assert shared.client.get("/v1/components?limit=100").json() == rows


def test_a_file_whose_exact_sums_another_tool_has_rounded_is_refused(shared, ready):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    tensors = safetensors.torch.load(data)
    for name, what in (
        ("statistics.gram", "whole numbers must be 64 bit integers in one row: a cast changes"),
        ("statistics.sums", "statistics.sums must hold 64 bit floats"),
    ):
        cast = tensors | {name: tensors[name].float()}

        answer = imported(shared, safetensors.torch.save(cast, metadata(data)))

        assert what in problem(answer, 422, "bad_component")["detail"]


def test_settings_that_an_imported_file_leaves_out_are_filled_in(shared, ready, serve):
    data = shared.client.get(f"/v1/components/{ready}/delta").content
    other = serve()

    row = imported(other, tampered(data, lambda about: about["hyperparameters"].pop("lr"))).json()

    assert row["hyperparameters"]["lr"] == tangent.Hyperparameters.resolve("head2toe", {}).lr
    path = other.state.blobs.path(next(iter(other.state.blobs.keys())))
    assert tangent.Component.load(path).hyperparameters == row["hyperparameters"]


def test_a_missing_file_part_is_a_problem(shared):
    answer = shared.client.post("/v1/components/import", files={"name": (None, "north")})

    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/file"
