from pertcore.kernels.definitions.steps import (
    ball_step_inf,
    pgd_2,
    pgd_inf,
)

__all__ = ["ball_step_inf", "pgd_2", "pgd_inf"]
