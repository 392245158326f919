"""Windows of a training that pauses cut."""

from dataclasses import replace

from harness.config.compose import compose_cell
from harness.energy.segments import without_short_repeats
from harness.runner.metering import MeteredTraining


def measured(monkeypatch, pauses=(), steps=20, warmup_s=0):
    """Windows of a training of steps of 1 s, in windows of at least 3 s, paused after some steps."""
    from harness.energy.meter import EnergyMeter, Work

    now = [0.0]
    monkeypatch.setattr("harness.runner.metering.time.perf_counter", lambda: now[0])
    short = ["protocol.warmup_iterations=0", f"protocol.warmup_s={warmup_s}", "protocol.window_s=3"]
    meter = EnergyMeter([])
    protocol = compose_cell(short).config.protocol
    metering = MeteredTraining(meter, protocol, lambda first, last: Work(iterations=last - first))
    trainer = type("Trainer", (), {"max_steps": steps})()
    metering.on_train_start(trainer, None)
    for batch in range(steps):
        now[0] += 1.0
        metering.on_train_batch_end(trainer, None, None, None, batch)
        if batch + 1 in pauses:
            metering.on_validation_start(trainer, None)
            now[0] += 10.0
            metering.on_validation_end(trainer, None)
    metering.on_train_end(trainer, None)
    meter.close()
    return [(w.phase, w.repeat, w.work.iterations) for w in meter.windows if w.phase != "validate"], meter.windows


def test_steps_that_fill_no_further_window_belong_to_the_last(monkeypatch):
    windows, _ = measured(monkeypatch)
    assert windows == [("warmup", None, 1), *[("train", n, 3) for n in (1, 2, 3, 4, 5)], ("train", 6, 4)]


def test_a_pause_cuts_a_repeat_into_windows_that_are_one_again_in_the_summary(monkeypatch):
    windows, _ = measured(monkeypatch, pauses=(5, 6, 20))
    assert windows[:5] == [("warmup", None, 1), ("train", 1, 3), ("train", 2, 1), ("train", 2, 1), ("train", 2, 1)]
    assert [repeat for _, repeat, _ in windows[5:]] == [3, 4, 5, 6]
    assert sum(iterations for _, _, iterations in windows) == 20


def test_a_warm_up_goes_on_after_a_pause(monkeypatch):
    windows, _ = measured(monkeypatch, pauses=(1, 2, 3), warmup_s=4)
    assert windows[:5] == [*[("warmup", None, 1)] * 4, ("train", 1, 3)]


def test_a_last_repeat_that_is_too_short_is_none(monkeypatch):
    """The clock of the windows themselves is not the simulated one: their lengths are put in by hand."""
    _, windows = measured(monkeypatch, steps=4)
    whole = [replace(window, duration_s=float(window.work.iterations)) for window in windows]
    assert [w.repeat for w in without_short_repeats(whole, "train", 3.0)] == [None, 1]
    assert [w.repeat for w in without_short_repeats(whole, "train", 3.5)] == [None, None]
