"""How good the answers are: metrics of every split, the threshold, baselines and curves."""

from twinhead.evaluation.baselines import judge as judge_baselines
from twinhead.evaluation.curves import write as write_curves
from twinhead.evaluation.intervals import advantage, auroc
from twinhead.evaluation.likeness import COLUMNS as NEAREST
from twinhead.evaluation.likeness import judge as judge_twins
from twinhead.evaluation.likeness import nearest
from twinhead.evaluation.metrics import decide, judge, judge_test
from twinhead.evaluation.operating_point import DEFAULT_THRESHOLD

__all__ = [
    "DEFAULT_THRESHOLD",
    "NEAREST",
    "advantage",
    "auroc",
    "decide",
    "judge",
    "judge_baselines",
    "judge_test",
    "judge_twins",
    "nearest",
    "write_curves",
]
