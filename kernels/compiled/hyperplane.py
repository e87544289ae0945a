from pertcore.kernels.definitions.steps import (
    hyperplane_1,
    hyperplane_p,
)

__all__ = ["hyperplane_1", "hyperplane_p"]
