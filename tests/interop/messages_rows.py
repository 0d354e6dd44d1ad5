"""Rows on CertReps: how they are encoded, who signs them, what they answer, what is inside."""

from rows import Elsewhere, Row, issued, refused

from scepflow.testca import FailInfo

REJECTS = {"reject": FailInfo.BAD_REQUEST, "reject_text": "not this week"}
PENDS = {"pending": 2}
LONG_CHALLENGE = {"challenge": "a challenge of 80 bits"}
FEW_POLLS = '[poller]\nuse = "fixed"\ninterval = "1m"\nmax_count = 3'
STRICT = {"security": "strict"}
LEGACY = {"security": "legacy"}


def rejected(exit_code=72, says="badRequest"):
    """An answer, not an accident: the same question is not asked again, so nothing recovers."""
    return refused(says=says, exit_code=exit_code, recovers=False)


def relaxing(check):
    return {"relax": [check]}


ENCODED = (
    Row(items=("Q-001",), behave=("no-certificates",), expected=issued()),
    Row(
        items=("Q-001", "Q-054"),
        behave=("no-certificates",),
        title="from an RA",
        authority={"ra": True},
        expected=issued(),
    ),
    Row(
        items=("Q-054",),
        behave=(),
        title="an RA's certificate alone",
        authority={"ra": True},
        expected=issued(),
    ),
    Row(items=("Q-032",), behave=("issued-first",), expected=issued()),
    Row(items=("Q-097",), behave=("signer-by-key-identifier",), expected=issued()),
    Row(items=("Q-096",), behave=("odd-versions",), expected=issued()),
    Row(items=("Q-003",), behave=("microsoft-attributes",), expected=issued()),
    Row(
        items=("Q-003",),
        behave=("microsoft-attributes",),
        title="with FAILURE",
        knobs={"reject": FailInfo.BAD_REQUEST},
        expected=rejected(says="0x80070057"),
    ),
    Row(items=("Q-081",), behave=("random-nonce", "long-sender-nonce"), expected=issued()),
    Row(items=("Q-036", "Q-081", "C-059"), behave=("no-sender-nonce",), expected=issued()),
    Row(items=("Q-036",), behave=("short-sender-nonce",), expected=issued()),
    Row(items=("Q-030",), behave=("echoed-sender-nonce",), expected=issued()),
    Row(items=("Q-018", "Q-108"), behave=("no-signing-time",), expected=issued()),
    Row(items=("Q-108",), behave=("generalized-signing-time",), expected=issued()),
    Row(items=("Q-036", "Q-108"), behave=("zoned-signing-time",), expected=issued()),
    Row(items=("Q-056", "Q-108"), behave=("broken-signing-time",), expected=issued()),
    Row(items=("Q-108",), behave=("skewed-signing-time",), expected=issued()),
    Row(items=("Q-108",), behave=("text-signing-time",), expected=issued()),
    Row(
        items=("Q-108",),
        behave=(),
        title="badTime",
        knobs={"reject": FailInfo.BAD_TIME},
        expected=rejected(73, "compare this machine's clock with the CA's"),
    ),
    *(
        Row(items=("Q-029", "C-049", "C-050", "Q-113"), behave=(f"{kind}-attributes",), expected=issued())
        for kind in ("printable", "utf8", "ia5", "teletex")
    ),
    Row(
        items=("Q-029",),
        behave=("printable-attributes",),
        title="with FAILURE",
        knobs=REJECTS,
        expected=rejected(says="not this week"),
    ),
    Row(items=("Q-056", "Q-107"), behave=("unsorted-attributes",), expected=issued()),
    Row(items=("Q-107", "S-014"), behave=("unsorted-but-signed-sorted",), expected=issued()),
    Row(items=("Q-107", "S-014"), behave=("third-order",), expected=refused("signature")),
    Row(items=("Q-020", "Q-110", "S-042"), behave=("des-sha1",), expected=issued(warns="weak-reply")),
    Row(
        items=("Q-020", "S-042", "S-007"),
        behave=("des-sha1",),
        title="strict",
        ca=STRICT,
        expected=refused("algorithms", "sha-1"),
    ),
    Row(
        items=("Q-036", "Q-042"),
        behave=("des-sha1", "ciphertext-in-pieces"),
        expected=issued(warns="weak-reply"),
    ),
    Row(items=("Q-041", "Q-110"), behave=("3des-sha1",), expected=issued(warns="weak-reply")),
    Row(items=("Q-040", "S-007"), behave=("3des-md5",), expected=refused("algorithms", "md5")),
    # Q-040 says never; security = "legacy" is asked for by hand, is for such CAs, and is told of in each run.
    Row(
        items=("Q-040", "S-007"),
        behave=("3des-md5",),
        title="legacy",
        ca=LEGACY,
        expected=issued(warns="weak-reply"),
    ),
    Row(items=("Q-110",), behave=("aes192-sha384",), expected=issued()),
    Row(items=("Q-110",), behave=("aes256-sha512",), expected=issued()),
    Row(items=("Q-033", "Q-105"), behave=("no-parameters",), expected=issued()),
    Row(items=("Q-018", "Q-105"), behave=("null-parameters",), expected=issued()),
    Row(
        items=("Q-018",),
        behave=("3des-sha1", "null-parameters", "no-signing-time"),
        expected=issued(warns="weak-reply"),
    ),
    Row(items=("Q-033", "Q-106"), behave=("sha256-with-rsa",), expected=issued()),
    Row(items=("Q-106",), behave=("pss",), expected=issued()),
    Row(
        items=("Q-106", "S-007"),
        behave=("pss-without-end",),
        expected=refused(says="salt length out of bounds"),
    ),
    Row(items=("Q-106", "S-013"), behave=("other-digest",), expected=refused(says="does not fit sha-256")),
    Row(items=("Q-109",), behave=("bare-digest-info",), expected=issued()),
    Row(items=("Q-049", "Q-077", "C-041"), behave=("enveloped-data-type",), expected=issued()),
    Row(items=("Q-077", "C-041", "S-004"), behave=("other-content-type",), expected=refused("content-type")),
    Row(items=("Q-056", "S-004"), behave=("no-content-type",), expected=refused("content-type")),
    Row(
        items=("Q-056",),
        behave=("no-content-type",),
        title="relaxed",
        ca=relaxing("content-type"),
        expected=issued(warns="relaxed-content-type"),
    ),
    Row(items=("Q-103",), behave=("line-end-after",), expected=issued()),
    Row(items=("Q-103",), behave=("data-after",), expected=refused(says="data after the end of the value")),
    # S-014: a signature is over the DER of the attributes (RFC 5652 §5.4), so BER around them changes nothing that counts.
    Row(items=("Q-042", "S-014"), behave=("ber",), expected=issued()),
    Row(
        items=("Q-057",),
        behave=(),
        title="a CA that reads only DER",
        knobs={"der_only": True},
        expected=issued(),
    ),
    # PKCS#7 1.5 has an OCTET STRING there too when the type is data, and its digest leaves tag and length open.
    Row(items=("Q-095",), behave=("bare-sequence",), expected=refused(says="not a SignedData")),
)

