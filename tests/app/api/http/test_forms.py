"""Forms as clients of many kinds write them: read where they can be, else told what was seen."""

import pytest

from tests.support.archives import archive, noise_at
from tests.support.problems import problem
from tests.support.service import Service

FORM = "multipart/form-data; boundary=b"
ZIP = archive(noise_at("cat/1.png"))


def form(
    disposition: str, data: bytes = ZIP, *, more: str = "", line: str = "\r\n", end: str = "--b--"
) -> bytes:
    """A form of one part."""
    head = line.join(["--b", f"Content-Disposition: {disposition}", *filter(None, [more]), "", ""])
    return head.encode() + data + line.encode() + end.encode() + line.encode()


def post(service: Service, body: bytes, path: str = "datasets", media_type: str = FORM):
    headers = {"Content-Type": media_type}
    return service.client.post(f"/v1/{path}", content=body, headers=headers)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("form-data; name=\"file\"; filename*=UTF-8''%E2%82%AC%20pets.zip", "€ pets"),
        ("form-data; name=\"file\"; filename*=iso-8859-1'en'%E9t%E9.zip", "été"),
        ('form-data; name="file"; filename="pets.zip"; filename*=UTF-8\'\'x.zip', "pets"),
        ('form-data; name="file"; filename="C:\\\\pets\\\\cats.zip"', "cats"),
        ("form-data; name=file; filename=pets.zip", "pets"),
        ('FORM-DATA; NAME="file"; FILENAME="pets.zip"', "pets"),
    ],
)
def test_a_filename_may_be_written_in_several_ways(
    shared: Service, disposition: str, name: str
) -> None:
    answer = post(shared, form(disposition))
    assert (answer.status_code, answer.json().get("name")) == (201, name)


FILE = 'form-data; name="file"; filename="pets.zip"'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (form(FILE, end=""), "ends before its last boundary, --b--"),
        (form(FILE)[:120], "ends before its last boundary, --b--"),
        (b"", "ends before its last boundary, --b--"),
        (form(FILE).replace(b"--b", b"--c"), "the boundary that its Content-Type names (b)"),
        (b"a preamble\r\n" + form(FILE), "does not begin with the boundary"),
        (form(FILE, line="\n"), "lines that end in CR LF"),
        (form(f'{FILE[:-1]}{"x" * 5000}"'), "longer ones, than 8 of 4224 bytes"),
        (form('form-data; filename="a.zip"'), "has no name: write"),
    ],
)
def test_a_form_that_cannot_be_read_is_told_what_was_seen(
    shared: Service, body: bytes, told: str
) -> None:
    for path in ("datasets", "components/import", "predictions"):
        assert told in problem(post(shared, body, path), 400, "malformed_request")["detail"]


@pytest.mark.parametrize("header", ["Content-Transfer-Encoding: base64", "Content-Encoding: gzip"])
def test_the_encoding_of_a_part_is_told(shared: Service, header: str) -> None:
    answer = post(shared, form(FILE, more=header))
    told = problem(answer, 400, "malformed_request")["detail"]
    assert f"the part 'file' came with {header.replace(':', '')}: send its bytes as they" in told
    assert post(shared, form(FILE, more="Content-Transfer-Encoding: binary")).status_code == 201


def with_name(data: bytes, more: str = "") -> bytes:
    """A form with an archive and this name of the dataset."""
    return form(FILE, end="") + form('form-data; name="name"', data, more=more)


@pytest.mark.parametrize(
    ("data", "part", "whole", "told"),
    [
        (b"\xff\xfe", "", "", "the field 'name' is not in utf-8: send it in UTF-8"),
        ("K\xe4fer".encode("latin-1"), "", "", "the field 'name' is not in utf-8"),
        ("Käfer".encode(), "", "; charset=ascii", "the field 'name' is not in ascii"),
        (b"cat", "", "; charset=klingon", "it is in klingon, which is not read: send UTF-8"),
        (b"cat", "", "; charset=punycode", "it is in punycode, which is not read"),
        (b"cat", "Content-Type: text/plain; charset=hex", "", "the field 'name' is not in hex"),
        (b"cat", "Content-Type: text/plain; charset=idna", "", "the field 'name' is not in idna"),
    ],
)
def test_a_text_that_cannot_be_decoded_is_told_and_not_guessed(
    shared: Service, data: bytes, part: str, whole: str, told: str
) -> None:
    answer = post(shared, with_name(data, part), media_type=FORM + whole)
    found = problem(answer, 400, "malformed_request")["detail"]
    assert f"the form cannot be read: {told}" in found


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("Content-Type: text/plain; charset=ISO-8859-1", ""),
        ("", "; charset=iso-8859-1"),
        ('Content-Type: text/plain; charset="latin1"', "; charset=utf-8"),
    ],
)
def test_a_text_is_in_the_charset_of_its_part_or_else_of_its_form(
    shared: Service, part: str, whole: str
) -> None:
    body = with_name("Käfer".encode("latin-1"), part)
    answer = post(shared, body, media_type=FORM + whole)
    assert (answer.status_code, answer.json().get("name")) == (201, "Käfer")


def test_a_field_that_a_form_does_not_have_is_told(shared: Service) -> None:
    answer = shared.client.post("/v1/datasets", files={"archive": ("a.zip", ZIP)})
    told = problem(answer, 422, "invalid_request")["detail"]
    assert "/archive: the route has no such field: file, name, space, code_page, metadata" in told
    answer = shared.client.post(
        "/v1/datasets", files={"file": ("a.zip", ZIP)}, data={"trian": "true"}
    )
    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/trian"


def test_a_field_of_a_form_in_the_query_is_told(shared: Service) -> None:
    files = {"file": ("a.zip", ZIP)}
    answer = shared.client.post("/v1/datasets?train=true", files=files)
    told = problem(answer, 422, "invalid_request")["detail"]
    assert "#query/train: send it as a field of the form" in told
    assert shared.client.post("/v1/datasets?_=1", files=files).status_code == 201


def test_a_name_that_is_blank_or_too_long_is_told(shared: Service) -> None:
    files = {"file": ("a.zip", ZIP)}
    answer = shared.client.post("/v1/datasets", files=files, data={"name": "  "})
    assert "/name: the name is blank" in problem(answer, 422, "invalid_request")["detail"]
    answer = shared.client.post("/v1/datasets", files=files, data={"name": "x" * 300})
    told = problem(answer, 422, "invalid_request")["detail"]
    assert "characters" in told and "items" not in told
