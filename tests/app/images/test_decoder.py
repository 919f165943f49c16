"""Images are decoded in processes that time, memory and crashes cost one image at most."""

import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image

from app.errors import NotReady
from app.images import decoder as decoders
from app.images import process
from app.images.budget import Budget, OutOfBudget, TooExpensive
from app.images.decoder import Decoder
from app.images.image_files import BadImage, Facts, decode
from tangent.backbones.geometry import Geometry
from tests.support import costly_images
from tests.support.archives import noise
from tests.support.decoding import SLOW, Limits, decoding, examined
from tests.support.image_files import png

ROOT = Path(__file__).resolve().parents[3]
GEOMETRY = Geometry("shorter", (9, 9), Image.Resampling.BICUBIC, (8, 8))
# Takes many times longer than a light image may, also on a faster machine than today's.
HEAVY = costly_images.jpeg_of_scans(1000, 1000, 10_000)


@pytest.fixture
def under_test() -> Iterator[Decoder]:
    made = Decoder(Limits())
    yield made
    made.close()


@pytest.fixture
def patient() -> Iterator[Decoder]:
    made = Decoder(replace(Limits(), max_decode_seconds=30.0))
    yield made
    made.close()


def only_worker(under_test: Decoder) -> int:
    (worker,) = [*under_test._idle[False], *under_test._idle[True]]
    return worker._process.pid


def test_files_have_the_pixels_that_this_process_would_make(under_test):
    files = [noise(i, size=5 + i) for i in range(40)] + [noise(9)[:-60], b"no image"]
    found = under_test.pixels(files, GEOMETRY, Budget())
    for file, pixels in zip(files[:40], found[:40], strict=True):
        np.testing.assert_array_equal(pixels, GEOMETRY.apply(decode(file, Limits())))
    assert [type(each) for each in found[40:]] == [BadImage, BadImage]
    assert "damaged or cut off" in found[40].reason


def test_a_thumbnail_and_facts_come_from_a_worker_too(under_test):
    data, media_type = under_test.thumbnail(noise(1, size=200), 16, Budget())
    assert media_type == "image/png" and data.startswith(b"\x89PNG")
    assert examined(under_test, noise(1)) == [Facts("image/png", 8, 8)]
    with pytest.raises(BadImage, match="is empty"):
        under_test.thumbnail(b"", 16, Budget())


def test_an_image_that_takes_too_long_costs_itself_and_its_worker(under_test):
    files = [noise(1), SLOW, noise(2)]
    first, slow, last = examined(under_test, *files)
    assert first == last == Facts("image/png", 8, 8)
    assert isinstance(slow, TooExpensive)
    assert "more than 0.6 seconds of a processor: save it again as JPEG or PNG" in slow.reason


def test_a_light_image_that_proves_heavy_is_tried_once_more(patient):
    budget = Budget()
    assert examined(patient, HEAVY, budget=budget) == [Facts("image/jpeg", 1000, 1000)]
    assert budget.spent > 0


def test_a_request_that_has_used_up_its_budget_gets_no_further_image_decoded(under_test):
    budget = Budget(1.0)
    found = examined(under_test, SLOW, SLOW, SLOW, noise(1), budget=budget)
    assert all(isinstance(each, TooExpensive) for each in found)
    assert isinstance(found[-1], OutOfBudget)
    assert "used up the 1 seconds of a processor" in found[-1].reason
    assert budget.spent < 3
    assert examined(under_test, noise(1)) == [Facts("image/png", 8, 8)]


def test_an_image_that_takes_too_much_memory_is_refused(under_test):
    text = b"name\0\0" + zlib.compress(bytes(60 * 2**20), 9)
    (found,) = examined(under_test, png(1, 1, 8, 2, b"\0\1\2\3", {b"zTXt": text}))
    assert "needs more memory than it may take: save it with fewer pixels" in found.reason
    assert examined(under_test, noise(1)) == [Facts("image/png", 8, 8)]


def test_a_worker_that_dies_between_two_images_costs_none(under_test):
    examined(under_test, noise(1))
    gone = only_worker(under_test)
    os.kill(gone, signal.SIGKILL)
    while Path(f"/proc/{gone}/stat").read_text().split()[2] != "Z":
        sleep(0.001)
    assert examined(under_test, noise(1)) == [Facts("image/png", 8, 8)]
    assert only_worker(under_test) != gone


