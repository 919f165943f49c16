"""Erasure finds the bytes that no image covers, however many there are."""

from types import SimpleNamespace
from typing import Any, cast

from app.archives.packs import Place
from app.database.sessions import transaction
from app.files.erasure import freed
from app.unlearning import also_held
from app.unlearning.change import Change
from tests.support.service import Service

MANY = 70_000  # more than Postgres takes values in one statement


def rows() -> list[Any]:
    return [
        SimpleNamespace(id=f"img_{n}", sha256=f"{n:064x}", pack_offset=10**9 + n, pack_length=1)
        for n in range(MANY)
    ]


def test_very_many_images_can_go_at_once(either: Service) -> None:
    dataset_id = either.dataset({"cat": 2})
    with transaction(either.state.sessions) as session:
        places = freed(session, dataset_id, rows())
        change = SimpleNamespace(
            edit=SimpleNamespace(images=rows()), components=[], spaces=[], dataset=None
        )
        assert also_held.of_change(session, None, cast(Change, change)) is None
    assert places == [Place(10**9 + n, 1) for n in range(MANY)]
