"""Small files that take minutes or gigabytes to decode hold up nobody: the service goes on."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
import uvicorn

from app.cli.api_server import ApiServer
from tests.support import costly_images
from tests.support.archives import archive, noise
from tests.support.images import image
from tests.support.service import Service

SECONDS = 0.2  # of a processor, for an image; for a request six times as much
MAX_GROWTH = 400 * 2**20  # bytes of this process, which is the API's
HOSTILE = {
    "progressive JPEG": [costly_images.jpeg_of_scans(2000, 2000, 4000)] * 64,
    "large PNG": [costly_images.large_png(7071)] * 8,
    "RLE BMP": [costly_images.bmp_of_runs(7000, 7000)] * 3,
    "deflated TIFF": [costly_images.deflated_tiff(4000, 8_000)] * 2,
}


@pytest.fixture
def bounded(serve: Callable[..., Service]) -> Service:
    service = serve(max_decode_seconds=SECONDS)
    service.component({"cat": 2, "dog": 2})
    return service


@pytest.fixture
def growth() -> Iterator[list[int]]:
    """The most that this process's memory has grown by, once the block has ended."""
    found, over = [0], Event()
    before = resident()

    def watch() -> None:
        while not over.wait(0.01):
            found[0] = max(found[0], resident() - before)

    thread = Thread(target=watch)
    thread.start()
    yield found
    over.set()
    thread.join()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def predict(service: Service, *files: bytes) -> httpx.Response:
    with httpx.Client(base_url=service.client.base_url, timeout=120) as client:
        sent = [("images", (f"{i}", file)) for i, file in enumerate(files)]
        return client.post("/v1/predictions", files=sent)


def errors(answer: httpx.Response) -> list[str]:
    return [result["error"]["code"] for result in answer.json()["results"] if result.get("error")]


def test_honest_requests_are_answered_while_hostile_ones_are_refused(
    bounded: Service, growth: list[int]
) -> None:
    with ThreadPoolExecutor(len(HOSTILE)) as pool:
        hostile = {name: pool.submit(predict, bounded, *files) for name, files in HOSTILE.items()}
        honest = [predict(bounded, image("cat", 1)) for _ in range(5)]
        gone = bounded.dataset({"cow": 1})
        assert bounded.client.delete(f"/v1/datasets/{gone}").status_code == 200
    for answer in honest:
        assert answer.status_code == 200 and not errors(answer)
    for name, future in hostile.items():
        answer = future.result()
        assert answer.status_code in (200, 503), name
        if answer.status_code == 503:
            assert answer.json()["code"] == "decoding_busy" and "Retry-After" in answer.headers
    assert growth[0] < MAX_GROWTH


def test_the_images_after_those_that_used_up_the_budget_are_refused_unread(
    bounded: Service,
) -> None:
    answer = predict(bounded, *HOSTILE["progressive JPEG"][1:], image("cat", 1))
    assert errors(answer) == ["image_too_expensive"] * 64
    detail = answer.json()["results"][-1]["error"]["detail"]
    assert "used up the 1.2 seconds of a processor" in detail and "send fewer images" in detail


def test_a_hostile_image_beside_a_good_one_costs_itself(bounded: Service) -> None:
    answer = predict(bounded, HOSTILE["progressive JPEG"][0], image("cat", 1))
    first, second = answer.json()["results"]
    assert first["error"]["code"] == "image_too_expensive"
    assert "save it again as JPEG or PNG" in first["error"]["detail"]
    assert second["predictions"]


def test_many_frames_cost_no_more_than_the_first(bounded: Service) -> None:
    answer = predict(bounded, costly_images.gif_of_frames(10_000))
    assert not errors(answer), answer.text


def test_an_upload_names_hostile_images_among_the_rejected(
    bounded: Service, growth: list[int]
) -> None:
    files = {"cat/good.png": noise(1), "cat/slow.jpg": HOSTILE["progressive JPEG"][0]}
    form = {"file": ("a.zip", archive(files), "application/zip")}
    made = bounded.client.post("/v1/datasets", files=form).json()
    assert made["num_images"] == 1
    (refused,) = made["rejected"]
    assert refused["path"] == "cat/slow.jpg" and "seconds of a processor" in refused["reason"]
    assert growth[0] < MAX_GROWTH


def test_a_deletion_waits_for_no_decoding(serve: Callable[..., Service]) -> None:
    """The prediction is still decoding when the deletion has been answered."""
    service = serve(max_decode_seconds=1.5)
    service.component({"cat": 2, "dog": 2})
    gone = service.dataset({"cow": 1})
    slow = costly_images.jpeg_of_scans(2000, 2000, 40_000)
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(predict, service, slow)
        while not service.state.spaces._decoder._busy:
            assert not decoding.done()
        assert service.client.delete(f"/v1/datasets/{gone}").status_code == 200
        assert not decoding.done()
        assert errors(decoding.result()) == ["image_too_expensive"]


def test_thumbnails_of_large_images_take_their_turns(
    serve: Callable[..., Service], growth: list[int]
) -> None:
    service = serve()
    files = {"cat/large.png": costly_images.large_png(5000)}
    form = {"file": ("a.zip", archive(files), "application/zip")}
    dataset = service.client.post("/v1/datasets", files=form).json()["id"]
    path = f"/v1/datasets/{dataset}/images"
    (shown,) = service.client.get(path).json()["data"]
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(
            lambda _: httpx.get(
                f"{service.client.base_url}{path}/{shown['id']}?size=8", timeout=120
            ),
            range(8),
        )
        assert {answer.status_code for answer in answers} == {200}
    assert growth[0] < MAX_GROWTH


def test_a_service_that_is_to_end_refuses_the_images_in_decoding(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.api_server.DECODE_GRACE_SECONDS", 0.0)
    service = serve(max_decode_seconds=100.0)
    service.component({"cat": 2, "dog": 2})
    slow = costly_images.jpeg_of_scans(2000, 2000, 200_000)
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(predict, service, slow, slow)
        while not service.state.spaces._decoder._busy:
            assert not decoding.done()
        with suppress(TimeoutError):
            server = ApiServer(uvicorn.Config(service.app), print, print)
            ending = server._refuse_decoding()
            asyncio.run(asyncio.wait_for(ending, 1.0))
        answer = decoding.result(30)
    assert (answer.status_code, answer.json()["code"]) == (503, "service_stopping")
    assert not errors(predict(service, image("cat", 1)))  # the decoder itself goes on
