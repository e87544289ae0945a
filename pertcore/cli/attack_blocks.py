"""One block of `pertcore attack`: attacked, and put in rows, here or in a worker of a cluster."""

from __future__ import annotations

from collections.abc import Callable

from pertcore.attacks.run import Progress
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.block_rows import block_of, given_of
from pertcore.cli.problem import Problem, pose
from pertcore.evaluation.records import result_columns
from pertcore.evaluation.runs.engine import Work
from pertcore.evaluation.runs.failing import surviving
from pertcore.evaluation.runs.measures import rows_of
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.state import encoded
from pertcore.evaluation.stream import Batch, attacked_batch, joined, without_points


def posed_work(arguments: AttackArguments) -> Work:
    """The work of a worker, which reads model and data itself."""
    return block_work(pose(arguments))


def block_work(problem: Problem, callback: Callable[[Progress], None] | None = None) -> Work:
    """rows -> their block; a sample on which the model fails has status FAILED there."""

    def attacked(rows: slice) -> Batch:
        return attacked_batch(
            problem.oracle, problem.inputs, problem.y, rows=rows, callback=callback,
            settings=problem.settings, left_out=problem.left_out,
        )  # fmt: skip

    def work(rows: slice) -> Block:
        made, failed = surviving(rows, attacked)
        if not made:
            return block_of(problem, rows, failed, {}, [], {})
        results = [batch.result for _, batch in made]
        columns = rows_of(
            result_columns(batch.result, part.start, *given_of(problem, part))
            for part, batch in made
        )
        state = encoded(without_points(joined(results)))
        return block_of(problem, rows, failed, columns, [r.x_adv for r in results], state)

    return work