ANSWERED = (
    Row(items=("C-042", "C-065"), behave=(), title="PENDING twice", knobs=PENDS, expected=issued()),
    Row(
        items=("C-048", "C-065"),
        behave=(),
        title="FAILURE",
        knobs=REJECTS,
        expected=rejected(says='badRequest (failInfo 2): "not this week"'),
    ),
    *(
        row
        for items, name in (
            (("Q-023", "Q-043", "Q-063", "C-042", "C-065"), "empty-content"),
            (("Q-002", "C-042", "C-065"), "one-byte-content"),
        )
        for row in (
            Row(items=items, behave=(name,), title="with PENDING", knobs=PENDS, expected=issued()),
            Row(items=items, behave=(name,), title="with FAILURE", knobs=REJECTS, expected=rejected()),
        )
    ),
    Row(
        items=("Q-002", "Q-003", "Q-018"),
        behave=(
            "one-byte-content",
            "microsoft-attributes",
            "no-signing-time",
            "3des-sha1",
            "no-certificates",
        ),
        title="NDES refuses",
        knobs={"reject": FailInfo.BAD_REQUEST},
        expected=rejected(),
    ),
    Row(items=("Q-051",), behave=("cms-with-202",), knobs=PENDS, expected=issued()),
    Row(items=("Q-051",), behave=("cms-with-400",), knobs=REJECTS, expected=rejected()),
    Row(
        items=("Q-022",),
        behave=("no-polls",),
        knobs={"pending": 1},
        pipeline=FEW_POLLS,
        expected=refused(says="not implemented", exit_code=4),
    ),
    Row(
        items=("Q-022",),
        behave=(),
        title="a wrong challenge",
        knobs={"reject": FailInfo.BAD_REQUEST, "reject_text": "challenge password mismatch"},
        expected=rejected(says="is the challenge right"),
    ),
    # an HTTP 500 proves nothing about the CA (S-005), so it is no rejection; its words are shown.
    Row(
        items=("Q-037",),
        behave=("plain-500",),
        expected=refused(says="challenge password mismatch", exit_code=4),
    ),
    Row(
        items=("Q-005",),
        behave=("page-500",),
        authority={"ra": True},
        expected=refused(says="the request was encrypted for CN=", exit_code=4),
    ),
    Row(
        items=("Q-005",),
        behave=("page-500",),
        title="from a CA alone",
        expected=refused(says='a web page: "500 Server Error"', exit_code=4),
    ),
    Row(items=("Q-047",), behave=("no-renewals",), renewal=True, expected=issued(warns="renewal-refused")),
    Row(
        items=("Q-058", "S-006"),
        behave=("pends",),
        pipeline=FEW_POLLS,
        expected=refused(says="has not decided after 3 polls", exit_code=3),
    ),
    Row(
        items=("Q-058",),
        behave=("pends", "fail-info-0"),
        expected=refused(says="pkiStatus PENDING with a failInfo"),
    ),
    Row(items=("S-006", "S-005"), behave=("pends", "forged"), expected=refused("signature")),
    Row(items=("S-006", "S-005"), behave=("pends", "no-signature"), expected=refused(says="no signature")),
    Row(
        items=("S-005",),
        behave=("forged",),
        title="with FAILURE",
        knobs=REJECTS,
        expected=refused("signature", recovers=False),
    ),
    Row(
        items=("S-005",),
        behave=("no-signature",),
        title="with FAILURE",
        knobs=REJECTS,
        expected=refused(says="no signature", recovers=False),
    ),
    Row(items=("S-005",), behave=("unsigned-status",), expected=refused(says="pkiStatus is missing")),
    Row(
        items=("Q-115", "C-066"), behave=("no-fail-info",), knobs=REJECTS, expected=rejected(2, "no failInfo")
    ),
    Row(items=("Q-115",), behave=("fail-info",), expected=refused(says="pkiStatus SUCCESS with a failInfo")),
    Row(
        items=("C-054",),
        behave=("fail-info-13",),
        knobs=REJECTS,
        expected=rejected(2, "unknown failInfo (failInfo 13)"),
    ),
    Row(items=("C-054",), behave=("fail-info-padded",), knobs=REJECTS, expected=rejected(2, "no failInfo")),
    Row(items=("C-054",), behave=("fail-info-worded",), knobs=REJECTS, expected=rejected(2, "no failInfo")),
    Row(
        items=("Q-064", "C-054"),
        behave=("fail-info-7",),
        knobs=REJECTS,
        expected=rejected(2, "badIdentity (failInfo 7)"),
    ),
    Row(
        items=("Q-064",),
        behave=("fail-info-11",),
        knobs=REJECTS,
        expected=rejected(2, "internalCAError (failInfo 11)"),
    ),
    Row(
        items=("Q-067",),
        behave=("no-status",),
        expected=refused(says='pkiStatus is missing, failInfo is "2"'),
    ),
    *(
        Row(items=("C-053", *items), behave=(f"status-{name}",), expected=refused(says="pkiStatus is"))
        for name, items in (
            ("1", ()),
            ("4", ()),
            ("empty", ()),
            ("worded", ()),
            ("padded", ("Q-112",)),
            ("blank", ("Q-112",)),
        )
    ),
    Row(items=("C-050", "Q-112"), behave=("status-number",), expected=refused(says="is not a short text")),
    Row(items=("Q-112", "S-012"), behave=("two-values",), expected=refused(says="has 2 values")),
    Row(items=("Q-112", "S-012"), behave=("no-values",), expected=refused(says="has 0 values")),
    Row(items=("S-012",), behave=("two-statuses",), expected=refused(says="comes twice")),
    Row(
        items=("S-060", "S-064", "C-055"),
        behave=("escapes-in-reason",),
        knobs=REJECTS,
        expected=rejected(says=r"\x1b]0;owned\x07\x1b[2J\u202egnol on\u2028\nOK: issued\r\x9b31m\x00"),
    ),
    Row(
        items=("S-060", "S-064"),
        behave=("escapes-in-transaction",),
        expected=refused("transaction-id", r"\x1b]0;owned\x07"),
    ),
    Row(
        items=("S-060", "S-064"),
        behave=("escapes-in-type",),
        expected=refused("message-type", r"\x1b]0;owned\x07"),
    ),
    Row(items=("S-060", "S-064"), behave=("escapes-in-status",), expected=refused(says=r"\x1b]0;owned\x07")),
    Row(
        items=("S-060",),
        behave=("endless-reason",),
        knobs=REJECTS,
        expected=rejected(says="us please call us plea…"),
    ),
)

