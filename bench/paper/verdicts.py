"""The section of docs/paper.md that holds the paper's claims against what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.page import table
from bench.paper import claims, prose
from bench.paper.claims import PRINTED, RIVALS
from bench.paper.classifiers import VARIANTS
from bench.paper.draw import LETTERS, TITLES, Results, panel
from bench.paper.summary import in_short

PAIRS = {  # of Fig. 4: what is said to move the output farther, and than what
    "fig4a": (("quadratic", "linear-1"), ("quadratic", "linear-20"), ("linear-20", "linear-1"),
              ("iterated-quadratic-20", "linear-20"), ("iterated-quadratic-20", "quadratic")),
    "fig4c": (("linear-pixel-1", "random-pixel-1"), ("quadratic-pixel-1", "linear-pixel-1"),
              ("linear-pixel-100", "random-pixel-100")),
    "fig4d": (("linear-1", "random"), ("linear-20", "linear-1"),
              ("iterated-quadratic-20", "linear-20")),
}  # fmt: skip
PAIRS |= {"fig4b": PAIRS["fig4a"], "fig4d-given": PAIRS["fig4d"]}


def held_against(results: Results) -> str:
    """All claims whose figures are there."""
    parts = ["## Where the paper's claims hold and where not\n", in_short(results)]
    for title, needs, rows in CLAIMS:
        if any(name.startswith(needs) for name in results) and (said := rows(results)):
            parts.append(f"### {title}\n\n{said}")
    return "\n".join(parts)


def outperforms(results: Results) -> str:
    """Algorithm 1-T against PGD and DeepFool, over budgets, then within DeepFool's norms."""
    against = table(("network", *RIVALS), claims.duels(results))
    parts = claims.classified(results)
    rows = [(claims.title(part), part["within DeepFool's norms"]) for part in parts]
    rows += [
        (f"{claims.title(part)}, refined", part["within refined norms"])
        for part in claims.varied(results)
    ]
    within = table(("network", *rows[0][1]), [(name, *found.values()) for name, found in rows])
    return f"{prose.DUELS}\n\n{against}\n{prose.WITHIN}\n\n{within}"


def otherwise(results: Results) -> str:
    """Algorithm 1 in other settings."""
    parts = claims.varied(results)
    rows = [
        (name, *(f"{100 * p['fooled'][name] / p['right']:.0f} %{_spent(p, name)}" for p in parts))
        for name in VARIANTS
    ]
    heads = [f"{claims.title(p)}, eps = {p['settings']['eps']:g}" for p in parts]
    return prose.OTHERWISE + "\n\n" + table(("attack", *heads), rows)


def _spent(part: dict[str, Any], name: str) -> str:
    spent = part["spent"].get(name)
    return "" if spent is None else f" ({spent:.2f})"


def single_steps(results: Results) -> str:
    return "".join(f"* {claims.steps_gap(part)}\n" for part in claims.classified(results))


def printed(results: Results) -> str:
    """Table III over the printed values, and whether the three measures agree on the order."""
    rows, order = [], {}
    for part in results.values():
        if part["maker"] == "classifier":
            name = part["settings"]["network"]
            wanted = claims.printed(name)
            if wanted:
                found = [part["table"][k] / wanted[k] for k in wanted]
                rows.append((TITLES[name], *(f"{ratio:.2f}" for ratio in found)))
            if name in PRINTED:
                order[TITLES[name]] = [part["table"][k] for k in ("rho1", "rho2", "eps99")]
    if not rows:
        return ""
    ranks = {tuple(sorted(order, key=lambda n, k=k: order[n][k])) for k in range(3)}
    agree = "agree" if len(ranks) == 1 else "do not agree"
    said = f"\nThe three measures {agree} on the order of the networks"
    said += f": {' < '.join(next(iter(ranks)))}.\n" if len(ranks) == 1 else ".\n"
    return table(("measured over printed", "test error", "rho1", "rho2", "eps99"), rows) + said


def regressions(results: Results) -> str:
    """Who moves the output of a regression farther, at every eps."""
    parts = []
    for key, pairs in PAIRS.items():
        if key not in results:
            continue
        found = [
            (ours, rival, won) for ours, rival in pairs
            if (won := claims.wins(results[key], ours, rival))
        ]  # fmt: skip
        rows = [
            (f"{ours} over {rival}", *(f"{gain:+.1f} dB, {more}/{of}" for _, more, of, gain in won))
            for ours, rival, won in found
        ]
        eps = [f"eps {at:.3g}" for at, *_ in found[0][2]]
        parts.append((key, table((panel(key, results[key]), *eps), rows)))
    return prose.FARTHER + "\n\n" + "\n".join(rows for _, rows in sorted(parts))


def boxed(results: Results) -> str:
    """Fig. 4 inside the box [0, 1], at one eps."""
    parts = {key: results[key] for key in LETTERS if "boxed" in results.get(key, {})}
    lines = []
    for key, part in parts.items():
        said = ", ".join(f"{row['attack']} {row['psnr_out']:.1f}" for row in part["boxed"])
        lines.append(f"* {panel(key, part)}, eps = {part['boxed'][0]['eps']:.3g}: {said} dB\n")
    return "".join(lines)


CLAIMS: tuple[tuple[str, str, Callable[[Results], str]], ...] = (
    ('"Algorithm 1-T outperforms DeepFool and PGD" (Fig. 1)', "classifier-", outperforms),
    ("Algorithm 1 in other settings", "otherwise-", otherwise),
    (
        '"The same for Algorithm 1 with respect to other non-iterative methods such as FGSM"',
        "classifier-", single_steps,
    ),
    ("The printed measures, and that they are coherent (Table III)", "classifier-", printed),
    ('"quadratic performs competitively, even compared to iterative methods" (Fig. 4)', "fig4",
     regressions),
    ("The same inside the box [0, 1]", "fig4", boxed),
)  # fmt: skip
