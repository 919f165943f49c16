"""Ids and names are one part of a path each: nothing else can be reached, or deleted, by them."""

import io

import numpy as np
import PIL.Image
import pytest

from tangent_composer import Client
from tangent_composer.client.errors import BadInput, NotFound
from tangent_composer.client.paths import segment
from tests.support.images import image


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cmp_1", "cmp_1"),
        ("a/../b", "a%2F..%2Fb"),
        ("x?probe=true", "x%3Fprobe%3Dtrue"),
        ("ü", "%C3%BC"),
    ],
)
def test_a_name_is_one_part_of_a_path(name, part):
    assert segment(name) == part


@pytest.mark.parametrize("name", ["", ".", "..", None, 7])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(BadInput, match="is no id and no name"):
        segment(name)


def test_what_is_no_choice_of_components_is_refused_before_anything_is_sent(free_port):
    with Client(f"http://127.0.0.1:{free_port}", retries=0) as away:
        for weight in ("a", None, 10**400):
            with pytest.raises(BadInput, match="is no weight of cmp_1: give a finite number"):
                away.predict(image("cat", 1), components={"cmp_1": weight})
        with pytest.raises(BadInput, match="NoneType is no choice of components: give ids"):
            away.compositions.put("mine", None)


def test_a_name_that_is_not_in_utf8_is_refused():
    with pytest.raises(BadInput, match="not in UTF-8"):
        segment("caf\udce9")


def test_what_is_no_path_of_a_file_is_refused_before_anything_is_sent(free_port):
    with Client(f"http://127.0.0.1:{free_port}", retries=0) as away:
        for call in (
            lambda: away.components.import_file(io.BytesIO(b"x")),
            lambda: away.batch_predictions.save("bp_1", None),
            lambda: away.spaces.card("default", 7),
        ):
            with pytest.raises(BadInput, match="is no path: give the path of a file"):
                call()


def test_an_empty_text_is_not_the_current_folder(free_port, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(image("cat", 1))
    with Client(f"http://127.0.0.1:{free_port}", retries=0) as away:
        for call in (
            lambda: away.datasets.upload(""),
            lambda: away.datasets.add_images("ds_1", ""),
            lambda: away.batch_predictions.start(""),
            lambda: away.batch_predictions.save("bp_1", ""),
            lambda: away.predict(""),
            lambda: away.predict(["cat/1.png", ""]),
            lambda: away.find(""),
            lambda: away.components.import_file(""),
            lambda: away.spaces.card("default", ""),
        ):
            with pytest.raises(BadInput, match="'' is no path: give one"):
                call()


def test_a_name_reaches_nothing_else(service, client):
    part = service.component({"cat": 2})
    for call in (
        lambda: client.compositions.delete(f"../components/{part}"),
        lambda: client.components.unlearn(f"{part}?probe=true"),
        lambda: client.datasets.get(f"../components/{part}"),
        lambda: client.receipts.get("../components"),
    ):
        with pytest.raises(NotFound):
            call()
    assert client.components.get(part).status == "ready"
    assert list(client.receipts.each()) == []


def test_pictures_of_any_mode_are_sent_and_what_is_none_is_refused(service, client):
    service.component({"cat": 2, "dog": 2})
    picture = PIL.Image.open(io.BytesIO(image("cat", 1)))
    for mode in ("CMYK", "F", "P", "1"):
        assert client.predict(picture.convert("RGB").convert(mode)).results[0].predictions
    with pytest.raises(BadInput, match="is no image"):
        client.predict(np.zeros((0, 32, 3), "uint8"))


def test_a_key_that_is_none_is_refused_as_an_input(service, client):
    with pytest.raises(BadInput, match="a given public key"):
        client.receipts.verify_offline(public_keys=["x"])
