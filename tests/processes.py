"""Real processes that die by SIGKILL, for tests of what survives."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

Kill = tuple[str, int, bool]  # name of an `os` function, its n-th call, after it


def start(target: Callable, *arguments: Any) -> multiprocessing.Process:
    """Start a process, from a server that has imported torch once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dtreward.models", "dtreward.benches", "hypothesis", "pytest"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def die_at(kill: Kill | None) -> None:
    """Let this process die by SIGKILL before or after the n-th call of an `os` function."""
    if kill is None:
        return
    name, number, after = kill
    calls, real = iter(range(1, number + 1)), getattr(os, name)

    def deadly(*arguments):
        last = next(calls) == number
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, name, deadly)
