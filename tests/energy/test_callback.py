"""EnergyMonitor on Trainers that know nothing of this project."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger

from harness.energy.callback import EnergyMonitor, energy_row
from harness.energy.figure import EnergyFigure, Method, unavailable
from harness.energy.rapl import RaplSource


def trainer(tmp_path, monitor, **options):
    settings = {"accelerator": "cpu", "max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 1,
                "limit_test_batches": 2, "enable_progress_bar": False, "enable_model_summary": False,
                "enable_checkpointing": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1}  # fmt: skip
    return pl.Trainer(default_root_dir=tmp_path, callbacks=[monitor], **{**settings, **options})


class Draws(BoringModel):
    """Lets the simulated CPU draw 2 J a training step and 1 J a validation step."""

    def __init__(self, rapl):
        super().__init__()
        self.rapl = rapl

    def training_step(self, batch, batch_idx):
        self.rapl.add_cpu_j(2.0)
        self.rapl.add_j("dram", 0.5)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.rapl.add_cpu_j(1.0)
        self.rapl.add_j("dram", 0.25)
        return super().validation_step(batch, batch_idx)


def test_stages_and_epochs_by_hand(tmp_path, rapl):
    monitor = EnergyMonitor(sources=lambda trainer: [RaplSource.open()])
    trainer(tmp_path, monitor, logger=CSVLogger(tmp_path)).fit(Draws(rapl))
    joules = [[round(row[f"{name}_energy_j"], 9) for name in ("cpu", "dram")] for row in monitor.measurements]
    rows = [(row["stage"], row["epoch"], *pair) for row, pair in zip(monitor.measurements, joules, strict=True)]
    assert rows == [
        ("validate", 0, 1.0, 0.25),
        ("epoch", 0, 7.0, 1.75),
        ("validate", 1, 1.0, 0.25),
        ("epoch", 1, 7.0, 1.75),
        ("train", None, 14.0, 3.5),
    ]
    assert {row["energy_method"] for row in monitor.measurements} == {"measured_counter"}
    [metrics] = tmp_path.rglob("metrics.csv")
    assert "epoch/total_energy_j" in metrics.read_text()


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_other_stages(tmp_path, rapl, stage):
    monitor = EnergyMonitor()
    getattr(trainer(tmp_path, monitor, logger=False), stage)(BoringModel())
    assert [row["stage"] for row in monitor.measurements] == [stage]


def test_by_default_one_line_is_enough(tmp_path, monkeypatch):
    monitor = EnergyMonitor()
    trainer(tmp_path, monitor, logger=False).fit(BoringModel())
    row = monitor.measurements[-1]
    assert row["stage"] == "train"
    assert row["energy_method"] in ("modelled", "measured_counter")
    assert row["total_energy_j"] > 0
    assert row["total_energy_low_j"] <= row["total_energy_j"] <= row["total_energy_high_j"]


def test_an_error_closes_the_open_windows(tmp_path):
    class Fails(BoringModel):
        def training_step(self, batch, batch_idx):
            raise ZeroDivisionError

    monitor = EnergyMonitor()
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, monitor, logger=False).fit(Fails())
    assert [window.flags[0] for window in monitor.meter.windows] == ["interrupted", "interrupted"]


def test_a_fit_that_fails_leaves_no_sampler_behind(tmp_path, rapl):
    class Fails(BoringModel):
        def training_step(self, batch, batch_idx):
            raise ZeroDivisionError

    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            trainer(tmp_path, EnergyMonitor(lambda trainer: [RaplSource.open()]), logger=False).fit(Fails())
    assert threading.active_count() == before


def test_a_device_that_failed_is_not_waited_for_and_the_sampler_ends(tmp_path, rapl, monkeypatch):
    """After an assertion on the device, every synchronising call raises again."""
    from harness.energy import callback

    failed = []

    def wait():
        if failed:
            raise RuntimeError("device-side assert")

    class Fails(BoringModel):
        def training_step(self, batch, batch_idx):
            failed.append(True)
            raise ZeroDivisionError

    monkeypatch.setattr(callback, "synchronize", wait)
    before = threading.active_count()
    monitor = EnergyMonitor(lambda trainer: [RaplSource.open()])
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, monitor, logger=False).fit(Fails())
    assert threading.active_count() == before
    assert [window.flags[0] for window in monitor.meter.windows] == ["interrupted", "interrupted"]


def test_a_trainer_of_one_process_asks_no_other_though_there_is_a_group(tmp_path, monkeypatch):
    """As after a training with several, in the first process alone: the others would never answer."""
    from torch import distributed

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_gather_object", lambda *_: pytest.fail("waits for ever"))
    monitor = EnergyMonitor()
    monitor.setup(trainer(tmp_path, monitor, logger=False), None, "fit")
    monitor.teardown(None, None, "fit")


def test_the_cpu_time_of_a_nodes_other_processes_is_this_runs_own(tmp_path, monkeypatch):
    """As under torchrun, where the ranks are not children of each other."""
    from harness.energy import host

    monkeypatch.setattr(host, "_peers", set())
    spin = textwrap.dedent(f"""
        import time
        from pathlib import Path
        while time.process_time() < 1.0: pass
        spun = Path("{tmp_path}/spun")
        spun.touch()
        while spun.exists(): time.sleep(0.05)
    """)
    # Through a shell that ends at once, so that it is nobody's child here.
    shell = f"{sys.executable} -c '{spin}' >/dev/null 2>&1 & echo $!"
    pid = int(subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True, timeout=20).stdout)
    while not (tmp_path / "spun").exists():
        time.sleep(0.05)
    before = host.own_cpu_seconds()
    host.count_as_own([pid, os.getpid()])
    assert 0.95 <= host.own_cpu_seconds() - before < 3.0  # to a tick of the system's clock
    assert {os.getpid(), pid} <= host.own_processes()
    (tmp_path / "spun").unlink()
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert host.own_cpu_seconds() >= before


def test_a_reading_that_one_process_lacks_is_not_summed():
    here = EnergyFigure("gpu", 5.0, 4.0, 6.0, Method.MEASURED_COUNTER, "s", "c")
    row = energy_row([here, unavailable("gpu", "s", "lost")])
    assert row["gpu_energy_j"] is None
    assert row["total_energy_j"] is None
    assert row["energy_method"] == "unavailable"


TWO_PROCESSES = """
import json, sys
from pathlib import Path
import pytest, pytorch_lightning as pl, torch
from pytorch_lightning.demos.boring_classes import BoringModel
from harness.energy.callback import EnergyMonitor
from harness.energy.gpu import open_gpus
from harness.energy.rapl import RaplSource
from tests.simulate import SimulatedNvml, SimulatedRapl

