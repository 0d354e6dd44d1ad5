"""When a certificate is due: the same answer every time, in time, and not all at once."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_fixtures import ATTEMPT

from scepflow.pipeline import RenewOptions
from scepflow.records import CertificateFacts
from scepflow.renewal import due_at, renewal_of
from scepflow.testing import NOW

DAY = timedelta(days=1)
LARGEST_OFFSET = 0.05


def _due(life=365 * DAY, before="auto", *, name="gw1", serial=1, begin=NOW):
    return due_at(not_before=begin, not_after=begin + life, before=before, name=name, serial=serial)


@pytest.mark.parametrize(
    ("life_days", "before", "left_days"),
    [
        (365, "auto", 365 * 0.33),
        (365, "33%", 365 * 0.33),
        (365, "10%", 36.5),
        (365, "0.5%", 1.825),
        (365, "99.5%", 363.175),
        (365, "30d", 30),
        (365, "12h", 0.5),
        (10, "auto", 5),
        (10.01, "auto", 10.01 * 0.33),
        (1 / 24, "auto", 1 / 48),
        (20, "30d", 10),  # longer than the lifetime: half of it
        (30, "30d", 15),
    ],
)
def test_what_is_left_of_the_lifetime_is_what_was_asked_less_the_offset(life_days, before, left_days):
    life = life_days * DAY
    left = NOW + life - _due(life, before)
    largest = min(life * LARGEST_OFFSET, left_days * DAY / 2)
    assert left_days * DAY - largest <= left <= left_days * DAY


lives = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=36500))
befores = st.one_of(
    st.just("auto"),
    st.floats(min_value=0.1, max_value=99.9).map(lambda share: f"{share:.1f}%"),
    st.integers(min_value=1, max_value=40000).map(lambda days: f"{days}d"),
    st.integers(min_value=1, max_value=10**6).map(lambda seconds: f"{seconds}s"),
)
serials = st.integers(min_value=0, max_value=(1 << 160) - 1)
begins = st.integers(min_value=-13000, max_value=13000).map(lambda days: NOW + days * DAY)


@given(life=lives, before=befores, name=st.text(max_size=20), serial=serials, begin=begins)
def test_due_is_within_the_lifetime_and_the_same_every_time(life, before, name, serial, begin):
    due = _due(life, before, name=name, serial=serial, begin=begin)
    assert begin <= due < begin + life
    assert due == _due(life, before, name=name, serial=serial, begin=begin)
    assert due.utcoffset() == timedelta(0)


@given(
    life=st.timedeltas(min_value=timedelta(hours=1), max_value=36500 * DAY), before=befores, serial=serials
)
def test_a_renewal_always_brings_time_that_is_not_due(life, before, serial):
    """Else every run would renew."""
    assert _due(life, before, serial=serial) > NOW


@given(life=lives, before=befores, serial=serials)
def test_half_of_what_before_leaves_is_left_at_least(life, before, serial):
    earliest = min(_due(life, before, serial=serial, name=name) for name in "abcdef")
    latest = max(_due(life, before, serial=serial, name=name) for name in "abcdef")
    end = NOW + life
    assert end - latest >= (end - earliest) / 2 - timedelta(microseconds=2)


def test_certificates_of_one_hour_are_spread_evenly_over_a_twentieth_of_the_lifetime():
    offsets = [(_due(serial=serial) - (NOW + 365 * DAY * 0.67)) / (365 * DAY) for serial in range(2000)]
    assert min(offsets) >= 0
    assert max(offsets) < LARGEST_OFFSET
    tenths = [int(offset / LARGEST_OFFSET * 10) for offset in offsets]
    assert all(150 <= tenths.count(tenth) <= 250 for tenth in range(10))


def test_the_offset_is_of_both_the_name_and_the_serial():
    assert len({_due(name=name, serial=serial) for name in ("gw1", "gw2") for serial in (1, 2)}) == 4


def test_the_offset_is_the_same_in_every_version():
    """Else an update would move all renewals."""
    due = due_at(
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2027, 1, 1, tzinfo=UTC),
        before="33%",
        name="gw1",
        serial=0x4F11,
    )
    assert due == datetime(2026, 9, 7, 12, 43, 44, 266803, tzinfo=UTC)


def test_a_pipeline_and_what_the_journal_knows_give_the_same(world):
    facts = CertificateFacts(
        subject="CN=gw1",
        issuer="CN=CA",
        serial="4f11",
        fingerprint="sha256:ab",
        not_before=NOW,
        not_after=NOW + 365 * DAY,
    )
    pipeline = world.pipeline(renew=RenewOptions(before="30d"))
    assert renewal_of(pipeline, facts, None) == _due(before="30d", serial=0x4F11)


# -- counted from when it came


def _came(issued_at, *, life=timedelta(hours=33), begin=NOW, before="auto"):
    return due_at(
        not_before=begin,
        not_after=begin + life,
        before=before,
        name="gw1",
        serial=1,
        issued_at=issued_at,
    )


def test_the_life_of_a_certificate_that_is_dated_back_begins_when_it_comes():
    came = NOW + timedelta(hours=24)
    left = timedelta(hours=9)
    assert _came(came) - came >= left / 2
    assert _came(came) == _came(None, life=left, begin=came)


def test_a_certificate_is_not_due_in_its_first_hour_or_half_of_its_life():
    assert _came(NOW, life=timedelta(hours=8), before="7h59m") == NOW + timedelta(hours=1)
    assert _came(NOW, life=timedelta(minutes=5), before="90%") == NOW + timedelta(minutes=2.5)


def test_one_that_came_before_it_begins_or_after_it_ends_has_the_life_that_it_says():
    assert _came(NOW - timedelta(minutes=30)) == _came(None)
    assert _came(NOW + timedelta(days=99)) == _came(None), "the clock was wrong then"


def test_of_one_that_was_adopted_it_is_not_known_when_it_came():
    adopted = msgspec.structs.replace(ATTEMPT, purpose="adoption", ended_at=NOW)
    assert adopted.issued_at is None
    assert msgspec.structs.replace(adopted, purpose="renewal").issued_at == NOW
    late = due_at(not_before=NOW - 364 * DAY, not_after=NOW + DAY, before="auto", name="gw1", serial=1)
    assert late < NOW, "due at once"
