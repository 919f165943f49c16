"""Weights files of the server: only those that it offers, and nothing told about any other."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from app.errors import Forbidden
from app.inference.engine import engine
from app.operations.space_card import check_offered
from app.operations.space_opening import permitted
from tangent.backbones.loading import create_untrained
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
NO_FOLDER = "the folder of weights has no folder … with model.safetensors and config.json: put"
SPACE = {"name": "new", "backbone": "", "scope": "head"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `offered` with weights, and a folder `private` beside it."""
    root = tmp_path_factory.mktemp("files")
    for name in ("offered", "private"):
        (root / name).mkdir()
        save_file(create_untrained("test_vit", 0).state_dict(), root / name / "vit.safetensors")
    secret = {"architecture": "SECRET"}
    (root / "private" / "config.json").write_text(json.dumps(secret))
    (root / "offered" / "link.safetensors").symlink_to(root / "private" / "vit.safetensors")
    (root / "offered" / "folder.safetensors").mkdir()
    for place in ("offered/mine", "private/mine"):
        saved_by_timm(root / place)
    (root / "offered" / "to-private").symlink_to(root / "private" / "mine")
    (root / "offered" / "linked").mkdir()
    linked = root / "offered" / "linked" / "model.safetensors"
    linked.symlink_to(root / "private" / "vit.safetensors")
    (root / "offered" / "old").mkdir()
    (root / "offered" / "old" / "pytorch_model.bin").write_bytes(b"PK")
    return root


def saved_by_timm(folder: Path) -> None:
    """Make a folder as timm and transformers save a model."""
    folder.mkdir()
    save_file(create_untrained("test_vit", 2).state_dict(), folder / "model.safetensors")
    config = {"architecture": "test_vit", "num_classes": 2, "license": "cc-by-4.0"}
    (folder / "config.json").write_text(json.dumps(config))


def test_a_file_below_the_folder_opens_by_its_path_there(files: Path, serve) -> None:
    service = serve(weights_dir=files / "offered")
    for number, path in enumerate(("vit.safetensors", files / "offered" / "vit.safetensors")):
        body = SPACE | {"name": f"n{number}", "backbone": f"test_vit:{path}"}
        made = service.client.post("/v1/spaces", json=body)
        assert made.status_code == 201, made.text
        assert made.json()["backbone"] == f"test_vit:{files}/offered/vit.safetensors"


@pytest.mark.parametrize(
    ("offered", "own", "shipped"), [("public", 403, 200), ("all", 200, 200), ("none", 403, 403)]
)
def test_weights_leave_by_a_card_as_far_as_the_operator_allows(
    files: Path, serve, offered: str, own: int, shipped: int
) -> None:
    service = serve(weights_dir=files / "offered", space_cards=offered)
    for name, backbone in (("file", "test_vit:vit.safetensors"), ("folder", "mine/")):
        made = service.client.post("/v1/spaces", json=SPACE | {"name": name, "backbone": backbone})
        assert made.status_code == 201, made.text
    for name, status in (("file", own), ("folder", own), ("default", shipped)):
        answer = service.client.get(f"/v1/spaces/{name}/card")
        assert answer.status_code == status, answer.text[:300]
        if status == 403:
            detail = problem(answer, 403, "card_withheld")["detail"]
            assert "TANGENT_SPACE_CARDS=" in detail and str(files) not in detail


@pytest.mark.parametrize(
    "backbone", ["hf-hub:owner/name", "pets/", "local-dir:pets", "a.safetensors"]
)
def test_what_may_be_nobody_else_s_is_not_public(backbone: str) -> None:
    with pytest.raises(Forbidden, match="the operator's own"):
        check_offered(backbone, "public")
    check_offered(backbone, "all")


@pytest.mark.parametrize("backbone", ["resnet_micro_32", "resnet50", "resnet50.a1_in1k"])
def test_published_weights_are_public(backbone: str) -> None:
    check_offered(backbone, "public")
    with pytest.raises(Forbidden, match="TANGENT_SPACE_CARDS=public or all"):
        check_offered(backbone, "none")


@pytest.mark.parametrize(
    "path",
    [
        "{files}/private/vit.safetensors",
        "../private/vit.safetensors",
        "link.safetensors",
        "folder.safetensors",
        "{files}/private/none.safetensors",
        "none.safetensors",
        "x" * 300 + ".safetensors",
        "/" + "y/" * 400 + "z.safetensors",
    ],
)
def test_a_file_that_is_not_offered_gets_the_answer_of_one_that_is_not_there(
    files: Path, path: str, shared_weights: Service
) -> None:
    path = path.format(files=files)
    for name in (path, f"test_vit:{path}", f"resnet18.nonsense:{path}"):
        answer = shared_weights.client.post("/v1/spaces", json=SPACE | {"backbone": name})
        document = problem(answer, 422, "unknown_backbone")
        assert document["detail"].replace(path, "…") == (
            "the folder of weights has no file '…': put it below TANGENT_WEIGHTS_DIR, or use a "
            "shipped or a timm name"
        )


