"""Several processes that train one model: forks of this one, which have torch already."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed

PATIENCE = timedelta(minutes=5)  # a machine may be busy with other things


def in_processes(count: int, directory: Path, work: Callable[[], Any]) -> list[Any]:
    """What `work` returns in each of the processes, in their order. They meet in a new `directory`."""
    directory.mkdir()
    context = multiprocessing.get_context("fork")
    started = []
    for place in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_live, args=(place, count, directory / "meeting", work, theirs))
        process.start()
        theirs.close()
        started.append((process, ours))
    try:
        found = [_received(ours) for _, ours in started]
    finally:
        for process, _ in started:
            process.kill()
            process.join()
    for problem in (problem for _, problem in found if problem):
        raise AssertionError(problem)
    return [value for value, _ in found]


def _received(connection: Connection) -> tuple[Any, str]:
    try:
        assert connection.poll(PATIENCE.total_seconds()), "a process does not end"
        value, problem = connection.recv()
    except EOFError:
        return None, "a process ended without a word"
    return value, problem


def _live(place: int, count: int, meeting: Path, work: Callable[[], Any], answer: Connection) -> None:
    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=place, world_size=count, timeout=PATIENCE
        )
        answer.send((work(), ""))
        distributed.barrier()
    except BaseException:
        answer.send((None, traceback.format_exc()))
    os._exit(0)
