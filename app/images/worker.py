"""The process that decodes images: one after another, each within limits that the kernel holds.

It reads orders from its standard input and writes a reply to each on its standard output. Both are
a JSON object and bytes, whose lengths are in HEAD. An order has the sizes of some image files, and
the files; a reply has the answers for the first of them, and their results. Small images come many
at a time, as a trip between two processes costs more than they do. The reply may leave out the last
ones, so that no order takes long. The process ends when its input ends or its parent dies.

An image that takes more processor time than allowed ends the process, by a signal that no decoder
can catch or delay.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from time import process_time
from types import SimpleNamespace
from typing import Any, BinaryIO

from app.images import image_files
from app.images.image_files import BadImage
from tangent.backbones.geometry import Geometry

HEAD = struct.Struct("<II")  # lengths of the JSON and of the bytes that follow it
PR_SET_PDEATHSIG = 1
LIGHT_PIXELS = 16_000_000  # an image with more is heavy from the start
LIGHT_SECONDS, SECONDS_PER_PIXEL = 0.1, 4e-8  # of a light image; a usual one takes a quarter
MIN_SECONDS = 5e-5  # counted for an image, as some kernels count by ticks
MEMORY, BYTES_PER_PIXEL = 64 * 2**20, 20  # a WebP takes 16, others less

Answer = tuple[dict[str, Any], bytes]


class Heavy(BadImage):
    """A light image's header says that it is heavy."""


class Kernel:
    """The limits of this process that the kernel holds."""

    def __init__(self) -> None:
        self._start = 0  # bytes of address space; 0: not known here, so that memory has no limit
        if sys.platform == "linux":
            with open("/proc/self/statm") as file:
                self._start = int(file.read().split()[0]) * resource.getpagesize()

    def limit_seconds(self, seconds: float) -> None:
        """End this process after so many seconds of a processor; never, for 0."""
        signal.setitimer(signal.ITIMER_PROF, seconds)

    def limit_memory(self, size: int | None) -> None:
        """Let this process take so many bytes beyond those of its start; any number, for None."""
        if self._start:
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            soft = hard if size is None else self._start + size
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Task:
    """One image to decode, and its limits."""

    def __init__(
        self, order: dict[str, Any], data: bytes, limits: image_files.Limits, kernel: Kernel
    ) -> None:
        self.order, self.data, self._limits, self._kernel = order, data, limits, kernel
        self._seconds, self._is_heavy = order["seconds"], order["heavy"]

    def carry_out(self) -> Answer:
        """Return the answer; end the process if it takes too long."""
        began = process_time()
        few = self._seconds if self._is_heavy else min(self._seconds, LIGHT_SECONDS)
        self._kernel.limit_seconds(few)
        self._kernel.limit_memory(MEMORY + 2 * len(self.data))
        try:
            answer, result = TASKS[self.order["task"]](self)
        except Heavy:
            answer, result = {"heavy": True}, b""
        except BadImage as error:
            answer, result = {"reason": error.reason, "pixels": error.pixels}, b""
        except MemoryError:
            answer, result = {"reason": image_files.NO_MEMORY, "pixels": 0}, b""
        self._kernel.limit_seconds(0.0)
        self._kernel.limit_memory(None)
        seconds = max(MIN_SECONDS, process_time() - began)
        return answer | {"seconds": seconds, "bytes": len(result)}, result

    def examine(self) -> Answer:
        facts = image_files.examine(self.data, self._limits, self._meet)
        return {name: getattr(facts, name) for name in image_files.Facts.__slots__}, b""

    def thumbnail(self) -> Answer:
        size = self.order["size"]
        data, media_type = image_files.thumbnail(self.data, self._limits, size, self._meet)
        return {"media_type": media_type}, data

    def pixels(self) -> Answer:
        geometry = Geometry.of(self.order["geometry"])
        image = image_files.decode(self.data, self._limits, self._meet)
        image = geometry.apply(image)
        return {"width": image.width, "height": image.height}, image.tobytes()

    def _meet(self, pixels: int) -> None:
        """Set the limits of an image of so many pixels.

        Raises:
            Heavy: the limits of a light image are not meant for so many.
        """
        if not self._is_heavy:
            if pixels > LIGHT_PIXELS:
                raise Heavy("")
            few = LIGHT_SECONDS + SECONDS_PER_PIXEL * pixels
            self._kernel.limit_seconds(min(self._seconds, few))
        self._kernel.limit_memory(MEMORY + 2 * len(self.data) + BYTES_PER_PIXEL * pixels)


TASKS: dict[str, Callable[[Task], Answer]] = {
    "examine": Task.examine,
    "thumbnail": Task.thumbnail,
    "pixels": Task.pixels,
}


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request
        os._exit(1)


def serve(orders: BinaryIO, replies: BinaryIO, limits: image_files.Limits) -> None:
    """Reply to one order after another until there are no more."""
    kernel = Kernel()
    while len(head := orders.read(HEAD.size)) == HEAD.size:
        length, size = HEAD.unpack(head)
        order, data = json.loads(orders.read(length)), orders.read(size)
        answers = carried_out(order, data, limits, kernel)
        text = json.dumps([answer for answer, _ in answers]).encode()
        result = b"".join(result for _, result in answers)
        replies.write(HEAD.pack(len(text), len(result)) + text + result)  # in one piece
        replies.flush()
        del data, answers, result


def carried_out(
    order: dict[str, Any], data: bytes, limits: image_files.Limits, kernel: Kernel
) -> list[Answer]:
    """Return the answers for the first of the order's files: all, unless they take long."""
    answers: list[Answer] = []
    end, start = process_time() + LIGHT_SECONDS, 0
    for size in order["sizes"]:
        if answers and process_time() > end:
            break
        file = data if len(data) == size else data[start : start + size]
        answers.append(Task(order, file, limits, kernel).carry_out())
        start += size
    return answers


def main() -> None:
    """Serve the parent: its process id, two limits and this process's niceness are given."""
    parent, max_bytes, max_pixels, niceness = map(int, sys.argv[1:])
    die_with_parent(parent)
    os.nice(niceness)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent's, which has images to finish
    limits = SimpleNamespace(max_image_bytes=max_bytes, max_image_pixels=max_pixels)
    image_files.Image.init()  # imports Pillow's formats, before any limit holds
    serve(sys.stdin.buffer, sys.stdout.buffer, limits)


if __name__ == "__main__":
    main()