def test_a_folder_below_it_opens_and_its_licence_is_shown(
    files: Path, shared_weights: Service
) -> None:
    client = shared_weights.client
    for number, path in enumerate(("mine/", "./mine", f"{files}/offered/mine", "local-dir:mine")):
        made = client.post("/v1/spaces", json=SPACE | {"name": f"f{number}", "backbone": path})
        assert made.status_code == 201, made.text
        assert made.json()["backbone"] == f"{files}/offered/mine"
        assert client.get(f"/v1/spaces/f{number}").json()["license"] == "cc-by-4.0"
    assert client.get("/v1/spaces/default").json()["license"] == "apache-2.0"


@pytest.mark.parametrize(
    "path",
    [
        *("../private/mine", "{files}/private/mine", "to-private/", "linked/", "none/"),
        *("{files}/private/none", "/", "a/../../b", "x/" * 400),
    ],
)
def test_a_folder_that_is_not_offered_gets_the_answer_of_one_that_is_not_there(
    files: Path, path: str, shared_weights: Service
) -> None:
    path = path.format(files=files)
    for name in (path, f"test_vit:{path}"):
        answer = shared_weights.client.post("/v1/spaces", json=SPACE | {"backbone": name})
        document = problem(answer, 422, "unknown_backbone")
        assert document["detail"].replace(repr(path), "…").startswith(NO_FOLDER)


def test_other_formats_are_refused_by_their_names_alone(
    files: Path, shared_weights: Service
) -> None:
    (files / "private" / "there.pth").write_bytes(b"PK")
    told = set()
    for name in ("there", "gone"):
        body = SPACE | {"backbone": f"resnet18:{files}/private/{name}.pth"}
        document = problem(
            shared_weights.client.post("/v1/spaces", json=body), 422, "unknown_backbone"
        )
        told.add(document["detail"].replace(name, "…"))
    assert len(told) == 1 and "only safetensors files are read" in told.pop()
    answer = shared_weights.client.post("/v1/spaces", json=SPACE | {"backbone": "old/"})
    assert "Convert it: python -c" in problem(answer, 422, "unknown_backbone")["detail"]


def test_weights_of_another_architecture_are_refused_with_the_first_differences(
    shared_weights: Service,
) -> None:
    body = SPACE | {"backbone": "resnet18:vit.safetensors"}
    answer = shared_weights.client.post("/v1/spaces", json=body)
    detail = problem(answer, 422, "wrong_weights")["detail"]
    assert "does not hold weights of resnet18: it lacks 120 tensors, conv1.weight" in detail


@pytest.fixture
def shared_weights(files: Path, shared: Service) -> Service:
    settings = shared.settings.model_copy(update={"weights_dir": files / "offered"})
    with shared.replaced(settings=settings):
        yield shared


def test_without_a_folder_no_file_opens(files: Path, shared: Service) -> None:
    body = SPACE | {"backbone": f"test_vit:{files}/offered/vit.safetensors"}
    document = problem(shared.client.post("/v1/spaces", json=body), 422, "unknown_backbone")
    assert "set TANGENT_WEIGHTS_DIR" in document["detail"]


def test_names_that_are_no_files_are_left_to_timm() -> None:
    assert permitted("resnet_micro_32", None) == "resnet_micro_32"
    assert permitted("a:b", None) == "a:b"


def test_a_space_that_takes_long_to_open_holds_up_nobody_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, inside, go = engine.open_space, threading.Semaphore(0), threading.Event()

    def slow(backbone: str, *given, **more):
        if backbone == "vit_micro_32":
            inside.release()
            assert go.wait(60)
        return opened(backbone, *given, **more)

    monkeypatch.setattr(engine, "open_space", slow)
    body = SPACE | {"backbone": "vit_micro_32"}
    answers: list[int] = []

    def ask(name: str, scope: str) -> Callable[[], None]:
        def post() -> None:
            sent = body | {"name": name, "scope": scope}
            answers.append(service.client.post("/v1/spaces", json=sent).status_code)

        return post

    threads = [threading.Thread(target=ask(f"s{i}", s)) for i, s in enumerate(("head", "head2toe"))]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=30)
    service.state.spaces.close()  # the default space has to be opened again meanwhile
    assert service.client.get("/readyz").status_code == 200
    problem(service.client.post("/v1/spaces", json=body), 503, "spaces_opening")
    go.set()
    for thread in threads:
        thread.join(60)
    assert answers == [201, 201]
