"""A run of a user's module that leaves no trace: modes, random numbers and settings put back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from pertcore.errors import DeviceMemoryError

SEED = 0


@dataclass(eq=False)
class Around:
    """What holds while the model runs: evaluation mode, its own random numbers, its threads.

    `roots` are the modules whose modes are held. Random numbers come from a stream of the
    oracle's own, so that a random model shows that it is random and the user's generators do not
    move. `threads` None leaves PyTorch's settings alone; a number also asks cuDNN for
    deterministic algorithms.
    """

    roots: tuple[torch.nn.Module, ...]
    device: torch.device
    threads: int | None = None
    random: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.random:
            self.random = [torch.Generator(d).manual_seed(SEED).get_state() for d in self._sources]

    @contextmanager
    def running(self, *, graph: bool, random: list[torch.Tensor] | None = None) -> Iterator[None]:
        """Autograd on or off; `random` replays the numbers of an earlier run, None goes on."""
        outside = self._states()
        self._restore(self.random if random is None else random)
        try:
            with (
                self._evaluating(),
                self._threaded(),
                torch.inference_mode(False),
                torch.set_grad_enabled(graph),
            ):
                yield
        except torch.OutOfMemoryError as error:
            said = str(error).splitlines()[0]
            raise DeviceMemoryError(f"{self.device} has no room for this batch ({said})") from error
        finally:
            if random is None:
                self.random = self._states()
            self._restore(outside)

    @property
    def training(self) -> list[torch.nn.Module]:
        """Modules in training mode now; where none of them is, runs are as the user's own."""
        return [m for root in self.roots for m in root.modules() if getattr(m, "training", False)]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        # Flags, not eval(): an overridden train() may merge or fold weights.
        training = self.training
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True

    @contextmanager
    def _threaded(self) -> Iterator[None]:
        if self.threads is None:
            yield
            return
        outside = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
                yield
        finally:
            torch.set_num_threads(outside)

    @property
    def _sources(self) -> tuple[torch.device, ...]:
        host = torch.device("cpu")
        return (host,) if self.device.type != "cuda" else (host, self.device)

    def _states(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    def _restore(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self.device)


@dataclass(frozen=True)
class Called:
    """The outermost modules a run called, and what stopped it, if anything did."""

    modules: tuple[torch.nn.Module, ...]
    error: Exception | None


def modules_called(run: Callable[[], Any]) -> Called:
    """The modules that `run` calls in this thread, none of them in training mode while it does.

    A function may close over modules that nothing else tells of.
    """
    seen: dict[int, torch.nn.Module] = {}
    training: list[torch.nn.Module] = []
    here, error = threading.get_ident(), None

    def note(module: torch.nn.Module, _: Any) -> None:
        if threading.get_ident() != here:
            return
        seen[id(module)] = module
        training.extend(inner for inner in module.modules() if getattr(inner, "training", False))
        for inner in training:
            inner.training = False

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        run()
    except Exception as stopped:  # noqa: BLE001  the caller raises it, or runs again knowing more
        error = stopped
    finally:
        handle.remove()
        for module in training:
            module.training = True
    inner = {id(m) for module in seen.values() for m in list(module.modules())[1:]}
    return Called(tuple(m for key, m in seen.items() if key not in inner), error)