if __name__ == "__main__":
    out = Path(sys.argv[1])
    patch = pytest.MonkeyPatch()
    nvml = SimulatedNvml.install(patch, gpus=2)
    rapl = None

    class Draws(BoringModel):
        def training_step(self, batch, batch_idx):
            nvml.energy_mj[self.global_rank] += 1000 * (3 + self.global_rank)
            if rapl is not None:
                rapl.add_cpu_j(2.0)
                rapl.add_j("dram", 1.0)
            return super().training_step(batch, batch_idx)

    def sources(trainer):
        global rapl
        mine = [open_gpus([trainer.local_rank])]
        if trainer.local_rank == 0:
            rapl = SimulatedRapl.install(out / "powercap", patch)
            mine.append(RaplSource.open())
        return mine

    monitor = EnergyMonitor(sources)
    trainer = pl.Trainer(callbacks=[monitor], accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, limit_train_batches=5, limit_val_batches=0,
                         logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
                         num_sanity_val_steps=0, default_root_dir=str(out))
    trainer.fit(Draws())
    (out / f"rank{trainer.global_rank}.json").write_text(json.dumps(monitor.measurements))
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_two_processes_count_the_cpu_once_and_every_gpu(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(TWO_PROCESSES))
    import os

    root = str(__import__("pathlib").Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        row = json.loads((tmp_path / f"rank{rank}.json").read_text())[-1]
        assert row["stage"] == "train"
        assert row["gpu_energy_j"] == pytest.approx(5 * 3 + 5 * 4)
        assert row["cpu_energy_j"] == pytest.approx(5 * 2.0)
        assert row["dram_energy_j"] == pytest.approx(5 * 1.0)
        assert row["total_energy_j"] == pytest.approx(35 + 10 + 5)
