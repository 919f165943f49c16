"""An honest client, which predicts, uploads and deletes beside a hostile one."""

import threading
import time

import httpx

from benchmarks.battery.answers import Answers, code_of
from tangent_composer.samples import digits


class Honest:
    """The client of a block; `longest` and `longest_deletion` are its waits in seconds."""

    def __init__(self, url: str) -> None:
        self.longest, self.longest_deletion = 0.0, 0.0
        self.answers = Answers()  # of its requests that failed
        self._client = httpx.Client(base_url=url, timeout=120, trust_env=False)
        self._done = threading.Event()
        training, held_out = digits.load(3)
        self._image = (held_out or training)[0].png
        self._archive = digits.archive(training, "23")
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,), daemon=True)
            for work in (self._predict, self._store)
        ]

    def __enter__(self) -> "Honest":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(130)
        self._client.close()

    def _repeat(self, work: object) -> None:
        while True:
            work()  # type: ignore[operator]
            if self._done.wait(0.2):
                return

    def _ask(self, method: str, path: str, **arguments: object) -> httpx.Response | None:
        began = time.monotonic()
        try:
            answer = self._client.request(method, path, **arguments)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            answer = None
        seconds = time.monotonic() - began
        self.longest = max(self.longest, seconds)
        if method == "DELETE":
            self.longest_deletion = max(self.longest_deletion, seconds)
        if answer is not None and answer.is_error:
            self.answers[f"{method} {code_of(answer)}"] += 1
        return answer

    def _predict(self) -> None:
        headers = {"Content-Type": "image/png"}
        self._ask("POST", "/v1/predictions", content=self._image, headers=headers)

    def _store(self) -> None:
        file = {"file": ("a.zip", self._archive, "application/zip")}
        answer = self._ask("POST", "/v1/datasets", files=file)
        if answer is not None and answer.status_code == 201:
            path = f"/v1/datasets/{answer.json()['id']}"
            for _ in range(3):  # a deletion that was refused is repeated, so that nothing stays
                gone = self._ask("DELETE", path)
                if gone is not None and gone.is_success:
                    return