@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGSEGV, "its decoder crashes"), (signal.SIGKILL, "needs more memory")],
)
def test_a_worker_that_dies_at_an_image_costs_that_one(under_test, number, why):
    thread, outcome = decoding(under_test, SLOW)
    (worker,) = under_test._busy
    os.kill(worker._process.pid, number)
    thread.join(30)
    ((refusal,),) = outcome
    assert isinstance(refusal, BadImage) and why in refusal.reason


def test_a_worker_that_is_stopped_does_not_hold_its_request_for_ever(under_test, monkeypatch):
    examined(under_test, noise(1))
    stopped, answers_in = only_worker(under_test), process.WorkerProcess._answers_in

    def hurried(worker: process.WorkerProcess, seconds: float) -> bool:
        return answers_in(worker, 0.05 if worker._process.pid == stopped else seconds)

    monkeypatch.setattr(process.WorkerProcess, "_answers_in", hurried)
    os.kill(stopped, signal.SIGSTOP)
    assert examined(under_test, noise(1)) == [Facts("image/png", 8, 8)]
    assert only_worker(under_test) != stopped


def test_workers_share_the_processors_as_the_service_does_and_costly_ones_come_last(patient):
    examined(patient, HEAVY)
    examined(patient, noise(1))
    (light,), (costly,) = patient._idle[False], patient._idle[True]
    for worker, niceness in ((light, 0), (costly, decoders.COSTLY_NICENESS)):
        assert os.getsid(worker.pid) == os.getsid(0)
        assert os.getpgid(worker.pid) == worker.pid, "Ctrl-C is for the service alone"
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == niceness


def test_a_worker_that_cannot_start_is_our_fault_not_the_images(under_test, monkeypatch):
    monkeypatch.setattr(process.sys, "executable", "/bin/false")
    for files in ([noise(1)], [noise(1), noise(2)]):
        with pytest.raises(RuntimeError, match="ended with status 1"):
            examined(under_test, *files)


def test_an_interruption_refuses_the_images_in_decoding_and_no_later_ones(under_test):
    thread, outcome = decoding(under_test, SLOW, noise(1))
    under_test.interrupt()
    thread.join(30)
    (refusal,) = outcome
    assert isinstance(refusal, NotReady) and refusal.code == "service_stopping"
    assert examined(under_test, noise(1)) == [Facts("image/png", 8, 8)]


def test_a_decoder_that_is_idle_keeps_no_process_from_ending(under_test):
    examined(under_test, noise(1))
    starters = [each for each in threading.enumerate() if each.name == "worker-starter"]
    assert starters and all(each.daemon for each in starters)
    under_test.close()
    with pytest.raises(RuntimeError, match="the decoder is closed"):
        examined(under_test, noise(1))


DYING = """
import sys
from dataclasses import replace
from app.images.decoder import Decoder
from tests.support.decoding import SLOW, Limits, decoding
under_test = Decoder(replace(Limits(), max_decode_seconds=60.0))
decoding(under_test, SLOW)
(worker,) = under_test._busy
print(worker._process.pid, flush=True)
sys.stdin.read()
"""


def test_workers_die_with_a_process_that_is_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", DYING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with parent:
        worker = Path(f"/proc/{int(parent.stdout.readline())}")
        assert worker.exists()
        parent.kill()
    end = monotonic() + 30
    while worker.exists() and worker.joinpath("stat").read_text().split()[2] != "Z":
        assert monotonic() < end
        sleep(0.01)


def test_all_that_ask_with_equal_limits_share_a_decoder():
    assert decoders.decoder_of(Limits()) is decoders.decoder_of(Limits())
    assert decoders.decoder_of(Limits()) is not decoders.decoder_of(Limits(max_decode_seconds=3.0))


def test_a_forked_process_has_workers_of_its_own():
    code = """
import os, sys
from app.images.budget import Budget
from app.images.decoder import decoder_of
from tests.support.archives import noise
from tests.support.decoding import Limits
def show():
    [found] = decoder_of(Limits()).examine([noise(1)], Budget())
    print(found.media_type, found.width, found.height, flush=True)
decoder_of(Limits()).examine([noise(1)], Budget())
child = os.fork()
if child == 0:
    show()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
show()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.splitlines() == ["image/png 8 8"] * 2, ended.stderr
