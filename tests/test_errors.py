import inspect
import re

import pytest

from scepflow import errors
from scepflow.errors import (
    LockedError,
    OptionError,
    PendingError,
    PipelineError,
    PluginError,
    ProtocolError,
    RejectedError,
    ScepflowError,
    SinkError,
    StageError,
    TransportError,
    TrustError,
    UnknownStageError,
)

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


def drawn_tree():
    """Read the tree in the module's docstring: name → (name of the base, exit code or None)."""
    tree, path = {}, []
    for line in inspect.getdoc(errors).splitlines():
        match = re.match(
            r"(?P<bars>    (?:[│ ]  )*(?:[├└]─ )?)(?P<name>[A-Z]\w+Error)\b(?:\s+(?P<code>[0-9-]+) )?", line
        )
        if match:
            depth = len(match["bars"]) // 3 - 1
            path[depth:] = [match["name"]]
            tree[match["name"]] = (path[depth - 1] if depth else "Exception", match["code"])
    return tree


def rejected(fail_info):
    return RejectedError("the CA rejected the request", fail_info=fail_info, transaction_id="8F3A")


def test_the_drawn_tree_is_the_tree_of_classes():
    assert {name: base for name, (base, _) in drawn_tree().items()} == {
        name: cls.__base__.__name__ for name, cls in CLASSES.items()
    }


def test_every_class_is_exported():
    assert sorted(CLASSES) == errors.__all__


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"RejectedError"}))
def test_an_error_has_the_exit_code_that_is_drawn_or_inherits_its_base(name):
    base, code = drawn_tree()[name]
    while code is None and base != "Exception":
        base, code = drawn_tree()[base]
    assert CLASSES[name].exit_code == int(code or 1)


def test_a_rejection_has_the_exit_codes_that_are_drawn():
    first, last = map(int, drawn_tree()["RejectedError"][1].split("-"))
    assert [rejected(fail_info).exit_code for fail_info in range(5)] == list(range(first, last + 1))


@pytest.mark.parametrize("fail_info", [None, 5, 12, 1 << 64])
def test_a_rejection_without_a_defined_fail_info_exits_2(fail_info):
    assert rejected(fail_info).exit_code == 2


def test_an_error_keeps_what_it_was_made_with():
    shared = {"message": "it broke", "hint": "mend it"}
    cases = {
        ScepflowError: {},
        PipelineError: {"file": "gw.toml", "line": 8, "column": 1, "where": "sink.phone.path"},
        OptionError: {"file": None, "line": None, "column": None, "where": ""},
        PluginError: {"plugin": "webhook", "distribution": "scepflow-webhook", "version": "1.0"},
        StageError: {"kind": "key", "name": "file"},
        TransportError: {
            "url": "http://h/s",
            "status": 404,
            "retryable": True,
            "kind": "transport",
            "name": "direct",
        },
        SinkError: {"kind": "sink", "name": "phone"},
        TrustError: {"check": "recipient-nonce"},
        ProtocolError: {"section": "RFC 8894 §3.2.1.3 pkiStatus"},
        RejectedError: {"fail_info": 2, "fail_info_text": "no", "transaction_id": "8F3A"},
        PendingError: {"transaction_id": "8F3A", "polls": 3, "waited_s": 1.5},
        LockedError: {},
    }
    for cls, own in cases.items():
        error = cls(shared["message"], hint=shared["hint"], **own)
        assert str(error) == "it broke"
        assert {name: getattr(error, name) for name in own} == own
        assert (error.message, error.hint) == ("it broke", "mend it")


def test_an_unknown_stage_is_named_with_the_nearest_and_the_installed():
    error = UnknownStageError(kind="sink", name="pkcs21", known=["file", "pkcs12"], close_match="pkcs12")
    assert str(error) == 'no sink named "pkcs21"; did you mean "pkcs12"?'
    assert error.hint == "installed: file, pkcs12 (`scepflow plugins`)"
    assert (error.kind, error.name, error.known, error.close_match) == (
        "sink",
        "pkcs21",
        ("file", "pkcs12"),
        "pkcs12",
    )


def test_an_unknown_stage_with_nothing_near_or_installed_says_so():
    error = UnknownStageError(kind="sink", name="x", known=[], close_match=None)
    assert str(error) == 'no sink named "x"'
    assert error.hint == "installed: none (`scepflow plugins`)"
