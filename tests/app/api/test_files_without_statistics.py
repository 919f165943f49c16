"""Component files without statistics: downloaded, imported, composed by what needs none."""

import hashlib

import pytest

from tests.support.client import delete, verify
from tests.support.merging import by_name, imported, logits, predict
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.unlearning import delta

BLOCKS = {"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"}


@pytest.fixture(scope="module")
def pets(shared: Service) -> str:
    return shared.component({"cat": 14, "dog": 12})


def bare(service: Service, component_id: str, **headers: str):
    url = f"/v1/components/{component_id}/delta?statistics=false"
    return service.client.get(url, headers=headers)


def test_the_download_without_statistics_has_a_version_of_its_own(shared, pets):
    whole, small = delta(shared, pets), bare(shared, pets)
    assert len(small.content) < len(whole.content) / 2
    assert small.headers["etag"] == f'"{hashlib.sha256(small.content).hexdigest()}"'
    assert whole.headers["smallest-label-images"] == small.headers["smallest-label-images"] == "12"
    part = bare(shared, pets, Range="bytes=8-107")
    assert (part.status_code, part.content) == (206, small.content[8:108])
    assert part.headers["content-range"] == f"bytes 8-107/{len(small.content)}"
    same = bare(shared, pets, **{"If-None-Match": small.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert bare(shared, pets, **{"If-None-Match": whole.headers["etag"]}).status_code == 200
    assert list(shared.state.blobs.scratch.iterdir()) == []
    problem(bare(shared, "none"), 404, "component_not_found")


@pytest.mark.parametrize("space", ["default", "blocks"])
def test_an_import_without_statistics_answers_by_what_needs_none(serve, space):
    service, other = serve(), serve()
    for each in (service, other):
        each.client.post("/v1/spaces", json=BLOCKS)
    parts = [service.component({"cat": 12, "dog": 12}, space=space) for _ in range(1)]
    parts.append(service.component({"cow": 12, "hen": 12}, start=40, space=space))
    brought = []
    for part in parts:
        answer = imported(other, bare(service, part).content)
        assert answer.status_code == 201, answer.text
        row = answer.json()
        assert row["statistics"] is False and "has no statistics" in row["warnings"][0]
        assert delta(other, row["id"]).content == bare(service, part).content
        assert row["smallest_label"]["images"] == 12
        brought.append(row["id"])
    for rule in ("average", "weighted"):
        weights = [1.0, 2.0] if rule == "weighted" else [None, None]
        found = [
            predict(
                where,
                rule=rule,
                components=[
                    {"id": each} | ({} if weight is None else {"weight": weight})
                    for each, weight in zip(ids, weights, strict=True)
                ],
            )
            for where, ids in ((service, parts), (other, brought))
        ]
        assert logits(found[0]) == logits(found[1])
    told = problem(by_name(other, *brought, rule="joint"), 422, "component_without_statistics")
    assert told["components"] == brought and "average or weighted" in told["detail"]
    if space == "default":  # whose rule is joint
        problem(predict(other), 422, "component_without_statistics")
        own = other.component({"owl": 12, "emu": 12})
        assert by_name(other, own, rule="joint").status_code == 200
        receipt = delete(other, f"components/{own}", probe="true")
        assert verify(other, receipt)["ok"]


def test_a_label_of_few_images_is_told_where_a_file_comes_and_goes(shared, serve):
    part = shared.component({"cat": 12, "dog": 1})
    assert delta(shared, part).headers["smallest-label-images"] == "1"
    shown = shared.client.get(f"/v1/components/{part}").json()
    assert shown["smallest_label"] == {"label": "dog", "images": 1}
    warnings = imported(serve(), delta(shared, part).content).json()["warnings"]
    assert len(warnings) == 1 and "'dog' has a single image" in warnings[0]


@pytest.mark.parametrize("settings", [{}, {"l2": "auto"}, {"views": 2}])
def test_a_file_with_statistics_and_one_without_are_copies_of_each_other(either, settings):
    dataset_id = either.dataset({"cat": 12, "dog": 12})
    part = either.train(either.queued(dataset_id, hyperparameters=settings))
    either.train(either.queued(dataset_id, hyperparameters={"l2": 0.5}))  # no copy
    whole, small = delta(either, part).content, bare(either, part).content
    files = {"file": ("x.safetensors", small)}

    told = problem(
        either.client.post("/v1/components/import", files=files), 409, "component_duplicate"
    )

    assert told["duplicate_of"] == [part]
    copy = imported(either, small).json()
    assert copy["duplicate_of"] == [part] and "has the same file" in copy["warnings"][0]
    for one, other in ((part, copy["id"]), (copy["id"], part)):
        seen = either.client.get(f"/v1/components/{one}/deletion-preview").json()["also_held"]
        assert seen["components"] == [other]
    receipt = delete(either, f"components/{part}")
    assert receipt["body"]["also_held"] == {"datasets": 0, "images": 0, "components": 1}
    assert verify(either, receipt)["ok"]
    files = {"file": ("x.safetensors", whole)}
    again = either.client.post("/v1/components/import", files=files)
    assert problem(again, 409, "component_duplicate")["duplicate_of"] == [copy["id"]]
