"""Rows on HTTP: statuses, bodies, redirects, framing, sizes, times."""

from rows import Elsewhere, Row, issued, refused

from scepflow.testca import FailInfo

TRANSPORTS = "tests/bundled/test_transports.py"
BY_GET = {"capabilities": "AES\nSHA-256\nRenewal\n"}
NEVER_SENT = "tests/testca/test_server.py::test_what_a_careful_client_never_sends_is_refused"


def unreachable(says="", check=None, **more):
    """No answer that could be one: exit code 4, and the request may be tried again."""
    return refused(check, says, exit_code=4, **more)


def status(number, says, items=("Q-045",)):
    return Row(items=items, behave=(f"http-{number}",), expected=unreachable(says))


STATUSES = (
    # A 202 without a CertRep does not say whose request is pending: no reply, no waiting (interop table, §6).
    status(202, "HTTP 202", ("Q-051",)),
    status(400, "HTTP 400", ("Q-045", "Q-070")),
    status(401, "EJBCA also says so to a wrong challenge"),
    status(403, "is the path of the SCEP service right?", ("Q-014", "Q-045")),
    status(404, "is the path of the SCEP service right, and the CA identifier?", ("Q-014", "Q-045")),
    status(405, "is the path of the SCEP service right?"),
    status(407, "a proxy on the way wants a login", ("Q-120",)),
    status(413, "the request is too large"),
    status(414, "too long for a URL"),
    status(429, "the server is busy"),
    status(501, "the server does not do this operation"),
    status(503, "the server is busy", ("Q-045", "Q-079")),
    Row(items=("Q-050",), behave=("json-500",), expected=unreachable('{"status":500')),
    Row(
        items=("Q-021", "Q-022"),
        behave=("plain-500",),
        title="its words are shown",
        expected=unreachable('the text: "challenge password mismatch"'),
    ),
    *(
        Row(items=("Q-051", "Q-079"), behave=(f"cms-with-{number}",), expected=issued())
        for number in (401, 403, 404, 405, 413, 414, 429, 500, 501, 503)
    ),
    # 407 comes from a proxy, and what a proxy says of itself is no CA's answer, whatever it is made of.
    Row(items=("Q-120",), behave=("cms-with-407",), expected=unreachable("a proxy on the way wants a login")),
    Row(items=("Q-071",), behave=("nothing",), expected=refused(says="an empty body")),
    Row(items=("Q-070",), behave=("page",), expected=refused(says='a web page: "Something went wrong')),
    Row(items=("S-060", "Q-070"), behave=("escapes-in-page",), expected=unreachable("\\x1b]0;owned")),
    Row(items=("Q-079", "S-072"), behave=("busy-once",), expected=issued()),
    *(
        Row(items=("Q-079", "S-072"), behave=(f"busy-{name}",), expected=unreachable("the server is busy"))
        for name in ("now", "endless", "negative", "past", "worded")
    ),
    Elsewhere(
        items=("S-072",),
        test=f"{TRANSPORTS}::test_a_retry_after_that_is_long_or_senseless_is_left_to_the_caller",
    ),
    Elsewhere(items=("Q-120", "S-075"), test=f"{TRANSPORTS}::test_a_proxy_that_wants_a_login_is_named"),
    Elsewhere(items=("Q-120",), test="tests/test_secrets.py::test_a_run_leaves_no_secret_behind"),
    Elsewhere(items=("S-075",), test=f"{TRANSPORTS}::test_direct_does_not_look_at_the_environment"),
    Elsewhere(items=("S-075",), test="tests/test_secrets.py::test_a_run_leaves_no_secret_behind"),
)

GATEWAYS = (
    Row(
        items=("Q-120", "Q-070"),
        behave=("captive-portal",),
        expected=refused(says='a web page: "Log in to Airport Wi-Fi'),
    ),
    Row(
        items=("Q-120",),
        behave=("captive-511",),
        expected=unreachable("the network wants a login first"),
    ),
    Row(
        items=("Q-120", "S-071"),
        behave=("captive-redirect",),
        expected=unreachable("to http://login.example.net/, which is not followed"),
    ),
    Row(
        items=("Q-013",),
        behave=("challenge-page",),
        expected=refused(says="this is the page where NDES gives out challenges"),
    ),
)

