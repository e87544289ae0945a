"""`from_torch`: the oracle's checks, outputs of every kind, several cotangents, and refusals."""

import warnings
from collections import namedtuple

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import CapabilityError, InputError
from pertcore.oracle import Linearization, Oracle
from pertcore.testing import assert_oracle

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
# PyTorch says so of itself when it first needs its forward-mode rules.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


def convolutional(dtype=torch.float32):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.GELU(), nn.MaxPool2d(2), nn.Dropout(),
        nn.Flatten(), nn.Linear(54, 4),
    ]  # fmt: skip
    return nn.Sequential(*layers).to(dtype).eval()


def points(*shape, dtype=np.float32):
    return np.random.default_rng(0).random(shape).astype(dtype)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(3, 8, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0][:, -1]


class InPlace(nn.Module):
    def forward(self, x):
        x.mul_(2)
        x[:, 0] = 0
        return x.sin()


def attention(x):
    return nn.functional.scaled_dot_product_attention(x, x, x)


MODELS = {
    "convolution": (convolutional, (2, 6, 6)),
    "recurrent": (Recurrent, (5, 3)),
    "in place": (InPlace, (4,)),
    "attention": (lambda: attention, (3, 4)),
    "function": (lambda: lambda x: x.sin().sum(dim=1), (4,)),
    "itself": (lambda: lambda x: x, (4,)),
    "reshaped": (lambda: lambda x: x.flatten(1), (2, 3)),
    "transposed": (lambda: lambda x: x.transpose(1, 2), (2, 3)),
    "partly": (lambda: lambda x: torch.cat([x[:, :1] ** 2, torch.ones_like(x[:, 1:])], 1), (3,)),
}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_oracle_keeps_its_promises(name, dtype):
    make, shape = MODELS[name]
    model = make()
    if isinstance(model, nn.Module):
        torch.manual_seed(1)
        model = model.to(torch.float64 if dtype == np.float64 else torch.float32)
    oracle = pc.from_torch(model, input_shape=shape, dtype=dtype)
    assert oracle.dtype == dtype
    assert isinstance(oracle, Oracle)
    assert_oracle(oracle, points(4, *shape, dtype=dtype))
    assert isinstance(oracle.linearize(points(1, *shape, dtype=dtype)), Linearization)


def test_a_convolution_keeps_its_layout():
    module = convolutional().to(memory_format=torch.channels_last)
    seen = []
    module.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    oracle = pc.from_torch(module, input_shape=(2, 6, 6))
    oracle(points(3, 2, 6, 6))
    assert seen[-1].is_contiguous(memory_format=torch.channels_last)
    assert_oracle(oracle, points(4, 2, 6, 6))
    plain = pc.from_torch(convolutional(), input_shape=(2, 6, 6))
    np.testing.assert_allclose(oracle(points(3, 2, 6, 6)), plain(points(3, 2, 6, 6)), rtol=1e-5)


def test_empty_batches():
    oracle = pc.from_torch(nn.Linear(3, 2), input_shape=3)
    none = np.zeros((0, 3), np.float32)
    lin = oracle.linearize(none)
    assert oracle(none).shape == lin.value.shape == (0, 2)
    assert lin.vjp(np.zeros((0, 2))).shape == (0, 3)
    assert lin.jvp(np.zeros((4, 0, 3))).shape == (4, 0, 2)


def test_arrays_of_the_caller_are_his_own():
    """Results share no memory with arguments, and points survive what happens to x."""
    oracle = pc.from_torch(lambda x: x * x, input_shape=3)
    x, v = points(2, 3), np.ones((2, 3), np.float32)
    kept = x.copy()
    lin = oracle.linearize(x)
    x[:] = 9
    lin.value[:] = 9
    np.testing.assert_array_equal(lin.vjp(v), 2 * kept)
    same = pc.from_torch(lambda x: x, input_shape=3)
    assert not np.shares_memory(same(kept), kept)
    assert not np.shares_memory(same.linearize(kept).vjp(v), v)


def test_cpu_arrays_are_not_copied_for_a_run():
    seen = []

    def model(x):
        seen.append(x.data_ptr())
        return x + 1

    oracle = pc.from_torch(model, input_shape=3)
    for writeable in (True, False):
        x = points(2, 3)
        x.flags.writeable = writeable
        oracle(x)
        assert seen[-1] == x.ctypes.data


