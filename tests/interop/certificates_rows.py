"""Rows on what a client asks for and what it gets: certificates that are right, wrong, odd; renewals; waiting."""

from rows import Elsewhere, Row, issued, refused

CHALLENGE = {"challenge": "ch4llenge-of-the-ca"}
ONE_TIME = {**CHALLENGE, "one_time_challenge": True}
ASKED = {"san": ["dns:gw1.example.com", "ip:192.0.2.7"], "extended_key_usage": ["serverAuth"]}
FEW_POLLS = '[poller]\nuse = "fixed"\ninterval = "1m"\nmax_count = 3'
ANOTHER_KEY = "none of the 1 certificates in the reply is for our key"


def rejected(exit_code=72, says="badRequest"):
    """An answer, not an accident: the same question is not asked again, so nothing recovers."""
    return refused(says=says, exit_code=exit_code, recovers=False)


WRONG = (
    *(
        Row(
            items=items,
            behave=(name,),
            title="in a renewal" if renewal else "in place of ours",
            renewal=renewal,
            expected=refused(check, says),
        )
        for items, name, check, says in (
            (("S-020",), "wrongkey", "certificate-key", ANOTHER_KEY),
            (("S-020",), "ca-inside", "certificate-key", ANOTHER_KEY),
            (("S-020", "Q-065"), "nothing-inside", "certificate-key", "a person still has to approve"),
            (("S-021",), "wrong-issuer", "chain", "does not chain to the CA"),
            (("S-021", "S-024"), "wrong-issuer-with-root", "chain", "does not chain to the CA"),
            (("S-021",), "issued-in-its-name", "chain", "certificate signature failure"),
            (("S-021",), "issued-by-a-client", "chain", "does not chain to the CA"),
            (("S-025", "S-021"), "already-expired", "chain", "certificate has expired"),
            (("S-025", "S-021"), "not-yet-valid", "chain", "certificate is not yet valid"),
            (("S-043",), "in-clear", None, "SUCCESS without an envelope"),
        )
        for renewal in (False, True)
    ),
    Row(items=("S-021",), behave=("self-signed-back",), expected=refused("chain", "self-signed certificate")),
    Row(
        items=("S-025", "Q-007"),
        behave=("self-signed-back",),
        title="in a renewal",
        renewal=True,
        expected=refused("new-certificate", "the certificate that is being renewed"),
    ),
    # A relaxed check relaxes no other.
    Row(
        items=("S-020",),
        behave=("wrongkey",),
        title="another check relaxed",
        ca={"relax": ["chain"]},
        expected=refused("certificate-key", ANOTHER_KEY),
    ),
)

