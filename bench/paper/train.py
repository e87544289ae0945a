"""Trains the networks of the paper's Section VI from one seed and exports them to ONNX.

`trained(name, folder)` gives the ONNX file, and makes it where it is missing. After every epoch
the state is saved, so that a training that was stopped goes on with the same numbers; a GPU is
used where PyTorch sees one. By hand: python -m bench.paper.train NAME[=EPOCHS] ...
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.models import ROOT
from bench.paper.data import images, scaled
from bench.paper.networks import IMAGES, NETWORKS, Network, Recipe
from bench.regression_tasks import LUMA
from bench.sequential import export

SEED, FOLDER = 0, ROOT / ".paper"


def trained(name: str, folder: Path = FOLDER, epochs: int | None = None) -> Path:
    """The ONNX file of a network of NETWORKS in `folder`; its doc string says how it came.

    epochs: of its recipe where None is given. Networks of other lengths lie in other files.
    """
    network = NETWORKS[name]
    count = network.recipe.epochs if epochs is None else epochs
    path = folder / f"{name}_{count}.onnx"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    state = path.with_suffix(".state")
    threads = torch.get_num_threads()
    if network.data == "digits":  # too small to share, and slow where another works beside it
        torch.set_num_threads(1)
    try:
        model, seconds = fitted(network, count, state)
    finally:
        torch.set_num_threads(threads)
    told = f"{network.data}, seed {SEED}, {count} epochs, {tested(network, model)}"
    print(f"{name}: {told}, {seconds:.0f} s", flush=True)
    part = path.with_suffix(".part")
    onnx.save(exported(network, model, told), part)
    part.replace(path)
    state.unlink()
    return path


def fitted(network: Network, epochs: int, state: Path) -> tuple[torch.nn.Sequential, float]:
    """The trained network, on the CPU and in evaluation, and the seconds its epochs took.

    state: file of what the last whole epoch left; every epoch has its own random numbers.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = (torch.from_numpy(part) for part in images(network.data, "train"))
    torch.manual_seed(SEED)
    model = network.build().to(device, memory_format=torch.channels_last)
    optimizer, schedule = optimised(model, network.recipe, epochs, len(x))
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
    if schedule is not None:
        parts["schedule"] = schedule
    first, seconds = 0, 0.0
    if state.is_file():
        held = torch.load(state, map_location=device)
        for key, part in parts.items():
            part.load_state_dict(held[key])
        first, seconds = held["epoch"], held["seconds"]
    for epoch in range(first, epochs):
        started = time.perf_counter()
        torch.manual_seed(1000 * SEED + epoch)
        loss = one_epoch(network, model, optimizer, schedule, x, y)
        seconds += time.perf_counter() - started
        held = {key: part.state_dict() for key, part in parts.items()}
        part = state.with_suffix(".part")
        torch.save({**held, "epoch": epoch + 1, "seconds": seconds}, part)
        part.replace(state)
        print(f"{state.stem}: epoch {epoch + 1}, loss {loss:.4f}, {seconds:.0f} s", flush=True)
    return model.eval().to("cpu"), seconds


def optimised(model: torch.nn.Module, recipe: Recipe, epochs: int, count: int) -> tuple[Any, Any]:
    """The optimizer and, of a recipe with a cycle, the schedule of its rate."""
    if not recipe.cycle:
        return torch.optim.Adam(model.parameters(), recipe.rate, weight_decay=recipe.decay), None
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    total = epochs * -(-count // recipe.batch)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total)


def one_epoch(
    network: Network, model: torch.nn.Module, optimizer: Any, schedule: Any,
    x: torch.Tensor, y: torch.Tensor,
) -> float:  # fmt: skip
    """Trains on every image once; returns the mean of what training lowers."""
    device = next(model.parameters()).device
    loss_of = functional.cross_entropy if network.makes == "classes" else functional.mse_loss
    model.train()
    total = torch.zeros((), device=device)
    for index in torch.randperm(len(x)).split(network.recipe.batch):
        batch = x[index] if not network.recipe.augment else moved(x[index])
        given, wanted = asked(network, batch.to(device).float() / 255, y[index].to(device))
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=network.recipe.half):
            out = model(given.to(memory_format=torch.channels_last))
        loss = loss_of(out.float(), wanted)
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        total += loss.detach() * len(index)
    return float(total) / len(x)


def asked(network: Network, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network is given, and what it shall make of it."""
    if network.makes == "colours":
        return torch.tensordot(x, torch.tensor(LUMA, device=x.device), ([1], [0]))[:, None], x
    return (x, y) if network.makes == "classes" else (x, x)


def moved(x: torch.Tensor) -> torch.Tensor:
    """Crops of the images with a margin of 4 zeros, each at its own random place, half mirrored."""
    side = x.shape[-1]
    padded = functional.pad(x, (4, 4, 4, 4))
    rows, columns, mirror = (torch.randint(high, (len(x),)).tolist() for high in (9, 9, 2))
    crops = [
        image[:, row : row + side, column : column + side]
        for image, row, column in zip(padded, rows, columns, strict=True)
    ]
    crops = [crop.flip(-1) if flip else crop for crop, flip in zip(crops, mirror, strict=True)]
    return torch.stack(crops)


def tested(network: Network, model: torch.nn.Module) -> str:
    """The error on the test images, in words."""
    x, y = images(network.data, "test")
    given, wanted = asked(network, torch.from_numpy(scaled(x)), torch.from_numpy(y))
    with torch.no_grad():
        out = torch.cat([model(batch) for batch in given.split(250)])
    if network.makes == "classes":
        return f"test error {(out.argmax(1) != wanted).double().mean():.4f}"
    return f"test mean squared error {functional.mse_loss(out, wanted):.5f}"


def exported(network: Network, model: torch.nn.Sequential, told: str) -> onnx.ModelProto:
    """The network as ONNX, normalisations right behind a convolution folded into it."""
    image = IMAGES[network.data]
    out = {
        "classes": (image, "logits", (10,)),
        "itself": (image, "restored", image),
        "colours": ((1, "h", "w"), "coloured", (3, "h", "w")),
    }
    return export(folded(model), *out[network.makes], told)


def folded(model: torch.nn.Sequential) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for layer in model:
        if isinstance(layer, torch.nn.BatchNorm2d) and isinstance(layers[-1], torch.nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return torch.nn.Sequential(*layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", metavar="NAME[=EPOCHS]")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    for asked in options.networks:
        name, _, epochs = asked.partition("=")
        trained(name, options.folder, int(epochs) if epochs else None)


if __name__ == "__main__":
    main()
