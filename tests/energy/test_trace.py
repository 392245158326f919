import time

import pytest

from harness.energy.trace import PowerSampler, Sample, hold_energy_j


@pytest.mark.parametrize(
    ("times", "watts", "start", "end", "joules"),
    [
        ([0, 1, 2], [100, 100, 100], 0.5, 2.5, 200.0),  # constant power is not 0 J
        ([0, 1, 2], [100, 200, 300], 0.5, 2.5, 50 + 200 + 150),  # steps, cut at both edges
        ([1.0], [50], 0.0, 4.0, 200.0),  # the first sample stands for what came before it
        ([0.0, 9.0], [10, 1000], 1.0, 3.0, 20.0),  # a sample after the end has no part
    ],
)
def test_the_zero_order_hold_by_hand(times, watts, start, end, joules):
    assert hold_energy_j(times, watts, start, end) == pytest.approx(joules)


def test_no_sample_gives_no_energy():
    assert hold_energy_j([], [], 0, 1) is None
    assert hold_energy_j([5.0], [100], 0, 1) is None


def test_a_sampler_without_a_period_is_refused():
    with pytest.raises(ValueError, match="never sleep"):
        PowerSampler([], period_s=0.0)


def test_the_sampler_sleeps_between_samples():
    sampler = PowerSampler([lambda: [Sample(time.perf_counter(), "gpu0", 1.0)]], period_s=0.02)
    sampler.start()
    time.sleep(0.5)
    sampler.stop()
    assert 10 <= len(sampler.samples) <= 30
    assert 0 < sampler.cpu_s < 0.1
    assert not sampler._thread.is_alive()


def test_a_probe_that_fails_leaves_a_gap_and_the_sampler_goes_on(caplog):
    answers = iter([[Sample(1.0, "gpu0", 1.0)], OSError("the driver is away")])

    def probe():
        answer = next(answers, [Sample(3.0, "gpu0", 3.0)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    sampler = PowerSampler([probe], period_s=0.01)
    sampler.start()
    time.sleep(0.2)
    sampler.stop()
    assert [sample.watts for sample in sampler.samples[:2]] == [1.0, 3.0]
    assert sampler.failures == 1
    assert "the driver is away" in caplog.text


def test_between_holds_the_last_sample_before_the_window():
    sampler = PowerSampler([])
    sampler.samples = [Sample(float(moment), "gpu0", 1.0) for moment in range(5)]
    sampler.samples.insert(1, Sample(0.5, "cpu", 1.0))
    sampler.samples.insert(3, Sample(1.2, "cpu", 1.0))
    assert [sample.time_s for sample in sampler.between("gpu0", 1.5, 3.0)] == [1.0, 2.0, 3.0]