ODD = (
    Row(items=("S-024", "C-064"), behave=("extra-roots",), expected=issued()),
    Row(
        items=("S-024", "C-064"),
        behave=("extra-roots",),
        title="in a renewal",
        renewal=True,
        expected=issued(),
    ),
    Row(items=("C-064",), behave=("chain-too",), expected=issued()),
    Row(items=("C-064",), behave=("several-matching",), expected=issued(warns="several-certificates")),
    Row(
        items=("C-064", "S-025"),
        behave=("several-matching",),
        title="in a renewal",
        renewal=True,
        expected=issued(warns="several-certificates"),
    ),
    Row(items=("S-026",), behave=("huge-chain-key",), expected=issued()),
    # S-022: a warning, since the key is ours and so is the harm; what a CA lets its clients do is the CA's to say.
    Row(items=("S-022",), behave=("ca-true",), expected=issued(warns="ca-certificate")),
    Row(items=("S-022",), behave=("may-issue",), expected=issued(warns="key-cert-sign")),
    Row(
        items=("S-023", "Q-116"),
        behave=("other-subject",),
        expected=issued(warns="subject-changed", says="CN=gw2.example.com"),
    ),
    Row(items=("S-023", "Q-116"), behave=("no-subject",), expected=issued(warns="subject-changed")),
    Row(
        items=("S-023", "Q-116"),
        behave=("no-extensions",),
        csr=ASKED,
        expected=issued(warns="san-changed", says="left out 2 of the 2 names"),
    ),
    Row(
        items=("S-023", "Q-116"),
        behave=("no-extensions",),
        title="usages",
        csr=ASKED,
        expected=issued(warns="usage-changed"),
    ),
    # S-023, Q-116: extra usages are told of beside those that were asked for; most CAs give some to whoever names none.
    Row(items=("Q-116",), behave=("more-usages",), expected=issued()),
    Row(
        items=("S-023", "Q-116"),
        behave=("more-usages",),
        title="others were asked for",
        csr={"extended_key_usage": ["clientAuth"]},
        expected=issued(warns="usage-changed", says="added 1.3.6.1.5.5.7.3.9, which nobody asked for"),
    ),
    Row(
        items=("S-023", "Q-116"),
        behave=("more-names",),
        expected=issued(warns="san-changed", says="added *.example.net, which nobody asked for"),
    ),
    Row(
        items=("C-064", "S-021", "S-024"),
        behave=("newer-by-a-stranger",),
        expected=issued(warns="several-certificates"),
    ),
    Row(items=("Q-116",), behave=("one-hour",), expected=issued()),
    Row(items=("Q-117",), behave=("other-strings",), expected=issued()),
    Row(items=("S-025",), behave=("begins-long-ago",), expected=issued()),
    Row(items=("S-025",), behave=("begins-soon",), expected=issued(warns="clock")),
    Row(items=("S-025",), behave=("no-longer",), renewal=True, expected=issued(warns="not-longer")),
    Row(
        items=("S-025",),
        behave=("far-shorter",),
        renewal=True,
        expected=refused("new-certificate", "the one in use stays"),
    ),
    Row(
        items=("S-061",),
        behave=("path-for-a-name",),
        expected=issued(warns="subject-changed", says="CN=../../../etc/cron.d/scepflow"),
    ),
    Row(
        items=("S-062",),
        behave=("pem-for-a-name",),
        expected=issued(warns="subject-changed", says=r"CN=x\n-----BEGIN CERTIFICATE-----\nMIIB"),
    ),
    Row(
        items=("S-062",),
        behave=("escapes-for-a-name",),
        expected=issued(warns="subject-changed", says=r"\x1b]0\;owned\x07"),
    ),
)

RENEWALS = (
    Row(
        items=("C-023", "C-030"),
        behave=(),
        title="a renewal",
        renewal=True,
        knobs=CHALLENGE,
        sent={"message": "RenewalReq"},
        expected=issued(),
    ),
    Row(
        items=("C-023", "C-025"),
        behave=("caps-no-renewal",),
        title="a renewal",
        renewal=True,
        sent={"message": "PKCSReq"},
        expected=issued(),
    ),
    Row(
        items=("Q-017",),
        behave=("refuses-renewal-req",),
        renewal=True,
        sent={"message": "PKCSReq"},
        expected=issued(warns="renewal-refused"),
    ),
    Row(
        items=("Q-052",),
        behave=("renewal-req-without-request",),
        renewal=True,
        sent={"message": "PKCSReq"},
        expected=issued(warns="renewal-refused"),
    ),
    Row(
        items=("Q-052",),
        behave=("renewal-req-without-request",),
        title="told so",
        renewal=True,
        pipeline='[renew]\nmessage = "pkcsreq"',
        sent={"message": "PKCSReq"},
        expected=issued(),
    ),
    Row(
        items=("Q-017",),
        behave=("refuses-renewal-req",),
        title="only RenewalReq will do",
        renewal=True,
        pipeline='[renew]\nmessage = "renewal"',
        expected=rejected(says="messageType 17 is not served"),
    ),
    # whether to enroll anew, and spend a challenge on it, is for a person to say.
    Row(
        items=("Q-017",),
        behave=("refuses-renewals",),
        renewal=True,
        sent={"message": "PKCSReq"},
        expected=rejected(says="renewal is not configured"),
    ),
    Row(
        items=("Q-017",),
        behave=("refuses-renewals",),
        title="enrolled anew by option",
        renewal=True,
        pipeline='[signer]\nuse = "self-signed"',
        sent={"message": "PKCSReq"},
        expected=issued(),
    ),
    Row(
        items=("Q-028", "C-030"),
        behave=("wants-challenge",),
        renewal=True,
        knobs=CHALLENGE,
        expected=rejected(says="a challenge password is required"),
    ),
    Row(
        items=("Q-028", "C-030"),
        behave=("wants-challenge",),
        title="sent",
        renewal=True,
        knobs=CHALLENGE,
        csr={"challenge_in_renewal": True},
        sent={"message": "RenewalReq"},
        expected=issued(),
    ),
    Row(
        items=("Q-007", "Q-123", "S-025"),
        behave=("old-certificate",),
        title="again",
        renewal=True,
        expected=refused("new-certificate", "some CAs renew only shortly before expiry"),
    ),
    Row(
        items=("C-115",),
        behave=(),
        title="a renewal that pends",
        renewal=True,
        knobs={"pending": 2},
        sent={"message": "CertPoll"},
        expected=issued(),
    ),
    # C-027, C-028, C-033: it comes back encrypted to the old key, whichever it is; [renew] key = "new" asks with another.
    Row(
        items=("C-027", "C-028"),
        behave=("recipient-by-key-identifier",),
        title="in a renewal",
        renewal=True,
        expected=issued(),
    ),
)

