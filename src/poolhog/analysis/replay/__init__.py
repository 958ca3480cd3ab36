"""Plays a recorded run again, as it was and as it could have been.

workload = read_workload(readers)      # or workload_of(trace)
replayed = replay(workload)            # as it was, and how far that is from what was recorded
predicted = predict(replayed, WhatIf(pool_size=50))
"""

from __future__ import annotations

from poolhog.analysis.replay.chains import read_workload, workload_of
from poolhog.analysis.replay.performance import Percentiles, Performance
from poolhog.analysis.replay.prediction import DOUBTFUL, Prediction, Replay, predict, replay
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.analysis.replay.workload import Workload

__all__ = [
    "DOUBTFUL",
    "Percentiles",
    "Performance",
    "Prediction",
    "Replay",
    "WhatIf",
    "Workload",
    "predict",
    "read_workload",
    "replay",
    "workload_of",
]
