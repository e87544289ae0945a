"""The derivative rules, one file a family; importing this package fills the registry."""

from pertcore.adapters.onnx.rules import (
    attention,
    contrib,
    conv,
    elementwise,
    indexing,
    linalg,
    lowered,
    ml,
    movement,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    still,
    straight,
)

__all__ = [
    "attention",
    "contrib",
    "conv",
    "elementwise",
    "indexing",
    "linalg",
    "lowered",
    "ml",
    "movement",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "still",
    "straight",
]