WAITING = (
    Row(
        items=("C-110", "C-111", "C-114"),
        behave=(),
        title="PENDING three times",
        knobs={"pending": 3},
        sent={"message": "CertPoll"},
        expected=issued(),
    ),
    Row(
        items=("C-110", "Q-058"),
        behave=("pends",),
        title="for ever",
        pipeline=FEW_POLLS,
        expected=refused(says="has not decided after 3 polls", exit_code=3),
    ),
    # the run ends, since SUCCESS without a certificate is not the promise that PENDING is; the next one polls.
    Row(
        items=("Q-065",),
        behave=("success-without-certificate",),
        expected=refused("certificate-key", "run again later"),
    ),
    # C-116: a poll asks for the certificate that may be there already; a new PKCSReq would spend a second challenge.
    Row(
        items=("Q-015", "C-116", "C-123"),
        behave=("plain-500",),
        title="challenge spent",
        knobs=ONE_TIME,
        expected=refused(says="the certificate may have been issued all the same", exit_code=4),
    ),
    Row(
        items=("Q-016",),
        behave=(),
        title="a challenge outside PrintableString",
        knobs={"challenge": "p_@ss!#&*"},
        expected=issued(warns="challenge-not-printable"),
    ),
    Row(items=("Q-016",), behave=(), title="a challenge", knobs=ONE_TIME, expected=issued()),
    Row(
        items=("C-031",),
        behave=(),
        title="no challenge",
        knobs=CHALLENGE,
        csr={"challenge": None},
        expected=rejected(says="a challenge password is required"),
    ),
)


def _in(test, *items):
    return Elsewhere(items=items, test=test)


