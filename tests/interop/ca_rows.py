"""Rows on GetCACaps, GetCACert and GetNextCACert: what a CA says it can do, who it is, and who will follow it."""

from rows import Elsewhere, Row, issued, refused

RA = {"ra": True}
EC = {"key": "ec-p256"}
EC_WITH_RA = {"key": "ec-p256", "ra": True}
SENT = "what is sent"
STRICT = {"security": "strict"}
GOOD = {"method": "POST", "cipher": "aes-128-cbc", "digest": "sha-256"}
FLOOR = {"method": "GET", "cipher": "3des-cbc", "digest": "sha-1"}
CA_FILE = {"fingerprint": None, "certificate": "ca.crt"}


def pin(certificate):
    from cryptography.hazmat.primitives import hashes

    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def root(bench):
    return pin(bench.responder.authority.above[-1])


def encryption(bench):
    return pin(bench.responder.authority.encryption.certificate)


def signing(bench):
    return pin(bench.responder.authority.signing.certificate)


def wrong_and_right(bench):
    return [f"sha256:{'0' * 64}", f"sha256:{bench.responder.authority.fingerprint}"]


CAPABILITIES = (
    Row(
        items=("C-060", "C-061", "C-070", "C-078", "C-072"),
        behave=(),
        title="all capabilities",
        sent=GOOD,
        expected=issued(),
    ),
    *(
        Row(items=items, behave=(f"caps-{name}",), title=SENT, sent=GOOD, expected=issued())
        for items, name in (
            (("C-072", "Q-094"), "lower-case"),
            (("C-073",), "carriage-returns"),
            (("C-073",), "crlf"),
            (("C-073", "Q-038"), "no-last-line-end"),
            (("C-073", "Q-094"), "blanks"),
            (("C-073", "Q-094"), "byte-order-mark"),
            (("C-071", "C-081", "Q-074"), "with-strangers"),
            (("C-075",), "standard"),
            (("Q-038", "C-073"), "smallstep"),
            (("C-077", "Q-012"), "untyped"),
            (("C-077",), "as-message"),
            (("C-077",), "as-page"),
        )
    ),
    *(
        Row(
            items=items,
            behave=(f"caps-{name}",),
            title=SENT,
            sent=FLOOR,
            expected=issued(warns="weak-request"),
        )
        for items, name in (
            (("C-074", "Q-094"), "prefixes"),
            (("Q-094",), "commas"),
            (("S-034",), "nuls"),
            (("S-034",), "flood"),
            (("S-034", "Q-094"), "many-lines"),
            (("C-076", "C-079", "S-040"), "nothing"),
            (("C-076", "Q-072"), "line-ends"),
            (("C-076", "Q-012"), "untyped-200"),
            (("C-077", "Q-094"), "page"),
            (("C-076",), "404"),
            (("C-076", "S-040"), "500"),
            (("Q-074",), "cisco"),
        )
    ),
    Row(
        items=("S-034",),
        behave=("caps-noise",),
        title=SENT,
        sent=FLOOR,
        expected=issued(warns="weak-request"),
    ),
    Row(
        items=("Q-010", "C-076"),
        behave=("caps-hang-up",),
        title=SENT,
        sent=FLOOR,
        expected=issued(warns="no-capabilities", says="GetCACaps failed"),
    ),
    # S-041: a request is never in DES or MD5, whatever is offered.
    Row(
        items=("S-041", "C-079"),
        behave=("caps-des-and-md5",),
        sent={"method": "POST", "cipher": "3des-cbc", "digest": "sha-1"},
        expected=issued(warns="weak-request"),
    ),
    Row(
        items=("Q-019", "C-078"),
        behave=("caps-microsoft",),
        sent={"method": "POST", "cipher": "3des-cbc", "digest": "sha-256"},
        expected=issued(warns="weak-request"),
    ),
    Row(
        items=("Q-060", "C-078"),
        behave=("caps-dogtag",),
        sent={"method": "GET", "cipher": "3des-cbc", "digest": "sha-256"},
        expected=issued(warns="get-request"),
    ),
    Row(
        items=("Q-060",),
        behave=("caps-no-post",),
        sent={"method": "GET", "cipher": "aes-128-cbc", "digest": "sha-256"},
        expected=issued(warns="get-request"),
    ),
    Row(
        items=("C-078", "C-061"),
        behave=("caps-sha-512",),
        sent={"method": "POST", "cipher": "aes-128-cbc", "digest": "sha-512"},
        expected=issued(),
    ),
    Row(
        items=("C-061",),
        behave=(),
        title="stronger by option",
        ca={"cipher": "aes-256-cbc", "digest": "sha-512"},
        sent={"cipher": "aes-256-cbc", "digest": "sha-512"},
        expected=issued(),
    ),
    Row(
        items=("S-040", "C-079"),
        behave=("caps-nothing",),
        title="options are a floor",
        ca={"cipher": "aes-128-cbc", "digest": "sha-256", "method": "POST"},
        sent=GOOD,
        expected=issued(),
    ),
    *(
        Row(
            items=("S-040", "C-079"),
            behave=(name,),
            title="strict",
            ca=STRICT,
            expected=refused("algorithms", "neither SCEPStandard nor AES with SHA-256"),
        )
        for name in ("caps-nothing", "caps-500", "caps-hang-up", "caps-des-and-md5")
    ),
    Row(
        items=("S-040",),
        behave=("caps-no-renewal",),
        title="at a renewal",
        renewal=True,
        sent={"message": "PKCSReq"},
        expected=issued(),
    ),
)

