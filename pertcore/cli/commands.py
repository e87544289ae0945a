"""Commands and their flags. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pertcore.cli.properties import falsify
from pertcore.errors import InputError

app = typer.Typer(
    name="pertcore",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Worst-case input perturbations of a model, from its ONNX file alone.",
)

Model = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="ONNX file.")]
Models = Annotated[
    list[Path], typer.Argument(metavar="MODEL.onnx...", help="ONNX file; several: an ensemble.")
]
InputName = Annotated[str | None, typer.Option("--input", help="Input to perturb.")]
OutputName = Annotated[str | None, typer.Option("--output", help="Output to attack.")]
StraightThrough = Annotated[
    bool,
    typer.Option("--straight-through", help="Estimates for rounding, signs and quantisation."),
]


def _version(asked: bool) -> None:
    if asked:
        from pertcore import __version__

        typer.echo(f"pertcore {__version__}")
        raise typer.Exit


@app.callback()
def pertcore(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Worst-case input perturbations of a model, from its ONNX file alone."""


@app.command()
def demo(
    out: Annotated[str, typer.Option(help="Folder for report.html.")] = "pertcore-out",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
) -> None:
    """Attack the bundled digit classifier and autoencoder; writes a page with the pictures."""
    from pertcore.cli.demo import run

    run(out, seed)


@app.command()
def info(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL.onnx", help="ONNX file; none: the devices.")
    ] = None,
    input: InputName = None,
    output: OutputName = None,
    input_shape: Annotated[
        str | None, typer.Option(help="One sample, as 3,64,64, where the model leaves it open.")
    ] = None,
    straight_through: StraightThrough = False,
) -> None:
    """Inputs, outputs, operators; which derivatives are exact or approximated; the devices."""
    from pertcore.cli.info import run

    run(model, input, output, input_shape, straight_through)


@app.command()
def differentiate(
    model: Model,
    out: Annotated[str, typer.Option("-o", "--out", metavar="OUT.onnx", help="File to write.")],
    mode: Annotated[str, typer.Option(help="vjp, jvp or value_and_vjp.")] = "vjp",
    input: Annotated[
        list[str] | None, typer.Option("--input", help="With respect to it (all floats).")
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option("--output", help="Output to differentiate (all floats).")
    ] = None,
    straight_through: StraightThrough = False,
) -> None:
    """Write the derivative graph of a model as an ordinary ONNX file."""
    from pertcore.cli.differentiate import run

    run(model, out, mode, input, output, straight_through)


@app.command()
def jacobian(
    model: Model,
    inputs: Annotated[
        str | None, typer.Option(help=".npy, .npz:KEY, image folder or glob, .parquet[:COLUMN,...]")
    ] = None,
    norm: Annotated[str, typer.Option(help="p of norms l_p -> l_2, as 1,2,inf.")] = "2",
    count: Annotated[int, typer.Option(help="Singular values.")] = 3,
    index: Annotated[int | None, typer.Option(help="One sample alone, counted from 0.")] = None,
    max_memory: Annotated[str, typer.Option(help="Bytes of vectors kept, as 2GB.")] = "1GiB",
    mean: Annotated[str | None, typer.Option(help="Subtracted before the model, a,b,c.")] = None,
    std: Annotated[str | None, typer.Option(help="Divided by before the model, a,b,c.")] = None,
    input: InputName = None,
    output: OutputName = None,
    weights: Annotated[str | None, typer.Option(help="One a named output, a,b.")] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Value of another input.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first N samples.")] = None,
    scale: Annotated[str | None, typer.Option(help="Multiplies stored values, as 1/255.")] = None,
    layout: Annotated[str, typer.Option(help="Of the stored samples: nchw or nhwc.")] = "nchw",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads of the model.")] = None,
    finite_differences: Annotated[
        bool, typer.Option("--finite-differences", help="Where an operator has no rule.")
    ] = False,
    straight_through: StraightThrough = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE.npz", help="Norms, singular values and vectors.")
    ] = None,
) -> None:
    """Norms of the model's Jacobian at samples, with bounds, and its largest singular values.

    The Jacobian is never stored: all comes from products with it.
    """
    given = {**locals(), "models": [model], "freeze": freeze or []}
    own = {name: given.pop(name) for name in ("norm", "count", "index", "max_memory")}
    del given["model"]
    from pertcore.cli.arguments import AttackArguments
    from pertcore.cli.jacobian import run

    run(AttackArguments(**given), **own)


