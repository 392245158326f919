"""Data-parallel training on several devices of one machine (PyTorch's DistributedDataParallel, or its FSDP2).

The run's own process is rank 0: it reads every device's energy, and writes the record. It starts one process for each
further rank, which trains in step with it and leaves nothing behind but its log. Scoring is rank 0's alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

from harness.config.compose import resolved_config
from harness.config.schema import Config
from harness.config.task import TrainTaskConfig
from harness.energy.meter import EnergyMeter

_PATIENCE_S = 30  # for the other ranks to end by themselves


def strategy_options(config: Config) -> dict[str, Any]:
    """Options of a Trainer that trains on all devices of a cell."""
    if config.hardware.devices == 1:
        return {}
    devices, backend = config.hardware.devices, "nccl" if config.hardware.accelerator == "cuda" else "gloo"
    strategy: Strategy = DDPStrategy(process_group_backend=backend)
    if shards(config):
        strategy = ModelParallelStrategy(devices, 1, save_distributed_checkpoint=False, process_group_backend=backend)
    return {"devices": devices, "strategy": strategy, "plugins": [LightningEnvironment()]}


def shards(config: Config) -> bool:
    """Whether each device holds a share of the model."""
    return config.hardware.devices > 1 and config.hardware.strategy == "fsdp"


def shard(network: nn.Module, mesh: Any) -> None:
    """Leave each device its share of the parameters; those of a block come together while it computes."""
    for module in network.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def rank_and_ranks(config: Config) -> tuple[int, int]:
    """This process's rank in a training, and how many there are."""
    devices = config.hardware.devices
    return (int(os.environ["LOCAL_RANK"]) if devices > 1 else 0), devices


@contextmanager
def other_ranks(config: Config, folder: Path) -> Iterator[None]:
    """The further ranks of a training, for as long as the block lasts; none for a single device."""
    if config.hardware.devices == 1:
        yield
        return
    (folder / "cell.json").write_text(json.dumps(resolved_config(config)), encoding="utf-8")
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    before = {name: os.environ.get(name) for name in (*group, "LOCAL_RANK")}
    os.environ.update(group, LOCAL_RANK="0")
    with ExitStack() as logs:
        ranks = [
            _start(rank, folder, logs.enter_context((folder / f"rank{rank}.log").open("wb")))
            for rank in range(1, config.hardware.devices)
        ]
        try:
            yield
            for process in ranks:
                process.wait(_PATIENCE_S)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
            if distributed.is_initialized():
                distributed.destroy_process_group()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            (folder / "cell.json").unlink()


def _start(rank: int, folder: Path, log: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LOCAL_RANK": str(rank), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", "harness.runner.ranks", str(folder)],
        env=environment,
        stdin=subprocess.PIPE,  # Its end tells the rank that this process is gone, however it went.
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _end_with_the_first_rank() -> None:
    def watch() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path) -> None:
    """Train as one of the further ranks."""
    _end_with_the_first_rank()
    from harness.config.compose import load_config
    from harness.runner.run import load, prepare
    from harness.runner.session import Session
    from harness.runner.train import train

    config = load_config(json.loads((folder / "cell.json").read_text(encoding="utf-8")))
    prepare(config)
    source, model = load(config)
    torch.manual_seed(config.seed + int(os.environ["LOCAL_RANK"]))  # Each rank drops out other units.
    session = Session(config, model, source, EnergyMeter([]), lambda *_: None, folder)
    assert isinstance(config.task, TrainTaskConfig), "only trainings have further ranks"
    train(session, config.task)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