QUESTIONS = (
    Row(
        items=("C-076", "Q-044"),
        behave=("caps-404",),
        expected=issued(warns="weak-request"),
    ),
    Row(items=("C-076",), behave=("caps-500",), expected=issued(warns="get-request")),
    Row(items=("C-076",), behave=("caps-nothing",), expected=issued(warns="weak-request")),
    Row(items=("C-076",), behave=("caps-hang-up",), expected=issued(warns="no-capabilities")),
    Row(items=("C-077", "Q-070"), behave=("caps-page",), expected=issued(warns="weak-request")),
    Row(items=("C-077",), behave=("caps-as-message",), sent={"method": "POST"}, expected=issued()),
    Row(items=("C-077", "Q-074"), behave=("caps-as-page",), sent={"method": "POST"}, expected=issued()),
    Row(items=("C-077",), behave=("caps-untyped",), sent={"method": "POST"}, expected=issued()),
    Row(items=("S-034", "S-031"), behave=("caps-flood",), expected=issued(warns="no-capabilities")),
    Row(items=("S-034", "S-060"), behave=("caps-noise",), sent={"method": "GET"}, expected=issued()),
    Row(
        items=("Q-074",),
        behave=(),
        title="the capabilities of an old Cisco CA",
        knobs={"capabilities": "GetNextCACert Renewal SHA2"},
        sent={"method": "GET", "cipher": "3des-cbc", "digest": "sha-1"},
        expected=issued(warns="weak-request"),
    ),
    Row(
        items=("Q-044",),
        behave=("caps-404", "ca-404"),
        expected=unreachable("is the path of the SCEP service right, and the CA identifier?"),
    ),
    Row(items=("Q-073",), behave=("ca-as-ra-ca",), authority={"ra": True}, expected=issued()),
    Row(items=("C-098",), behave=("ca-as-certificate",), authority={"ra": True}, expected=issued()),
    Row(items=("C-098",), behave=("ca-as-bundle",), expected=issued()),
    Row(
        items=("Q-076",),
        behave=("caps-as-page",),
        title="with an identifier that nobody reads",
        ca={"identifier": "ignored"},
        expected=issued(),
    ),
    # a transactionID of 88 characters is another client's; ours has 64, and names no file.
    Elsewhere(
        items=("Q-076", "S-061"),
        test="tests/test_state.py::test_a_transaction_id_that_is_no_plain_name_is_no_folder",
    ),
)

REPLIES = (
    Row(items=("Q-086",), behave=("reply-as-text",), expected=issued()),
    Row(items=("Q-086",), behave=("reply-as-page",), expected=issued()),
    Row(items=("Q-059", "Q-086"), behave=("reply-with-parameter",), expected=issued()),
    Row(items=("Q-086",), behave=("reply-untyped",), expected=issued()),
    Row(items=("Q-102",), behave=("reply-in-base64",), expected=issued()),
    Row(items=("Q-102",), behave=("reply-in-base64-lines",), expected=issued()),
    Row(items=("Q-103",), behave=("line-end-after",), title="over HTTP", expected=issued()),
    Row(items=("Q-103",), behave=("data-after",), title="over HTTP", expected=refused()),
    Row(items=("S-061",), behave=("file-name",), expected=issued()),
    Row(items=("Q-088",), behave=("other-version",), expected=issued()),
    # S-032: nothing is decompressed. Asked for "identity", only a broken server sends anything else.
    Row(
        items=("Q-119", "S-032", "C-101"),
        behave=("gzip",),
        expected=unreachable("content-encoding gzip, which was not asked for"),
    ),
    Row(
        items=("S-032",),
        behave=("gzip-bomb",),
        expected=unreachable("content-encoding gzip, gzip, which was not asked for"),
    ),
)