FORGED = (
    Row(
        items=("S-003", "S-001"), behave=("forged",), expected=refused("signature", "the signature is wrong")
    ),
    Row(items=("S-003", "S-001"), behave=("forged", "no-certificates"), expected=refused("signature")),
    Row(
        items=("S-001",),
        behave=("nocerts",),
        expected=refused("signer", "not signed by a certificate of the authenticated CA"),
    ),
    Row(items=("S-001",), behave=("stranger",), expected=refused("signer", "GetCACert is asked anew")),
    Row(items=("S-001", "S-002"), behave=("client-signs",), expected=refused("signer")),
    Row(items=("S-002",), behave=("unlisted-ra",), expected=refused("signer")),
    Row(
        items=("S-002",),
        behave=("unlisted-ra",),
        title="relaxed",
        ca=relaxing("signer"),
        expected=issued(warns="relaxed-signer"),
    ),
    Row(
        items=("C-058", "S-008"),
        behave=("badnonce",),
        expected=refused("recipient-nonce", "it answers another message"),
    ),
    Row(
        items=("Q-068", "Q-114", "S-011", "C-058"),
        behave=("short-nonce",),
        expected=refused("recipient-nonce"),
    ),
    Row(items=("Q-114", "C-058"), behave=("long-nonce",), expected=refused("recipient-nonce")),
    Row(
        items=("Q-080", "Q-114", "C-058"), behave=("no-recipient-nonce",), expected=refused("recipient-nonce")
    ),
    Row(
        items=("Q-080",),
        behave=("no-recipient-nonce",),
        title="relaxed",
        ca=relaxing("recipient-nonce"),
        expected=issued(warns="relaxed-recipient-nonce"),
    ),
    Row(
        items=("Q-114", "S-005"),
        behave=("no-recipient-nonce",),
        title="with FAILURE",
        knobs=REJECTS,
        expected=refused("recipient-nonce", recovers=False),
    ),
    Row(items=("C-051", "S-009"), behave=("badtx",), expected=refused("transaction-id")),
    Row(items=("C-051", "S-009", "Q-113"), behave=("prefixtx",), expected=refused("transaction-id")),
    Row(items=("S-009",), behave=("empty-transaction",), expected=refused("transaction-id")),
    Row(
        items=("S-009", "C-047"),
        behave=("no-transaction",),
        expected=refused("transaction-id", "does not say which transaction"),
    ),
    Row(items=("Q-113",), behave=("upper-case-transaction",), expected=refused("transaction-id")),
    Row(items=("Q-113",), behave=("padded-transaction",), expected=refused("transaction-id")),
    *(
        Row(items=("C-052", "S-010"), behave=(f"type-{name}",), expected=refused("message-type"))
        for name in ("18", "19", "99", "blank", "padded")
    ),
    Row(
        items=("C-047", "C-052", "S-010"),
        behave=("no-message-type",),
        expected=refused("message-type", "is missing"),
    ),
    Row(items=("S-010",), behave=("reflection",), expected=refused("signer")),
    Row(
        items=("S-010",),
        behave=("reflection",),
        title="of a renewal",
        renewal=True,
        expected=refused("signer"),
    ),
    Row(items=("Q-123", "S-008"), behave=("replay",), renewal=True, expected=refused("transaction-id")),
    Row(
        items=("Q-123", "S-008"),
        behave=("replay",),
        title="of PENDING",
        knobs={"pending": 1},
        expected=refused("recipient-nonce"),
    ),
    Row(
        items=("Q-098", "S-012"), behave=("two-signatures",), expected=refused(says="more than one signature")
    ),
    Row(items=("Q-098", "S-012"), behave=("two-answers",), expected=refused(says="more than one signature")),
    Row(items=("C-047", "S-004"), behave=("no-attributes",), expected=refused(says="no signed attributes")),
    Row(items=("C-047", "S-004"), behave=("no-message-digest",), expected=refused("message-digest")),
    Row(items=("S-004",), behave=("changed-content",), expected=refused("message-digest")),
    # a CRL alone is the CA's, but nothing ties it to our question: whoever is in between could send an older one.
    Row(items=("Q-085",), behave=("raw-crl",), expected=refused(says="not a CMS SignedData")),
    *(
        Row(items=("S-030",), behave=(f"bomb-{name}",), expected=refused(says=says))
        for name, says in (
            ("depth", "nested deeper than 32 levels"),
            ("endless", "the data ends where"),
            ("length", "runs past what holds it"),
            ("length-of-length", "a length of 8 octets"),
            ("elements", ""),
            ("name", "CMS"),
            ("number", "not a SignedData"),
            ("certificates", "more than 64 certificates"),
            ("signers", "more than 64 certificates, CRLs or signers"),
            ("attributes", "more than 64 signed attributes"),
        )
    ),
)

