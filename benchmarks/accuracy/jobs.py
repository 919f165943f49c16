"""The pools of a plan, measured by several processes side by side, the heaviest first.

Most of a measurement is small steps one after the other, of which one thread is all they can use.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import NamedTuple

import torch
from rich.console import Console

import tangent
from benchmarks.accuracy.asked import galleries
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.outcome import Outcome
from benchmarks.accuracy.plan import Effort, measure, pools

Asked = Sequence[tuple[Gallery, Effort]]
MAX_PROCESSES = 4  # processes without being told; each holds a gallery's features

_mine: Asked = ()  # of this process


class Job(NamedTuple):
    """One pool: the number of its gallery, its scope and seed."""

    gallery: int
    scope: str
    seed: int


def count(args: argparse.Namespace) -> int:
    """Return the number of processes: one for a quick look, else one a core up to MAX_PROCESSES."""
    return args.jobs or (1 if args.quick else min(MAX_PROCESSES, torch.get_num_threads()))


def measured(args: argparse.Namespace, asked: Asked) -> Iterator[tuple[Job, list[Outcome]]]:
    """Yield all jobs with their outcomes in the order in which they end."""
    jobs = [Job(at, *pool) for at, (_, effort) in enumerate(asked) for pool in pools(effort)]
    processes = count(args)
    if processes == 1:
        for job in jobs:
            yield job, _outcomes(asked, job)
        return
    threads = args.threads or max(1, torch.get_num_threads() // processes)
    heaviest = sorted(jobs, key=lambda job: _lightness(asked, job))
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (args, threads)) as pool:
        waiting = {pool.submit(_of_mine, job): job for job in heaviest}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _lightness(asked: Asked, job: Job) -> tuple[int, int]:
    order = ("head2toe", "head")
    rank = order.index(job.scope) + 1 if job.scope in tangent.LINEAR else 0
    return rank, -len(asked[job.gallery][0].labels)


def _begin(args: argparse.Namespace, threads: int) -> None:
    global _mine
    torch.set_num_threads(threads)
    _mine = list(galleries(args, Console(quiet=True)))


def _of_mine(job: Job) -> list[Outcome]:
    return _outcomes(_mine, job)


def _outcomes(asked: Asked, job: Job) -> list[Outcome]:
    gallery, effort = asked[job.gallery]
    return list(measure(gallery, job.scope, job.seed, effort))