@app.command()
def attack(
    models: Models,
    inputs: Annotated[
        str | None, typer.Option(help=".npy, .npz:KEY, image folder or glob, .parquet[:COLUMN,...]")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help=".npy, .npz:KEY, .csv, .txt, .parquet:COLUMN")
    ] = None,
    attack: Annotated[str, typer.Option(help="Name of the attack, listed below.")] = "alg1",
    norm: Annotated[
        str, typer.Option(help="inf, 2, 1 or any p >= 1; fmn: 0, changed features.")
    ] = "inf",
    eps: Annotated[str | None, typer.Option(help="Budget in the units of x, as 8/255.")] = None,
    bounds: Annotated[str | None, typer.Option(help="Box of valid inputs, as 0,1.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of an iterative attack.")] = None,
    restarts: Annotated[int | None, typer.Option(help="Random restarts.")] = None,
    loss: Annotated[
        str | None, typer.Option(help="margin, score, cross-entropy, dlr or squared-error.")
    ] = None,
    step_size: Annotated[str | None, typer.Option(help="Step in the units of x.")] = None,
    rel_step_size: Annotated[str | None, typer.Option(help="Step over eps / steps.")] = None,
    rel_alpha: Annotated[str | None, typer.Option(help="Random share of eps (rfgsm).")] = None,
    dither: Annotated[str | None, typer.Option(help="Radius of the dither.")] = None,
    overshoot: Annotated[str | None, typer.Option(help="Beyond the boundary (deepfool).")] = None,
    tolerance: Annotated[str | None, typer.Option(help="Beyond the tie (minnorm).")] = None,
    classes: Annotated[
        int | None, typer.Option(help="Other classes that count (deepfool, apgd-t).")
    ] = None,
    refine: Annotated[int | None, typer.Option(help="Rounds towards a nearer point.")] = None,
    method: Annotated[
        str | None, typer.Option(help="best, or paper: as printed (quadratic).")
    ] = None,
    certify: Annotated[
        bool | None,
        typer.Option("--certify/--no-certify", help="Runs spent on a bound."),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Bytes that a Jacobian may take, as 2GB.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Wanted class, or a file of them; samples labelled so are left out."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression.")] = None,
    decision: Annotated[str | None, typer.Option(help="Boundary of a single logit.")] = None,
    threshold: Annotated[str | None, typer.Option(help="Regression: success from here.")] = None,
    peak: Annotated[str | None, typer.Option(help="Largest value of a signal, for PSNR.")] = None,
    partition: Annotated[str | None, typer.Option(help="pixels, or integers in a .npy.")] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted before the model, a,b,c.")] = None,
    std: Annotated[str | None, typer.Option(help="Divided by before the model, a,b,c.")] = None,
    input: InputName = None,
    output: Annotated[
        str | None, typer.Option("--output", help="Output to attack; several as one: a,b.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of several outputs, for squared terms, as 1,0.5.")
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Value of another input.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first N samples.")] = None,
    scale: Annotated[str | None, typer.Option(help="Multiplies stored values, as 1/255.")] = None,
    layout: Annotated[str, typer.Option(help="Of the stored samples: nchw or nhwc.")] = "nchw",
    batch_size: Annotated[int, typer.Option(help="Samples in flight.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads of the model.")] = None,
    finite_differences: Annotated[
        bool, typer.Option("--finite-differences", help="Where an operator has no rule.")
    ] = False,
    straight_through: StraightThrough = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same seed, same bits.")
    ] = False,
    save_8bit: Annotated[
        bool, typer.Option("--save-8bit", help="Only what 256 levels of --bounds hold; as uint8.")
    ] = False,
    out: Annotated[str | None, typer.Option(help="Folder for all results.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: workers of a cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster, as auto; else one on this machine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Ray workers, at most.")] = None,
) -> None:
    """Find adversarial examples for samples of a data set and verify them on the model.

    Writes x_adv.npy, results.parquet, run.json and report.html to --out.
    """
    given = {**locals(), "freeze": freeze or []}
    from pertcore.cli.arguments import AttackArguments
    from pertcore.cli.attack import run

    run(AttackArguments(**given))


