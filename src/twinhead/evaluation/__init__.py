"""How good the answers are: metrics of every split, the threshold, baselines and curves."""

from twinhead.evaluation.baselines import judge as judge_baselines
from twinhead.evaluation.curves import write as write_curves
from twinhead.evaluation.metrics import (
    DEFAULT_THRESHOLD,
    advantage,
    auroc,
    choose_threshold,
    decide,
    judge,
    judge_test,
)

__all__ = [
    "DEFAULT_THRESHOLD",
    "advantage",
    "auroc",
    "choose_threshold",
    "decide",
    "judge",
    "judge_baselines",
    "judge_test",
    "write_curves",
]
