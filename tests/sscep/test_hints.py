"""Hints about a pipeline's options, in words of sscep's."""

import ast
import re
from pathlib import Path

import pytest

from scepflow.sscep.hints import hint_in_options, message_in_options

SOURCES = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ('for a private CA set ca_file = "roots.pem" in [transport]', "SSL_CERT_FILE"),
        ("set user and password in [transport]", "USER:PASSWORD@HOST:PORT"),
        ("look at user and password in [transport]", "of the proxy"),
        ("it is the url of [transport]", "-p"),
        ("the server may want client_certificate and client_key in [transport]", "scepflow import sscep"),
        ("give the certificate's own key: key = …", "-O with -K"),
        ('make it with the key of [key], or let scepflow make it: use = "subject"', "-k"),
        ("make one …; min_bits = 1024 takes a short one for once", "sscep mkrequest"),
        ('give one: passphrase = { file = "…" }', "-P"),
        ("if the CA has renewed its certificates, run again; GetCACert is asked anew", "its certificates, get them"),
        ('servers: try cipher = "3des-cbc", digest = "sha-1" in [ca]', "servers: try -E 3des -S sha1"),
        ('upgrade the CA, or set security = "legacy" in [ca]', "upgrade the CA, or type"),
        ("leave digest and cipher on auto", "leave -S and -E out"),
        ("sign with an RSA key, or see password_envelope in [ca] (RFC 8894 §3.1)", "sign with an RSA key"),
        ("relative paths start at the pipeline file", "relative paths start where the command runs"),
        ("name one with token or slot: a, b", "(pkcs11:token=…): a, b"),
        ("name one with label or id: a, b", "id in -k (pkcs11:object=…;id=…): a, b"),
        ("written with --state-dir or SCEPFLOW_STATE_DIR", "written with SCEPFLOW_STATE_DIR"),
        ("is this the address of the SCEP service?", "is this the address of the SCEP service?"),
    ],
)  # fmt: skip  # a table
def test_a_hint_names_options_of_sscep(hint, said):
    assert said in hint_in_options(hint)
    assert not re.search(r"\[[a-z]+\]| = |--state-dir", hint_in_options(hint))


@pytest.mark.parametrize(
    "hint",
    [None, "if it needs longer, set timeout in [transport]", "GetCACert is not asked (fetch_certificates = false): name …"],
)  # fmt: skip
def test_a_hint_that_only_a_pipeline_can_follow_is_left_out(hint):
    assert hint_in_options(hint) is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no certificate in x fits the key of [key]", "no certificate in x fits the key of -k"),
        ("the request is for another key than the one of [key]", "the request is for another key than the one of -k"),
        ("the reply uses MD5, which security = default refuses", "the reply uses MD5, which is too weak"),
        ('too long for a URL; set method = "POST" in [ca]', "too long for a URL"),
    ],
)  # fmt: skip
def test_a_message_names_no_table(message, said):
    assert message_in_options(message) == said


def texts(path):
    """Yield the strings of a module that are no docstrings; those are statements of their own."""
    tree = ast.parse(path.read_text())
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def test_no_text_for_users_names_a_rule_of_the_reference():
    """Its numbers, such as Q-007, are for those who read the sources."""
    files = [path for root in ("scepflow", "plugins") for path in (SOURCES / root).rglob("*.py")]
    found = [text for path in files for text in texts(path) if re.search(r"\b[CQS]-[0-9]{3}\b", text)]
    assert files
    assert not found