def _as_attack(
    *without: str, **own: inspect.Parameter
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with the flags of `attack`, but for those of `without`, and with those of `own` in
    their places or after them: a flag is written once."""
    shared = inspect.signature(attack, eval_str=True).parameters
    flags = {name: flag for name, flag in shared.items() if name not in without}
    flags |= {name: flag.replace(name=name) for name, flag in own.items()}

    def command(function: Callable[..., None]) -> Callable[..., None]:
        function.__signature__ = inspect.Signature(list(flags.values()))  # type: ignore[attr-defined]
        return function

    return command


def _flag(annotation: Any, default: Any = None) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter("_", kind, annotation=annotation, default=default)


@app.command()
@_as_attack(
    eps=_flag(
        Annotated[str | None, typer.Option(help="Budgets, as 0,2/255,8/255; or the largest.")]
    ),
    points=_flag(
        Annotated[int | None, typer.Option(help="Equal steps from 0 to the largest (20).")]
    ),
)
def curve(**given: Any) -> None:
    """Robust accuracy over many budgets for the price of a few attacks; a regression's losses.

    Takes the flags of attack. Writes x_adv.npy (of each sample the smallest perturbation found),
    results.parquet, run.json and report.html to --out.
    """
    _measured("curve", given)


@app.command()
@_as_attack(
    "eps", "threshold", "peak",
    attack=_flag(
        Annotated[str, typer.Option(help="Name of the attack; deepfool runs once.")], "deepfool"
    ),
    tolerance=_flag(
        Annotated[
            str | None, typer.Option(help="Of an attack with a budget: the search's (0.05).")
        ]
    ),
    largest=_flag(
        Annotated[str | None, typer.Option(help="Where that search ends, as 8/255.")]
    ),
)  # fmt: skip
def robustness(**given: Any) -> None:
    """Smallest perturbations: rho1, rho2 (Theorem 1), eps99 and quantiles, with deepfool.

    Takes the flags of attack. Writes x_adv.npy, results.parquet, run.json and report.html to --out.
    """
    _measured("robustness", given)


def _measured(kind: str, given: dict[str, Any]) -> None:
    from pertcore.cli.arguments import AttackArguments
    from pertcore.cli.measure import run

    run(AttackArguments(kind=kind, **{**given, "freeze": given["freeze"] or []}))


app.command()(falsify)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="FOLDER_A", help="--out of a run.")],
    b: Annotated[Path, typer.Argument(metavar="FOLDER_B", help="--out of another.")],
    level: Annotated[float, typer.Option(help="Of the confidence intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
) -> None:
    """Two runs on the same samples: accuracies or losses, their difference and its interval."""
    from pertcore.cli.console import show_table, warn
    from pertcore.evaluation.compare import compare as compared

    found = compared(a, b, level=level, resamples=resamples, rng=seed)
    show_table(f"a: {a}, b: {b}, {found.samples} samples", *found.table())
    warn(found.warnings)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="--out of a run.")],
) -> None:
    """Draw report.html of a run anew, from the files of its folder alone."""
    from pertcore.cli.report import run

    run(folder)


def execute(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code, InputError for wrong use of the command line."""
    # ClickException itself is private in recent releases of typer
    misuse: Any = typer.BadParameter.__mro__[2]
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="pertcore", standalone_mode=False)
    except misuse as error:
        raise InputError(f"{error.format_message()} (see --help)") from error
    except typer.Abort:
        raise KeyboardInterrupt from None
    if arguments[0] in ("attack", "curve", "robustness") and "--help" in arguments:
        _list_attacks()
    return code if isinstance(code, int) else 0


def _list_attacks() -> None:
    from pertcore.attacks import ATTACKS
    from pertcore.cli.flags import as_flags

    typer.echo("\nAttacks (their own options in brackets):")
    for attack in ATTACKS.values():
        options = ", ".join(name.replace("_", "-") for name in attack.options)
        typer.echo(f"  {attack.name:<15} {as_flags(attack.summary)} [{options}]")