SHOWN = (
    _in(
        "tests/interop/test_requests.py::test_a_first_request_is_signed_by_a_certificate_of_its_own",
        "C-020",
        "C-022",
        "C-026",
    ),
    _in("tests/interop/test_requests.py::test_a_self_signed_certificate_says_what_its_key_is_for", "C-021"),
    _in("tests/bundled/test_signers.py::test_for_an_ec_key_a_temporary_rsa_key_signs", "C-021"),
    _in(
        "tests/interop/test_requests.py::test_a_renewal_is_signed_by_the_old_certificate_alone",
        "C-023",
        "C-026",
        "C-030",
    ),
    _in(
        "tests/interop/test_requests.py::test_a_renewal_takes_a_new_key_and_opens_the_reply_with_the_old",
        "C-027",
        "C-028",
        "C-033",
    ),
    _in("tests/interop/test_requests.py::test_a_certificate_of_another_ca_may_sign_a_first_request", "C-024"),
    _in(
        "tests/interop/test_requests.py::test_a_certificate_of_another_ca_may_renew_where_the_ca_knows_it",
        "C-024",
    ),
    _in(
        "tests/engine/test_enrollment.py::test_our_own_certificate_in_the_cas_answer_neither_signs_nor_receives",
        "S-002",
        "S-010",
    ),
    _in(
        "tests/engine/test_certificates.py::test_a_key_that_is_none_is_not_read_and_verifies_nothing", "S-026"
    ),
    _in(
        "tests/cli/test_queries.py::test_a_next_ca_that_only_a_relaxed_check_lets_through_is_shown_and_not_written",
        "S-084",
    ),
    _in("tests/interop/test_requests.py::test_the_request_asks_for_what_the_pipeline_says", "C-032", "C-034"),
    _in(
        "tests/interop/test_requests.py::test_a_challenge_is_in_the_request_and_nowhere_else",
        "C-032",
        "C-029",
    ),
    _in("tests/test_options.py::test_a_secret_file_loses_one_line_end", "C-029", "Q-122"),
    _in("tests/test_options.py::test_a_secret_comes_from_the_environment", "C-029"),
    _in("tests/testca/test_responder.py::test_without_the_challenge_nobody_gets_a_certificate", "C-031"),
    _in(
        "tests/interop/test_requests.py::test_all_messages_of_a_transaction_have_its_id_and_a_nonce_of_their_own",
        "C-051",
        "C-056",
        "C-110",
        "C-114",
    ),
    _in("tests/interop/test_eight_replies.py::test_two_enrollments_have_two_transactions", "C-051"),
    _in(
        "tests/interop/test_requests.py::test_a_poll_names_issuer_and_subject_byte_for_byte", "C-111", "Q-117"
    ),
    _in("tests/testca/test_responder.py::test_a_poll_for_an_unknown_transaction_is_refused", "C-112"),
    _in("tests/test_upkeep.py::test_two_runs_at_once_are_refused", "C-113"),
    _in("tests/test_upkeep.py::test_a_pending_request_is_polled_by_the_next_run", "C-114"),
    _in("tests/test_upkeep.py::test_a_lost_answer_is_asked_for_under_the_same_name", "C-116", "Q-015"),
    _in("tests/engine/test_queries.py::test_the_question_names_issuer_and_serial_number", "C-117"),
    _in("tests/engine/test_queries.py::test_another_certificate_than_asked_for_is_refused", "C-118", "S-027"),
    _in("tests/engine/test_queries.py::test_a_crl_that_is_not_the_cas_is_refused", "C-119", "S-027"),
    _in(
        "tests/engine/test_enrollment.py::test_a_lost_reply_is_polled_for_and_the_request_not_sent_again",
        "Q-015",
    ),
    _in("tests/bundled/test_csr.py::test_a_challenge_is_a_printable_string_when_possible", "Q-016"),
    _in(
        "tests/bundled/test_csr.py::test_a_challenge_that_cannot_be_sent_is_refused_without_its_text", "Q-122"
    ),
    _in("tests/bundled/test_csr.py::test_a_challenge_of_255_characters_is_sent", "Q-122"),
    _in("tests/bundled/test_csr.py::test_a_challenge_from_a_file_loses_its_line_end", "Q-122"),
    _in(
        "tests/engine/test_messages.py::test_a_key_that_proves_nothing_or_costs_too_much_is_refused_whatever_is_relaxed",
        "S-026",
    ),
    _in("tests/bundled/test_file_sink.py::test_a_subject_cannot_smuggle_text_into_pem", "S-062"),
)

TABLE: tuple[Row | Elsewhere, ...] = (*WRONG, *ODD, *RENEWALS, *WAITING, *SHOWN)
