"""Repeats that pauses cut into several windows: the windows with one number of a phase are one repeat."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from harness.energy.figure import SHORT_FLAG, EnergyFigure, Method, TotalEnergy, added, counted, short_for_counter
from harness.energy.meter import Window, Work
from harness.metrics.efficiency import complete_sum


def merged_repeats(windows: Iterable[Window]) -> list[Window]:
    """The repeats of one phase, in order, each as one window."""
    by_repeat: dict[int, list[Window]] = {}
    for window in windows:
        if window.repeat is not None:
            by_repeat.setdefault(window.repeat, []).append(window)
    return [merged(parts) for parts in by_repeat.values()]


def merged(windows: Sequence[Window]) -> Window:
    """Windows as one: sums of times, work and energies; a figure that any of them lacks is lacking.

    Whether all of it is short for its counter is a question to the sum; so is whether a counter moved at all.
    """
    if len(windows) == 1:
        figures = [figure.whole() for figure in windows[0].figures]
        return replace(
            windows[0], figures=tuple(figures), flags=_union([windows[0].flags, *(f.flags for f in figures)])
        )
    figures = [merged_figure(parts) for parts in zip(*(window.figures for window in windows), strict=True)]
    flags = _union([*(window.flags for window in windows), *(figure.flags for figure in figures)])
    short = any(SHORT_FLAG in figure.flags for figure in figures)
    return replace(
        windows[0],
        duration_s=sum(window.duration_s for window in windows),
        own_cpu_s=sum(window.own_cpu_s for window in windows),
        gpu_trace_j=complete_sum([window.gpu_trace_j for window in windows]),
        foreign_cpu_s=complete_sum([window.foreign_cpu_s for window in windows]),
        work=Work.of(
            {
                field.name: complete_sum([getattr(window.work, field.name) for window in windows])
                for field in fields(Work)
            }
        ),
        figures=tuple(figures),
        flags=tuple(flag for flag in flags if short or flag != SHORT_FLAG),
    )


def merged_figure(figures: Sequence[EnergyFigure]) -> EnergyFigure:
    """One component over several windows."""
    value = complete_sum([figure.value_j for figure in figures])
    known = value is not None
    quantisation_j = sum(figure.quantisation_j for figure in figures)
    short = value is not None and short_for_counter(quantisation_j, value)
    summed = replace(
        figures[0],
        value_j=value,
        systematic_low_j=complete_sum([figure.systematic_low_j for figure in figures]) if known else None,
        systematic_high_j=complete_sum([figure.systematic_high_j for figure in figures]) if known else None,
        method=Method.worst([figure.method for figure in figures]) if known else Method.UNAVAILABLE,
        quantisation_j=quantisation_j,
        parts_j=_parts_over(figures),
        flags=tuple(flag for flag in _union(figure.flags for figure in figures) if short or flag != SHORT_FLAG),
        notes=_union(figure.notes for figure in figures),
    )
    return summed.whole()


def _parts_over(figures: Sequence[EnergyFigure]) -> tuple[float, ...]:
    """What each board or zone adds over several windows; nothing where they do not tell the same ones apart."""
    parts = [figure.parts_j for figure in figures]
    return tuple(map(math.fsum, zip(*parts, strict=True))) if len({len(part) for part in parts}) == 1 else ()


def energy_over(windows: Sequence[Window]) -> TotalEnergy:
    """Sum over windows and components, whether of one repeat or not.

    Without a value where any window has none, where there is no window, or where a counter stood still in all of them.
    """
    energies = [window.energy for window in windows]
    names = tuple(dict.fromkeys(name for energy in energies for name in energy.components))
    if _stood_still(windows):
        return TotalEnergy(None, None, None, Method.UNAVAILABLE, names)
    return added(energies, names)


def components_of(windows: Sequence[Window]) -> list[str]:
    """Names of the components that were read, or should have been."""
    return sorted({figure.component for window in windows for figure in window.figures})


def of_component(windows: Sequence[Window], name: str) -> list[Window]:
    """The windows as if nothing but one component had been read."""
    return [
        replace(window, figures=tuple(figure for figure in window.figures if figure.component == name))
        for window in windows
    ]


def _stood_still(windows: Sequence[Window]) -> bool:
    by_component: dict[str, list[EnergyFigure]] = {}
    for window in windows:
        for figure in counted(window.figures):
            by_component.setdefault(figure.component, []).append(figure)
    return any(0 in _parts_over(figures) for figures in by_component.values())


def without_short_repeats(windows: Iterable[Window], phase: str, shortest_s: float) -> list[Window]:
    """The windows, where those of a phase whose repeat is shorter in all than `shortest_s` are no repeat any more."""
    listed = list(windows)
    lengths: dict[int, float] = {}
    for window in listed:
        if window.phase == phase and window.repeat is not None:
            lengths[window.repeat] = lengths.get(window.repeat, 0.0) + window.duration_s
    return [
        replace(window, repeat=None)
        if window.phase == phase and window.repeat is not None and lengths[window.repeat] < shortest_s
        else window
        for window in listed
    ]


def _union(many: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for texts in many for text in texts))
