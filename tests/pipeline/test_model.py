import pytest

from scepflow.engine.fingerprints import parse_fingerprint
from scepflow.errors import OptionError
from scepflow.pipeline import CaOptions, Pipeline, RenewOptions

SHA256 = "ab" * 32
SHA1 = "cd" * 20


def ca(**options):
    return CaOptions(url="http://pki.example.com/scep", **options)


@pytest.mark.parametrize(
    "text",
    [
        f"sha256:{SHA256}",
        f"SHA-256:{SHA256.upper()}",
        SHA256,
        ":".join([*["AB"] * 32]),
        f" sha256: {' '.join(['ab'] * 32)} ",
        f"sha512:{'0' * 128}",
        f"sha256:{SHA256[:-2]}",
        f"sha256:{SHA256}00",
        f"md5:{'0' * 32}",
        f"sha1:{SHA256}",
        "0" * 32,
        "g" * 64,
        "",
        "sha256:",
    ],
)
def test_a_fingerprint_is_what_the_engine_takes_for_one(text):
    try:
        parse_fingerprint(text)
    except ValueError:
        with pytest.raises(OptionError, match="not a fingerprint") as caught:
            ca(fingerprint=text)
        assert caught.value.where == "fingerprint"
    else:
        assert ca(fingerprint=text).fingerprints == (text,)


def test_fingerprints_are_none_one_or_several():
    assert ca().fingerprints == ()
    assert ca(fingerprint=[SHA256, SHA256]).fingerprints == (SHA256, SHA256)


@pytest.mark.parametrize("text", [f"sha1:{SHA1}", SHA1])
def test_a_sha1_fingerprint_is_for_legacy_only(text):
    assert ca(fingerprint=text, security="legacy")
    with pytest.raises(OptionError, match="SHA-1 fingerprint can be forged"):
        ca(fingerprint=text)


def test_only_named_checks_can_be_relaxed():
    assert ca(relax=("recipient-nonce",)).relax == ("recipient-nonce",)
    with pytest.raises(OptionError, match="no check is named 'recipient-nonse'") as caught:
        ca(relax=("recipient-nonse",))
    assert 'did you mean "recipient-nonce"?' in caught.value.hint


@pytest.mark.parametrize("url", ["", "pki.example.com/scep", "ftp://pki.example.com", "http://"])
def test_the_url_must_be_one(url):
    with pytest.raises(OptionError) as caught:
        CaOptions(url=url)
    assert caught.value.where == "url"


@pytest.mark.parametrize("before", ["33%", "0.5%", "99%", "30d", "12h"])
def test_renewal_is_due_at_a_share_or_a_time(before):
    assert RenewOptions(before=before).before == before


@pytest.mark.parametrize("before", ["", "0%", "100%", "-5%", "%", "0s", "30", "soon"])
def test_what_is_neither_a_share_nor_a_time_is_refused(before):
    with pytest.raises(OptionError, match="neither a share") as caught:
        RenewOptions(before=before)
    assert caught.value.where == "before"


def test_relative_paths_start_in_the_folder_of_the_file(tmp_path):
    parts = dict.fromkeys(["key", "csr", "signer", "transport", "poller"])
    pipeline = Pipeline(
        name="gw", file=tmp_path / "gw.toml", ca=ca(), renew=RenewOptions(), sinks={}, **parts
    )
    assert pipeline.directory == tmp_path


def test_without_get_ca_cert_a_file_must_name_the_ca():
    assert not ca(fetch_certificates=False, certificate="ca.pem").fetch_certificates
    assert not ca(fetch_certificates=False, signing_certificate="ra.pem").fetch_certificates
    with pytest.raises(OptionError, match="must come from a file") as caught:
        ca(fetch_certificates=False, encryption_certificate="ra.pem")
    assert caught.value.where == "fetch_certificates"


def test_without_get_ca_cert_a_fingerprint_would_be_compared_with_nothing():
    with pytest.raises(OptionError, match="not asked") as caught:
        ca(fetch_certificates=False, certificate="ca.pem", fingerprint=SHA256)
    assert caught.value.where == "fingerprint"


@pytest.mark.parametrize(
    ("option", "value", "security"),
    [
        ("digest", "md5", "default"),
        ("digest", "md5", "strict"),
        ("cipher", "des-cbc", "default"),
        ("cipher", "3des-cbc", "strict"),
        ("digest", "sha-1", "strict"),
    ],
)
def test_an_algorithm_that_the_policy_refuses_is_refused_at_once(option, value, security):
    with pytest.raises(OptionError, match=f"{value} is refused") as caught:
        CaOptions(url="http://a.example", security=security, **{option: value})
    assert caught.value.where == option
    CaOptions(url="http://a.example", security="legacy", **{option: value})


@pytest.mark.parametrize("option", ["signing_certificate", "encryption_certificate"])
@pytest.mark.parametrize("text", ["sha256:00", "SHA-1:xy", "sha512:"])
def test_a_fingerprint_with_a_mistake_is_no_file_name(option, text):
    with pytest.raises(OptionError, match="not a fingerprint") as caught:
        CaOptions(url="http://a.example", **{option: text})
    assert caught.value.where == option
    assert CaOptions(url="http://a.example", **{option: "ra.pem"}).pinned_files == {option: "ra.pem"}


def test_the_fingerprint_of_a_list_that_is_none_is_pointed_at():
    with pytest.raises(OptionError) as caught:
        CaOptions(url="http://a.example", fingerprint=["sha256:" + "0" * 64, "x"])
    assert caught.value.where == "fingerprint[1]"
