"""pipelines/ALGORITHMS.md, made from the table below: ``python tests/house/policy_tables.py`` renews it.

tests/engine/test_policies.py shows each cell with a message, so that what the page says is what the engine does.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "pipelines" / "ALGORITHMS.md"
POLICIES = ("strict", "default", "legacy")
YES, WARN, NO = "yes", "with a warning", "no"


class Row(NamedTuple):
    """What one algorithm is worth under the three policies."""

    name: str
    strict: str
    default: str
    legacy: str


class Table(NamedTuple):
    """Algorithms for one purpose."""

    title: str
    about: str
    rows: tuple[Row, ...]


def _all(verdict: str, *names: str) -> tuple[Row, ...]:
    return tuple(Row(name, verdict, verdict, verdict) for name in names)


TABLES = {
    "request digest": Table(
        "Requests: digest",
        'What `digest = "…"` in `[ca]` may ask for, whatever the CA says it can do.',
        (
            *_all(YES, "sha-256", "sha-512", "sha-384", "sha-224"),
            Row("sha-1", NO, WARN, WARN),
            Row("md5", NO, NO, WARN),
            *_all(NO, "md5, signed with an EC key"),
        ),
    ),
    "request cipher": Table(
        "Requests: content cipher",
        'What `cipher = "…"` in `[ca]` may ask for.',
        (
            *_all(YES, "aes-128-cbc", "aes-192-cbc", "aes-256-cbc"),
            Row("3des-cbc", NO, WARN, WARN),
            Row("des-cbc", NO, NO, WARN),
            Row("blowfish-cbc", NO, NO, WARN),
        ),
    ),
    "capabilities": Table(
        "Requests: chosen by what the CA offers",
        "GetCACaps is not authenticated, so what it leads to is never below 3DES and SHA-1. After the arrow is what is sent.",
        (
            *_all(YES, "SCEPStandard → aes-128-cbc, sha-256"),
            *_all(YES, "AES, SHA-256 → aes-128-cbc, sha-256"),
            Row("AES, SHA-512 → aes-128-cbc, sha-512", NO, YES, YES),
            Row("AES → aes-128-cbc, sha-1", NO, WARN, WARN),
            Row("SHA-256 → 3des-cbc, sha-256", NO, WARN, WARN),
            Row("DES3, SHA-1 → 3des-cbc, sha-1", NO, WARN, WARN),
            Row("DES, MD5 → 3des-cbc, sha-1", NO, WARN, WARN),
            Row("nothing → 3des-cbc, sha-1", NO, WARN, WARN),
        ),
    ),
    "request key": Table(
        "Requests: whom they are encrypted for",
        "The key of the certificate that GetCACert gave. The content key travels under RSA PKCS #1 v1.5, which every "
        "server reads; for an EC key, under the challenge (PBKDF2 with HMAC-SHA-256, 600 000 rounds, AES-128).",
        (
            *_all(NO, "RSA, 1023 bits"),
            Row("RSA, 1024 bits", NO, WARN, WARN),
            *_all(YES, "RSA, 2048 bits", "RSA, 16384 bits"),
            *_all(NO, "RSA, 16385 bits", "RSA, an exponent of 65 bits"),
            *_all(YES, "EC, with password_envelope = true and a challenge of 14 characters"),
            *_all(NO, "EC, with a challenge of 13", "EC, without password_envelope"),
        ),
    ),
    "reply digest": Table(
        "Replies: digest",
        "What the reply is signed with.",
        (
            *_all(YES, "SHA-224", "SHA-256", "SHA-384", "SHA-512"),
            Row("SHA-1", NO, WARN, WARN),
            Row("MD5", NO, NO, WARN),
            *_all(NO, "MD2", "SHA3-256"),
        ),
    ),
    "reply signature": Table(
        "Replies: signature",
        "The digest inside must be the one that the reply names.",
        (
            *_all(YES, "rsaEncryption", "sha256WithRSAEncryption", "sha384WithRSAEncryption"),
            *_all(YES, "sha512WithRSAEncryption", "RSASSA-PSS, SHA-256", "RSASSA-PSS, SHA-384"),
            *_all(YES, "RSASSA-PSS, SHA-512"),
            Row("RSASSA-PSS, SHA-1", NO, WARN, WARN),
            Row("sha1WithRSAEncryption", NO, WARN, WARN),
            Row("md5WithRSAEncryption", NO, NO, WARN),
            *_all(YES, "ECDSA P-256, SHA-256", "ECDSA P-384, SHA-384", "ECDSA P-521, SHA-512"),
            Row("ECDSA P-256, SHA-1", NO, WARN, WARN),
            *_all(NO, "Ed25519", "DSA"),
        ),
    ),
    "reply signer": Table(
        "Replies: the signer's key, and every key above a certificate",
        "Of the CA and its RA. How large our own key is, `[key]` decides.",
        (
            *_all(NO, "RSA, 1023 bits"),
            Row("RSA, 1024 bits", NO, WARN, WARN),
            *_all(YES, "RSA, 2048 bits", "RSA, 16384 bits"),
            *_all(NO, "RSA, 16385 bits", "RSA, an exponent of 65 bits"),
            Row("EC P-192", NO, WARN, WARN),
            *_all(YES, "EC P-224", "EC P-256"),
        ),
    ),
    "reply cipher": Table(
        "Replies: content cipher",
        "micromdm and step-ca answer in single DES. What an envelope hides is a certificate, which is public.",
        (
            *_all(YES, "AES-128-CBC", "AES-192-CBC", "AES-256-CBC"),
            Row("3DES-CBC", NO, WARN, WARN),
            Row("DES-CBC", NO, WARN, WARN),
            Row("Blowfish-CBC", NO, NO, WARN),
            *_all(NO, "RC2-CBC", "AES-128-GCM", "none: the certificates in clear"),
        ),
    ),
    "reply transport": Table(
        "Replies: transport of the content key",
        "For our RSA key.",
        (
            *_all(YES, "RSA PKCS #1 v1.5", "OAEP, SHA-1", "OAEP, SHA-256", "OAEP, SHA-512"),
            *_all(NO, "OAEP, MD5", "key agreement (ECDH)"),
        ),
    ),
    "reply password": Table(
        "Replies: envelopes under the challenge",
        "For our EC key, where `password_envelope` allows it: how the key is derived, and what it wraps with.",
        (
            *_all(YES, "PBKDF2, HMAC-SHA-256", "PBKDF2, HMAC-SHA-384", "PBKDF2, HMAC-SHA-512"),
            Row("PBKDF2, HMAC-SHA-1", NO, WARN, WARN),
            Row("PBKDF2, no prf named (HMAC-SHA-1)", NO, WARN, WARN),
            *_all(NO, "PBKDF2, HMAC-SHA-224", "PBKDF2, HMAC-MD5"),
            *_all(
                NO, "PBKDF2, 0 rounds", "PBKDF2, 1 500 001 rounds", "PBKDF2, a salt of 1025 bytes", "scrypt"
            ),
            *_all(YES, "wrapped in AES-128-CBC", "wrapped in AES-256-CBC"),
            Row("wrapped in 3DES-CBC", NO, WARN, WARN),
            Row("wrapped in DES-CBC", NO, WARN, WARN),
            Row("wrapped in Blowfish-CBC", NO, NO, WARN),
            *_all(NO, "wrapped in RC2-CBC"),
        ),
    ),
    "issued": Table(
        "Certificates: how the new one is signed",
        "And each one between it and the CA that is pinned, whose own signature says nothing.",
        (
            *_all(YES, "RSA, SHA-256", "RSA, SHA-384", "RSA, SHA-512", "ECDSA, SHA-256"),
            Row("RSA, SHA-1", NO, WARN, WARN),
            Row("RSA, MD5", NO, NO, WARN),
        ),
    ),
    "bundle": Table(
        "Certificates: how the RA's is signed",
        "One that the policy refuses is left out of the CA's answer: it signs nothing and receives nothing.",
        (
            *_all(YES, "RSA, SHA-256"),
            Row("RSA, SHA-1", NO, WARN, WARN),
            Row("RSA, MD5", NO, NO, WARN),
        ),
    ),
}

_ABOVE = """# Algorithms by policy

<!-- python tests/house/policy_tables.py writes this page -->
What [`security` in `[ca]`](README.md#ca-the-ca) means for each algorithm. A warning is on every run that meets it. What is refused
ends the run with exit status 5 before anything is trusted (an option that asks for it is a mistake in the pipeline: 78).
`relax = ["algorithms"]` reads in replies what some policy reads. What none reads stays unread.
"""


def page() -> str:
    """Return the whole page, as Markdown."""
    return "\n".join([_ABOVE, *(_section(table) for table in TABLES.values())])


def _section(table: Table) -> str:
    lines = [f"| {row.name} | {row.strict} | {row.default} | {row.legacy} |" for row in table.rows]
    head = ["| | `strict` | `default` | `legacy` |", "|---|---|---|---|"]
    return "\n".join([f"## {table.title}", table.about, "", *head, *lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
