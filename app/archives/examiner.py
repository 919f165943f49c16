"""Examines an upload's images; large ones in a child process, which bounds this one's memory.

A decoded image of 50 megapixels takes 200 MB. Run as a module, this file is the child: it reads
`length, bytes` again and again on its standard input and answers each with a line of JSON. The
child ends with its input, so with the parent, however that ends.
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


class Examiner:
    """Examines images from any number of threads, each with its own child once it needs one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._own = threading.local()
        self._children: list[subprocess.Popen[bytes]] = []

    def examine(self, data: bytes) -> Facts:
        """What `images.examine` says of the file.

        Raises:
            BadImage: as there, and when its decoder crashes or takes forever.
        """
        return examine(data, self._limits, apart=self._apart)

    def close(self) -> None:
        """End the children; no thread may be examining."""
        for child in self._children:
            child.kill()
            child.communicate()  # closes the pipes and waits

    def _apart(self, data: bytes) -> Facts:
        child = self._child()
        assert child.stdin and child.stdout
        try:
            child.stdin.write(LENGTH.pack(len(data)) + data)
            child.stdin.flush()
            ready = bool(select.select([child.stdout], [], [], SECONDS)[0])
        except BrokenPipeError:
            ready = True
        line = child.stdout.readline() if ready else b""
        if not line:
            raise self._lost(child, in_time=ready)
        answer = json.loads(line)
        if "reason" in answer:
            raise BadImage(**answer)
        return Facts(**answer)

    def _lost(self, child: subprocess.Popen[bytes], *, in_time: bool) -> Exception:
        """What to raise when the child has no answer; the next image gets a new one."""
        if not in_time:
            child.kill()
        child.communicate()
        self._children.remove(child)
        self._own.child = None
        if child.returncode >= 0:  # ended by itself: the fault is ours, not the image's
            return RuntimeError(f"the examining process ended with status {child.returncode}")
        told = "crashes" if in_time else f"takes longer than {SECONDS:.0f} seconds"
        return BadImage(f"the image is damaged (its decoder {told})")

    def _child(self) -> subprocess.Popen[bytes]:
        child = getattr(self._own, "child", None)
        if child is None:
            limits = (self._limits.max_image_bytes, self._limits.max_image_pixels)
            child = self._own.child = subprocess.Popen(
                [sys.executable, "-m", "app.archives.examiner", *map(str, limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is the parent's to handle
            )
            self._children.append(child)
        return child


def main() -> None:
    """Answer for one image after the other until the input ends."""
    most_bytes, most_pixels = map(int, sys.argv[1:])
    limits = SimpleNamespace(max_image_bytes=most_bytes, max_image_pixels=most_pixels)
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
