"""JSON-able values as a tree: one line for what fits on one, the rest below."""

import click

from scepflow.cli.trees import tree_lines


def test_a_tree_shows_every_kind_of_value_and_leaves_out_what_is_not_there():
    values = {
        "verified": True,
        "opened": False,
        "clock_ahead_s": -1,
        "known": ["AES", "DES3"],
        "message_type": {"number": "19", "name": "PKCSReq"},
        "missing": None,
        "crls": [],
        "signer": {"issuer": "CN=CA"},
        "content": {"kind": "request", "title": "certification request", "subject": "CN=gw1"},
        "extensions": [
            {"name": "keyUsage", "value": "cRLSign", "critical": True},
            {"name": "x", "value": "y"},
        ],
        "recipients": [{"kind": "password"}],
        "certificates": [{"title": "CA", "kind": "c"}, {"subject": "CN=gw1"}],
    }
    assert [click.unstyle(line) for line in tree_lines(values)] == [
        "  verified         yes",
        "  opened           no",
        "  clock ahead (s)  -1",
        "  known            AES, DES3",
        "  message type     PKCSReq (19)",
        "  signer",
        "    issuer  CN=CA",
        "  content: certification request",
        "    subject  CN=gw1",
        "  extensions",
        "    keyUsage  cRLSign (critical)",
        "    x         y",
        "  recipient",
        "    kind  password",
        "  certificate 1: CA",
        "  certificate 2",
        "    subject  CN=gw1",
    ]
