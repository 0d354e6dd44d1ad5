"""Rows on what the client sends, writes and shows, and on the test CA itself; most are shown by other tests."""

from rows import Elsewhere, Row, issued, refused

EC = {"key": "ec-p256"}
LOCKED = {"password_envelope": True}
REQUESTS = "tests/interop/test_requests.py"
RESPONDER = "tests/testca/test_responder.py"


def _in(test: str, *items: str) -> Elsewhere:
    return Elsewhere(items=items, test=test)


CONFIGURED = (
    _in(f"{REQUESTS}::test_the_ca_is_found_by_its_name_as_well_as_by_its_address", "C-001"),
    _in("tests/bundled/test_transports.py::test_an_ipv6_address_is_reached_and_written_in_brackets", "C-001"),
    _in("tests/engine/test_urls.py::test_the_configured_address_is_kept_and_the_operation_added", "C-001"),
    Row(
        items=("C-002",),
        behave=(),
        title="the challenge of the CA",
        knobs={"challenge": "of this CA"},
        expected=issued(),
    ),
    Row(
        items=("C-002",),
        behave=(),
        title="another challenge",
        knobs={"challenge": "of this CA"},
        csr={"challenge": "of another CA"},
        expected=refused(says="wrong challenge password", exit_code=72, recovers=False),
    ),
    _in(f"{REQUESTS}::test_the_request_asks_for_what_the_pipeline_says", "C-002"),
)

ENVELOPES = (
    _in("tests/engine/test_envelopes.py::test_an_envelope_is_what_the_rfc_says", "C-043", "C-044"),
    Row(
        items=("C-045",),
        behave=(),
        title="for an EC CA, under the challenge",
        authority=EC,
        ca=LOCKED,
        knobs={"challenge": "a challenge of 80 bits"},
        expected=issued(),
    ),
    _in("tests/test_elliptic.py::test_each_client_gets_a_certificate_from_each_ca", "C-045"),
    Row(
        items=("C-046", "Q-124"),
        behave=(),
        title="for an EC CA, without a challenge",
        authority=EC,
        ca=LOCKED,
        expected=refused("recipient", "there is no challenge", recovers=False),
    ),
    _in("tests/test_elliptic.py::test_where_nothing_can_work_the_error_says_what_would", "C-046", "S-093"),
    Row(
        items=("S-093",),
        behave=(),
        title="for an EC CA, under a short challenge",
        authority=EC,
        ca=LOCKED,
        knobs={"challenge": "13 characters"},
        expected=refused("recipient", "fewer than 14 characters", recovers=False),
    ),
    _in(f"{RESPONDER}::test_a_reply_carries_the_attributes_of_the_rfc", "C-048", "C-057"),
)

# What the test CA does is no client's matter, but what it is trusted with here is tested as well.
TEST_CA = (
    _in("tests/testca/test_behaviours.py::test_every_behaviour_has_a_row_in_the_interop_table", "C-130"),
    _in(f"{RESPONDER}::test_a_request_with_a_wrong_signature_is_refused", "C-131"),
    _in(f"{RESPONDER}::test_a_csr_with_a_wrong_signature_is_refused", "C-131"),
    _in(f"{RESPONDER}::test_without_the_challenge_nobody_gets_a_certificate", "C-131"),
    _in(f"{RESPONDER}::test_a_request_signed_with_another_key_than_its_csrs_is_refused", "C-131", "S-090"),
    _in("tests/testca/test_server.py::test_what_a_careful_client_never_sends_is_refused", "C-132"),
    _in(f"{RESPONDER}::test_only_plain_base64_is_taken_in_a_url", "C-132"),
    _in(f"{RESPONDER}::test_a_form_is_refused", "C-132"),
    _in(f"{RESPONDER}::test_ber_is_read_unless_der_is_demanded", "C-132"),
    _in(f"{RESPONDER}::test_a_known_transaction_gets_the_same_result_again", "C-133"),
    _in(f"{RESPONDER}::test_a_known_transaction_takes_no_other_request", "C-133"),
    _in(f"{RESPONDER}::test_all_certificates_of_a_request_are_recorded", "C-134"),
    _in(f"{REQUESTS}::test_a_renewal_takes_a_new_key_and_opens_the_reply_with_the_old", "C-134"),
    _in(f"{RESPONDER}::test_undefined_message_types_are_refused", "S-092"),
)

FILES = (
    Row(
        items=("S-054",),
        behave=("echo-challenge",),
        knobs={"challenge": "quoted by the CA"},
        expected=refused(
            says='badRequest (failInfo 2): "the challenge *** is not known"', exit_code=72, recovers=False
        ),
    ),
    Row(
        items=("S-054",),
        behave=("echo-page",),
        knobs={"challenge": "quoted by the server"},
        expected=refused(says='a web page: "wrong challenge: ***', exit_code=4),
    ),
    _in("tests/test_secrets.py::test_what_a_peer_quotes_is_not_told", "S-054"),
    _in("tests/test_secrets.py::test_the_sscep_front_leaves_no_secret_behind", "S-054"),
    _in("tests/test_secrets.py::test_a_run_leaves_no_secret_behind", "S-054"),
    _in("tests/test_secrets.py::test_a_run_that_fails_leaves_no_secret_behind", "S-054"),
    _in("tests/test_secrets.py::test_stages_that_fail_leave_no_secret_behind", "S-054"),
    _in("tests/test_secrets.py::test_what_is_opened_shows_no_challenge", "S-054"),
    _in("tests/test_state.py::test_files_and_folders_are_private_whatever_the_umask", "S-054"),
    _in("tests/bundled/test_outputs.py::test_the_mode_is_exact_from_the_first_byte_under_any_umask", "S-054"),
    _in("tests/crash/test_kills.py::test_the_run_after_a_kill_finishes_what_was_begun", "S-055"),
    _in("tests/crash/test_full_disk.py::test_the_run_after_a_full_disk_finishes_what_was_begun", "S-055"),
    _in(
        "tests/crash/test_full_disk.py::test_the_run_after_a_small_disk_was_full_finishes_what_was_begun",
        "S-055",
    ),
    _in("tests/bundled/test_outputs.py::test_a_symbolic_link_is_never_written_through", "S-063"),
    _in("tests/bundled/test_outputs.py::test_a_dangling_link_is_refused_too", "S-063"),
    _in("tests/test_state.py::test_a_link_in_the_place_of_the_new_file_is_not_followed", "S-063"),
)

LIMITS = (
    _in(f"{REQUESTS}::test_all_messages_of_a_transaction_have_its_id_and_a_nonce_of_their_own", "Q-049"),
    _in("tests/cli/test_queries.py::test_the_help_says_that_scep_cannot_revoke", "C-122"),
    # S-090: a client ties its request to itself by two signatures of one key; that a challenge is good once, for one
    # subject, is for the CA to see to.
    _in(f"{REQUESTS}::test_a_first_request_is_signed_by_a_certificate_of_its_own", "S-090"),
    _in(f"{RESPONDER}::test_a_one_time_challenge_is_good_for_one_enrollment_and_its_repetition", "S-090"),
    _in(f"{REQUESTS}::test_a_renewal_proves_that_it_has_both_keys", "S-091"),
)

TABLE: tuple[Row | Elsewhere, ...] = (*CONFIGURED, *ENVELOPES, *TEST_CA, *FILES, *LIMITS)
