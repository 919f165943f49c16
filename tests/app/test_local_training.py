"""Training without the service gives the very file that the service's worker gives."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tangent_composer import metrics_file
from tests.support.archives import archive
from tests.support.images import image
from tests.support.local_training import as_folder, require_network_namespaces, trained
from tests.support.service import Service
from tests.support.splits import files_of, uploaded
from training_worker.local.training import LocalComponent
from training_worker.training import Training

ROOT = Path(__file__).resolve().parents[2]
PETS = files_of({"": {"cat": 9, "dog": 7, "owl": 5}})
SPLIT = files_of({"train": {"cat": 9, "dog": 7}, "val": {"cat": 3, "dog": 3}, "test": {"cat": 2}})
SPACES = {
    "heads": {"backbone": "vit_micro_32", "scope": "head", "labels": ["owl", "pony"]},
    "depths": {"backbone": "resnet_micro_32", "scope": "head2toe"},
    "blocks": {"backbone": "vit_micro_32", "scope": "last-block"},
}


def grouped() -> dict[str, bytes]:
    """A manifest that puts two images into a group, some of them in val."""
    rows = ["file_name,label,group,split"]
    files = {}
    for number in range(16):
        label = "cat" if number % 2 else "dog"
        files[f"scans/{number}.png"] = image(label, number)
        rows.append(f"scans/{number}.png,{label},p{number // 2},{'val' if number > 11 else ''}")
    return files | {"metadata.csv": "\n".join(rows).encode()}


def of_cameras() -> dict[str, bytes]:
    """Files that decode differently if anything is done differently: turned, in grey, copies."""
    files = dict(PETS)
    for number, mode in enumerate(("L", "P", "CMYK", "RGB")):
        picture = Image.open(io.BytesIO(image("cat", 50 + number, size=70))).convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6
        kind = "PNG" if mode == "P" else "JPEG"
        file = io.BytesIO()
        picture.save(file, kind, exif=exif)
        files[f"cat/camera {number}.{kind.lower()}"] = file.getvalue()
    copy = files["dog/0.png"]
    return files | {"dog/copy.png": copy, "owl/copy.png": copy, "cat/broken.png": b"\x89PNG\r\n"}


CASES: dict[str, dict[str, Any]] = {
    "a zip at the default scope": {"space": "depths", "files": PETS, "kind": "zip"},
    "a folder, with a number for l2": {
        "space": "heads",
        "files": PETS,
        "hyperparameters": {"l2": 0.01, "beta": 4.0},
    },
    "a tar.gz with splits": {"space": "heads", "files": SPLIT, "kind": "tar.gz"},
    "a folder with splits": {"space": "depths", "files": SPLIT},
    "a manifest with groups": {"space": "heads", "files": grouped()},
    "views and another loss": {
        "space": "heads",
        "files": PETS,
        "kind": "tar.zst",
        "hyperparameters": {"loss": "cross_entropy", "views": 2, "max_iterations": 20},
        "seed": 7,
    },
    "a block": {"space": "blocks", "files": SPLIT, "hyperparameters": {"max_iterations": 5}},
    "a block by steps in a random order": {
        "space": "blocks",
        "files": PETS,
        "hyperparameters": {"solver": "adam", "epochs": 2, "batch_size": 4},
        "seed": 5,
    },
    "files of many kinds": {"space": "depths", "files": of_cameras()},
}


@pytest.fixture(scope="module")
def service(shared: Service) -> Service:
    for name, body in SPACES.items():
        answer = shared.client.post("/v1/spaces", json=body | {"name": name})
        assert answer.status_code == 201, answer.text
    return shared


@pytest.fixture(scope="module")
def worker(service: Service) -> Training:
    return Training(service.settings)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"
    left = {path.name for path in (tmp_path / "home").iterdir()}
    assert left <= {"component.safetensors", "component.metrics.json", "space.card"}


def card(service: Service, space: str, folder: Path) -> Path:
    path = folder / "space.card"
    path.write_bytes(service.client.get(f"/v1/spaces/{space}/card").content)
    return path


def at_home(service: Service, case: dict[str, Any], tmp_path: Path, folder: Path) -> LocalComponent:
    data = tmp_path / f"data.{case.get('kind', '')}"
    if "kind" in case:
        data.write_bytes(archive(case["files"], case["kind"]))
    else:
        as_folder(case["files"], data)
    more = {name: case[name] for name in ("hyperparameters", "seed") if name in case}
    return trained(card(service, case["space"], folder), data, folder, **more)


@pytest.mark.parametrize("name", CASES)
def test_the_file_has_the_bytes_of_the_service_s_own_training(
    service, worker, tmp_path, folder, name
):
    case = CASES[name]
    shown = uploaded(service, case["files"])
    more = {each: case[each] for each in ("hyperparameters", "seed") if each in case}
    queued = service.queued(shown["id"], case["space"], **more)
    (tmp_path / "own").mkdir()
    own = worker.run(queued, tmp_path / "own", lambda _: None)

    made = at_home(service, case, tmp_path, folder)

    assert made.same_bits
    assert Path(made.file).read_bytes() == Path(own["file"]).read_bytes()
    assert (made.sha256, made.bytes) == (own["sha256"], own["bytes"])
    assert made.metrics | {"seconds": 0} == own["metrics"] | {"seconds": 0}
    assert made.splits == shown["splits"]
    assert (made.rejected, made.duplicates) == (shown["rejected"], shown["duplicates"])


ALONE = """
import builtins, json, socket, sys
from pathlib import Path
from training_worker.local.training import LocalTraining, train

of_the_service = ("sqlalchemy", "fastapi", "starlette", "dbos", "psycopg", "alembic", "uvicorn")
card, data, output, address = sys.argv[1:]
try:
    socket.create_connection(address.split(":"), timeout=1)
    reached = True
except OSError:
    reached = False
made = train(LocalTraining(Path(card), Path(data), Path(output), threads=1))
loaded = sorted(name for name in of_the_service if name in sys.modules)
print(json.dumps({"reached": reached, "loaded": loaded, "sha256": made.sha256}))
"""


def test_a_machine_without_a_route_and_without_the_service_s_libraries_trains_the_same_file(
    service, worker, tmp_path, folder
):
    require_network_namespaces()
    shown = uploaded(service, PETS)
    (tmp_path / "own").mkdir()
    own = worker.run(service.queued(shown["id"], "depths"), tmp_path / "own", lambda _: None)
    data, address = as_folder(PETS, tmp_path / "data"), service.url.removeprefix("http://")
    given = [card(service, "depths", folder), data, folder / "component.safetensors", address]

    code = ["unshare", "-rn", sys.executable, "-c", ALONE, *map(str, given)]
    answer = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout.splitlines()[-1])
    assert said == {"reached": False, "loaded": [], "sha256": own["sha256"]}


def test_the_metrics_lie_beside_the_file_and_know_whose_they_are(service, tmp_path, folder):
    made = at_home(service, CASES["a folder with splits"], tmp_path, folder)
    said = json.loads(Path(made.metrics_file).read_text())
    assert said["sha256"] == made.sha256
    assert metrics_file.read(Path(made.file)) == made.metrics
    assert made.metrics["train_accuracy"] > 0.9
