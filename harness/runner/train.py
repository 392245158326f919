"""Task `train`: next-token training under the meter, then scoring of the held-out text."""

from __future__ import annotations

from safetensors.torch import save_model
from torch.utils.data import DataLoader

from harness.config.task import TrainTaskConfig
from harness.data.tokens import token_file
from harness.energy.meter import Work
from harness.errors import UserError
from harness.metrics.flops import training_flops_per_token
from harness.runner.batches import TrainingBatches
from harness.runner.metering import MeteredTraining, ReportProgress
from harness.runner.module import LanguageModule
from harness.runner.score import score_text
from harness.runner.session import Session, TaskOutcome


def run_train(session: Session) -> TaskOutcome:
    """Train for a number of steps, then score.

    Raises:
        UserError: If the context is longer than the model's, or the text shorter than one block.
    """
    config = session.config
    task = config.task
    assert isinstance(task, TrainTaskConfig)
    context = task.context or session.model.context_length
    if context > session.model.context_length:
        raise UserError(
            f"task.context={context}: {config.model.label} reads at most {session.model.context_length} tokens",
            remedy="use a smaller task.context, or a larger model.context_length",
        )
    stream = token_file(session.corpus, "train", session.model.tokenizer, session.cache_dir)
    batches = TrainingBatches(stream, context, config.batch_size, task.steps, config.seed)
    module = LanguageModule(session.model.network, task.optimizer, task.steps)
    _fit(session, task, module, batches, context)
    if task.save_checkpoint:
        (session.folder / "checkpoint").mkdir(exist_ok=True)
        save_model(session.model.network, str(session.folder / "checkpoint" / "model.safetensors"))
    quality, stop_reason = score_text(session, module, task.scoring)
    return TaskOutcome(quality, {"train": _stop_reason(session, task), "score": stop_reason})


def _stop_reason(session: Session, task: TrainTaskConfig) -> str:
    """That all steps were taken; and, where they filled fewer windows than the protocol asks for, that too."""
    windows = sum(window.phase == "train" and window.repeat is not None for window in session.meter.windows)
    wanted = session.config.protocol.min_repeats
    few = f", which fill {windows} windows and not {wanted}: raise task.steps" if windows < wanted else ""
    return f"all {task.steps} steps{few}"


def _fit(
    session: Session, task: TrainTaskConfig, module: LanguageModule, batches: TrainingBatches, context: int
) -> None:
    tokens = session.config.batch_size * context
    step = Work(
        iterations=1,
        samples=session.config.batch_size,
        tokens=tokens,
        flops=float(training_flops_per_token(session.model.shape, context) * tokens),
    )
    metering = MeteredTraining(session.meter, session.config.protocol, step)
    trainer = session.trainer(
        [ReportProgress("train", session.progress), metering],
        max_steps=task.steps,
        gradient_clip_val=task.optimizer.gradient_clip_norm,
    )
    module.train()
    trainer.fit(module, DataLoader(batches, batch_size=None))
