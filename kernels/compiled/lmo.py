from pertcore.kernels.definitions.steps import (
    lmo_box_1,
    lmo_box_2,
    lmo_box_inf,
    lmo_box_p,
)

__all__ = ["lmo_box_1", "lmo_box_2", "lmo_box_inf", "lmo_box_p"]