Answer = namedtuple("Answer", ["scores", "boxes"])


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        (lambda a, b: (a, b), 1),
        (lambda a, b: [a, b], -1),
        (lambda a, b: {"scores": a, "boxes": b}, "boxes"),
        (Answer, "boxes"),
        (Answer, 1),
        (lambda a, b: {"boxes": b, "loss": None}, None),
        (lambda a, b: (b,), None),
    ],
)
def test_one_output_is_chosen(returned, output):
    oracle = pc.from_torch(
        lambda x: returned(x[:, :2], x.reshape(-1, 2, 2) ** 2), input_shape=4, output=output
    )
    assert oracle.output_shape == (2, 2)
    assert_oracle(oracle, points(3, 4))


def test_several_outputs_are_attacked_as_one():
    oracle = pc.from_torch(
        lambda x: {"a": x[:, :2], "b": x.reshape(-1, 2, 2) ** 2},
        input_shape=4, output=["b", "a"], weights={"b": 4},
    )  # fmt: skip
    x = points(3, 4)
    assert oracle.output_shape == (6,)
    assert_oracle(oracle, x)
    value = oracle(x)
    np.testing.assert_allclose(value[:, :4], 2 * x**2, rtol=1e-6)
    np.testing.assert_allclose(oracle.outputs["b"].read(value), (x**2).reshape(3, 2, 2), rtol=1e-6)
    np.testing.assert_array_equal(oracle.outputs["a"].read(value), x[:, :2])


def test_other_inputs_are_frozen_by_a_function():
    both = nn.Bilinear(3, 2, 4).double()
    context = torch.ones(1, 2, dtype=torch.float64)
    oracle = pc.from_torch(lambda x: both(x, context.expand(len(x), 2)), input_shape=3)
    assert oracle.dtype == np.float64  # that of the module the function calls
    assert_oracle(oracle, points(3, 3, dtype=np.float64))


def test_half_precision_inside_a_module_that_converts_itself():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2).bfloat16()

        def forward(self, x):
            return self.linear(x.bfloat16())

    oracle = pc.from_torch(Half(), input_shape=3, dtype=torch.float32)
    lin = oracle.linearize(points(2, 3))
    assert lin.value.dtype == lin.vjp(lin.value).dtype == np.float32