ENCODINGS = (
    Row(items=("C-098", "Q-100"), behave=(), title="one certificate", expected=issued()),
    Row(items=("C-098", "Q-087"), behave=("ca-as-cms",), expected=issued()),
    *(
        Row(
            items=items,
            behave=(name,),
            title="CA" + " and RA" * bool(authority),
            authority=authority,
            expected=issued(),
        )
        for items, name in (
            (("Q-100",), "ca-in-ber"),
            (("Q-101",), "ca-in-pem"),
            (("Q-102",), "ca-in-base64"),
            (("Q-102",), "ca-in-base64-lines"),
            (("Q-103",), "ca-line-end-after"),
            (("Q-103",), "ca-nuls-after"),
            (("Q-100",), "ca-type-none"),
            (("Q-100",), "ca-type-parameters"),
            (("Q-100",), "ca-type-octets"),
            (("Q-100",), "ca-type-pkcs7"),
            (("Q-100", "Q-048"), "ca-type-chain"),
            (("Q-100", "Q-073"), "ca-as-ra-ca"),
            (("C-098", "Q-100"), "ca-as-certificate"),
            (("C-098", "Q-100"), "ca-as-bundle"),
        )
        for authority in ({}, RA)
    ),
    Row(items=("Q-101",), behave=("ca-in-pem-pkcs7",), authority=RA, expected=issued()),
    # with other data behind it, whatever that is, nobody knows what was meant; PEM can hold several.
    Row(
        items=("Q-103",),
        behave=("ca-concatenated",),
        authority=RA,
        expected=refused(says="data after the end of the value"),
    ),
    Row(items=("Q-103",), behave=("ca-data-after",), expected=refused()),
    Row(items=("C-098",), behave=("ca-cut-off",), expected=refused()),
    Row(items=("C-098",), behave=("ca-page",), expected=refused(says=r"CA\x1b[2J")),
    Row(items=("C-098",), behave=("ca-nothing",), expected=refused(says="an empty body")),
    Row(items=("C-098",), behave=("ca-empty",), expected=refused(says="no certificate in it")),
    Row(
        items=("C-098",),
        behave=("crowd-of-certificates",),
        expected=refused(says="more than 64 certificates"),
    ),
    Row(items=("C-005",), behave=("ca-404",), expected=refused(says="HTTP 404", exit_code=4)),
    Row(
        items=("C-005", "C-004"),
        behave=("ca-404",),
        title="CA certificate from a file",
        ca=CA_FILE,
        expected=issued(warns="no-ca-certificate"),
    ),
    Row(
        items=("Q-085",),
        behave=("needs-identifier",),
        expected=refused(says="and the CA identifier?", exit_code=4),
    ),
    Row(
        items=("Q-085",),
        behave=("needs-identifier",),
        title="with the identifier",
        ca={"identifier": "CA-IDENT"},
        sent=GOOD,
        expected=issued(),
    ),
)

