from itertools import islice

import msgspec
import pytest

from scepflow.errors import OptionError
from scepflow.options import Duration
from scepflow_bundled.pollers import BackoffPoller, FixedPoller


def test_the_defaults_poll_for_at_most_eight_hours():
    for poller in (FixedPoller(), BackoffPoller()):
        delays = list(poller.delays_s())
        assert delays[0] == 60
        assert 8 * 3600 - 900 < sum(delays) <= 8 * 3600


def test_fixed_delays_are_all_the_interval():
    poller = FixedPoller(interval=Duration("10s"), max_time=Duration("35s"))
    assert list(poller.delays_s()) == [10, 10, 10]


def test_a_sum_of_exactly_max_time_is_still_polled():
    poller = FixedPoller(interval=Duration("10s"), max_time=Duration("30s"))
    assert list(poller.delays_s()) == [10, 10, 10]


def test_an_interval_longer_than_max_time_never_polls():
    assert list(FixedPoller(interval=Duration("10s"), max_time=Duration("9s")).delays_s()) == []


def test_backoff_delays_grow_by_the_factor_up_to_max_interval():
    poller = BackoffPoller(interval=Duration("10s"), factor=3, max_interval=Duration("50s"))
    assert list(islice(poller.delays_s(), 5)) == [10, 30, 50, 50, 50]


def test_an_interval_above_max_interval_stays_and_does_not_grow():
    poller = BackoffPoller(interval=Duration("30m"), max_time=Duration("2h"))
    assert list(poller.delays_s()) == [1800] * 4


@pytest.mark.parametrize("stage", [FixedPoller, BackoffPoller])
@pytest.mark.parametrize("polls", [0, 1, 3])
def test_max_count_ends_the_polling(stage, polls):
    assert len(list(stage(max_count=polls).delays_s())) == polls


@pytest.mark.parametrize("stage", [FixedPoller, BackoffPoller])
def test_without_wait_this_run_does_not_poll(stage):
    assert list(stage(wait=False).delays_s()) == []


@pytest.mark.parametrize("stage", [FixedPoller, BackoffPoller])
def test_delays_can_be_asked_for_again(stage):
    poller = stage(max_count=2)
    assert list(poller.delays_s()) == list(poller.delays_s())


@pytest.mark.parametrize("stage", [FixedPoller, BackoffPoller])
def test_an_interval_of_zero_is_bounded_by_max_count(stage):
    assert list(stage(interval=Duration("0s"), max_count=3).delays_s()) == [0, 0, 0]
    with pytest.raises(OptionError, match="never ends") as caught:
        stage(interval=Duration("0s"))
    assert caught.value.where == "interval"


@pytest.mark.parametrize("stage", [FixedPoller, BackoffPoller])
def test_an_interval_below_a_second_is_refused(stage):
    with pytest.raises(OptionError, match="below one second") as caught:
        stage(interval=Duration("0.5s"))
    assert caught.value.where == "interval"


@pytest.mark.parametrize(
    ("stage", "options", "where"),
    [
        (FixedPoller, {"use": "fixed", "max_count": -3}, "max_count"),
        (BackoffPoller, {"use": "backoff", "max_count": -3}, "max_count"),
        (BackoffPoller, {"use": "backoff", "factor": 0.5}, "factor"),
        (BackoffPoller, {"use": "backoff", "factor": 11}, "factor"),
        (FixedPoller, {"use": "fixed", "factor": 2}, "factor"),
    ],
)
def test_numbers_out_of_range_are_refused_by_validation(stage, options, where):
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(options, stage, dec_hook=lambda kind, value: kind(value))


def test_toml_values_become_options():
    options = {
        "use": "backoff",
        "interval": "5s",
        "factor": 4,
        "max_time": "1m",
        "max_count": 9,
        "wait": True,
    }
    poller = msgspec.convert(options, BackoffPoller, dec_hook=lambda kind, value: kind(value))
    assert list(poller.delays_s()) == [5, 20]
