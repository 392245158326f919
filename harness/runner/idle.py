"""The idle baseline: power of the machine with the model loaded and nothing to do, before and after the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.energy.figure import Method, counted
from harness.energy.meter import Window
from harness.energy.segments import components_of, of_component
from harness.metrics.efficiency import ratio


@dataclass(frozen=True)
class IdleBaseline:
    """Power of the loaded and idle machine, from the windows before and after the work.

    Attributes:
        unloaded_w, before_w, after_w: Mean power of each idle window in watts.
        power_w: Mean of before and after; None where one is missing, or where they differ too much.
        half_difference_w: Half of what they differ by. Idle power during the work is taken to lie between the two.
        quantisation_w: Standard uncertainty of `power_w` from the counters' updates at the edges of the two windows.
        reason: Why there is no `power_w`.
        mismatch: Whether that is because they differ too much.
    """

    unloaded_w: float | None
    before_w: float | None
    after_w: float | None
    power_w: float | None
    half_difference_w: float | None
    reason: str
    mismatch: bool = False
    quantisation_w: float = 0.0

    @property
    def mean_w(self) -> float | None:
        """Mean of before and after, however much they differ."""
        return None if self.before_w is None or self.after_w is None else (self.before_w + self.after_w) / 2


LOADED = ("loaded, before", "loaded, after")
# Net energy is void where the idle power before and after the work differ by more than this share.
IDLE_MISMATCH = 0.05


def idle_baseline(windows: Sequence[Window]) -> IdleBaseline:
    """The idle baseline of a run."""
    watts = {w.label: ratio(w.energy.value_j, w.duration_s) for w in windows if w.phase == "idle"}
    unloaded, before, after = (watts.get(label) for label in ("unloaded", *LOADED))
    if any(window.energy.method is Method.MODELLED for window in windows if window.phase == "idle"):
        return IdleBaseline(None, None, None, None, None, "the idle power of a modelled CPU would be an assumption")
    if before is None or after is None:
        return IdleBaseline(unloaded, before, after, None, None, "no idle baseline before and after the work")
    mean, half = (before + after) / 2, _half_difference_w(windows)
    if 2 * half > IDLE_MISMATCH * mean:
        reason = f"idle power was {before:.1f} W before the work and {after:.1f} W after it"
        return IdleBaseline(unloaded, before, after, None, half, reason, mismatch=True)
    edges_w = [w.energy.quantisation_j / w.duration_s for w in windows if w.label in LOADED]
    return IdleBaseline(unloaded, before, after, mean, half, "", quantisation_w=sum(edges_w) / 2)


def _half_difference_w(windows: Sequence[Window]) -> float:
    """Half of what the baselines differ by, component by component: one may drift up and another down."""
    before, after = (_watts([window for window in windows if window.label == label][-1]) for label in LOADED)
    return sum(abs(first - second) for first, second in zip(before, after, strict=True)) / 2


def _watts(window: Window) -> list[float]:
    """Power of each part of a window's energy, which has a value and so have they."""
    joules = [figure.value_j for figure in counted(window.figures) if figure.value_j is not None]
    return [each / window.duration_s for each in joules]


def idle_powers(windows: Sequence[Window]) -> dict[str, Any]:
    """The baseline of a run as its record has it, and that of each component as if it were the only one."""
    whole = idle_baseline(windows)
    alone = {name: idle_baseline(of_component(windows, name)) for name in components_of(windows)}
    components = {
        name: {"unloaded_w": idle.unloaded_w, "power_w": idle.power_w, "reason": idle.reason}
        for name, idle in alone.items()
    }
    return {**vars(whole), "components": components}


def is_mismatched(idles: Sequence[Window]) -> bool:
    """Whether idle power before and after the work differ too much for net energy.

    Of a sum that has no baseline, as a part of it is modelled, that of the parts which have one is told.
    """
    whole = idle_baseline(idles)
    parts = [idle_baseline(of_component(idles, name)) for name in components_of(idles)]
    return whole.mismatch or (whole.power_w is None and any(part.mismatch for part in parts))
