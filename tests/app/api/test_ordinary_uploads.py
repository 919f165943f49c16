"""Uploads as tools and cameras make them, odd and harmless: read, or told by what was seen."""

import socket
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from PIL import Image

from tests.support.images import archive, image
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def zipped(**files: bytes) -> bytes:
    """A zip; a name that ends in a slash is a folder."""
    made = BytesIO()
    with ZipFile(made, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return made.getvalue()


def upload(service: Service, data: bytes) -> httpx.Response:
    return service.client.post("/v1/datasets", files={"file": ("pets.zip", data)})


def uploaded(service: Service, data: bytes) -> dict[str, Any]:
    answer = upload(service, data)
    assert answer.status_code == 201, answer.text
    return answer.json()


def encoded(kind: str, size: tuple[int, int] = (24, 8), **how: Any) -> bytes:
    made = BytesIO()
    Image.linear_gradient("L").convert("RGB").resize(size).save(made, kind, **how)
    return made.getvalue()


def test_bytes_behind_a_zip_are_no_part_of_it(shared: Service) -> None:
    assert uploaded(shared, archive({"cat": 2}) + bytes(700))["num_images"] == 2


def test_a_label_s_folder_without_an_image_is_not_there(shared: Service) -> None:
    data = zipped(**{"cat/": b"", "cat/1.png": image("cat", 1), "bird/": b""})
    assert uploaded(shared, data)["labels"] == {"cat": 1}


def test_a_manifest_may_have_a_column_without_a_name(shared: Service) -> None:
    """As pandas writes an index; with a byte order mark, quotes and line ends of old Macs."""
    manifest = '\ufeff,file_name,label\r0,1.png,"cat, big"\r1,2.png,dog\r'.encode()
    data = zipped(**{"metadata.csv": manifest, "1.png": image("cat", 2), "2.png": image("dog", 2)})
    assert uploaded(shared, data)["labels"] == {"cat, big": 1, "dog": 1}


def test_a_jpeg_without_its_end_is_told_and_one_with_more_behind_it_is_read(
    shared: Service,
) -> None:
    jpeg = encoded("JPEG", (64, 64))
    shown = uploaded(
        shared,
        zipped(
            **{"cat/1.jpg": jpeg[:-2], "cat/2.jpg": jpeg + b"more", "cat/3.png": image("cat", 3)}
        ),
    )
    assert shown["num_images"] + shown["num_rejected"] == 3
    assert {each["path"] for each in shown["rejected"]} <= {"cat/1.jpg"}
    assert all("cut off" in each["reason"] for each in shown["rejected"])


def test_a_picture_that_lies_on_its_side_is_turned_once(shared: Service) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    tiff = encoded("TIFF", (24, 8), exif=exif)
    shown = uploaded(shared, zipped(**{"cat/1.tiff": tiff}))
    (row,) = shared.client.get(f"/v1/datasets/{shown['id']}/images").json()["data"]
    assert (row["width"], row["height"]) == (8, 24)


@pytest.mark.parametrize("name", ["images[]", "image", "file", "data"])
def test_the_names_of_other_clients_are_answered_with_the_field_to_send(
    shared: Service, name: str
) -> None:
    answer = shared.client.post("/v1/predictions", files={name: ("cat.png", image("cat", 4))})
    assert "images=<file>" in problem(answer, 422, "invalid_request")["detail"]


def test_a_client_may_wait_for_leave_and_send_in_chunks(shared: Service) -> None:
    """As curl does with a large upload whose length it does not know."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
    body = head + archive({"cat": 1}, 60) + b"\r\n--b--\r\n"
    address = httpx.URL(shared.url)
    with socket.create_connection((address.host, address.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n"
            b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert connection.recv(2**16).startswith(b"HTTP/1.1 100")
        for at in range(0, len(body), 100):
            piece = body[at : at + 100]
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(2**16).startswith(b"HTTP/1.1 201")
