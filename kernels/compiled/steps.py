from pertcore.kernels.definitions.steps import (
    dual_step_1,
    dual_step_2,
    dual_step_inf,
    dual_step_p,
)

__all__ = ["dual_step_1", "dual_step_2", "dual_step_inf", "dual_step_p"]
