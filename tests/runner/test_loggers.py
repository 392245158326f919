import pandas as pd
import pytest

from harness.config.compose import compose_cell
from harness.config.fingerprint import fingerprint
from harness.errors import UserError
from harness.runner.folders import run_folder
from harness.runner.loggers import open_logger
from tests.runner.test_run import run


def test_none_is_the_default(tmp_path):
    assert open_logger(compose_cell([]).config.logger, tmp_path, "run") is None


def test_a_csv_logger_sees_losses_and_validations_and_changes_no_identity(train_tiny):
    watched = [*train_tiny, "logger=csv", "task.steps=60", "task.validation.every=30"]
    config = compose_cell(watched).config
    assert fingerprint(config) == fingerprint(compose_cell([o for o in watched if not o.startswith("logger")]).config)
    assert run(watched).status == "ok"
    metrics = pd.read_csv(run_folder(config) / "logs" / "metrics.csv")
    losses = pd.read_parquet(run_folder(config) / "losses.parquet").set_index("step")["loss"]
    curve = pd.read_parquet(run_folder(config) / "curve.parquet")
    seen = metrics.dropna(subset=["training/loss"])
    assert len(seen) >= 1
    for _, row in seen.iterrows():
        assert row["training/loss"] == pytest.approx(losses[row["step"] + 1], rel=1e-5)
    assert list(metrics["validation/perplexity"].dropna()) == pytest.approx(list(curve["perplexity"]))


def test_a_missing_package_comes_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setattr("harness.runner.loggers.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"logger=wandb: the package wandb is not installed\n  remedy:  pip install wandb"
    ):
        open_logger(compose_cell(["logger=wandb"]).config.logger, tmp_path, "run")


def test_an_option_that_a_logger_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match="unexpected keyword argument 'colour'"):
        open_logger(compose_cell(["logger=csv", "+logger.options.colour=red"]).config.logger, tmp_path, "run")
