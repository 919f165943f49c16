"""Processes that begin with the service's code loaded: copies of one that has done nothing else.

A process that loads torch by itself spends four seconds on it. A copy is a process like any other,
with an id to kill and nothing open; what is proved of commands stays with the real commands.
"""

from multiprocessing import get_context

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["app.main", "app.unlearning.unlearn", "app.receipts.signing"])
