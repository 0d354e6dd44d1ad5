"""``scepflow sscep`` and ``scepflow-sscep``: the way to the front-end."""

import pytest

from scepflow.cli import sscep


def test_the_usage_is_sscep_s(scepflow):
    said = scepflow("sscep")
    assert said.exit_code == 0
    assert "Usage: sscep OPERATION [OPTIONS]" in said.stdout


def test_h_is_no_help_and_options_reach_the_front_end(scepflow):
    said = scepflow("sscep", "enroll", "-h", "-v")
    assert said.exit_code == 1
    assert "sscep: missing CA certificate (-c)" in said.stderr


def test_mkrequest_makes_key_and_request(scepflow, folder):
    assert scepflow("sscep", "mkrequest", "-dns", "gw").exit_code == 0
    assert (folder / "local.csr").exists()
    assert scepflow("sscep", "mkrequest").exit_code == 1


def test_the_script_is_called_as_it_was_linked(monkeypatch, capsys):
    monkeypatch.setattr(sscep.sys, "argv", ["/opt/bin/sscep", "enroll"])
    monkeypatch.setattr(sscep.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    with pytest.raises(SystemExit) as ended:
        sscep.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "sscep: missing CA certificate (-c)\n"
