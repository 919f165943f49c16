"""Below a path of a proxy, whether the proxy takes that path away or leaves it."""

import re

import pytest

from app.settings import BadSettings, read
from tests.support.images import archive
from tests.support.service import Service

PREFIX = "/models/tangent"


@pytest.fixture
def below(serve) -> Service:
    return serve(root_path=PREFIX + "/")


@pytest.mark.parametrize("sent", ["", PREFIX])
def test_requests_are_answered_with_the_prefix_and_without(below: Service, sent: str) -> None:
    client = below.client
    assert client.get(f"{sent}/livez").status_code == 200
    assert client.head(f"{sent}/v1/limits").status_code == 200
    files = {"file": ("pets.zip", archive({"cat": 1}))}
    made = client.post(f"{sent}/v1/datasets", files=files)
    assert made.status_code == 201
    assert made.headers["Location"] == f"{PREFIX}/v1/datasets/{made.json()['id']}"
    assert client.get(made.headers["Location"]).json()["id"] == made.json()["id"]
    asked = client.post(f"{sent}/v1/predictions", files={"images": ("a.png", b"x")})
    assert (asked.status_code, asked.json()["instance"]) == (409, f"{PREFIX}/v1/predictions")
    counted = client.get(f"{sent}/metrics").text
    assert 'route="/v1/predictions",status="409"' in counted


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
@pytest.mark.parametrize("sent", ["", PREFIX])
def test_the_pages_ask_for_what_they_need_below_it(below: Service, page: str, sent: str) -> None:
    html = below.client.get(sent + page).text
    addresses = re.findall(r"(?:src|href)=[\"']([^\"']+)[\"']", html)
    addresses += re.findall(r"[\"'](/[^\"']*openapi\.json)[\"']", html)
    assert len(addresses) > 1
    for address in addresses:
        assert address.startswith(PREFIX + "/")
        assert below.client.get(address).status_code == 200
    assert below.client.get(address.removeprefix(PREFIX)).status_code == 200
    document = below.client.get(f"{sent}/openapi.json").json()
    assert [server["url"] for server in document["servers"]] == [PREFIX]


def test_another_path_is_not_taken_for_it(below: Service) -> None:
    for path in (f"{PREFIX}er/livez", f"/x{PREFIX}/livez", f"{PREFIX}er"):
        assert below.client.get(path).json()["code"] == "route_not_found"


@pytest.mark.parametrize(
    "path", ["tangent", "/v1", "/docs/x", "/a b", "/a//b", "/a?b", "https://x/y"]
)
def test_what_cannot_be_a_prefix_is_refused(path: str) -> None:
    with pytest.raises(BadSettings, match="--root-path is"):
        read(root_path=path)