BUNDLES = (
    *(
        Row(items=("Q-004", "C-009"), behave=(f"order-{order}",), authority=RA, expected=issued())
        for order in (
            "ca-encryption-signing",
            "signing-ca-encryption",
            "signing-encryption-ca",
            "encryption-ca-signing",
            "encryption-signing-ca",
        )
    ),
    Row(
        items=("Q-004",),
        behave=("order-signing-encryption-ca",),
        title="its RA pinned",
        authority=RA,
        ca={"encryption_certificate": encryption},
        expected=issued(),
    ),
    Row(items=("C-011", "Q-011"), behave=("ca-without-usage",), expected=issued()),
    Row(items=("C-011", "Q-011"), behave=("ca-only-signs",), expected=issued(warns="recipient-usage")),
    Row(items=("C-011", "Q-011"), behave=("ca-only-enciphers",), expected=issued()),
    Row(items=("C-011", "Q-011"), behave=("ra-without-usage",), authority=RA, expected=issued()),
    Row(
        items=("C-011", "Q-011", "Q-125"),
        behave=("ra-only-signs",),
        authority=RA,
        expected=issued(warns="recipient-usage"),
    ),
    Row(items=("C-011", "Q-011"), behave=("ra-only-enciphers",), authority=RA, expected=issued()),
    # the CA could decrypt by its key usage, too, and leaves that to its RA.
    Row(items=("Q-125",), behave=("ra-for-both",), expected=issued(warns="ra-not-pinned")),
    Row(
        items=("Q-125", "S-082"),
        behave=("ra-for-both",),
        title="pinned",
        ca={"encryption_certificate": encryption},
        expected=issued(),
    ),
    Row(
        items=("Q-124", "Q-024"),
        behave=(),
        title="an EC CA with an RSA RA",
        authority=EC_WITH_RA,
        expected=issued(),
    ),
    Row(
        items=("Q-124",),
        behave=(),
        title="an EC CA alone",
        authority=EC,
        expected=refused("recipient", "the CA offers no certificate that can decrypt", recovers=False),
    ),
    Row(items=("S-060",), behave=("escapes-for-the-ca",), expected=issued()),
    Row(
        items=("S-060",),
        behave=("escapes-for-the-ca",),
        title="not the one that is pinned",
        ca={"fingerprint": f"sha256:{'0' * 64}"},
        expected=refused("ca-authentication", r"\x1b]0\;owned", recovers=False),
    ),
    Row(
        items=("S-060",),
        behave=("escapes-for-the-ra",),
        expected=issued(warns="ra-not-pinned", says=r"\x1b]0\;owned"),
    ),
    Row(
        items=("C-008", "C-009"),
        behave=("intermediate",),
        title="its root pinned",
        ca={"fingerprint": root},
        expected=issued(),
    ),
    Row(items=("C-009", "Q-024"), behave=("intermediate",), title="itself pinned", expected=issued()),
    Row(items=("C-009", "Q-024"), behave=("intermediate", "no-root"), expected=issued()),
    Row(
        items=("C-008", "S-083"),
        behave=("expired-intermediate",),
        ca={"fingerprint": root},
        expected=refused("recipient", "certificate has expired", recovers=False),
    ),
    Row(
        items=("Q-024", "Q-062"),
        behave=("ra-for-both", "ra-alone"),
        expected=refused("ca-authentication", "no certificate of the CA has the fingerprint"),
    ),
    Row(
        items=("Q-024", "Q-062"),
        behave=("ra-for-both", "ra-alone"),
        title="CA certificate from a file",
        ca=CA_FILE,
        expected=issued(),
    ),
    Row(
        items=("S-083", "C-008"),
        behave=("expired-ca",),
        expected=refused("ca-authentication", "certificate has expired", recovers=False),
    ),
    Row(
        items=("S-083", "C-008"),
        behave=("expired-ra",),
        authority=RA,
        expected=refused("signer", "certificate has expired", recovers=False),
    ),
    Row(
        items=("C-003", "C-009"),
        behave=(),
        title="several pins",
        authority=RA,
        ca={"fingerprint": wrong_and_right},
        expected=issued(),
    ),
    Row(
        items=("C-003",),
        behave=(),
        title="another pin",
        ca={"fingerprint": f"sha256:{'0' * 64}"},
        expected=refused("ca-authentication", "compare with what its operator tells you", recovers=False),
    ),
    Row(
        items=("C-007",),
        behave=(),
        title="no pin",
        ca={"fingerprint": None},
        expected=refused("ca-authentication", "the CA is not authenticated", recovers=False),
    ),
    Row(items=("S-080",), behave=("stranger-ca",), expected=refused("ca-authentication")),
    Row(items=("S-080",), behave=("stranger-of-that-name",), expected=refused("ca-authentication")),
    Row(
        items=("S-080",),
        behave=("stranger-of-that-name",),
        title="CA certificate from a file",
        ca=CA_FILE,
        expected=refused("ca-authentication"),
    ),
    # S-085: nothing that came before is trusted for having come before.
    Row(
        items=("S-085", "S-080"),
        behave=("stranger-ca",),
        title="at a renewal",
        renewal=True,
        expected=refused("ca-authentication"),
    ),
    *(
        Row(
            items=("S-081", *items),
            behave=(name,),
            authority=authority,
            title=title,
            expected=issued(warns="untrusted-certificate"),
        )
        for name, items in (
            ("rogue-ra", ()),
            ("rogue-ra-in-its-name", ()),
            ("rogue-tls-client", ("S-082",)),
            ("rogue-any-client", ("S-082",)),
            ("rogue-client-below", ("S-082",)),
        )
        for authority, title in (({}, "beside a CA"), (RA, "beside an RA"))
    ),
    # S-082: nothing in such a certificate tells it from an RA's; so it is told of, and pinning keeps it out.
    Row(
        items=("S-082",),
        behave=("rogue-client",),
        expected=refused(
            exit_code=71, says="nothing pins; any client of the CA could pose so", recovers=False
        ),
    ),
    Row(
        items=("S-082",),
        behave=("rogue-client",),
        title="pinned",
        ca={"encryption_certificate": encryption, "signing_certificate": encryption},
        expected=issued(),
    ),
    # S-006, S-082: a client's certificate that only signs. A CA that decrypts and may sign needs no such RA; else it is told of.
    *(
        Row(
            items=("S-006", "S-082"),
            behave=("rogue-signing-client", "listed-client-refuses"),
            title=title,
            ca=ca,
            expected=refused("signer", "left out of the CA's answer: nothing pins CN=a client"),
        )
        for title, ca in (
            ("beside a CA", {}),
            ("beside a CA, the recipient pinned", {"encryption_certificate": encryption}),
        )
    ),
    *(
        Row(
            items=("S-006", "S-082"),
            behave=(*prepared, "rogue-signing-client", "listed-client-refuses"),
            title=title,
            authority=authority,
            ca=ca,
            expected=refused(exit_code=72, says=says, recovers=False),
        )
        for prepared, title, authority, ca, says in (
            (
                ("ca-without-usage",),
                "warned",
                {},
                {},
                "replies may be signed by CN=a client, which the CA issued",
            ),
            ((), "beside an RA, warned", RA, {}, "replies may be signed by CN=a client or CN="),
            (
                (),
                "beside an RA, the recipient pinned, warned",
                RA,
                {"encryption_certificate": encryption},
                'set signing_certificate = "sha256:',
            ),
        )
    ),
    Row(
        items=("S-006", "S-082"),
        behave=("rogue-signing-client", "listed-client-refuses"),
        title="beside an RA, pinned",
        authority=RA,
        ca={"encryption_certificate": encryption, "signing_certificate": signing},
        expected=refused("signer", "not signed by a certificate of the authenticated CA"),
    ),
    Row(items=("S-026", "S-007"), behave=("huge-ra-key",), expected=issued()),
    Row(items=("S-026", "S-007"), behave=("small-ra-key",), expected=issued()),
    Row(items=("Q-104",), behave=("duplicates",), authority=RA, expected=issued()),
    Row(items=("Q-104",), behave=("cross-certificates",), expected=issued()),
    Row(items=("Q-104", "S-083"), behave=("old-ca-too",), expected=issued(warns="untrusted-certificate")),
    Row(items=("Q-104",), behave=("next-ca-too",), expected=issued(warns="untrusted-certificate")),
)

