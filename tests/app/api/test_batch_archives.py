"""Archives for batch predictions need no labels, and have no manifest."""

import pytest

from tests.support.archives import archive as packed_in
from tests.support.batches import sent
from tests.support.client import until_ended
from tests.support.images import image
from tests.support.service import Service


@pytest.mark.parametrize(
    "table",
    [
        {"metadata.csv": b"id,width\n1,32\n"},
        {"labels.csv": b"file_name,label\na.png,cat\na.png,dog\n"},
        {"labels.json": b"[1]"},
    ],
    ids=str,
)
def test_a_table_beside_the_images_of_an_archive_is_no_manifest(
    service: Service, table: dict[str, bytes]
) -> None:
    service.component({"cat": 3, "dog": 3})
    files = {"a.png": image("cat", 3), "b.png": image("dog", 4)} | table
    answer = sent(service, packed_in(files, "zip"))
    assert answer.status_code == 202, answer.text
    ended = until_ended(service, f"batch-predictions/{answer.json()['id']}")
    assert (ended["status"], ended["progress"]["total"]) == ("ready", 2)
    assert [each["path"] for each in ended["archive"]["rejected"]] == list(table)
