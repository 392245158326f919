"""The energy that a run measured, extended to a larger model, more tokens or a number of requests.

A projection is a model: it multiplies and spells out what it assumes. It measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from harness.errors import UserError
from harness.report.site import J_PER_KWH, Site, per_joule, site_sentence
from harness.stats.intervals import Interval
from harness.stats.projection import Estimate, forward_flops, total, training_flops


@dataclass(frozen=True)
class Workload:
    """What to project to: a training (`tokens`) or a number of requests.

    Attributes:
        parameters: N of a dense decoder, or those that a token activates; None for the measured model.
        tokens: D, tokens to train on.
        requests: Requests to answer.
        prompt_tokens, output_tokens: Of a request; None for those measured.
        utilisation_factor: By how much the utilisation may be higher or lower than measured; 1 or more.
    """

    parameters: float | None = None
    tokens: float | None = None
    requests: float | None = None
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    utilisation_factor: float = 1.0


@dataclass(frozen=True)
class Part:
    """The work of one phase.

    Attributes:
        phase: Whose measured energy is extended.
        amount: FLOPs for another size of model, tokens for the measured one.
        unit: Which of these.
        cost: Joules a unit.
    """

    phase: str
    amount: float
    unit: Literal["FLOP", "token"]
    cost: Estimate


@dataclass(frozen=True)
class Projection:
    """An extended energy with all it rests on.

    Attributes:
        run_id: The run that was measured.
        measured: What the run's energy is of, on which machine, how obtained and how often.
        energy_method: Method of the run's energy.
        parts: The work, phase by phase.
        energy_j: Joules of the components measured, with its interval.
        carbon_g, cost_usd: At the site, in grams and US dollars; None without a site or a factor.
        assumptions: In sentences.
    """

    run_id: str
    measured: str
    energy_method: str
    parts: tuple[Part, ...]
    energy_j: Interval
    carbon_g: Interval | None
    cost_usd: Interval | None
    assumptions: tuple[str, ...]


def project(record: Mapping[str, Any], work: Workload, site: Site | None = None) -> Projection:
    """Extend a run's energy to other work.

    Raises:
        UserError: If the work is not told apart, or the record lacks what it takes: the phase, its energy with an
            interval, or its FLOPs where the model is another.
    """
    _check(work)
    if record["status"] != "ok":
        raise UserError(f"{record['run_id']}: its status is {record['status']}", remedy="give a run that ended ok")
    parts = _training(record, work) if work.requests is None else _requests(record, work)
    energy = total([part.cost.times(part.amount) for part in parts]).interval(work.utilisation_factor)
    factors = per_joule(site) if site else {}
    return Projection(
        run_id=record["run_id"],
        measured=_measured(record, parts),
        energy_method=_common(record, parts, "energy_method"),
        parts=parts,
        energy_j=energy,
        carbon_g=_times(energy, factors.get("carbon_g")),
        cost_usd=_times(energy, factors.get("cost_usd")),
        assumptions=(*_assumptions(record, work, parts), *([site_sentence(site)] if site else [])),
    )


def _check(work: Workload) -> None:
    for name in (field.name for field in fields(work)):
        value = getattr(work, name)
        least = 1.0 if name in ("output_tokens", "utilisation_factor") else 0.0
        if value is not None and not (math.isfinite(value) and value >= least and value > 0):
            allowed = "a number of 1 or more" if least else "a number above 0"
            raise UserError(f"--{name.replace('_', '-')} {value:g}: out of range", allowed=[allowed])
    if (work.tokens is None) == (work.requests is None):
        raise UserError(
            "project: give either --tokens or --requests",
            remedy="--tokens 300e9 for a training, --requests 1e6 for requests to a model",
        )
    if work.requests is None and (work.prompt_tokens, work.output_tokens) != (None, None):
        raise UserError("project: --prompt-tokens and --output-tokens are of requests", remedy="give --requests too")


def _training(record: Mapping[str, Any], work: Workload) -> tuple[Part, ...]:
    assert work.tokens is not None, "checked before"
    flops = None if work.parameters is None else training_flops(work.parameters, work.tokens)
    return (_part(record, "train", work.tokens, flops),)


def _requests(record: Mapping[str, Any], work: Workload) -> tuple[Part, ...]:
    """A prompt gives the first token of the answer, so that the others alone are decoded."""
    assert work.requests is not None, "checked before"
    prompt, output = _lengths(record, work)
    parts = []
    for phase, tokens in (("prefill", work.requests * prompt), ("decode", work.requests * (output - 1))):
        if tokens > 0:
            flops = None if work.parameters is None else forward_flops(work.parameters, tokens)
            parts.append(_part(record, phase, tokens, flops))
    return tuple(parts)


def _lengths(record: Mapping[str, Any], work: Workload) -> tuple[float, float]:
    """Tokens of a prompt and of an answer: those asked for, or else those measured."""
    measured = record["summary"].get("generation", {})
    prompt = measured.get("prompt_tokens_mean") if work.prompt_tokens is None else work.prompt_tokens
    output = measured.get("output_tokens") if work.output_tokens is None else work.output_tokens
    if prompt is None or output is None:
        raise UserError(
            f"{record['run_id']}: its record does not tell the lengths of requests",
            remedy="give --prompt-tokens and --output-tokens, or a run of task=generate",
        )
    return float(prompt), float(output)


def _part(record: Mapping[str, Any], phase: str, tokens: float, flops: float | None) -> Part:
    """The work of a phase: its FLOPs where they are given, or else its tokens."""
    values = _phase(record, phase)
    if flops is None:
        return Part(phase, tokens, "token", _cost(values, values["tokens"]))
    if not values["flops"]:
        raise UserError(
            f"{record['run_id']}: its record has no FLOPs of {phase}",
            remedy="leave --parameters out (the measured model), or give a run of a model whose FLOPs are counted",
        )
    return Part(phase, flops, "FLOP", _cost(values, values["flops"]))


def _phase(record: Mapping[str, Any], phase: str) -> Mapping[str, Any]:
    phases: Mapping[str, Mapping[str, Any]] = record["summary"]["phases"]
    if phase not in phases:
        task = "train" if phase == "train" else "generate"
        raise UserError(
            f"{record['run_id']}: it has no phase {phase}", allowed=phases, remedy=f"give a run of task={task}"
        )
    values = phases[phase]
    if not values["total_energy_j"]:
        raise UserError(f"{record['run_id']}: no energy of {phase} was available", remedy="see `joulebench doctor`")
    if values["joules_per_token_relative_half_width"] is None:
        raise UserError(
            f"{record['run_id']}: its energy of {phase} has no interval, with {values['repeats']} repeat(s)",
            remedy="run it with more repeats: protocol=standard",
        )
    return values


def _cost(values: Mapping[str, Any], amount: float) -> Estimate:
    """Joules a unit, where the phase did `amount` units."""
    tokens = values["tokens"]
    return Estimate(
        value=values["total_energy_j"] / amount,
        low=values["joules_per_token_low"] * tokens / amount,
        high=values["joules_per_token_high"] * tokens / amount,
        random=values["joules_per_token_relative_half_width"],
    )


def _times(energy: Interval, factor: Interval | None) -> Interval | None:
    if factor is None:
        return None
    return Interval(energy.value * factor.value, energy.low * factor.low, energy.high * factor.high)


def _common(record: Mapping[str, Any], parts: Sequence[Part], key: str) -> str:
    """What the parts' phases say under a key."""
    return ", ".join(sorted({str(record["summary"]["phases"][part.phase][key]) for part in parts}))


