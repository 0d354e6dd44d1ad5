"""Messages and hints that name a pipeline's options, in words of the options of sscep.

Must never hold: a decision; what has no words here is left out, for nobody has a pipeline in front of them.
"""

from __future__ import annotations

import re

__all__ = ["hint_in_options", "message_in_options"]

_MESSAGES = (
    (r"\b(the key|the one) of \[key\]", r"\1 of -k"),
    (r", which security = \w+ refuses", ", which is too weak"),
    (r'; set method = "POST" in \[ca\]', ""),
)

_HINTS = (
    (r".*\bca_file = .*", "for a private CA put its roots, PEM, into a file that SSL_CERT_FILE in the environment names"),
    (r".*\bset user and password in .*", "write Proxy with USER:PASSWORD@HOST:PORT into the file of -f; -p shows it to all"),
    (r".*\blook at user and password in .*", "look at user and password of the proxy, %XX for what no address may have"),
    (r".*\bit is the url of \[transport\].*", "it is the proxy of -p"),
    (r".*\bclient_certificate and client_key in .*", "no option shows a certificate to it; a pipeline can: scepflow import sscep"),
    (r".*\bkey = ….*", "give the certificate and its own key: -O with -K, or -l with -k"),
    (r".*\bwith the key of \[key\].*", "make both anew: sscep mkrequest; or name the key of that request with -k"),
    (r".*\bmin_bits = .*", "make a longer one: sscep mkrequest"),
    (r".*\bpassphrase = .*", "name a source of it with -P"),
    (r"(.*), run again; GetCACert is asked anew", r"\1, get them again with getca and compare their fingerprints"),
    (r'(.*): try cipher = "3des-cbc", digest = "sha-1" in \[ca\]', r"\1: try -E 3des -S sha1"),
    (r'(.*), or set security = "legacy" in \[ca\]', r"\1, or type what it uses: -S md5, -E des"),
    (r"(.*)\bdigest and cipher on auto\b.*", r"\1-S and -E out"),
    (r"(.*), or see password_envelope in \[ca\] .*", r"\1"),
    (r"(.*\brelative paths start) at the pipeline file", r"\1 where the command runs"),
    (r'(.*\bmay be too long); method = "POST" in \[ca\] may help(.*)', r"\1\2"),
    (r"(.*\bname one with) token or slot\b", r"\1 token in -k (pkcs11:token=…)"),
    (r"(.*\bname one with) label or id\b", r"\1 object or id in -k (pkcs11:object=…;id=…)"),
    (r"(.*)--state-dir or (SCEPFLOW_STATE_DIR)", r"\1\2"),
)  # fmt: skip  # a table
"""What to look for, and what stands in its place; the first that fits."""

_OF_A_PIPELINE = re.compile(
    r"\[(?:ca|key|csr|signer|transport|poller|sink)\b|\b[a-z][a-z0-9_]* = |\b(?:fetch_certificates|password_envelope|pipeline file)\b"
)


def message_in_options(message: str) -> str:
    """Return what went wrong, without the names of a pipeline's tables."""
    for pattern, words in _MESSAGES:
        message = re.sub(pattern, words, message)
    return message


def hint_in_options(hint: str | None) -> str | None:
    """Return what to do, or None where a pipeline's options alone would help."""
    if hint is None:
        return None
    for pattern, words in _HINTS:
        found, count = re.subn(pattern, words, hint, flags=re.DOTALL)
        if count:
            return found
    return None if _OF_A_PIPELINE.search(hint) else hint
