"""Archives with splits, and what a service says of them."""

from collections.abc import Mapping
from typing import Any

from tests.support.archives import archive
from tests.support.images import image
from tests.support.service import Service
from tests.support.uploads import post

Counts = Mapping[str, Mapping[str, int]]  # folder of a split, or "" for none -> label -> images


def files_of(splits: Counts) -> dict[str, bytes]:
    """Files by their paths: the images of a label go on from one split to the next."""
    found: dict[str, bytes] = {}
    used: dict[str, int] = {}
    for folder, labels in splits.items():
        for label, count in labels.items():
            start = used.get(label, 0)
            used[label] = start + count
            for number in range(start, start + count):
                path = "/".join(each for each in (folder, label, f"{number}.png") if each)
                found[path] = image(label, number)
    return found


def uploaded(service: Service, files: dict[str, bytes], **form: Any) -> dict[str, Any]:
    """The answer to an upload of these files."""
    answer = post(service, archive(files), data=form)
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(service: Service, dataset_id: str, **query: Any) -> list[dict[str, Any]]:
    """The dataset's images."""
    answer = service.client.get(f"/v1/datasets/{dataset_id}/images", params={"limit": 100} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def component(service: Service, component_id: str) -> dict[str, Any]:
    """The component as the service shows it."""
    return service.client.get(f"/v1/components/{component_id}").json()
