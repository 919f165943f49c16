"""A process that never says that it answers: `python -m tests.support.silent_process`."""

import time

if __name__ == "__main__":
    time.sleep(600)
