from __future__ import annotations

import subprocess
import sys

import pytest

import scepflow.testca


def test_every_public_name_can_be_imported_from_the_package():
    for name in scepflow.testca.__all__:
        assert getattr(scepflow.testca, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = scepflow.testca.nonsense


def test_naming_the_package_loads_no_cryptography():
    code = "import sys, scepflow.testca; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_package_says_what_it_is_not_for():
    assert "never for production" in scepflow.testca.__doc__
