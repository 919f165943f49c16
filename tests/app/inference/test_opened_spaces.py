"""Spaces that do not open: kept as faults only if it is the space that has one."""

import pytest

from app.database.tables import Space
from app.errors import NotReady
from app.inference import opened_spaces
from app.inference.models import OpenedSpace, SpaceKey
from app.inference.opened_spaces import OpenedSpaces
from app.inference.remote.connection import lost
from app.settings import Settings
from app.store.spaces import SpaceUnavailable
from tangent.errors import BackboneUnavailable, OutOfMemory

ROW = Space(
    name="default", backbone="vit", scope="head", declared_labels=[], fingerprint="of the row"
)


class Opening:
    """Opens a space, but for the first time, when it raises an error."""

    def __init__(self, error: Exception) -> None:
        self._errors = [error]

    def __call__(self, key: SpaceKey) -> OpenedSpace:
        if self._errors:
            raise self._errors.pop()
        none = dict.fromkeys(OpenedSpace.__dataclass_fields__)
        return OpenedSpace(**none | {"fingerprint": key.fingerprint})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (lost(), "is started again"),
        (OutOfMemory("the device is full"), "full"),
        (MemoryError("no memory"), "no memory"),
    ],
    ids=["an engine that was killed", "a full device", "a full memory"],
)
def test_what_says_nothing_of_the_space_leaves_no_fault(error, match, tmp_path):
    spaces = OpenedSpaces(Opening(error), Settings(data_dir=tmp_path))
    with pytest.raises(type(error), match=match) as raised:
        spaces.of(ROW)
    assert not isinstance(raised.value, SpaceUnavailable)
    assert spaces.status(ROW) == "not_opened"
    assert spaces.of(ROW).fingerprint == "of the row"  # at once, as nothing was noted
    spaces.close()


def test_a_space_that_does_not_open_is_not_tried_again_at_once(tmp_path, monkeypatch):
    spaces = OpenedSpaces(Opening(BackboneUnavailable("no file")), Settings(data_dir=tmp_path))
    for _ in range(2):
        with pytest.raises(NotReady, match="no file"):
            spaces.of(ROW)
    assert spaces.status(ROW) == "unavailable"
    monkeypatch.setattr(opened_spaces, "monotonic", lambda: 1e12)
    assert spaces.of(ROW).fingerprint == "of the row"
    spaces.close()