REDIRECTS = (
    *(
        Row(
            items=("Q-118", "S-071"),
            behave=(f"redirect-{number}",),
            expected=unreachable(f"redirects the POST ({number}) to "),
        )
        for number in (301, 302, 303)
    ),
    *(
        Row(items=("Q-118", "C-101"), behave=(f"redirect-{number}",), expected=issued())
        for number in (307, 308)
    ),
    Row(items=("Q-118", "Q-013"), behave=("redirect-questions",), expected=issued()),
    Row(
        items=("Q-118",),
        behave=("redirect-302",),
        title="of a request by GET",
        knobs=BY_GET,
        expected=issued(),
    ),
    Row(items=("S-071",), behave=("redirect-loop",), expected=unreachable("more than 3 redirects")),
    Row(
        items=("S-071",),
        behave=("redirect-host",),
        expected=unreachable("which is not followed"),
    ),
    Row(
        items=("S-071", "Q-118"),
        behave=("redirect-ca-host",),
        expected=unreachable('if that is the CA, use url = "http://localhost:'),
    ),
    Row(items=("S-071",), behave=("redirect-file",), expected=unreachable("it is neither http nor https")),
    Row(items=("S-071",), behave=("redirect-login",), expected=unreachable("it has a user name")),
    Row(items=("S-071",), behave=("redirect-nowhere",), expected=unreachable("cannot be used")),
    Row(
        items=("S-071", "S-060"),
        behave=("redirect-escapes",),
        expected=unreachable("it has characters that no URL may have"),
    ),
    Row(items=("S-071",), behave=("redirect-silent",), expected=unreachable("without saying where to")),
    Elsewhere(items=("S-071",), test=f"{TRANSPORTS}::test_a_redirect_from_https_to_http_is_not_followed"),
    Elsewhere(items=("S-071",), test=f"{TRANSPORTS}::test_an_authorization_stays_with_its_origin"),
    Elsewhere(items=("Q-118",), test=f"{TRANSPORTS}::test_an_upgrade_to_https_on_the_same_host_is_followed"),
)

