"""Components are made again from their images: what no other check finds is found."""

import shutil

import pytest
from sqlalchemy import update

from app.cli import main
from app.database.sessions import transaction
from app.database.tables import Component
from tests.support.client import delete, verify
from tests.support.service import Service
from training_worker.recomputation import recompute

SCOPE = "head"


def row(service: Service, component_id: str) -> Component:
    with transaction(service.state.sessions) as session:
        return session.get_one(Component, component_id)


def said(service: Service, *flags: str) -> int:
    """Run the command on the service's data folder."""
    return main(["verify-components", "--data-dir", str(service.settings.data_dir), *flags])


@pytest.fixture
def here(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service whose other settings the command finds in the environment."""
    for name in ("device", "threads", "scope"):
        monkeypatch.setenv(f"TANGENT_{name.upper()}", str(getattr(service.settings, name)))
    return service


def test_components_are_what_their_images_make(here, capsys):
    ids = [here.component({"cat": 4, "dog": 4}, start) for start in (0, 20)]

    assert said(here) == 0
    assert capsys.readouterr().out.splitlines() == [
        *(f"{id_} is what its images make, to the byte" for id_ in sorted(ids)),
        "2 components were made again: 2 are the same, 0 differ",
    ]
    assert said(here, "--sample", "1") == 0
    assert "1 components were made again" in capsys.readouterr().out


def test_a_component_that_lost_an_image_is_what_the_others_make(here):
    dataset = here.dataset({"cat": 4, "dog": 4})
    here.train(here.queued(dataset))
    images = here.client.get(f"/v1/datasets/{dataset}/images").json()["data"]
    delete(here, f"datasets/{dataset}/images/{images[0]['id']}")

    (found,) = recompute(here.settings)

    assert found.same is True


def test_a_file_that_was_replaced_together_with_its_row_is_found(here, capsys):
    """Chain, manifest and files agree with each other then; only the images tell."""
    gone, kept, other = (here.component({"cat": 4, "dog": 4}, start) for start in (0, 20, 40))
    theirs = row(here, other)
    mine = row(here, kept)
    blobs = here.state.blobs
    shutil.copyfile(blobs.path(theirs.blob_key), blobs.path(mine.blob_key))
    with transaction(here.state.sessions) as session:
        session.execute(update(Component).where(Component.id == kept).values(sha256=theirs.sha256))
    receipt = delete(here, f"components/{gone}")
    found = verify(here, receipt)
    assert (found["files_ok"], found["manifest_ok"]) == (True, True)

    assert said(here) == 1

    out = capsys.readouterr().out
    assert f"{kept} is not what its images make: that is {mine.sha256}, this is" in out
    assert f"{other} is what its images make" in out
    assert "1 are the same, 1 differ" in out


def test_a_file_that_is_not_its_rows_and_one_from_another_machine_are_named(here):
    changed, foreign = here.component({"cat": 4}), here.component({"cat": 4}, 20)
    path = here.state.blobs.path(row(here, changed).blob_key)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with transaction(here.state.sessions) as session:
        component = session.get_one(Component, foreign)
        component.metrics = component.metrics | {"environment": "another"}
        component.sha256 = "ab" * 32

    found = {each.component_id: each for each in recompute(here.settings)}

    assert found[changed].same is False and "other bytes than its row" in found[changed].text
    assert found[foreign].same is False  # the file is not the row's, whatever machine made it


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"environment": "another"}, "no bytes to compare"),
        ({"not_repeatable": "put_ has no form"}, "bytes may differ each time: put_ has no form"),
        ({"l2_chosen_by": "descent", "l2": 7.0}, "an older version chose in another way"),
    ],
)
def test_a_component_that_no_bytes_speak_for_is_not_called_wrong(here, told, said):
    mine, other = here.component({"cat": 4}), here.component({"cat": 4}, 20)
    theirs = row(here, other)
    blobs = here.state.blobs
    shutil.copyfile(blobs.path(theirs.blob_key), blobs.path(row(here, mine).blob_key))
    with transaction(here.state.sessions) as session:
        component = session.get_one(Component, mine)
        component.sha256 = theirs.sha256
        component.metrics = component.metrics | told

    found = {each.component_id: each for each in recompute(here.settings)}

    assert found[mine].same is None and said in found[mine].text


def test_an_older_choice_of_the_same_penalty_hides_no_wrong_bytes(here):
    mine, other = here.component({"cat": 4}), here.component({"cat": 4}, 20)
    theirs, blobs = row(here, other), here.state.blobs
    shutil.copyfile(blobs.path(theirs.blob_key), blobs.path(row(here, mine).blob_key))
    with transaction(here.state.sessions) as session:
        component = session.get_one(Component, mine)
        component.sha256 = theirs.sha256
        told = component.metrics
        component.metrics = {name: told[name] for name in told if name != "l2_chosen_by"}

    found = {each.component_id: each for each in recompute(here.settings)}

    assert found[mine].same is False and "is not what its images make" in found[mine].text
