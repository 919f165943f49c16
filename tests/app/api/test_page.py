"""The page at `/`: files of one folder alone, for everybody, each with its ETag and its policy."""

import io
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from app.api.http import page_files
from app.api.http.page_files import MAX_ADDRESS, MEDIA_TYPES, page_file
from app.errors import NotFound
from app.settings import BadSettings, read
from tangent_composer.samples import digits
from tests.support.keys import sending
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
PREFIX = "/models/tangent"
KEY = "9f86d081884c7d659a2feaa0c55ad015"
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; connect-src 'self'"
)
FOLDER = page_files.FOLDER
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def stranger(shared: Service) -> Iterator[httpx.Client]:
    """A client of the shared service without a key."""
    with sending(shared, None) as client:
        yield client


def raw(service: Service, target: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Ask for a target as it is written: httpx would take dots out of it."""
    connection = HTTPConnection(service.url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_the_page_is_the_file_of_the_repository(stranger: httpx.Client) -> None:
    answer = stranger.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == (FOLDER / "index.html").read_bytes()
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_page_is_served_by_its_type(stranger: httpx.Client, name: str) -> None:
    answer = stranger.get(f"/page/{name}")
    assert answer.status_code == 200 and answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"].partition(";")[0] == MEDIA_TYPES[Path(name).suffix]
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-cache"


def test_scripts_and_styles_have_the_types_that_browsers_insist_on(stranger: httpx.Client) -> None:
    types = {
        "/page/main.js": "text/javascript; charset=utf-8",
        "/page/style.css": "text/css; charset=utf-8",
        "/page/icon.svg": "image/svg+xml",
        "/favicon.ico": "image/vnd.microsoft.icon",
    }
    assert {path: stranger.get(path).headers["content-type"] for path in types} == types


def test_an_icon_is_one(stranger: httpx.Client) -> None:
    assert stranger.get("/favicon.ico").content[:4] == b"\0\0\1\0"


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/favicon.ico", "/page/samples/0-1.zip"])
def test_a_client_that_has_the_file_is_sent_nothing(stranger: httpx.Client, path: str) -> None:
    whole = stranger.get(path)
    etag = whole.headers["etag"]
    assert etag.startswith('"')  # strong
    for sent in (etag, f'"other", {etag}', "*", f"W/{etag}"):
        again = stranger.get(path, headers={"If-None-Match": sent})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag and again.headers["cache-control"] == "no-cache"
    assert stranger.get(path, headers={"If-None-Match": '"other"'}).content == whole.content


@pytest.mark.parametrize("path", ["/", "/page/style.css", "/favicon.ico", "/page/samples"])
def test_head_has_the_headers_alone(stranger: httpx.Client, path: str) -> None:
    got, asked = stranger.get(path), stranger.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "content-security-policy"):
        assert asked.headers.get(name) == got.headers.get(name)
    allowed = stranger.options(path).headers["allow"]
    assert allowed == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "target",
    [
        "/page/../main.py",
        "/page/..%2fmain.py",
        "/page/..%2Fmain.py",
        "/page/%2e%2e/main.py",
        "/page/%2e%2e%2fmain.py",
        "/page/vendor/../../main.py",
        "/page/..%5cmain.py",
        "/page/vendor%5c..%5c..%5cmain.py",
        "/page/..%252fmain.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/main.js%00",
        "/page/main.js%00.css",
        "/page/main%0a.js",
        "/page/.hidden.js",
        "/page/vendor/.hidden.js",
        "/page/main.js/",
        "/page/./main.js",
        "/page/vendor",
        "/page/vendor/",
        "/page/",
        "/page/none.js",
        "/page/m%C3%A4in.js",
        "/page/main.py",
        "/page/" + "a" * 300 + ".js",
        "/page/" + "a/" * 2000 + "a.js",
        "/page/samples/../main.js",
        "/page/samples/..%2fmain.js",
        "/page/samples/none.zip",
    ],
)
def test_no_address_leads_out_of_the_folder(shared: Service, target: str) -> None:
    status, headers, body = raw(shared, target)
    assert status == 404, body
    assert headers["content-type"] == "application/problem+json"
    assert b"_not_found" in body and headers["cross-origin-resource-policy"] == "same-origin"


def test_files_of_other_kinds_and_folders_are_none_of_the_page(tmp_path: Path) -> None:
    for name in ("a.js", "a.py", "a", ".b.js", "a.js.bak"):
        (tmp_path / name).write_text("1")
    (tmp_path / "folder.js").mkdir()
    assert page_file("a.js", tmp_path).content == b"1"
    for name in ("a.py", "a", ".b.js", "a.js.bak", "folder.js", "", "/", "A" * MAX_ADDRESS + ".js"):
        with pytest.raises(NotFound, match="GET / is the page itself"):
            page_file(name, tmp_path)


def test_a_problem_of_the_page_says_where_the_page_is(stranger: httpx.Client) -> None:
    found = problem(stranger.get("/page/none.js"), 404, "page_file_not_found")
    assert "'none.js'" in found["detail"] and "GET / is the page" in found["detail"]
    problem(stranger.get("/page/samples/none.zip"), 404, "sample_not_found")
    problem(stranger.post("/"), 405, "method_not_allowed")


def test_the_page_needs_no_key_and_is_not_in_the_document(serve) -> None:
    closed = serve(api_key=KEY, open_docs=False, open_metrics=False)
    with sending(closed, None) as client:
        for path in ("/", "/page/main.js", "/favicon.ico", "/page/samples"):
            assert client.get(path).status_code == 200, path
        problem(client.get("/v1/datasets"), 401, "api_key_missing")
    paths = closed.client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith(("/page", "/favicon"))]


@pytest.mark.parametrize("sent", ["", PREFIX])
def test_below_a_prefix_all_addresses_of_the_page_lead_to_its_files(serve, sent: str) -> None:
    below = serve(root_path=PREFIX)
    html = below.client.get(f"{sent}/").text
    addresses = [part.split('"')[0] for part in html.split('="./')[1:]]
    assert "page/main.js" in addresses
    for address in addresses:
        assert below.client.get(f"{PREFIX}/{address}").status_code == 200, address
    assert 'src="/' not in html and 'href="/' not in html


def test_a_prefix_without_its_slash_leads_to_the_page(serve) -> None:
    below = serve(root_path=PREFIX)
    answer = below.client.get(PREFIX, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"{PREFIX}/")
    assert below.client.get(PREFIX, follow_redirects=True).text.startswith("<!doctype html>")


@pytest.mark.parametrize("prefix", ["/page", "/session/x", "/favicon.ico"])
def test_a_path_of_the_page_cannot_be_a_prefix(prefix: str) -> None:
    with pytest.raises(BadSettings, match="of its own: choose another name"):
        read(root_path=prefix)


def test_sample_data_is_what_the_command_line_writes(
    stranger: httpx.Client, tmp_path: Path
) -> None:
    digits.write(tmp_path)
    listed = stranger.get("/page/samples").json()
    parties = [each for each in listed if not each["held_out"]]
    assert {each["file"] for each in parties} == {path.name for path in tmp_path.glob("*.zip")}
    for each in parties:
        answer = stranger.get(f"/page/samples/{each['file']}")
        assert answer.headers["content-type"] == "application/zip"
        assert answer.content == (tmp_path / each["file"]).read_bytes()


def test_the_list_of_sample_data_counts_the_images_of_each_archive(stranger: httpx.Client) -> None:
    seen = set[bytes]()
    for each in stranger.get("/page/samples").json():
        content = stranger.get(f"/page/samples/{each['file']}").content
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        assert len(names) == each["num_images"]
        assert sorted({name.split("/")[0] for name in names}) == each["labels"]
        images = {zipfile.ZipFile(io.BytesIO(content)).read(name) for name in names}
        assert each["held_out"] is (each["file"] == "held-out.zip")
        seen |= images
    assert len(seen) > 1700  # of 1797, some of which are equal


def test_sample_data_can_be_uploaded_as_it_is(shared: Service) -> None:
    held_out = shared.client.get("/page/samples/held-out.zip").content
    files = {"file": ("held-out.zip", held_out, "application/zip")}
    made = shared.client.post("/v1/datasets", files=files).json()
    assert sorted(made["labels"]) == list("0123456789") and made["num_rejected"] == 0


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip, deflate, br, zstd", True),
        ("br;q=1, GZIP ; q=0.5", True),
        ("*", True),
        ("identity", False),
        ("", False),
        ("gzip;q=0, *", False),
        ("gzip; q=0.000", False),
        ("*;q=0", False),
        ("br", False),
    ],
)
def test_texts_are_packed_for_clients_that_take_gzip(
    stranger: httpx.Client, accepted: str, packed: bool
) -> None:
    answer = stranger.get("/page/main.js", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert answer.headers["vary"] == "Accept-Encoding"
    whole = (FOLDER / "main.js").read_bytes()
    assert answer.content == whole
    assert (int(answer.headers["content-length"]) < len(whole)) is packed


def test_a_packed_file_has_an_etag_of_its_own(stranger: httpx.Client) -> None:
    plain, packed = (
        stranger.get("/page/main.js", headers={"Accept-Encoding": each}).headers["etag"]
        for each in ("identity", "gzip")
    )
    assert plain != packed
    for accepted, etag, status in (
        ("gzip", packed, 304),
        ("identity", plain, 304),
        ("gzip", plain, 200),
        ("identity", packed, 200),
    ):
        headers = {"Accept-Encoding": accepted, "If-None-Match": etag}
        answer = stranger.get("/page/main.js", headers=headers)
        assert answer.status_code == status
        assert "content-encoding" not in answer.headers or status == 200


def test_what_is_packed_already_is_sent_as_it_is(stranger: httpx.Client) -> None:
    for path in ("/favicon.ico", "/page/samples/0-1.zip"):
        assert "content-encoding" not in stranger.get(path).headers