SEALED = (
    Row(items=("Q-006", "Q-053"), behave=("oaep",), expected=issued()),
    Row(items=("Q-006",), behave=("oaep-without-parameters",), expected=issued()),
    Row(items=("Q-006",), behave=("oaep-sha256",), expected=issued()),
    Row(items=("S-036",), behave=("oaep-unknown-digest",), expected=refused(says="unknown digest algorithm")),
    Row(items=("Q-033", "Q-105"), behave=("bare-key-transport",), expected=issued()),
    Row(items=("S-036",), behave=("unknown-key-transport",), expected=refused(says="unknown key transport")),
    Row(items=("Q-096",), behave=("other-envelope-version",), expected=issued()),
    Row(items=("Q-097",), behave=("recipient-by-key-identifier",), expected=issued()),
    Row(items=("Q-025", "Q-098", "S-052"), behave=("several-recipients",), expected=issued()),
    Row(items=("S-052",), behave=("crowd",), expected=refused(says="more than 16 recipients")),
    Row(items=("S-052",), behave=("two-keys",), expected=refused(says="does not open with our key")),
    Row(
        items=("S-053", "Q-098"), behave=("for-a-stranger",), expected=refused(says="not for our certificate")
    ),
    Row(items=("Q-036", "Q-042"), behave=("ciphertext-in-pieces",), expected=issued()),
    Row(items=("Q-034", "Q-110"), behave=("gcm",), expected=refused(says="set the CA to AES-128-CBC")),
    Row(
        items=("Q-110",), behave=("authenvelope",), expected=refused(says="where a CMS EnvelopedData must be")
    ),
    Row(items=("Q-110", "S-036", "S-042"), behave=("rc2",), expected=refused(says="unknown content cipher")),
    Row(items=("S-042",), behave=("no-cipher",), expected=refused(says="unknown content cipher")),
    Row(
        items=("Q-111", "S-036"),
        behave=("short-vector",),
        expected=refused(says="initialisation vector of 8 bytes"),
    ),
    Row(
        items=("Q-111", "S-036"),
        behave=("number-for-vector",),
        expected=refused(says="initialisation vector"),
    ),
    Row(
        items=("Q-111", "S-036"),
        behave=("no-vector",),
        expected=refused(says="initialisation vector of 0 bytes"),
    ),
    Row(
        items=("S-035",),
        behave=("endless-derivation",),
        knobs=LONG_CHALLENGE,
        ca={"password_envelope": True},
        expected=refused(says="PBKDF2 parameters out of bounds"),
    ),
    Row(items=("S-043",), behave=("in-clear",), expected=refused(says="SUCCESS without an envelope")),
    Row(
        items=("S-043", "C-040"),
        behave=("not-encrypted",),
        expected=refused(says="where a CMS EnvelopedData must be"),
    ),
    # what a label does not say is not guessed, and a lone certificate is not taken: trying one thing
    # after another with the private key is what S-050 warns of, and no server of today needs it.
    *(
        Row(
            items=("S-050", *items),
            behave=(name,),
            expected=refused(says="the envelope does not open with our key"),
        )
        for name, items in (
            ("wrong-key", ("Q-010",)),
            ("short-key", ("Q-111",)),
            ("long-key", ("Q-111",)),
            ("mislabelled-oaep", ("Q-069",)),
            ("broken-transport", ()),
            ("broken-padding", ("S-051",)),
            ("half-block", ("S-051",)),
            ("no-blocks", ("S-051",)),
            ("garbage-inside", ()),
            ("envelope-inside", ()),
            ("certificate-inside", ("Q-093",)),
            ("broken-certificate-inside", ()),
        )
    ),
    Row(
        items=("Q-010",),
        behave=("wrong-key",),
        title="what helps",
        expected=refused(says='try cipher = "3des-cbc", digest = "sha-1"'),
    ),
)

