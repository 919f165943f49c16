"""A deletion in mid-training leaves no task and no waiting thread in the worker."""

import json
import subprocess
import sys

from app.database.sessions import transaction
from app.unlearning import change, cleanup
from app.unlearning.deletion import apply
from tests.support.workers import LONG, in_training, until

WATCHED = """
import asyncio, json, sys, traceback
from app.settings import Settings
from training_worker.worker import Worker

worker, loops = Worker(Settings(**json.loads(sys.argv[1]))), []
train = worker.attempts.run

async def run(component_id):
    loops.append(asyncio.get_running_loop())
    await train(component_id)

worker.attempts.run = run
worker.start()
for _ in sys.stdin:
    found = [task.get_coro().__qualname__ for task in asyncio.all_tasks(loops[0])]
    for frame in sys._current_frames().values():
        found += [f.name for f in traceback.extract_stack(frame) if f.name.startswith("await_")]
    print(json.dumps(found), flush=True)
worker.stop()
"""


def test_nothing_in_the_worker_waits_for_a_training_that_was_deleted(store):
    settings = store.settings.model_dump_json(exclude_none=True)
    command = [sys.executable, "-c", WATCHED, settings]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def waiting() -> list[str]:
            process.stdin.write("?\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        for _ in range(2):
            component_id = store.queue(**LONG)
            until(lambda component_id=component_id: in_training(store, component_id))
            assert any("attempt" in each for each in waiting())
            with transaction(store.sessions) as session:
                deletion = apply(session, change.of_component(session, component_id))
            cleanup.finish(deletion, store.sessions, store.jobs, store.blobs)
        until(lambda: waiting() == [], 10)
        process.stdin.close()
        assert process.wait(30) == 0
