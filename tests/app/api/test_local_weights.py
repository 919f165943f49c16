"""Weights files of the server: only those that it offers, and nothing told about any other."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from app.inference.engine import engine
from app.operations.space_opening import permitted
from tangent.backbones.loading import create_untrained
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
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
    return root


def test_a_file_below_the_folder_opens_by_its_path_there(files: Path, serve) -> None:
    service = serve(weights_dir=files / "offered")
    for number, path in enumerate(("vit.safetensors", files / "offered" / "vit.safetensors")):
        body = SPACE | {"name": f"n{number}", "backbone": f"test_vit:{path}"}
        made = service.client.post("/v1/spaces", json=body)
        assert made.status_code == 201, made.text
        assert made.json()["backbone"] == f"test_vit:{files}/offered/vit.safetensors"


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