INSIDE = (
    Row(items=("C-062",), behave=(), title="as RFC 8894 has it", expected=issued()),
    Row(items=("C-062", "Q-092"), behave=("empty-inner-content",), expected=issued()),
    Row(items=("C-062",), behave=("signed-inside",), expected=issued()),
    Row(
        items=("Q-065", "C-063", "C-064"),
        behave=("nothing-inside",),
        expected=refused("certificate-key", "a person still has to approve"),
    ),
    Row(items=("C-063", "C-064"), behave=("ca-inside",), expected=refused("certificate-key")),
    Row(items=("Q-090", "C-063", "C-064"), behave=("leaf-last",), expected=issued()),
    Row(items=("Q-090", "C-063", "C-064"), behave=("leaf-first",), expected=issued()),
    Row(items=("Q-090", "Q-091", "C-064"), behave=("leaf-between",), expected=issued()),
    Row(items=("Q-091",), behave=("crl-inside",), expected=issued()),
    Row(items=("C-064",), behave=("two-certificates",), expected=issued(warns="several-certificates")),
    Row(
        items=("C-064",),
        behave=("wrongkey",),
        expected=refused("certificate-key", "none of the 1 certificates in the reply is for our key"),
    ),
    Row(items=("Q-007",), behave=("old-certificate",), renewal=True, expected=refused("new-certificate")),
)

