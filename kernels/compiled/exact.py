from pertcore.kernels.definitions.exact import (
    finish_inf,
    finish_p,
)

__all__ = ["finish_inf", "finish_p"]
