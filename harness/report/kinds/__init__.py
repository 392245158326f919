"""The kinds of figures, one file each; figure lists name them by the keys below."""

from __future__ import annotations

from harness.report.kinds.curves import CURVES
from harness.report.kinds.distribution import DISTRIBUTION
from harness.report.kinds.forest import FOREST
from harness.report.kinds.heat_map import HEAT_MAP
from harness.report.kinds.lines import LINES
from harness.report.kinds.pareto import PARETO
from harness.report.kinds.power_law import POWER_LAW
from harness.report.kinds.roofline import ROOFLINE
from harness.report.kinds.stacked import STACKED
from harness.report.kinds.trace import TRACE

KINDS = {
    "pareto": PARETO,
    "lines": LINES,
    "curves": CURVES,
    "power-law": POWER_LAW,
    "stacked": STACKED,
    "trace": TRACE,
    "roofline": ROOFLINE,
    "heat-map": HEAT_MAP,
    "distribution": DISTRIBUTION,
    "forest": FOREST,
}