SENT = (
    Elsewhere(
        items=("Q-026", "Q-046"),
        test="tests/engine/test_envelopes.py::test_an_envelope_is_what_the_rfc_says",
    ),
    Elsewhere(
        items=("Q-025", "Q-047"),
        test="tests/engine/test_messages.py::test_a_request_is_read_as_it_was_built",
    ),
    Elsewhere(
        items=("Q-027", "Q-107"),
        test="tests/engine/test_messages.py::test_the_attributes_of_a_request_are_those_of_the_rfc_to_the_byte",
    ),
    Elsewhere(
        items=("Q-027",),
        test="tests/bundled/test_signers.py::test_a_self_signed_certificate_is_back_dated_by_a_day",
    ),
    Elsewhere(
        items=("Q-039",), test="tests/engine/test_messages.py::test_the_names_of_message_types_are_the_rfcs"
    ),
    Elsewhere(
        items=("Q-085",), test="tests/interop/test_eight_replies.py::test_a_bare_crl_is_no_answer_to_get_crl"
    ),
    Elsewhere(
        items=("Q-066", "Q-007"),
        test="tests/interop/test_eight_replies.py::test_two_enrollments_have_two_transactions",
    ),
    Elsewhere(
        items=("S-007",),
        test="tests/engine/test_messages.py::test_a_key_that_proves_nothing_or_costs_too_much_is_refused_whatever_is_relaxed",
    ),
    Elsewhere(
        items=("S-003",),
        test="tests/engine/test_messages.py::test_each_trusted_certificate_of_the_same_name_is_tried",
    ),
    Elsewhere(
        items=("S-050", "S-051"),
        test="tests/interop/test_padding_oracle.py::test_nothing_tells_what_went_wrong_behind_the_lock",
    ),
    Elsewhere(
        items=("S-050", "S-053"),
        test="tests/interop/test_padding_oracle.py::test_the_private_key_is_not_used_for_a_reply_that_fails_a_check",
    ),
    Elsewhere(
        items=("S-060", "S-064"),
        test="tests/interop/test_eight_replies.py::test_no_control_character_of_a_server_comes_through",
    ),
    Elsewhere(
        items=("Q-075", "C-057"),
        test="tests/testca/test_responder.py::test_a_nonce_of_any_length_comes_back_whole",
    ),
    Elsewhere(
        items=("Q-075",),
        test="tests/testca/test_authority.py::test_a_ca_with_ra_leaves_signing_and_decrypting_to_two_certificates",
    ),
    Elsewhere(items=("Q-076",), test="tests/engine/test_messages.py::test_a_transaction_id_is_any_text"),
)

TABLE: tuple[Row | Elsewhere, ...] = (*ENCODED, *ANSWERED, *FORGED, *SEALED, *INSIDE, *SENT)
