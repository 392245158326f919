"""`python -m harness` and `joulebench`: the command line. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from harness import __version__
from harness.errors import Terminated, UserError

_EPILOG = """Overrides are Hydra's: key=value, group=option, and in a sweep key=a,b,c.

  joulebench run model=smollm2-135m precision=bf16 batch_size=4
  joulebench sweep model=gpt-nano,gpt-micro task=train precision=fp32,bf16 batch_size=8,32
  joulebench sweep experiment=demo
  joulebench report demo --venue icml-column --site world

Exit status: 0 done; 1 the answer is no (a cell failed); 2 bad input."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] in (["-sc"], ["--shell-completion"]):
        return _complete(arguments)
    options = _parser().parse_args(arguments)
    if os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID") != "PCI_BUS_ID":
        print("CUDA_DEVICE_ORDER is taken as PCI_BUS_ID, the order of NVML's counters", file=sys.stderr)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # So that both mean the same board.
    debug = options.debug or bool(os.environ.get("JOULEBENCH_DEBUG"))
    try:
        status: int = _command(options.command)(options)
        return status
    except UserError as error:
        if debug:
            raise
        print(f"joulebench {options.command}: {error.render()}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # What Python flushes at its end goes nowhere.
        return 141
    except KeyboardInterrupt as stopped:
        kept = "; what is finished stays, and the same command goes on from there" if options.command == "sweep" else ""
        print(f"joulebench {options.command}: stopped{kept}", file=sys.stderr)
        return 143 if isinstance(stopped, Terminated) else 130


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    from importlib import import_module

    found: Callable[[argparse.Namespace], int] = import_module(f"harness.commands.{name}").main
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="joulebench",
        description="What a language model's quality costs in energy, and how sure one can be.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"joulebench {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks (also JOULEBENCH_DEBUG=1)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (("run", "run one cell"), ("sweep", "run every cell of a grid; finished cells are skipped")):
        command = commands.add_parser(name, help=text, parents=[common])
        command.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="key=value in Hydra's grammar")
        command.add_argument("--cfg", action="store_true", help="print the resolved configuration and stop")
    plan = commands.add_parser("plan", help="what a sweep would do and cost; runs nothing", parents=[common])
    plan.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as for sweep")
    plan.add_argument("--json", action="store_true", help="print JSON")
    verify = commands.add_parser("verify", help="run a recorded cell again: is it reproduced?", parents=[common])
    verify.add_argument("record", help="a run's folder, or its record.json")
    verify.add_argument("--keep", metavar="DIR", help="results folder for the new run; without it, it is not kept")
    compare = commands.add_parser("compare", help="two studies or two runs, cell by cell", parents=[common])
    compare.add_argument("first", help="a study's or a run's folder")
    compare.add_argument("second")
    compare.add_argument("--results-dir", default=os.environ.get("JOULEBENCH_RESULTS", "results"))
    merge = commands.add_parser("merge", help="bring the results of several machines together", parents=[common])
    merge.add_argument("sources", nargs="+", metavar="SOURCE", help="results folders, or study folders in them")
    merge.add_argument("destination", help="results folder")
    _add_reporting(commands, common)
    doctor = commands.add_parser("doctor", help="what this machine can measure", parents=[common])
    doctor.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="hardware= and energy=, as for run")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_reporting(commands: Any, common: argparse.ArgumentParser) -> None:
    """The commands that start from what is on disk."""
    results = argparse.ArgumentParser(add_help=False)
    results.add_argument("--results-dir", default=os.environ.get("JOULEBENCH_RESULTS", "results"))
    results.add_argument("--site", metavar="SITE", help="adds carbon and cost: an option of conf/site, or a path")
    report = commands.add_parser("report", help="tables, figures and a page of studies", parents=[common, results])
    report.add_argument("study", nargs="+", help="folders under results/")
    report.add_argument("--to", metavar="NAME", help="folder under results/ to write to; the study's own by default")
    report.add_argument("--venue", default="neurips", help="width of the figures")
    beside = "another tool's results beside ours: tidy-csv, lm-eval, optimum-benchmark, codecarbon or ml-energy"
    report.add_argument("--import", dest="beside", action="append", default=[], metavar="FORMAT=PATH", help=beside)
    margin = "nats a token by which a run may be worse than fp32 and count as equally good; 0.01 without it"
    report.add_argument("--margin", type=float, metavar="NATS", help=margin)
    report.add_argument(
        "--columns",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=[],
        help="of a table of your own: a,b,c",
    )
    report.add_argument("--figures", metavar="FILE", help="a figure list of your own")
    report.add_argument("--figure", metavar="NAME", help="draw this one alone")
    restyle = "a key of its entry or a setting of its style, such as --set x_scale=linear"
    report.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=restyle)
    export = commands.add_parser("export", help="a study in formats of reviewers and hubs", parents=[common, results])
    export.add_argument("study", help="folder under results/")
    formats = "mlperf-log, model-index, compute-statement, croissant, wandb or mlflow"
    export.add_argument("formats", nargs="+", metavar="FORMAT", help=formats)
    work = "a run's energy extended to a larger model, more tokens or requests"
    project = commands.add_parser("project", help=work, parents=[common, results])
    project.add_argument("record", help="a run's folder, or its record.json")
    for option, metavar, text in (
        ("parameters", "N", "of a dense decoder; without it, the measured model"),
        ("tokens", "D", "tokens to train on"),
        ("requests", "R", "requests to answer"),
        ("prompt-tokens", "T", "of a request; without it, as measured"),
        ("output-tokens", "T", "of a request; without it, as measured"),
    ):
        project.add_argument(f"--{option}", type=float, metavar=metavar, help=text)
    factor = "utilisation may be F times higher or lower"
    project.add_argument("--utilisation-factor", type=float, default=1.0, metavar="F", help=factor)
    project.add_argument("--json", action="store_true", help="print JSON")


def _complete(arguments: Sequence[str]) -> int:
    """Hydra's own shell completion, over our configuration."""
    import hydra

    from harness.config.compose import config_dir

    sys.argv = ["joulebench", *arguments]
    hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")(lambda config: None)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
