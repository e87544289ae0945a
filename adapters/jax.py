"""`from_jax`: a JAX function becomes an oracle by jax.vjp and jax.linearize, compiled by size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pertcore.adapters.shapes import as_batch, as_many, checked_dtype, checked_shape
from pertcore.errors import CapabilityError, InputError
from pertcore.oracle import Array, Calls, Linearization

Function = Callable[[Any], Any]
UNTRACEABLE = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)


def from_jax(
    fn: Callable[..., Any],
    *,
    input_shape: int | Sequence[int],
    output_shape: int | Sequence[int] | None = None,
    output: int | str | None = None,
    dtype: Any = np.float32,
    device: Any = None,
    jit: bool = True,
) -> JaxOracle:
    """Oracle of a pure JAX function of (n, *input_shape); parameters are closed over.

    Where fn returns a tuple or a dictionary, `output` chooses by place or name; an output (n,)
    becomes (n, 1). With `jit`, value and products are compiled once for each size of the batch,
    which is padded to the next of 1, 2, 3, 4, 6, 8, 12, 16, ... samples, so that shrinking batches
    do not compile again and again; `jit=False` runs functions that cannot be traced. dtype is
    float32, or float64 where jax_enable_x64 is on; `device` is JAX's own default unless given.

    Raises InputError for a wrong output or dtype, CapabilityError for a function JAX cannot trace.
    """
    if not callable(fn):
        raise InputError(f"fn is a {type(fn).__name__}: a function of one array is expected")
    kind = checked_dtype(dtype)
    if kind == np.float64 and not jax.config.read("jax_enable_x64"):
        raise InputError("dtype=float64: call jax.config.update('jax_enable_x64', True) first")
    shape = checked_shape(input_shape, "input_shape")
    chosen = _chooser(fn, output)
    sample = jax.ShapeDtypeStruct((2, *shape), kind)
    try:
        made = jax.eval_shape(chosen, sample) if jit else chosen(jnp.zeros((2, *shape), kind))
    except UNTRACEABLE as error:
        raise CapabilityError(
            f"fn cannot be traced ({str(error).strip().splitlines()[0]}): jit=False runs Python "
            "control flow as it stands; NumPy inside fn must become jax.numpy"
        ) from error
    if made.ndim < 2 or made.shape[0] != 2 or not jnp.issubdtype(made.dtype, jnp.floating):
        raise InputError(
            f"fn gives {made.dtype} {made.shape} for 2 samples: floats (2, ...) are expected, "
            "samples along the first axis"
        )
    oracle = JaxOracle(chosen, shape, tuple(made.shape[1:]), kind, device, jit)
    if output_shape is not None and oracle.output_shape != checked_shape(output_shape, "output"):
        raise InputError(f"output_shape={output_shape}: fn gives {oracle.output_shape}")
    return oracle


def _chooser(fn: Function, output: int | str | None) -> Function:
    def chosen(x: Any) -> Any:
        returned = fn(x)
        if output is None and hasattr(returned, "ndim"):
            value = returned
        elif isinstance(returned, Mapping | Sequence):
            value = _picked(returned, output)
        else:
            raise InputError(f"fn returns a {type(returned).__name__} without output {output!r}")
        return value.reshape(-1, 1) if value.ndim == 1 else value

    return chosen


def _picked(returned: Mapping[Any, Any] | Sequence[Any], output: int | str | None) -> Any:
    known = list(returned) if isinstance(returned, Mapping) else list(range(len(returned)))
    if output is None and len(known) == 1:
        return returned[known[0]]
    if output not in known:
        raise InputError(f"output={output!r}: fn returns {known!r}, choose one of them")
    return returned[output]  # type: ignore[index]


@dataclass(eq=False)
class JaxOracle:
    """What `from_jax` returns."""

    fn: Function
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: Any
    jit: bool
    transposes: bool = False
    calls: Calls = field(default_factory=Calls)
    capabilities: frozenset[str] = frozenset({"vjp", "jvp", "exact"})

    def __call__(self, x: Array) -> Array:
        batch = as_batch(x, self.input_shape, self.dtype)
        self.calls.f += len(batch)
        if len(batch) == 0:
            return np.zeros((0, *self.output_shape), self.dtype)
        return self.back(self._value(self.there(batch)))[: len(batch)]

    def linearize(self, x: Array) -> JaxPoint:
        batch = as_batch(x, self.input_shape, self.dtype)
        self.calls.f += len(batch)
        if len(batch) == 0:
            return JaxPoint(self, None, np.zeros((0, *self.output_shape), self.dtype), None)
        held = self.there(batch)
        value, pull = self._pulled(held)
        return JaxPoint(self, held, self.back(value)[: len(batch)], pull)

    def there(self, rows: Array) -> Any:
        """Rows (n, ...) as a JAX array of its own, padded with its last row to a size that is
        compiled for."""
        padding = _roomy(len(rows)) - len(rows) if self.jit else 0
        padded = np.concatenate([rows, np.repeat(rows[-1:], padding, axis=0)]) if padding else rows
        # A copy: JAX may otherwise read the caller's memory after the caller changed it.
        return jax.device_put(jnp.array(padded, copy=True), self.device)

    def back(self, array: Any) -> Array:
        """A writable NumPy array of the oracle's dtype."""
        return np.array(array, dtype=self.dtype)

    def compiled(self, function: Function) -> Function:
        return jax.jit(function) if self.jit else function

    @cached_property
    def _value(self) -> Function:
        return self.compiled(self.fn)

    @cached_property
    def _pulled(self) -> Function:
        return self.compiled(lambda x: jax.vjp(self.fn, x))

    @cached_property
    def linearized(self) -> Function:
        """x -> (value, J), by another run of the model: forward-mode for those who ask."""
        return self.compiled(lambda x: jax.linearize(self.fn, x))

    @cached_property
    def pull_many(self) -> Callable[[Any, Any], Any]:
        """(pullback, cotangents (c, n, *out)) -> (c, n, *in)."""
        return self._many(lambda pull, v: pull(v)[0])

    @cached_property
    def push_many(self) -> Callable[[Any, Any], Any]:
        """(push-forward, tangents (c, n, *in)) -> (c, n, *out)."""
        return self._many(lambda push, u: push(u))

    @cached_property
    def transpose_many(self) -> Callable[[Any, Any], Any]:
        """(pullback, tangents) -> J u as the transpose of the pullback, which is linear."""

        def product(pull: Any, u: Any) -> Any:
            seed = jax.ShapeDtypeStruct((len(u), *self.output_shape), self.dtype)
            return jax.linear_transpose(lambda v: pull(v)[0], seed)(u)[0]

        return self._many(product)

    def _many(self, product: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        mapped = jax.vmap(product, in_axes=(None, 0))
        return jax.jit(mapped) if self.jit else mapped


@dataclass(eq=False)
class JaxPoint:
    """f near x: `pull` holds what the backward pass needs; the push-forward is made when asked."""

    oracle: JaxOracle
    held: Any
    value: Array
    pull: Any
    _push: Any = None

    def vjp(self, cotangent: Array) -> Array:
        """J^T v: (n, *out) or (c, n, *out) -> (n, *in) or (c, n, *in)."""
        oracle = self.oracle
        return self._product(
            "vjp", cotangent, lambda v: oracle.pull_many(self.pull, v),
            oracle.output_shape, oracle.input_shape,
        )  # fmt: skip

    def jvp(self, tangent: Array) -> Array:
        """J u: (n, *in) or (c, n, *in) -> (n, *out) or (c, n, *out)."""
        shapes = self.oracle.input_shape, self.oracle.output_shape
        return self._product("jvp", tangent, self._pushed, *shapes)

    def take(self, index: Array) -> Linearization:
        """Refused: what the backward pass keeps is of the whole batch."""
        kept, n = len(np.arange(len(self.value))[index]), len(self.value)
        raise CapabilityError(
            f"take: JAX keeps what {n} samples need, together, not what {kept} of them do; "
            "linearize those that are left, or give the others zero cotangents"
        )

    def _pushed(self, many: Any) -> Any:
        if self.oracle.transposes:
            return self.oracle.transpose_many(self.pull, many)
        try:
            if self._push is None:
                self._push = self.oracle.linearized(self.held)[1]
            return self.oracle.push_many(self._push, many)
        except TypeError as error:
            if "custom_vjp" not in str(error):
                raise
        # Such a function has no derivative forward: its pullback is transposed instead.
        self.oracle.transposes = True
        return self.oracle.transpose_many(self.pull, many)

    def _product(
        self,
        kind: str,
        vectors: Array,
        product: Function,
        given: tuple[int, ...],
        made: tuple[int, ...],
    ) -> Array:
        oracle, n = self.oracle, len(self.value)
        flat = as_many(vectors, n, given, oracle.dtype)
        lead = flat.shape[:-1]
        count = int(np.prod(lead))
        setattr(oracle.calls, kind, getattr(oracle.calls, kind) + count)
        if count == 0:
            return np.zeros((*lead, *made), oracle.dtype)
        rows = _roomy(n) if oracle.jit else n
        lines = count // n
        padded = np.zeros((_roomy(lines) if oracle.jit else lines, rows, *given), oracle.dtype)
        padded[:lines, :n] = flat.reshape(lines, n, *given)
        found = oracle.back(product(jax.device_put(padded, oracle.device)))[:lines, :n]
        return np.ascontiguousarray(found).reshape(*lead, *made)


def _roomy(n: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... that is n or more."""
    power = 1 << max(n - 1, 0).bit_length()
    return 3 * power // 4 if n > 2 and 3 * power // 4 >= n else power
