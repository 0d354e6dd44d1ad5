"""The lines of one event, in sscep's words."""

import errno
import io
from datetime import UTC, datetime

import pytest

from scepflow.errors import RejectedError, ScepflowError, TransportError
from scepflow.events import PollScheduled, ReplyReceived, RequestSent, SinkDelivered, SinkFailed, Warned
from scepflow.sscep.output import Screen
from scepflow.sscep.settings import SscepExit

FULL = OSError(errno.ENOSPC, "full")
AT = {"pipeline": "sscep", "at": datetime(2024, 1, 1, tzinfo=UTC)}


class Printed:
    def __init__(self, **options):
        self.out, self.err = io.StringIO(), io.StringIO()
        self.screen = Screen("sscep", stdout=self.out, stderr=self.err, **options)

    def tell(self, event, **fields):
        self.screen.scepflow_event(event(**AT, **fields))
        return self.out.getvalue(), self.err.getvalue()


def sent(message_type, poll=0):
    named = {"message_type": message_type, "transaction_id": "T", "poll": poll, "method": "POST"}
    return {**named, "cipher": "aes-128-cbc", "digest": "sha-256", "size_bytes": 9}


@pytest.mark.parametrize(
    ("message_type", "poll", "line"),
    [
        ("PKCSReq", 0, "sending certificate request"),
        ("RenewalReq", 0, "sending certificate request"),
        ("CertPoll", 3, "requesting certificate (#3)"),
        ("GetCert", 0, "requesting certificate"),
        ("GetCRL", 0, "requesting crl"),
    ],
)
def test_a_request_is_announced(message_type, poll, line):
    assert Printed().tell(RequestSent, **sent(message_type, poll)) == (f"sscep: {line}\n", "")


def test_a_reply_names_the_transaction_and_is_told_once():
    printed = Printed()
    printed.tell(RequestSent, **sent("PKCSReq"))
    reply = {"transaction_id": "T", "pki_status": "PENDING", "http_status": 200, "elapsed_s": 0.1}
    out, _ = printed.tell(ReplyReceived, **reply)
    assert out.splitlines()[1:] == [
        "sscep: valid response from server",
        "sscep: reply transaction id: T",
        "sscep: pkistatus: PENDING",
    ]
    printed.screen.replied("PENDING")
    assert printed.out.getvalue() == out


def test_a_rejection_has_sscep_s_reason_and_the_ca_s():
    printed = Printed()
    printed.screen.rejected(RejectedError("no", fail_info=2, fail_info_text="policy", transaction_id="T"))
    printed.screen.rejected(RejectedError("no words", fail_info=9, transaction_id="T"))
    printed.screen.rejected(RejectedError("no reason", fail_info=None, transaction_id="T"))
    assert printed.out.getvalue().splitlines() == [
        "sscep: reason: Transaction not permitted or supported",
        "sscep: reason of the CA: policy",
        "sscep: reason: no words",
        "sscep: reason: no reason",
    ]
    assert printed.err.getvalue() == "sscep: wrong failInfo in reply\nsscep: cannot find failInfo\n"


@pytest.mark.parametrize("verbose", [True, False])
def test_waits_and_warnings_are_for_v_only(verbose):
    printed = Printed(verbose=verbose)
    printed.tell(Warned, code="weak-reply", text="weak")
    out, err = printed.tell(PollScheduled, transaction_id="T", poll=1, delay_s=300.0, waited_s=0.0)
    assert out == ("sscep: waiting for 300 secs\n" if verbose else "")
    assert err == ("sscep: weak (weak-reply)\n" if verbose else "")


def test_a_sink_says_where_it_wrote_or_why_not():
    printed = Printed()
    printed.tell(SinkDelivered, sink="file", detail="local.crt", elapsed_s=0.1)
    assert printed.tell(SinkFailed, sink="file", error="disk full") == (
        "sscep: certificate written as local.crt\n",
        "sscep: cannot open cert file for writing\nsscep: disk full\n",
    )


def test_an_error_comes_with_what_to_do():
    printed = Printed()
    printed.screen.failed(TransportError("cannot reach h", hint="is it up?"))
    assert printed.err.getvalue() == "sscep: cannot reach h\nsscep: is it up?\n"


def test_an_end_prints_its_lines_as_they_are():
    printed = Printed()
    assert printed.screen.ended(SscepExit(93, stdout=("a",), stderr=("b", "c"))) == 93
    assert (printed.out.getvalue(), printed.err.getvalue()) == ("a\n", "b\nc\n")


class Broken(io.StringIO):
    """A stream that cannot be written, at first."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        if self.error:
            error, self.error = self.error, None
            raise error


@pytest.mark.parametrize("error", [BrokenPipeError(), FULL, ValueError("closed"), ScepflowError("stdout")])
def test_a_line_that_cannot_be_printed_ends_nothing_and_is_the_last(error):
    out, err = Broken(error), Broken(error)
    screen = Screen("sscep", stdout=out, stderr=err)
    screen.say("one")
    screen.complain("one")
    screen.say("two")
    assert screen.ended(SscepExit(93, stdout=["three"], stderr=["two"])) == 93
    assert (out.getvalue(), err.getvalue()) == ("sscep: one\n", "sscep: one\n")


def test_a_short_key_is_pointed_out_once_without_v():
    printed = Printed()
    printed.tell(Warned, code="short-key", text="1024 bits")
    assert printed.tell(Warned, code="short-key", text="1024 bits") == ("", "sscep: 1024 bits\n")
