"""The card of a space over HTTP: a file like the others, that opens elsewhere as the space."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tangent.spaces.card import open_card, read_card
from tests.support.client import delete
from tests.support.problems import problem
from tests.support.service import Service

URL = "/v1/spaces/default/card"


@pytest.fixture(scope="module")
def whole(shared: Service):
    return shared.client.get(URL)


def test_the_card_opens_elsewhere_as_the_space(shared, whole, tmp_path):
    path = tmp_path / "space.card"
    path.write_bytes(whole.content)
    shown = shared.client.get("/v1/spaces/default").json()

    card = read_card(path)
    space, same_bits = open_card(card)

    assert same_bits and space.fingerprint == card.fingerprint == shown["fingerprint"]
    assert (card.name, card.scope) == ("default", shown["scope"])
    assert (card.license, card.image_size) == (shown["license"], shown["image_size"])
    assert card.declared_labels == shown["declared_labels"]


def test_the_card_is_sent_whole_by_ranges_or_not_again(shared, whole):
    assert whole.headers["etag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    assert 'filename="default.card"' in whole.headers["content-disposition"]
    part = shared.client.get(URL, headers={"Range": "bytes=100-1099"})
    assert (part.status_code, part.content) == (206, whole.content[100:1100])
    same = shared.client.get(URL, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    beyond = shared.client.get(URL, headers={"Range": f"bytes={len(whole.content)}-"})
    problem(beyond, 416, "range_not_satisfiable")
    stale = shared.client.get(URL, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, whole.content)


def test_several_at_a_time_get_the_same_bytes_and_no_file_is_left(shared, whole):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: shared.client.get(URL).content, range(12)))
    assert set(answers) == {whole.content}
    assert list(shared.state.blobs.scratch.iterdir()) == []


def test_a_space_with_declared_labels_has_them_in_its_card(serve, tmp_path: Path):
    service = serve()
    made = {"name": "scans", "backbone": "vit_micro_32", "scope": "last-block"}
    service.client.post("/v1/spaces", json=made | {"labels": ["ill", "healthy"]})
    path = tmp_path / "scans.card"
    path.write_bytes(service.client.get("/v1/spaces/scans/card").content)
    card = read_card(path)
    assert (card.name, card.scope) == ("scans", "last-block")
    assert card.declared_labels == ["healthy", "ill"]
    assert not card.linear and card.steps == []

    delete(service, "spaces/scans")
    problem(service.client.get("/v1/spaces/scans/card"), 404, "space_not_found")


def test_a_space_that_there_is_not_has_no_card(shared):
    problem(shared.client.get("/v1/spaces/none/card"), 404, "space_not_found")
