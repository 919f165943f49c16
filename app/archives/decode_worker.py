"""Decodes an upload's large images in child processes, which bounds the memory of this process.

A decoded image of 50 megapixels takes 200 MB. Run as a module, this file is the child process: it
reads `length, bytes` in a loop from its standard input and writes one line of JSON for every image.
It ends when its input ends, so it ends with its parent, even if that is killed.
"""

import json
import select
import struct
import subprocess
import sys
import threading
from types import SimpleNamespace

from app.images import BadImage, Facts, Limits, examine

LENGTH = struct.Struct("<Q")
SECONDS = 60.0  # for one image; 50 megapixels take about one


class DecodeWorkers:
    """Examines images for any number of threads; every thread starts its own child on demand."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._local = threading.local()
        self._children: list[subprocess.Popen[bytes]] = []

    def examine(self, data: bytes) -> Facts:
        """Return the facts of the image, as `images.examine` does.

        Raises:
            BadImage: as `images.examine`, and if the decoder crashes or takes too long.
        """
        return examine(data, self._limits, decode_large=self._ask_child)

    def close(self) -> None:
        """End the children; no thread may be examining an image."""
        for child in self._children:
            child.kill()
            child.communicate()  # closes the pipes and waits

    def _ask_child(self, data: bytes) -> Facts:
        child = self._child_process()
        assert child.stdin and child.stdout
        try:
            child.stdin.write(LENGTH.pack(len(data)) + data)
            child.stdin.flush()
            ready = bool(select.select([child.stdout], [], [], SECONDS)[0])
        except BrokenPipeError:
            ready = True
        line = child.stdout.readline() if ready else b""
        if not line:
            raise self._discard(child, in_time=ready)
        answer = json.loads(line)
        if "reason" in answer:
            raise BadImage(**answer)
        return Facts(**answer)

    def _discard(self, child: subprocess.Popen[bytes], *, in_time: bool) -> Exception:
        """End a child that gave no answer; return the exception to raise for its image."""
        if not in_time:
            child.kill()
        child.communicate()
        self._children.remove(child)
        self._local.child = None
        if child.returncode >= 0:  # it ended by itself: a fault of the service, not of the image
            return RuntimeError(f"the decode worker ended with status {child.returncode}")
        fault = "crashes" if in_time else f"takes longer than {SECONDS:.0f} seconds"
        return BadImage(f"the image is damaged (its decoder {fault})")

    def _child_process(self) -> subprocess.Popen[bytes]:
        child = getattr(self._local, "child", None)
        if child is None:
            limits = (self._limits.max_image_bytes, self._limits.max_image_pixels)
            child = self._local.child = subprocess.Popen(
                [sys.executable, "-m", "app.archives.decode_worker", *map(str, limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is the parent's to handle
            )
            self._children.append(child)
        return child


def main() -> None:
    """Examine one image after another until the input ends."""
    max_bytes, max_pixels = map(int, sys.argv[1:])
    limits = SimpleNamespace(max_image_bytes=max_bytes, max_image_pixels=max_pixels)
    read = sys.stdin.buffer.read
    while len(head := read(LENGTH.size)) == LENGTH.size:
        try:
            facts = examine(read(*LENGTH.unpack(head)), limits)
            answer = {name: getattr(facts, name) for name in Facts.__slots__}
        except BadImage as error:
            answer = {"reason": error.reason, "pixels": error.pixels}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
