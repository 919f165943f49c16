"""The measurement of serving under load counts what a server really answered."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import pytest

from app.operations.prediction import STEPS
from benchmarks.load import tables
from benchmarks.load.cells import (
    DEFAULT,
    ENGINE,
    FROM_FILES,
    FRONT,
    LITSERVE,
    MANY,
    ONE,
    TANGENT,
    Cell,
    cells_of,
)
from benchmarks.load.charts import charts
from benchmarks.load.environments import NotMade, interpreter
from benchmarks.load.ratios import figures
from benchmarks.load.sending import Load, Outcome, Request, Sending, send
from benchmarks.load.tally import percentile

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def server(statuses: tuple[int, ...] = (200,), delay: float = 0.0) -> Iterator[tuple[str, list]]:
    """A server that answers these statuses in turn; 0 closes the connection instead."""
    numbers, received, one_at_a_time = count(), [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            with one_at_a_time:
                status = statuses[next(numbers) % len(statuses)]
                sleep(delay)
            if status == 0:
                self.close_connection = True
                return
            body = b'{"components":[{"id":"cmp_1"}]}'
            self.send_response(status)
            self.send_header("Server-Timing", "queue;dur=2.0, forward;dur=4.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}", received
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def requests(folder: Path) -> list[Request]:
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode() * 3)
    return [Request(f"/{name}", "image/png", str(folder / name)) for name in ("a", "b")]


def load(url: str, folder: Path, **changes: object) -> Load:
    given = {"clients": 1, "seconds": 30.0, "warm": 0.0, "limit": 10} | changes
    return Load(url, requests(folder), **given)


def test_a_client_sends_the_requests_in_turn_until_the_limit(tmp_path):
    with server() as (url, received):
        outcome = send(load(url, tmp_path))
    assert received == [("/a", b"aaa"), ("/b", b"bbb")] * 5
    assert (outcome.answered, outcome.statuses, outcome.errors) == (10, {"200": 10}, {})
    assert outcome.phases == {"queue": 2.0, "forward": 4.0}
    assert outcome.seconds < 30  # the window ended with the last answer
    assert outcome.p50 <= outcome.p95 <= outcome.p99


def test_a_full_queue_is_counted_apart_and_other_statuses_and_cut_lines_are_errors(tmp_path):
    with server((200, 429, 500, 503, 0)) as (url, received):
        outcome = send(load(url, tmp_path, limit=20))
    assert len(received) == 20
    assert (outcome.answers, outcome.refused) == (4, 4)
    cut = {"ConnectionError: closed before its answer": 4}
    assert outcome.errors == {"500": 4, "503": 4} | cut


def test_a_latency_of_an_open_load_counts_from_the_moment_at_which_its_request_was_due(tmp_path):
    with server(delay=0.05) as (url, _):
        closed = send(load(url, tmp_path))
        opened = send(load(url, tmp_path, rate=1000.0, limit=20))
    assert closed.p50 >= 50
    assert opened.answered == 20
    assert opened.p99 >= 0.9 * 20 * 50  # the last waited for all before it


def test_answers_before_the_window_are_not_counted_in_it(tmp_path):
    with server(delay=0.02) as (url, _):
        outcome = send(load(url, tmp_path, seconds=0.2, warm=0.6, limit=1000))
    assert 0 < outcome.answered < outcome.answers / 2
    assert outcome.seconds == pytest.approx(0.2)


def test_moments_at_which_a_component_was_in_an_answer_are_on_the_clock_of_all(tmp_path):
    with server(delay=0.01) as (url, _):
        began = monotonic()
        with Sending(load(url, tmp_path, limit=10**6, watch=True)) as sending:
            sleep(1.0)
            sending.stop()
        ended = monotonic()
    moments = sending.outcome.seen["cmp_1"]
    assert len(moments) == sending.outcome.answers > 0
    assert all(began < moment < ended for moment in moments)


def test_a_server_that_does_not_answer_holds_the_load_up_for_no_longer_than_allowed(tmp_path):
    with server(delay=20) as (url, _):
        outcome = send(load(url, tmp_path, clients=2, seconds=0.2, drain=0.2))
    assert outcome.errors == {"not answered": 2}
    assert (outcome.rate, outcome.p99) == (0, None)


def test_a_percentile_is_the_smallest_value_that_so_many_percent_do_not_exceed():
    ordered = [n / 1000 for n in range(1, 101)]
    assert [percentile(ordered, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([0.007], 99) == 7
    assert percentile([], 50) is None


def document(**rates: tuple[float, ...]) -> dict:
    cells = {
        "engine": Cell("default", ENGINE),
        "one": Cell("default", TANGENT, ONE, load="64"),
        "many": Cell("default", TANGENT, MANY, load="64"),
        "lit": Cell("default", LITSERVE, load="64"),
        "front": Cell("default", FRONT, load="64"),
    }
    readings = {
        cells[key].name: [
            {"images_per_second": rate, "refused": 1, "errors": {"503": 1}} for rate in values
        ]
        for key, values in rates.items()
    }
    about = {"machine": "a machine", "rounds": 3, "seconds": 1, "photographs": "drawn"}
    return about | {"readings": readings, "extras": {}}


def test_a_ratio_is_taken_within_each_round_and_its_median_is_compared_with_the_reach():
    found = document(engine=(100.0, 1000.0, 10.0), one=(50.0, 400.0, 6.0))
    rows = {row[0]: row[1:] for row in tables.reaches(found)}
    by_engine = rows["default, 64 clients, one composition / bare engine"]
    assert by_engine == ["0.5", "≥ 0.45", "reached", "", ""]
    unmeasured = rows["default, 64 clients, one composition / LitServe"]
    assert unmeasured == ["–", "≥ 1.5", "not measured", "", ""]
    assert rows["errors in all of it"] == ["3", "≤ 0", "not reached", "", ""]


def test_beside_a_ratio_stands_what_the_bare_front_reached_in_the_same_rounds():
    found = document(engine=(100.0, 1000.0), one=(50.0, 400.0), front=(60.0, 700.0))
    rows = {row[0]: row[1:] for row in tables.reaches(found)}
    assert rows["default, 64 clients, one composition / bare engine"][0] == "0.45"
    assert rows["default, 64 clients, one composition / bare engine"][3] == "0.65"


def test_the_bound_is_what_two_busy_cores_leave_for_decoding_the_forward_pass_and_the_budget():
    found = document(one=(50.0,))
    for name, rate, cpu_ms in ((ENGINE, 1000.0, 2.0), (FROM_FILES, 600.0, 3.2)):
        reading = {"images_per_second": rate, "cpu_ms": cpu_ms}
        found["readings"][Cell("default", name).name] = [reading]
    rows = {row[0]: row[1:] for row in tables.reaches(found)}
    bounds = {name: row[4] for name, row in rows.items() if row[4]}
    # 2,000 ms of cores in a second / (3.2 + 0.8) ms = 500 images, of the engine's 1,000
    assert bounds["default, 64 clients, one composition / bare engine"] == "0.5"
    # requests of 64 images share the 0.8 ms
    assert bounds.keys() == {name for name in rows if name.endswith("/ bare engine")} - {
        name for name in rows if name.startswith("ViT")
    }
    assert bounds["default, requests of 64 images, 8 clients / bare engine"] == "0.623"


def test_the_bound_of_processor_time_is_the_bare_front_s_and_what_goes_between_processes():
    found = document()
    parts = {"loop": 0.9, "threads": 0.3, "messages": 0.25, "batches": 0.6}
    found["extras"]["processor"] = {"beside_ms": 2.05, "front_beside_ms": 0.5, "parts_ms": parts}
    rows = {row[0]: row[1:] for row in tables.reaches(found)}
    name = "CPU ms of the API a request, beside decoding and forward"
    assert rows[name] == ["2.05", "≤ 0.8", "not reached", "0.5", "1.05"]
    assert [row[1] for row in tables.parts(found)] == ["0.9", "0.3", "0.25", "0.6"]


def test_a_round_without_an_answer_counts_in_a_ratio():
    found = document(engine=(100.0, 100.0, 100.0), one=(0.0, 0.0, 90.0))
    rows = {row[0]: row[1:] for row in tables.reaches(found)}
    assert rows["default, 64 clients, one composition / bare engine"][0] == "0"


def test_errors_of_other_systems_are_in_their_rows_and_not_in_this_service_s():
    found = document(one=(50.0,), lit=(40.0,))
    (total,) = (each.value for each in figures(found) if each.name == "errors in all of it")
    assert total == 1
    assert [row[-3:-1] for row in tables.cells(found)] == [["1", "1 × 503"]] * 2


def test_the_chart_has_a_line_for_each_system_that_was_measured():
    made = charts(document(engine=(100.0,), one=(50.0,), lit=(40.0,)))
    assert list(made) == ["load-default"]
    assert made["load-default"].series["tangent, one composition"] == {64: 50.0}
    assert "LitServe" in made["load-default"].svg()
    assert set(made["load-default"].series) == {ENGINE, "tangent, one composition", LITSERVE}


def test_cells_have_names_of_their_own():
    names = [cell.name for cell in cells_of(DEFAULT, (LITSERVE,))]
    assert len(set(names)) == len(names)
    assert "default, tangent, one composition, 1 client" in names
    assert "default, tangent, one composition, 64 images, 8 clients" in names


def test_an_environment_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotMade, match="file"):
        interpreter("plain", tmp_path / "file")


def test_an_outcome_without_a_window_has_no_rate():
    assert Outcome(0.0, 0, None, None, None, {}, {}).rate == 0


def test_the_quick_form_measures_a_real_service(tmp_path):
    command = [sys.executable, "-m", "benchmarks.load", "--quick", "--json", str(tmp_path / "j")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "j").read_text())
    assert all(each[0]["images_per_second"] >= 0 for each in found["readings"].values())
    own = [each[0] for name, each in found["readings"].items() if ", tangent, " in name]
    assert len(own) == 6
    front = [each[0] for name, each in found["readings"].items() if ", bare front, " in name]
    assert [each["errors"] for each in front] == [{}] * 3
    assert all(each["answers"] > 0 for each in front)
    assert all(each["answers"] > 0 and each["errors"] == {} for each in own)
    assert all(each["phases"].keys() <= set(STEPS) for each in own)
    assert found["readings"]["default, bare engine"][0]["images_per_second"] > 0
    extras = found["extras"]
    assert extras.keys() == {"changes", "readiness", "memory", "processor"}
    assert extras["changes"]["with_it"] > 0
    assert extras["changes"]["late"] == 0
    assert {name: each["errors"] for name, each in extras.items()} == {key: {} for key in extras}
    assert extras["readiness"]["statuses"] == [200]
    assert extras["processor"]["api_ms"] > 0
    assert extras["processor"]["other_processes_ms"] > 0  # decoding, which is not the API's
    assert "front_beside_ms" in extras["processor"]
    parts = extras["processor"]["parts_ms"]
    assert parts.keys() == tables.PARTS.keys()
    assert min(parts["loop"], parts["threads"], parts["messages"]) > 0
    assert sum(parts.values()) == pytest.approx(extras["processor"]["beside_ms"], abs=1.0)
