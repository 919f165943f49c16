"""The image's health check asks the port that the service in the container listens on."""

import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"
PROXY = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


class Live(BaseHTTPRequestHandler):
    """Answers as a service that is alive."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port():
    with HTTPServer(("127.0.0.1", 0), Live) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


def check(command_line: Path, **variables: str) -> int:
    """Run the check beside a first process with this command line; return its exit status."""
    program = re.search(r'CMD \["python", "-c", "(.*)"\]', DOCKERFILE.read_text())[1]
    program = program.replace("/proc/1/cmdline", str(command_line)).replace("8000", "1")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    return subprocess.run(
        [sys.executable, "-c", program], env=kept | variables, capture_output=True, timeout=60
    ).returncode


@pytest.mark.parametrize(
    ("command", "variables", "healthy"),
    [
        ("tangent serve", {"TANGENT_PORT": "{port}"}, True),
        ("tangent serve", {"TANGENT_PORT": " {port}\n"} | PROXY, True),
        ("tangent serve --port {port}", {"TANGENT_PORT": "2"}, True),
        ("/sbin/docker-init -- tangent serve --host 0.0.0.0 --port={port}", {}, True),
        ("tangent serve --port {port}", {"TANGENT_PORT": "tcp://10.96.0.12:8000"}, True),
        ("tangent serve", {"TANGENT_PORT": ""}, False),  # nobody is at the default
        ("tangent serve", {"TANGENT_PORT": "2"}, False),
    ],
)
def test_it_follows_the_flag_then_the_variable_and_no_proxy(
    tmp_path: Path, port: str, command: str, variables: dict[str, str], healthy: bool
) -> None:
    line = tmp_path / "cmdline"
    line.write_text(command.format(port=port).replace(" ", "\0"))
    given = {name: value.format(port=port) for name, value in variables.items()}
    assert (check(line, **given) == 0) is healthy