ASKING = (
    Row(
        items=("Q-008", "Q-055", "Q-082", "Q-083", "C-092", "C-093", "C-101"),
        behave=("strict-post",),
        sent={"method": "POST"},
        expected=issued(),
    ),
    Elsewhere(items=("Q-008", "Q-082"), test=NEVER_SENT),
    Elsewhere(items=("Q-055",), test="tests/testca/test_responder.py::test_a_form_is_refused"),
    Elsewhere(
        items=("C-093",),
        test=f"{TRANSPORTS}::test_a_post_is_sent_with_the_headers_of_the_request_and_a_length",
    ),
    Row(items=("Q-059",), behave=("strict-host",), expected=issued()),
    Row(items=("Q-013", "Q-035", "Q-059", "C-090"), behave=("strict-path",), expected=issued()),
    Row(
        items=("Q-013", "Q-059"),
        behave=("strict-path",),
        title="with a slash at the end",
        address="/",
        expected=unreachable("is the path of the SCEP service right", recovers=True),
    ),
    Row(
        items=("C-100", "Q-078"),
        behave=("strict-profile",),
        address="?profile=a",
        expected=issued(),
    ),
    Row(
        items=("C-100", "Q-078"),
        behave=("strict-profile",),
        title="without its profile",
        expected=unreachable("is the path of the SCEP service right"),
    ),
    Row(items=("Q-035",), behave=("strict-message",), expected=issued()),
    Row(
        items=("Q-035",),
        behave=("strict-message",),
        title="with an identifier",
        ca={"identifier": "main"},
        expected=unreachable("HTTP 400"),
    ),
    Row(items=("Q-044",), behave=("strict-label",), ca={"identifier": "main"}, expected=issued()),
    Row(
        items=("Q-044",),
        behave=("strict-label",),
        title="without an identifier",
        expected=unreachable("and the CA identifier?"),
    ),
    Row(
        items=("Q-031", "C-094"),
        behave=("strict-query",),
        knobs=BY_GET,
        sent={"method": "GET"},
        expected=issued(warns="get-request"),
    ),
    Row(
        items=("Q-009", "C-096"),
        behave=("short-query",),
        knobs=BY_GET,
        expected=unreachable('the request is too long for a URL; set method = "POST" in [ca]'),
    ),
    Row(
        items=("Q-009", "C-096"),
        behave=("short-query-404",),
        knobs=BY_GET,
        expected=unreachable("the request went by GET, in a URL that may be too long"),
    ),
    Row(
        items=("Q-009", "C-092"),
        behave=("short-query",),
        title="by POST",
        knobs=BY_GET,
        ca={"method": "POST"},
        expected=issued(),
    ),
    # S-044: allowed, for the challenge is encrypted; told of, for the request is in every log on the way.
    Row(
        items=("Q-060", "C-095", "S-044"),
        behave=("get-only",),
        knobs=BY_GET,
        sent={"method": "GET"},
        expected=issued(warns="get-request"),
    ),
    Row(
        items=("Q-060",),
        behave=("get-only",),
        title="though POST is offered",
        expected=unreachable("HTTP 405"),
    ),
    Row(
        items=("Q-061",),
        behave=("old-algorithms-only",),
        knobs={"capabilities": "POSTPKIOperation\nDES3\nSHA-256\nSHA-512\n"},
        sent={"cipher": "3des-cbc", "digest": "sha-256"},
        expected=issued(warns="weak-request"),
    ),
    Row(
        items=("Q-061",),
        behave=("old-algorithms-only",),
        title="asked with AES",
        expected=unreachable("HTTP 500"),
    ),
    Elsewhere(
        items=("C-091", "Q-014"),
        test="tests/testca/test_responder.py::test_unknown_operations_are_not_found",
    ),
    Row(items=("C-091",), behave=(), title="operations are named as the RFC has them", expected=issued()),
    Elsewhere(
        items=("C-090", "C-100", "Q-013"),
        test="tests/engine/test_urls.py::test_the_configured_address_is_kept_and_the_operation_added",
    ),
    Elsewhere(
        items=("C-094", "Q-031"),
        test="tests/engine/test_urls.py::test_every_message_comes_out_whole_on_the_other_side",
    ),
    Elsewhere(
        items=("S-076",),
        test="tests/engine/test_urls.py::test_an_address_that_cannot_be_used_is_refused_without_being_shown",
    ),
    Elsewhere(
        items=("S-076",), test="tests/engine/test_urls.py::test_an_identifier_goes_as_percent_encoded_utf8"
    ),
    Elsewhere(items=("C-097",), test="tests/test_acceptance.py::test_https_with_a_private_root"),
    Elsewhere(items=("S-074",), test=f"{TRANSPORTS}::test_a_certificate_from_an_unknown_root_is_refused"),
    Elsewhere(items=("S-074",), test="tests/test_acceptance.py::test_https_with_a_private_root"),
    Elsewhere(
        items=("C-099",),
        test="tests/testca/test_server.py::test_get_and_post_reach_the_responder_on_any_path",
    ),
)

CHALLENGES = (
    # the request was received, and its challenge spent. The same request under the same transactionID asks for
    # what became of it, without a second challenge.
    Row(
        items=("Q-015", "Q-088"),
        behave=("loses-first",),
        knobs={"challenge": "once only", "one_time_challenge": True},
        expected=unreachable("closed the connection without a complete reply"),
    ),
    Row(
        items=("Q-015",),
        behave=(),
        title="the challenge was used before",
        knobs={"reject": FailInfo.BAD_REQUEST, "reject_text": "the challenge password was used before"},
        expected=refused(says="is the challenge right, unused and not expired", exit_code=72, recovers=False),
    ),
    Row(
        items=("Q-121",),
        behave=(),
        title="another time at the CA",
        knobs={"reject": FailInfo.BAD_TIME},
        expected=refused(says="compare this machine's clock with the CA's", exit_code=73, recovers=False),
    ),
    Elsewhere(
        items=("Q-121",),
        test="tests/bundled/test_signers.py::test_a_self_signed_certificate_is_back_dated_by_a_day",
    ),
)

