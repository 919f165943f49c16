"""A service of a few answers that were decided before, to see what a client does with them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUSY = {"code": "too_busy", "detail": "too many at a time", "status": 503}


def problem(status: int, code: str, **more: str) -> tuple[int, dict[str, str], object]:
    """The answer of a refusal."""
    return (status, {}, {"code": code, "detail": "so it is", "status": status} | more)


@contextmanager
def answering(*answers: tuple[int, dict[str, str], object] | None) -> Iterator[tuple[str, list]]:
    """A server with these answers, one after the other; None closes the connection instead."""
    left, seen = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.headers.get("Idempotency-Key")))
            answer = left.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(text))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
