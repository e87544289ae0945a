from pertcore.kernels.definitions.projections import (
    project_1,
    project_2,
    project_box_1,
    project_box_2,
    project_box_p,
    project_inf,
)

__all__ = [
    "project_1",
    "project_2",
    "project_box_1",
    "project_box_2",
    "project_box_p",
    "project_inf",
]
