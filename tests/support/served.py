"""A service as people run it: a process of its own, with a worker, a key and a prefix.

with served(folder) as service: …     service.url ends in a slash, service.client speaks to it
service.client.get("v1/components")   with the key
service.dataset({"cat": 12})          uploaded; its id
service.component({"cat": 12})        uploaded and trained by the worker; its id
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.command import environment
from tests.support.images import archive
from tests.support.service import plain_client
from tests.support.workers import until

KEY = "a-key-of-a-test-which-nobody-could-guess"
PREFIX = "/models/tangent"
PORT = re.compile(r"answers: http://127\.0\.0\.1:(\d+)/")
SECONDS = 60  # for the end of a service


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str  # with the prefix and a slash at its end
    key: str | None
    client: httpx.Client
    process: subprocess.Popen[str]

    def dataset(self, counts: dict[str, int], start: int = 0, **fields: str) -> str:
        """Upload a dataset with these images; return its id."""
        return self._uploaded(counts, start, fields)["id"]

    def component(self, counts: dict[str, int], start: int = 0, **fields: str) -> str:
        """Upload a dataset, wait until the worker has trained from it; return the component's id.

        `fields` are those of the upload's form: name, space, hyperparameters …
        """
        made = self._uploaded(counts, start, {"train": "true"} | fields)["component"]["id"]
        until(lambda: self.client.get(f"v1/components/{made}").json()["status"] == "ready")
        return made

    def stop(self) -> None:
        """End the service; its pages stay open in the browser."""
        self.process.terminate()
        self.process.wait(SECONDS)

    def _uploaded(self, counts: dict[str, int], start: int, fields: dict[str, str]) -> dict:
        files = {"file": ("images.zip", archive(counts, start), "application/zip")}
        answer = self.client.post("v1/datasets", files=files, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()


@contextmanager
def served(
    folder: Path, *, key: str | None = KEY, prefix: str = PREFIX, **settings: str
) -> Iterator[Served]:
    """Run `tangent serve` on a data folder until the block ends."""
    variables = (
        settings | ({"api_key": key} if key else {}) | ({"root_path": prefix} if prefix else {})
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", folder],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = PORT.search(line)
        assert found, f"the service did not start: {line!r}"
        url = f"http://127.0.0.1:{found[1]}{prefix}/"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with plain_client(url, headers) as client:
            yield Served(url, key, client, process)
    finally:
        process.terminate()
        process.wait(SECONDS)
        process.stdout.close()
