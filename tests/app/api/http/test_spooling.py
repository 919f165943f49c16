"""The files of a multipart body lie in the scratch folder; a full disk is a clear error."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from app.api.http import spooling
from tests.support.images import archive, image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.uploads import traces

PART = 2**18  # bytes; Starlette holds up to a megabyte in memory
FIELDS = {"datasets": "file", "components/import": "file", "predictions": "images"}


def spooled() -> set[Path]:
    """Return the folders of this process's open files without a name."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.endswith(" (deleted)") and not target.startswith("/memfd"):
            found.add(Path(target).parent)
    return found


def send(service: Service, path: str, while_open: Callable[[], Any]) -> httpx.Response:
    """Post a multipart body of two megabytes; call `while_open` before its end."""

    def chunks() -> Iterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; "
        yield f'name="{FIELDS[path]}"; filename="a.zip"\r\n\r\n'.encode()
        for _ in range(8):
            yield bytes(PART)
        while_open()
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return service.client.post(f"/v1/{path}", content=chunks(), headers=headers)


@pytest.mark.parametrize("path", FIELDS)
def test_a_large_file_is_spooled_into_the_scratch_folder(service: Service, path: str) -> None:
    scratch, before = service.state.blobs.scratch, spooled()
    during: set[Path] = set()

    def look() -> None:
        during.update(until(lambda: spooled() - before))

    answer = send(service, path, look)
    assert during == {scratch}
    assert answer.status_code in (409, 415, 422), answer.text  # nothing of use was sent
    assert until(lambda: not spooled() - before)
    assert traces(service)["scratch"] == []


def until(found: Callable[[], Any]) -> Any:
    """Return the first true result of `found`, or its last one after half a minute."""
    end = monotonic() + 30
    while not (it := found()) and monotonic() < end:
        sleep(0.02)
    return it


class Full(SpooledTemporaryFile):
    """A file on a full disk."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("path", FIELDS)
def test_a_full_disk_is_told_as_what_it_is(
    service: Service, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "SpooledTemporaryFile", Full)
    answer = send(service, path, lambda: None)
    assert "no room left" in problem(answer, 507, "disk_full")["detail"]
    assert answer.headers["retry-after"] == "60"


@pytest.mark.parametrize("path", FIELDS)
def test_an_error_of_the_disk_is_not_blamed_on_the_client(
    service: Service, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Full):
        def write(self, data: Any) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spooling, "SpooledTemporaryFile", Broken)
    problem(send(service, path, lambda: None), 503, "storage_unavailable")


@pytest.mark.parametrize("path", FIELDS)
def test_a_form_that_breaks_off_is_the_clients_fault(service: Service, path: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (b"no form at all", b"--b\r\nno header\r\n\r\n--b--"):
        answer = service.client.post(f"/v1/{path}", content=body, headers=headers)
        problem(answer, 400, "malformed_request")


@pytest.mark.parametrize("path", FIELDS)
def test_a_form_in_a_charset_that_cannot_be_read_is_the_clients_fault(
    service: Service, path: str
) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="{FIELDS[path]}"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b; charset=undefined"}
    body = head.encode() + image("cat", 1) + b"\r\n--b--\r\n"
    answer = service.client.post(f"/v1/{path}", content=body, headers=headers)
    problem(answer, 400, "malformed_request")


def test_small_files_and_fields_still_arrive(service: Service) -> None:
    files = {"file": ("pets.zip", archive({"cat": 2}), "application/zip")}
    answer = service.client.post("/v1/datasets", files=files, data={"name": "Käfer"})
    assert (answer.status_code, answer.json()["name"]) == (201, "Käfer")


def flood(count: int, part: str, size: int) -> bytes:
    """Return a form's body with so many parts of so many bytes each."""
    head = f"--b\r\nContent-Disposition: form-data; {part}\r\n\r\n".encode()
    return count * (head + size * b"x" + b"\r\n") + b"--b--\r\n"


@pytest.mark.parametrize("path", ["datasets", "components/import"])
@pytest.mark.parametrize(
    ("count", "part", "size", "why"),
    [
        (9, 'name="file"; filename="a.zip"', 2**19, "Too many files"),
        (101, 'name="name"', 10, "Too many fields"),
        (1, 'name="name"', 2**16 + 1, "a text of more than 65536 bytes"),
    ],
)
def test_a_form_holds_few_parts_in_memory(
    service: Service, path: str, count: int, part: str, size: int, why: str
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    content = flood(count, part, size)
    answer = service.client.post(f"/v1/{path}", content=content, headers=headers)
    assert why in problem(answer, 400, "malformed_request")["detail"]


@pytest.mark.parametrize("path", ["datasets", "components/import"])
def test_a_flood_of_urlencoded_fields_is_refused(service: Service, path: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for content in ("&".join(f"a{i}=1" for i in range(101)), "name=" + "x" * (2**16 + 1)):
        answer = service.client.post(f"/v1/{path}", content=content, headers=headers)
        problem(answer, 400, "malformed_request")
