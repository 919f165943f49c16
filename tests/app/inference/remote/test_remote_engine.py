"""An engine in a process of its own answers as one in this process, and may end at any time."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.errors import NotReady
from app.files.blobs import LocalBlobs
from app.files.component_files import DamagedFile
from app.inference.engine.engine import Engine
from app.inference.engine.metrics import EngineMetrics
from app.inference.models import Model, SpaceKey, WeightProblem
from app.inference.remote.remote_engine import RemoteEngine
from app.inference.remote.wire import EngineFault
from app.settings import Settings
from tangent.components.source import Source
from tangent.errors import FingerprintMismatch, UnknownBackbone, UnknownDevice
from tests.support.models import fitted, source

SECONDS = 120
KEY = SpaceKey("resnet_micro_32", "head2toe", (), "float32")
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


class Stage:
    """An engine here and one in a process, on the same two components."""

    def __init__(self, folder) -> None:
        self.settings = Settings(data_dir=folder, engine="process", device="cpu", threads=1)
        self.blobs = LocalBlobs(folder / "blobs")
        self.here = Engine(self.settings, self.blobs, EngineMetrics())
        self.there = RemoteEngine(self.settings)
        self.sources = [self._component(folder, n, labels) for n, labels in enumerate(LABELS)]

    def _component(self, folder, number, labels) -> Source:
        space, path = self.here.opened(KEY), folder / f"{number}.safetensors"
        sha256 = fitted(space, source(32, labels, number), folder).component.save(path)
        key = f"components/cmp_{number}/file.safetensors"
        self.blobs.put(path, key)
        return Source(key, sha256)

    def model(self, rule="average", weights=(None, None)) -> Model:
        return Model(KEY, tuple(zip(self.sources, weights, strict=True)), rule)

    def ask_until_it_answers(self):
        for _ in range(600):
            try:
                return self.there.run(self.model(), PICTURES)
            except NotReady as error:
                assert error.code == "engine_restarting", error
                time.sleep(0.2)
        raise AssertionError("the engine was not started again")


LABELS = (["cat", "dog"] * 4, ["cow", "dog"] * 4)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    found = Stage(tmp_path_factory.mktemp("stage"))
    yield found
    found.there.close()
    found.here.close()


def test_both_have_the_same_methods():
    def public(kind):
        return {name for name in dir(kind) if not name.startswith("_")}

    inside = {"delta", "opened"}  # a process offers these to itself alone
    assert public(Engine) - inside == public(RemoteEngine) - {"pid"}


@pytest.mark.parametrize("company", ["mixed", "each"])
@pytest.mark.parametrize("rule", ["average", "joint"])
def test_answers_are_the_same_to_the_bit(stage, rule, company):
    model = stage.model(rule)
    here = stage.here.run(model, PICTURES, company=company)
    there = stage.there.run(model, PICTURES, company=company)
    assert here.labels == there.labels == ("cat", "cow", "dog")
    np.testing.assert_array_equal(here.logits, there.logits)
    assert min(there.compose, there.queue, there.forward) >= 0


def test_answers_are_judged_the_same_by_a_calibration_that_each_is_given(stage):
    model = stage.model("joint")
    copies = [[(n, label)] for n in (0, 1) for label in LABELS[n][:3]]
    for engine in (stage.here, stage.there):
        assert engine.run(model, PICTURES, judged_as=model).calibration is None
        engine.calibrate(model, engine.readouts(KEY, PICTURES), copies)
    psi = stage.here.readouts(KEY, PICTURES)
    left_out = [each.scores_without(model, psi, copies) for each in (stage.here, stage.there)]
    np.testing.assert_array_equal(left_out[0].logits, left_out[1].logits)
    here, there = (
        engine.run(model, PICTURES, judged_as=model) for engine in (stage.here, stage.there)
    )
    assert here.calibration == there.calibration and here.calibration.images == 6
    np.testing.assert_array_equal(here.novelty, there.novelty)
    np.testing.assert_array_equal(here.logits, stage.here.run(model, PICTURES).logits)
    for engine in (stage.here, stage.there):
        engine.forget([stage.sources[0].sha256])
        assert engine.run(model, PICTURES, judged_as=model).calibration is None


def test_everything_else_is_the_same_too(stage, tmp_path):
    model = stage.model("weighted", (0.5, 2.0))
    assert stage.here.open(KEY) == stage.there.open(KEY)
    assert stage.here.compose(model) == stage.there.compose(model)
    assert stage.here.environment() == stage.there.environment()
    hashes = [each.answer_hash(model, from_files=True) for each in (stage.here, stage.there)]
    assert hashes[0] == hashes[1]
    taken = [each.attribution(model, PICTURES) for each in (stage.here, stage.there)]
    np.testing.assert_array_equal(taken[0].base.logits, taken[1].base.logits)
    np.testing.assert_array_equal(np.stack(taken[0].shares), np.stack(taken[1].shares))
    assert taken[0].rests[0].labels == taken[1].rests[0].labels
    known = ("cat", "cow", "dog")
    effects = [e.effects(KEY, stage.sources, PICTURES, known) for e in (stage.here, stage.there)]
    np.testing.assert_array_equal(np.stack(effects[0].moved), np.stack(effects[1].moved))
    split = [False, False, True, False, False, True]
    problem = WeightProblem([effects[1]], [0, 1, 2, 0, 1, 2], split, "squared", 0.1, "none", 1.0)
    assert stage.here.fit_weights(problem) == stage.there.fit_weights(problem)
    names = {"dog": "hound"}
    paths = tmp_path / "here", tmp_path / "there"
    for engine, path in zip((stage.here, stage.there), paths, strict=True):
        owls = engine.measure(KEY, PICTURES, ["owl"] * 6, views=1)
        written = engine.change(KEY, stage.sources[0], path, added=owls, renamed=names)
        assert written.labels == {"cat": 4, "hound": 4, "owl": 6}
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert stage.there.examine(paths[0]) == stage.here.examine(paths[0])
    assert stage.there.accept(KEY, paths[0], tmp_path / "ours").size == paths[0].stat().st_size
    plans = [each.plan_merge("ties", {}, [None, None]) for each in (stage.here, stage.there)]
    assert plans[0] == plans[1]
    assert "tangent_inference_batch_size" in stage.there.metrics_text()
    stage.there.canary(KEY)


def test_errors_are_those_of_an_engine_here(stage, tmp_path):
    with pytest.raises(UnknownBackbone, match="no_such"):
        stage.there.open(SpaceKey("no_such", "head", (), "float32"))
    with pytest.raises(DamagedFile, match="is missing"):
        stage.there.compose(Model(KEY, ((Source("components/x/y", "0"), None),), "average"))
    other = SpaceKey("vit_micro_32", "head", (), "float32")
    with pytest.raises(FingerprintMismatch, match="was trained in the space"):
        stage.there.run(Model(other, stage.model().parts, "average"), PICTURES)
    with pytest.raises(EngineFault, match="the engine has no call 'close'"):
        stage.there._ask("close")


def test_what_was_deleted_is_forgotten_there(stage):
    stage.there.compose(stage.model())
    before = evictions(stage.there)
    stage.there.forget([stage.sources[0].sha256])
    assert evictions(stage.there) > before
    stage.there.respect(10**6)


def evictions(engine) -> float:
    name = "tangent_composition_cache_evictions_total "
    [line] = [each for each in engine.metrics_text().splitlines() if each.startswith(name)]
    return float(line.split()[1])


def test_calls_of_a_process_that_is_killed_are_refused_and_it_is_started_again(stage):
    pid = stage.there.pid
    os.kill(pid, signal.SIGSTOP)  # so that the calls wait
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(stage.there.run, stage.model(), PICTURES) for _ in range(4)]
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        for each in asked:
            with pytest.raises(NotReady, match="ended and is started again") as caught:
                each.result(SECONDS)
            assert caught.value.extra["retry_after"] >= 1
    expected = stage.here.run(stage.model(), PICTURES).logits
    np.testing.assert_array_equal(stage.ask_until_it_answers().logits, expected)
    assert stage.there.pid != pid


def batches(engine) -> float:
    found = re.search(r"tangent_inference_batch_size_count (\S+)", engine.metrics_text())
    return float(found[1])


def test_what_nobody_waits_for_any_more_is_not_computed(stage):
    stage.ask_until_it_answers()
    before = batches(stage.there)
    os.kill(stage.there.pid, signal.SIGSTOP)
    try:
        asked = [stage.there.begin(stage.model(), PICTURES, company="each") for _ in range(20)]
        assert all(each.cancel() for each in asked)
    finally:
        os.kill(stage.there.pid, signal.SIGCONT)
    stage.there.run(stage.model(), PICTURES)
    assert batches(stage.there) < before + 20  # it may have begun some that came first


def test_an_answer_that_comes_late_is_refused(stage, monkeypatch):
    stage.ask_until_it_answers()
    monkeypatch.setattr("app.inference.remote.remote_engine.ANSWER_SECONDS", 0.2)
    os.kill(stage.there.pid, signal.SIGSTOP)
    try:
        with pytest.raises(NotReady, match=r"has not answered within 0\.2 s"):
            stage.there.run(stage.model(), PICTURES)
    finally:
        os.kill(stage.there.pid, signal.SIGCONT)


def test_a_process_that_does_not_forget_in_time_is_ended(stage, monkeypatch):
    monkeypatch.setattr("app.inference.remote.remote_engine.FORGET_SECONDS", 0.3)
    stage.ask_until_it_answers()
    pid = stage.there.pid
    os.kill(pid, signal.SIGSTOP)
    stage.there.forget(["0" * 64])
    stage.ask_until_it_answers()
    assert stage.there.pid != pid


def test_a_device_that_is_not_there_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UnknownDevice, match="torch cannot compute on a device 'cuda:77'"):
        RemoteEngine(Settings(data_dir=tmp_path, engine="process", device="cuda:77"))
    assert list(tmp_path.glob("tangent-engine-*")) == []


def test_a_process_that_cannot_be_started_is_said_at_once(tmp_path, monkeypatch):
    def refused(*given, **named):
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("app.inference.remote.engine_process.subprocess.Popen", refused)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    why = r"the engine process could not be started \(no more processes\)"
    with pytest.raises(EngineFault, match=why):
        RemoteEngine(Settings(data_dir=tmp_path, engine="process", device="cpu"))
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_cannot_be_started_again_is_tried_again(stage, monkeypatch):
    stage.ask_until_it_answers()
    real, refusals = subprocess.Popen, []

    def refused_once(*given, **named):
        if not refusals:
            refusals.append(1)
            raise BlockingIOError("no more processes")
        return real(*given, **named)

    monkeypatch.setattr("app.inference.remote.engine_process.subprocess.Popen", refused_once)
    pid = stage.there.pid
    os.kill(pid, signal.SIGKILL)
    while stage.there.pid == pid:
        time.sleep(0.05)
    stage.ask_until_it_answers()
    assert refusals


PARENT = """
import sys, time
from pathlib import Path
from app.inference.remote.remote_engine import RemoteEngine
from app.inference.remote.wire import EngineFault
from app.settings import Settings
engine = RemoteEngine(Settings(data_dir=Path(sys.argv[1]), engine="process", device="cpu"))
assert "torch" not in sys.modules, "the asking side has loaded torch"
print(engine.pid, flush=True)
time.sleep(600)
"""


def test_the_process_ends_with_the_one_that_asks_which_has_no_torch(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + SECONDS
    while is_running(pid):
        assert time.monotonic() < end, "the engine has outlived its parent"
        time.sleep(0.1)
    assert list(tmp_path.glob("tangent-engine-*")) == []


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_application_loads_no_torch_unless_it_computes_itself():
    check = "import sys, app.main, app.cli.serve_command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