FRAMES = (
    Row(items=("Q-119", "C-101"), behave=("chunked",), expected=issued()),
    Row(items=("Q-119",), behave=("chunked-bytewise",), expected=issued()),
    Row(items=("Q-119",), behave=("chunked-without-end",), expected=unreachable("ended early")),
    Row(items=("S-073",), behave=("chunked-excess",), expected=issued()),
    Row(items=("Q-119", "C-101"), behave=("until-close",), expected=issued()),
    Row(items=("Q-074", "Q-119"), behave=("http-1-0",), expected=issued()),
    Row(items=("Q-119", "S-073"), behave=("short-length",), expected=refused()),
    Row(items=("Q-119", "S-073", "S-031"), behave=("long-length",), expected=unreachable("ended early")),
    Row(items=("S-073",), behave=("two-replies",), expected=issued()),
    Row(items=("S-073",), behave=("two-lengths",), expected=unreachable("not HTTP that can be used")),
    Row(
        items=("S-073",),
        behave=("negative-length",),
        expected=unreachable("content-length -5, which is no length"),
    ),
    Row(
        items=("S-073",),
        behave=("worded-length",),
        expected=unreachable("content-length ten, which is no length"),
    ),
    Row(items=("Q-119",), behave=("negative-chunk",), expected=unreachable("negative size")),
    Row(items=("Q-119",), behave=("cut-body",), expected=unreachable("ended early")),
    Row(items=("Q-119",), behave=("cut-head",), expected=unreachable("ended early")),
    Row(
        items=("Q-088", "Q-119"),
        behave=("hang-up",),
        expected=unreachable("closed the connection without a complete reply"),
    ),
    Row(items=("Q-088",), behave=("drops-first",), expected=issued()),
    Elsewhere(items=("Q-088",), test=f"{TRANSPORTS}::test_a_post_is_sent_once_whatever_happens"),
    Row(items=("Q-119", "S-033"), behave=("interim-replies",), expected=issued()),
    Row(
        items=("S-033",),
        behave=("many-interim-replies",),
        expected=unreachable("more than 5 interim replies"),
    ),
    Row(items=("Q-119",), behave=("switches",), expected=unreachable("unexpected HTTP status 101")),
    Row(items=("Q-119",), behave=("status-999",), expected=unreachable("unexpected HTTP status 999")),
    Row(items=("S-060",), behave=("not-http",), expected=unreachable("it starts with SSH-2.0-x\\x1b[31m")),
    Row(items=("S-060",), behave=("escapes-in-head",), expected=unreachable("HTTP 500")),
)

FLOODS = (
    Row(items=("S-031",), behave=("too-long",), expected=unreachable("longer than 1048576 bytes")),
    Row(items=("S-031",), behave=("announces-much",), expected=unreachable()),
    Row(items=("S-031",), behave=("ten-gigabytes",), expected=unreachable("longer than 1048576 bytes")),
    Row(items=("S-031",), behave=("endless",), expected=unreachable("longer than 1048576 bytes")),
    Row(items=("S-031",), behave=("endless-chunks",), expected=unreachable("longer than 1048576 bytes")),
    Row(items=("S-033",), behave=("endless-extensions",), expected=unreachable()),
    Row(items=("S-033",), behave=("endless-head",), expected=unreachable()),
    Row(items=("S-033",), behave=("endless-field",), expected=unreachable()),
    Row(items=("S-033",), behave=("endless-status-line",), expected=unreachable()),
    Row(items=("S-033",), behave=("endless-interim-replies",), expected=unreachable("sent more than")),
    Row(items=("S-033",), behave=("many-fields",), expected=unreachable("not HTTP that can be used")),
    Row(
        items=("S-070", "S-031"),
        behave=("drip",),
        pipeline='[transport]\nuse = "direct"\ntimeout = "2s"',
        expected=unreachable("was not done after 2 s"),
    ),
    Row(
        items=("S-070",),
        behave=("drip-head",),
        pipeline='[transport]\nuse = "direct"\nidle_timeout = "0.5s"',
        expected=unreachable("within 0.5 s"),
    ),
    Elsewhere(
        items=("S-070", "S-031", "S-033"),
        test="tests/test_hostile_servers.py::test_a_hostile_server_is_left_with_memory_as_it_was",
    ),
    Elsewhere(
        items=("S-070",), test="tests/test_hostile_servers.py::test_a_drip_in_the_handshake_ends_at_its_time"
    ),
)

TABLE = (
    *STATUSES,
    *GATEWAYS,
    *QUESTIONS,
    *REPLIES,
    *REDIRECTS,
    *ASKING,
    *CHALLENGES,
    *FRAMES,
    *FLOODS,
)