def _machine(record: Mapping[str, Any]) -> str:
    environment = record["environment"]
    return (
        f"{record['cell']['device_name']} in a machine of {environment.get('logical_cpus')} logical CPUs and "
        f"{len(environment.get('gpus') or [])} GPUs"
    )


def _measured(record: Mapping[str, Any], parts: Sequence[Part]) -> str:
    phases = record["summary"]["phases"]
    flags = sorted({flag for part in parts for flag in phases[part.phase]["flags"]})
    doubts = f"; flags: {', '.join(flags)}" if flags else ""
    return (
        f"{_common(record, parts, 'energy_components')} energy, {_common(record, parts, 'energy_method')}, on "
        f"{_machine(record)}; {_common(record, parts, 'repeats')} repeats{doubts}"
    )


def _assumptions(record: Mapping[str, Any], work: Workload, parts: Sequence[Part]) -> list[str]:
    components = _common(record, parts, "energy_components")
    cell = record["cell"]
    factor = work.utilisation_factor
    return [
        f"It says what the work would cost on machines such as the one measured ({_machine(record)}), not on those "
        "that would be chosen for it.",
        _size(work),
        f"Same utilisation{f', or up to {factor:g} times higher or lower,' if factor > 1 else ''} as measured, on the "
        f"same board, at the same precision ({cell['precision']}) and batch size ({cell['batch_size']}).",
        "No communication between devices beyond the measured run's, and memory enough for the model.",
        f"Energy covers {components} alone, and the phase{'s' if len(parts) > 1 else ''} "
        f"{', '.join(part.phase for part in parts)} alone: no loading, validation, checkpoint, restart or idle time.",
        f"Intervals hold what is systematic in the {_common(record, parts, 'energy_method')} energy and 95 % of its "
        f"random error{f', and a factor of {factor:g} either way for utilisation' if factor > 1 else ''}; not that an "
        "assumption fails.",
    ]


def _size(work: Workload) -> str:
    """What stands behind the amounts."""
    lengths = " A token costs the same at every length of prompt and answer." if work.requests is not None else ""
    if work.parameters is None:
        return f"The measured model, at its measured joules per token.{lengths}"
    formula = "2ND" if work.requests is not None else "6ND"
    return (
        f"Same joules per FLOP at {work.parameters:.4g} parameters; {formula} FLOPs (Kaplan et al. 2020; PaLM, "
        f"appendix B), without attention over the context or recomputed activations.{lengths}"
    )


def as_lines(projection: Projection) -> list[str]:
    """For reading. Each line with a figure says by which method the run's energy was obtained, `modelled` above all."""
    method = projection.energy_method.replace("_", " ")
    figures = {
        "energy (J)": projection.energy_j,
        "energy (kWh)": _kwh(projection.energy_j),
        "carbon (g CO2e)": projection.carbon_g,
        "cost (USD)": projection.cost_usd,
    }
    return [
        f"run {projection.run_id}",
        f"measured: {projection.measured}",
        *(
            f"{part.phase}, {method}: {part.amount:.4g} {part.unit}s at {_told(part.cost.interval())} J/{part.unit}"
            for part in projection.parts
        ),
        *(
            f"{name}, projected from {method} energy: {_told(figure)}"
            for name, figure in figures.items()
            if figure is not None
        ),
        "It rests on this:",
        *(f"  - {assumption}" for assumption in projection.assumptions),
    ]


def as_dict(projection: Projection) -> dict[str, Any]:
    """For JSON: every figure with `value`, `low` and `high`; a missing one is None."""
    return {**asdict(projection), "energy_kwh": asdict(_kwh(projection.energy_j))}


def _kwh(energy: Interval) -> Interval:
    return Interval(energy.value / J_PER_KWH, energy.low / J_PER_KWH, energy.high / J_PER_KWH)


def _told(figure: Interval) -> str:
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"
