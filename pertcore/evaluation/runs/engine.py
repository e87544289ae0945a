"""Where the blocks of a run are computed: here, or by workers of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pertcore.errors import BackendError, InputError
from pertcore.evaluation.runs.parts import Block

Work = Callable[[slice], Block]

# A block whose worker died is given to another; the second death is held against the block.
DEATHS = 2


@dataclass(frozen=True)
class Task:
    """Samples `rows` to compute, and how many workers died over them."""

    rows: slice
    deaths: int = 0

    def halves(self) -> list[Task]:
        middle = (self.rows.start + self.rows.stop) // 2
        parts = (slice(self.rows.start, middle), slice(middle, self.rows.stop))
        # what killed twice need not do so again before it is halved further
        return [Task(rows, DEATHS - 1) for rows in parts]


@dataclass(frozen=True)
class RayEngine:
    """Workers that each hold a model of their own; blocks are their tasks.

    address: of a running cluster, None for one on this machine that ends with the run. workers:
    how many, None for as many as have room. threads: cores a worker takes. Where the cluster has
    GPUs, each worker takes one. make: builds the work inside a worker, and travels by pickle.
    lost: the block of one sample over which worker after worker died, and the reason.
    """

    make: Callable[[], Work]
    lost: Callable[[int, str], Block]
    address: str | None = None
    workers: int | None = None
    threads: int = 1

    def __call__(self, todo: Sequence[slice]) -> Iterator[Block]:
        """The blocks as they are done, in any order.

        Raises BackendError where Ray is missing, InputError where nothing can be reached at the
        address or the cluster has no room for a worker, and what the work itself raises.
        """
        ray = self._connected()
        try:
            yield from _computed(ray, self._hired(ray, len(todo)), todo, self.lost)
        finally:
            ray.shutdown()

    def _connected(self) -> Any:
        try:
            import ray
        except ModuleNotFoundError:
            raise BackendError("--engine ray needs ray: pip install 'pertcore[ray]'") from None
        given: dict[str, Any] = {"address": self.address}
        if self.address is None:
            given = {"address": "local", "include_dashboard": False}
            if self.workers is not None:
                given["num_cpus"] = self.workers * self.threads
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **given)
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f"--address {self.address}: no Ray cluster answers ({first})"
            ) from None
        return ray

    def _hired(self, ray: Any, blocks: int) -> list[Callable[[], Any]]:
        """One way to hire each worker: called again where it died."""
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        room = int(there.get("CPU", 0)) // self.threads
        room = min(room, gpus) if gpus else room
        if room < 1:
            raise InputError(
                f"--threads {self.threads}: the cluster has {int(there.get('CPU', 0))} cores: give "
                "fewer threads a worker"
            )
        count = min(room if self.workers is None else self.workers, room, blocks)
        kind = ray.remote(num_cpus=self.threads, num_gpus=1 if gpus else 0)(_Worker)
        folder = str(Path.cwd())
        return [lambda: kind.remote(self.make, folder)] * count


class _Worker:
    """Lives in a process of the cluster; the model is opened with the first block."""

    def __init__(self, make: Callable[[], Work], folder: str) -> None:
        self.make, self.folder = make, folder
        self.work: Work | None = None

    def block(self, rows: slice) -> Block:
        if self.work is None:
            # paths of the command line are relative to the folder it was given in
            os.chdir(self.folder)
            self.work = self.make()
        return self.work(rows)


def _computed(
    ray: Any,
    hire: Sequence[Callable[[], Any]],
    todo: Sequence[slice],
    lost: Callable[[int, str], Block],
) -> Iterator[Block]:
    waiting = deque(Task(rows) for rows in todo)
    free = [(hired, hired()) for hired in hire]
    running: dict[Any, tuple[Callable[[], Any], Any, Task]] = {}
    while waiting or running:
        while waiting and free:
            (hired, worker), task = free.pop(), waiting.popleft()
            running[worker.block.remote(task.rows)] = (hired, worker, task)
        done, _ = ray.wait(list(running), num_returns=1)
        hired, worker, task = running.pop(done[0])
        try:
            yield ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            worker = hired()
            more = _again(Task(task.rows, task.deaths + 1))
            waiting.extendleft(reversed(more))
            if not more:
                yield lost(task.rows.start, f"{DEATHS} workers died over it: {_first(error)}")
        free.append((hired, worker))


def _again(task: Task) -> list[Task]:
    """What to try after a death: the block, its halves, nothing for a single sample."""
    if task.deaths < DEATHS:
        return [task]
    return task.halves() if task.rows.stop - task.rows.start > 1 else []


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