class Cube(torch.autograd.Function):
    """x -> x**3 with a backward that autograd cannot enter."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, v):
        return v * 3 * ctx.saved_tensors[0] ** 2


class CubeForward(Cube):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.x = x
        return x**3

    @staticmethod
    def jvp(ctx, u):
        return u * 3 * ctx.x**2


class CubeCut(Cube):
    """Its backward is right, but cut off from its own derivative: a transpose would say zero."""

    @staticmethod
    def backward(ctx, v):
        return v.detach() * 3 * ctx.saved_tensors[0] ** 2


class CubeAlone(Cube):
    """Its backward looks at numbers, which several cotangents at once do not have."""

    @staticmethod
    def backward(ctx, v):
        return v * 3 * ctx.saved_tensors[0] ** 2 if v.abs().sum() < 1e9 else v


def test_cotangents_go_one_by_one_where_an_operator_asks_for_that():
    oracle = pc.from_torch(CubeAlone.apply, input_shape=3, dtype=np.float64)
    x, v = points(2, 3, dtype=np.float64), points(4, 2, 3, dtype=np.float64)
    np.testing.assert_allclose(oracle.linearize(x).vjp(v), v * 3 * x**2)
    assert "one after another" in oracle.notes[0]


@pytest.mark.parametrize("kind", [Cube, CubeCut])
def test_no_derivative_for_tangents_is_said_not_invented(kind):
    oracle = pc.from_torch(kind.apply, input_shape=3, dtype=np.float64)
    lin = oracle.linearize(points(2, 3, dtype=np.float64))
    assert "jvp" in oracle.capabilities
    with pytest.raises(CapabilityError, match="jvp"):
        lin.jvp(np.ones((2, 3)))
    assert "jvp" not in oracle.capabilities
    with pytest.raises(CapabilityError, match=f"{kind.__name__}|backward pass"):
        lin.jvp(np.ones((2, 3)))


def test_tangents_go_forward_where_they_cannot_go_back_twice():
    oracle = pc.from_torch(CubeForward.apply, input_shape=3, dtype=np.float64)
    x, u = points(2, 3, dtype=np.float64), points(4, 2, 3, dtype=np.float64)
    np.testing.assert_allclose(oracle.linearize(x).jvp(u), u * 3 * x**2)
    assert_oracle(oracle, points(3, 3, dtype=np.float64))


def test_another_run_has_the_random_numbers_of_the_first():
    oracle = pc.from_torch(lambda x: CubeForward.apply(x) * torch.rand(3), input_shape=3)
    x, u = np.ones((2, 3), np.float32), np.ones((3, 2, 3), np.float32)
    oracle(x)
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.jvp(u), [3 * lin.value] * 3, rtol=1e-6)
    assert oracle.ways.jvp == "forward"


def test_outputs_that_ignore_the_input_have_zero_gradients():
    weight = nn.Parameter(torch.ones(2))
    for model in (lambda x: torch.ones(len(x), 2), lambda x: weight.expand(len(x), 2)):
        oracle = pc.from_torch(model, input_shape=3)
        lin = oracle.linearize(points(2, 3))
        assert not lin.vjp(np.ones((5, 2, 2))).any()
        assert not lin.jvp(np.ones((2, 3))).any()
        assert "does not depend" in oracle.notes[0]


@torch.no_grad()
def without_graph(x):
    return x * 2


@pytest.mark.parametrize(
    "model",
    [
        without_graph,
        lambda x: torch.from_numpy(x.detach().numpy() * 2),
        lambda x: nn.Parameter(torch.ones(3)) * x.detach(),
    ],
)
def test_models_without_a_graph_are_refused(model):
    with pytest.raises(CapabilityError, match="autograd sees no path"):
        pc.from_torch(model, input_shape=3)


def test_the_callers_grad_mode_does_not_matter():
    x = points(2, 3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            oracle = pc.from_torch(lambda x: x**2, input_shape=3)
            np.testing.assert_allclose(oracle.linearize(x).vjp(np.ones((2, 3))), 2 * x, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (3, {}, "a module or a function"),
        (lambda x: x.argmax(1), {}, "int64"),
        (lambda x: x.sum(), {}, "along the first axis"),
        (lambda x: (x, x), {}, "choose with output="),
        (lambda x: {"a": x, "b": x}, {"output": "c"}, "'a', 'b'"),
        (lambda x: "text", {}, "str"),
        (lambda x: x, {"weights": [1]}, "list of outputs"),
        (lambda x: (x, x), {"output": [0, 1], "weights": [1, -1]}, "number > 0"),
        (lambda x: (x, x), {"output": [0, 0]}, "each once"),
        (lambda x: x, {"output_shape": 4}, "the model gives"),
        (lambda x: x, {"dtype": torch.float16}, "float32 and float64"),
        (nn.Linear(3, 2).bfloat16(), {}, "bfloat16"),
        (nn.Linear(3, 2), {"dtype": "float64"}, "leave dtype out"),
        (nn.Linear(3, 2, device="meta"), {}, "meta"),
    ],
)
def test_wrong_calls_say_what_is_wrong(model, options, message):
    with pytest.raises(InputError, match=message):
        pc.from_torch(model, input_shape=3, **options)


def test_errors_of_the_model_are_the_users_to_read():
    inner = nn.Linear(4, 2)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        pc.from_torch(lambda x: inner(x), input_shape=3)


def other_forms():
    net = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Tanh(), nn.Linear(8, 3)
    )
    net.eval()
    batch = torch.export.Dim("n")
    given = (torch.rand(3, 4),)
    yield "scripted", torch.jit.script(net)
    yield "frozen", torch.jit.freeze(torch.jit.script(net))
    yield "traced", torch.jit.trace(net, given)
    yield "exported", torch.export.export(net, given, dynamic_shapes=({0: batch},)).module()
    yield "compiled", torch.compile(net, backend="eager")
    yield "functional", lambda x: torch.func.functional_call(net, dict(net.named_parameters()), x)
    yield "mapped", torch.vmap(lambda row: row.cumsum(0) ** 2)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_modules_in_other_forms():
    for name, model in other_forms():
        oracle = pc.from_torch(model, input_shape=4)
        assert {"vjp", "jvp", "exact"} <= oracle.capabilities, name
        assert_oracle(oracle, points(4, 4))


def test_take_says_why_not():
    oracle = pc.from_torch(nn.Linear(3, 2), input_shape=3)
    assert "take" not in oracle.capabilities
    with pytest.raises(CapabilityError, match="all 2 samples, not of 1"):
        oracle.linearize(points(2, 3)).take(np.array([0]))


def test_a_taken_chunk_and_wrappers():
    oracle = pc.from_torch(convolutional(), input_shape=(2, 6, 6))
    assert_oracle(pc.normalized(oracle, 0.5, 0.2), points(3, 2, 6, 6))
    assert_oracle(pc.ensemble([oracle, oracle]), points(3, 2, 6, 6), runs_per_sample=2)


def test_same_seed_same_bits():
    oracle = pc.from_torch(convolutional(), input_shape=(2, 6, 6))
    x = points(40, 2, 6, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pc.PertcoreWarning)
        a, b, half = (
            pc.attack(oracle, x[:n], attack="pgd", eps=0.05, bounds=(0, 1), deterministic=True)
            for n in (40, 40, 20)
        )
    np.testing.assert_array_equal(a.x_adv, b.x_adv)
    np.testing.assert_array_equal(a.x_adv[:20], half.x_adv)