NEXT = (
    Row(items=("C-120",), behave=(), title="a next CA", renewal=True, expected=issued()),
    Row(items=("C-120",), behave=("next-ca-missing",), renewal=True, expected=issued()),
    *(
        Row(
            items=("C-120", *items),
            behave=(f"next-ca-{name}",),
            renewal=True,
            expected=issued(warns="next-ca", says=says),
        )
        for name, items, says in (
            ("unsigned", ("S-084",), "no signature"),
            ("by-a-stranger", ("S-084",), "is not believed"),
            ("forged", ("S-084",), "is not believed"),
            # it says to take them where the outer signature verifies; but that does not cover what stands beside.
            (
                "single-layer",
                ("Q-084", "S-084"),
                "no next CA certificate in what the reply's signature covers",
            ),
            ("failure", ("Q-084", "S-084"), "an answer to another question"),
            ("nothing", (), "an empty body"),
        )
    ),
    Row(items=("C-120", "S-084"), behave=("next-ca-expired",), renewal=True, expected=issued()),
)

SHOWN = (
    Elsewhere(
        items=("C-003", "S-080"),
        test="tests/test_runner.py::test_a_wrong_fingerprint_stops_before_any_pki_operation",
    ),
    Elsewhere(
        items=("C-003",),
        test="tests/engine/test_trust.py::test_one_wrong_digit_of_the_fingerprint_is_refused",
    ),
    Elsewhere(items=("C-004",), test="tests/test_ca.py::test_certificates_from_files_need_no_get_ca_cert"),
    Elsewhere(
        items=("C-006",), test="tests/engine/test_trust.py::test_a_fingerprint_is_of_the_whole_certificate"
    ),
    Elsewhere(items=("C-006",), test="tests/test_ca.py::test_a_sha1_fingerprint_needs_legacy"),
    Elsewhere(
        items=("C-010",),
        test="tests/interop/test_requests.py::test_the_ca_certificate_may_do_what_the_rfc_wants",
    ),
    Elsewhere(
        items=("C-080",), test="tests/testca/test_responder.py::test_capabilities_are_sent_as_they_stand"
    ),
    Elsewhere(
        items=("C-111",),
        test="tests/interop/test_requests.py::test_a_poll_names_issuer_and_subject_byte_for_byte",
    ),
    Elsewhere(
        items=("C-121",), test="tests/test_upkeep.py::test_a_ca_that_changes_as_it_announced_is_followed"
    ),
    Elsewhere(
        items=("S-076",),
        test="tests/engine/test_urls.py::test_an_address_that_cannot_be_used_is_refused_without_being_shown",
    ),
    Elsewhere(
        items=("S-076",), test="tests/engine/test_urls.py::test_an_identifier_goes_as_percent_encoded_utf8"
    ),
    Elsewhere(items=("S-081",), test="tests/engine/test_trust.py::test_a_rogue_ra_is_left_out"),
    Elsewhere(
        items=("S-084",), test="tests/engine/test_queries.py::test_the_next_ca_signed_by_another_is_refused"
    ),
)

TABLE: tuple[Row | Elsewhere, ...] = (*CAPABILITIES, *ENCODINGS, *BUNDLES, *NEXT, *SHOWN)
