import os
import shutil
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from hypothesis import given
from hypothesis import strategies as st

from scepflow.errors import CsrError, OptionError
from scepflow.options import NameTemplate, PathTemplate, Secret
from scepflow.stages import Run
from scepflow_bundled.csr import FileCsrBuilder, SubjectCsrBuilder
from scepflow_bundled.csr_extensions import SanTemplate, der_value, parse_san
from scepflow_bundled.csr_names import build_name, is_oid, parse_name

DER = ser.Encoding.DER
CHALLENGE = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
TEMPLATE = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2")
PRINTABLE, UTF8, IA5 = (_ASN1Type[f"{kind}String"].value for kind in ("Printable", "UTF8", "IA5"))


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def warned():
    return []


@pytest.fixture
def run(tmp_path, warned):
    return make_run(tmp_path, warned)


def make_run(directory, warned, *, renewal=False):
    return Run(
        pipeline="gw1",
        directory=directory,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        random_bytes=os.urandom,
        emit=warned.append,
        renewal=renewal,
    )


def subject(**options):
    """Convert options as a pipeline file gives them."""
    options = {"use": "subject", "subject": "CN=gw1"} | options
    return msgspec.convert(options, SubjectCsrBuilder, dec_hook=lambda kind, value: kind(value))


def codes(warned):
    return [event.code for event in warned]


def name_of(text):
    return build_name(parse_name(text, where="subject"))


def san_of(csr):
    return csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)


# The name


def test_the_subject_reads_back_as_it_was_written(key, run):
    csr = subject(subject="CN=gw1.example.com,OU=VPN,O=Example,C=DE").build(key, run)
    assert csr.subject.rfc4514_string() == "CN=gw1.example.com,OU=VPN,O=Example,C=DE"
    assert [rdn.rfc4514_string() for rdn in csr.subject.rdns] == [
        "C=DE",
        "O=Example",
        "OU=VPN",
        "CN=gw1.example.com",
    ]
    assert csr.is_signature_valid
    assert csr.public_key() == key.public_key()


@pytest.mark.parametrize(
    "text",
    [
        "CN=a+UID=b,O=c",
        r"CN=Sue\, Grabbit and Runn,L=London",
        r"O=a\+b\"c\\d\<e\>f\;g=h",
        r"CN=\#1,O=\ spaces kept\ ",
        "CN=Lučić",
        "CN=a  b",
        "1.2.3.4=x,CN=y",
    ],
)
def test_rfc_4514_text_reads_back_as_it_was_written(text):
    assert name_of(text).rfc4514_string() == text


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("cn = gw1 , o = Example ", "CN=gw1,O=Example"),
        (r"CN=Lu\C4\8Di\C4\87", "CN=Lučić"),
        (r"CN=a\2Cb", r"CN=a\,b"),
        ("OID.2.5.4.3=gw1", "CN=gw1"),
        ("2.5.4.3=gw1", "CN=gw1"),
        (r"CN=a\\ ", r"CN=a\\"),
        (r"CN=a\  ", r"CN=a\ "),
        ("CN=a=b", "CN=a=b"),
    ],
)
def test_other_ways_to_write_a_name_are_accepted(text, same):
    assert name_of(text).rfc4514_string() == same


@pytest.mark.parametrize(
    ("name", "oid"),
    [
        ("SN", "2.5.4.4"),
        ("GN", "2.5.4.42"),
        ("serialNumber", "2.5.4.5"),
        ("title", "2.5.4.12"),
        ("street", "2.5.4.9"),
        ("ST", "2.5.4.8"),
        ("emailAddress", "1.2.840.113549.1.9.1"),
        ("unstructuredName", "1.2.840.113549.1.9.2"),
        ("unstructuredAddress", "1.2.840.113549.1.9.8"),
        ("DC", "0.9.2342.19200300.100.1.25"),
        ("UID", "0.9.2342.19200300.100.1.1"),
    ],
)
def test_short_names_beyond_rfc_4514_are_known(name, oid):
    assert parse_name(f"{name}=x", where="subject")[0][0].oid == oid


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CN=gw1.example.com", PRINTABLE),
        ("CN=gw_1", UTF8),
        ("CN=*.example.com", UTF8),
        ("CN=Lučić", UTF8),
        ("C=DE", PRINTABLE),
        ("serialNumber=4F-11", PRINTABLE),
        ("emailAddress=a@example.com", IA5),
        ("DC=example", IA5),
        ("unstructuredName=gw_1", IA5),
        ("unstructuredName=Lučić", UTF8),
        ("unstructuredAddress=192.0.2.7", PRINTABLE),
    ],
)
def test_each_attribute_gets_the_string_type_that_servers_compare(text, kind):
    """Q-117: PrintableString when possible, IA5String where the standards say so, else UTF8String."""
    der = name_of(text).public_bytes()
    value = text.partition("=")[2].encode()
    assert der.endswith(der_value(kind, value))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/C=DE/CN=gw1", "no TYPE=value at character 1 "),
        ("CN=gw1,", "no TYPE=value at character 8 "),
        ("CN=gw1,Example", "no TYPE=value at character 8 "),
        ("CN=a;O=b", "';' at character 5 must be escaped"),
        ('CN="a"', "'\"' at character 4 must be escaped"),
        ("CN=a\\", r"'\\\\' at character 5 must be escaped"),
        (r"CN=\C3", "not UTF-8"),
        (r"CN=a\00b", "control character"),
        ("CN=a\nb", "control character"),
        ("FOO=bar", "unknown attribute 'FOO'"),
        ("3.1.2=bar", "unknown attribute '3.1.2'"),
        ("CN=", "must have 1 to 64 bytes"),
        (f"CN={'x' * 65}", "must have 1 to 64 bytes"),
        ("C=DEU", "must have 2 bytes"),
        ("C=ÄÖ", "must have 2 bytes"),
        ("serialNumber=a_b", "a PrintableString"),
        ("emailAddress=ä@example.com", "which is ASCII"),
        ("CN=#0c0161", "#hex form"),
        ("CN=a+CN=b", "twice in one part"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused_before_any_key_is_made(text, problem):
    with pytest.raises(OptionError, match=problem) as caught:
        subject(subject=text)
    assert caught.value.where == "subject"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=16))
def test_a_value_filled_into_a_subject_stays_one_value(value):
    """A device named ``gw,O=Evil+CN=root`` adds no RDN."""
    text = NameTemplate.fill("CN={device.name},O=Example", {"device.name": value})
    rdns = parse_name(text, where="subject")
    assert [[attribute.value for attribute in rdn] for rdn in rdns] == [["Example"], [value]]


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_an_option_error(text):
    try:
        name = name_of(text)
    except OptionError:
        return
    assert name_of(name.rfc4514_string()) == name


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1.2.3", True),
        ("2.999.1", True),
        ("0.9.2342.19200300.100.1.1", True),
        ("1", False),
        ("1.40.1", False),
        ("3.1", False),
        ("1.2.03", False),
        ("1.2.", False),
        ("1.2.3\n", False),
        ("1.2.٣", False),
        (f"2.25.{(1 << 128) - 1}", True),
        (f"2.25.{1 << 128}", False),
        ("1.2" + ".3" * 61, True),
        ("1.2" + ".3" * 80, False),
    ],
)
def test_dotted_oids_are_told_from_other_text(text, answer):
    assert is_oid(text) is answer
    if answer:
        x509.ObjectIdentifier(text)


def test_router_names_are_appended_to_the_subject(key, run):
    csr = subject(
        subject="O=Example", unstructured_name="r1", unstructured_address="192.0.2.7", serial_number="FTX1"
    ).build(key, run)
    assert [(a.oid.dotted_string, a.value) for a in csr.subject] == [
        ("2.5.4.10", "Example"),
        ("1.2.840.113549.1.9.2", "r1"),
        ("1.2.840.113549.1.9.8", "192.0.2.7"),
        ("2.5.4.5", "FTX1"),
    ]


def test_an_unusable_router_name_points_at_its_option():
    with pytest.raises(OptionError) as caught:
        subject(serial_number="a_b")
    assert caught.value.where == "serial_number"


def test_a_router_name_alone_is_a_subject(key, run):
    csr = SubjectCsrBuilder(unstructured_name="r1").build(key, run)
    assert csr.subject.rfc4514_string() == "1.2.840.113549.1.9.2=r1"


@pytest.mark.parametrize(
    "options", [{}, {"san": ["dns:gw1"]}, {"allow_empty_subject": True}], ids=["bare", "san", "allowed"]
)
def test_an_empty_subject_is_refused_unless_asked_for_with_a_san(options):
    with pytest.raises(OptionError, match="subject is empty") as caught:
        subject(subject="", **options)
    assert caught.value.where == "subject"


def test_with_an_empty_subject_the_san_is_critical(key, run):
    csr = subject(subject="", san=["dns:gw1"], allow_empty_subject=True).build(key, run)
    assert csr.subject.rdns == []
    assert san_of(csr).critical
    assert not san_of(subject(san=["dns:gw1"]).build(key, run)).critical


# The extensions


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dns:gw1.example.com", x509.DNSName("gw1.example.com")),
        ("DNS: gw1.example.com", x509.DNSName("gw1.example.com")),
        ("dns:*.example.com", x509.DNSName("*.example.com")),
        ("dns:_sip.example.com", x509.DNSName("_sip.example.com")),
        ("dns:bücher.example", x509.DNSName("xn--bcher-kva.example")),
        ("ip:192.0.2.7", x509.IPAddress(ip_address("192.0.2.7"))),
        ("ip:2001:db8::7", x509.IPAddress(ip_address("2001:db8::7"))),
        ("email:a.b@example.com", x509.RFC822Name("a.b@example.com")),
        ("email:a@bücher.example", x509.RFC822Name("a@xn--bcher-kva.example")),
        (
            "uri:https://gw1.example.com/x?y=%20",
            x509.UniformResourceIdentifier("https://gw1.example.com/x?y=%20"),
        ),
        ("uri:urn:uuid:f81d4fae", x509.UniformResourceIdentifier("urn:uuid:f81d4fae")),
        (
            "upn:lučić@example.com",
            x509.OtherName(
                x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), der_value(UTF8, "lučić@example.com".encode())
            ),
        ),
        ("rid:1.2.3", x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
        ("dirname:CN=a,O=b", x509.DirectoryName(x509.Name.from_rfc4514_string("CN=a,O=b"))),
        ("other:1.2.3:te:xt", x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x05te:xt")),
    ],
)
def test_every_kind_of_san_stands_in_the_request(key, run, text, name):
    assert list(san_of(subject(san=[text]).build(key, run)).value) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "gw1.example.com",
        "dnx:gw1",
        "dns:",
        "dns:gw1.",
        "dns:.example.com",
        "dns:a b",
        "dns:-a",
        "dns:a.*.b",
        "dns:*",
        f"dns:{'a' * 64}",
        f"dns:{'a.' * 127}a",
        "dns:straße.example",
        f"dns:{'ä' * 64}",
        "ip:192.0.2.0/24",
        "ip:gw1",
        "email:example.com",
        "email:ä@example.com",
        "email:a@",
        "uri:/path",
        "uri:http://a b",
        "uri:http://ä",
        "rid:1",
        "dirname:gw1",
        "other:1.2.3",
        "other:x:text",
        "other:1.2.3:",
    ],
)
def test_a_san_that_cannot_be_meant_is_refused_before_any_key_is_made(text):
    with pytest.raises(OptionError) as caught:
        subject(san=["dns:fine.example", text])
    assert caught.value.where == "san[1]"


def test_a_value_filled_into_a_dirname_adds_no_rdn():
    text = SanTemplate.fill("dirname:CN={var.x}", {"var.x": "a,O=Evil"})
    assert parse_san(text).value == r"CN=a\,O\=Evil"
    assert SanTemplate.fill("dns:{var.x}", {"var.x": "a"}) == "dns:a"
    assert isinstance(text, SanTemplate)


@pytest.mark.parametrize(
    "template",
    [
        " dirname:CN={var.x}",
        "dirname :CN={var.x}",
        "\tDirName\u00a0:CN={var.x}",
        "{var.kind}:CN={var.x}",
        " {var.kind} :CN={var.x}",
    ],
)
def test_a_dirname_is_escaped_however_its_kind_is_written(template):
    text = SanTemplate.fill(template, {"var.x": "a,O=Evil", "var.kind": "dirname"})
    assert parse_san(text) == ("dirname", r"CN=a\,O\=Evil", "")


def test_key_usage_follows_the_kind_of_key(key, ec_key, run):
    def usage(csr):
        return csr.extensions.get_extension_for_class(x509.KeyUsage)

    of_rsa, of_ec = usage(subject().build(key, run)), usage(subject().build(ec_key, run))
    assert of_rsa.critical
    assert (of_rsa.value.digital_signature, of_rsa.value.key_encipherment) == (True, True)
    assert (of_ec.value.digital_signature, of_ec.value.key_encipherment) == (True, False)


def test_key_usage_is_what_was_asked_for(key, run):
    csr = subject(key_usage=["nonRepudiation", "keyAgreement", "encipherOnly"]).build(key, run)
    usage = csr.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.content_commitment
    assert usage.key_agreement
    assert usage.encipher_only
    assert not usage.digital_signature


def test_an_empty_key_usage_asks_for_none(key, run):
    assert list(subject(key_usage=[]).build(key, run).extensions) == []


def test_key_usages_that_make_no_sense_are_refused():
    with pytest.raises(OptionError, match="need keyAgreement") as caught:
        subject(key_usage=["encipherOnly"])
    assert caught.value.where == "key_usage"
    with pytest.raises(msgspec.ValidationError, match="key_usage"):
        subject(key_usage=["signing"])


def test_extended_key_usages_go_by_name_or_oid(key, run):
    names = ["serverAuth", "ipsecIKE", "smartcardLogon", "1.2.3.4"]
    csr = subject(extended_key_usage=names).build(key, run)
    usages = csr.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert not usages.critical
    assert [oid.dotted_string for oid in usages.value] == [
        "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.17",
        "1.3.6.1.4.1.311.20.2.2",
        "1.2.3.4",
    ]


def test_an_unknown_extended_key_usage_names_the_nearest():
    with pytest.raises(OptionError, match='did you mean "serverAuth"') as caught:
        subject(extended_key_usage=["serverauth"])
    assert caught.value.where == "extended_key_usage"
    with pytest.raises(OptionError, match=r"unknown extended key usage 'zzz'$"):
        subject(extended_key_usage=["zzz"])


def test_an_extended_key_usage_twice_is_refused():
    with pytest.raises(OptionError, match="twice"):
        subject(extended_key_usage=["serverAuth", "1.3.6.1.5.5.7.3.1"])


def test_the_microsoft_template_name_is_a_bmp_string(key, run):
    csr = subject(template="IPSECÄ").build(key, run)
    extension = csr.extensions.get_extension_for_oid(TEMPLATE)
    assert extension.value.value == bytes.fromhex("1e0c 0049 0050 0053 0045 0043 00c4")
    assert not extension.critical


@pytest.mark.parametrize("name", ["", "\U0001f511"])
def test_a_template_name_outside_a_bmp_string_is_refused(name):
    with pytest.raises(OptionError) as caught:
        subject(template=name)
    assert caught.value.where == "template"


def test_any_other_extension_goes_as_der(key, run):
    long_value = der_value(0x04, bytes(200)).hex(":")
    extensions = {"1.2.3.4": "05 00", "1.2.3.5": {"der": long_value, "critical": True}, "2.5.29.19": "3000"}
    csr = subject(extensions=extensions).build(key, run)
    plain = csr.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.3.4"))
    critical = csr.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.3.5"))
    assert (plain.value.value, plain.critical) == (b"\x05\x00", False)
    assert (critical.value.value, critical.critical) == (der_value(0x04, bytes(200)), True)
    assert not csr.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("extensions", "problem"),
    [
        ({"basicConstraints": "3000"}, "not a dotted OID"),
        ({"1.2.3": "xyz"}, "not hex"),
        ({"1.2.3": ""}, "not one complete"),
        ({"1.2.3": "05"}, "not one complete"),
        ({"1.2.3": "050000"}, "not one complete"),
        ({"1.2.3": "040200"}, "not one complete"),
        ({"1.2.3": "30810100"}, "not one complete"),
        ({"1.2.3": "3080"}, "not one complete"),
        ({"2.5.29.17": "3000"}, "already asked for by san"),
        ({"2.5.29.15": "0500"}, "already asked for by key_usage"),
        ({"2.5.29.37": "0500"}, "already asked for by extended_key_usage"),
        ({"1.3.6.1.4.1.311.20.2": "0500"}, "already asked for by template"),
    ],
)
def test_an_extension_that_cannot_stand_is_refused(extensions, problem):
    with pytest.raises(OptionError, match=problem) as caught:
        subject(san=["dns:a"], extended_key_usage=["serverAuth"], template="x", extensions=extensions)
    assert caught.value.where == "extensions"


def test_an_extension_may_stand_in_for_an_option_that_is_not_used(key, run):
    csr = subject(key_usage=[], extensions={"2.5.29.15": "03020780"}).build(key, run)
    assert csr.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


# The attributes


def challenge_of(csr):
    attribute = csr.attributes.get_attribute_for_oid(CHALLENGE)
    return attribute.value, attribute._type


def test_a_challenge_is_a_printable_string_when_possible(key, run, warned):
    """Q-016: Windows corrupts or refuses other string types."""
    csr = subject(challenge="Secret 1+2='3'").build(key, run)
    assert challenge_of(csr) == (b"Secret 1+2='3'", PRINTABLE)
    assert warned == []


@pytest.mark.parametrize("challenge", ["pass_word", "a@b", "x!", "pässword"])
def test_other_challenges_are_utf8_strings_with_a_warning(key, run, warned, challenge):
    csr = subject(challenge=challenge).build(key, run)
    assert challenge_of(csr) == (challenge.encode(), UTF8)
    assert codes(warned) == ["challenge-not-printable"]
    assert challenge not in repr(warned)


@pytest.mark.parametrize("challenge", ["x" * 256, "sec\0ret", "sec\rret", "sec\nret"])
def test_a_challenge_that_cannot_be_sent_is_refused_without_its_text(key, run, challenge):
    """Q-122: 1 to 255 characters, one line."""
    with pytest.raises(CsrError, match=r"the challenge \(literal\)") as caught:
        subject(challenge=challenge).build(key, run)
    shown = f"{caught.value!r}{caught.value.hint}"
    assert "ret" not in shown
    assert "xxx" not in shown


def test_an_empty_challenge_is_refused(key, run):
    with pytest.raises(OptionError, match="is empty"):
        subject(challenge="").build(key, run)


def test_a_challenge_of_255_characters_is_sent(key, run):
    assert challenge_of(subject(challenge="x" * 255).build(key, run))[0] == b"x" * 255


def test_a_challenge_from_a_file_loses_its_line_end(key, run, tmp_path):
    (tmp_path / "challenge").write_text("secret\n")
    assert challenge_of(subject(challenge={"file": "challenge"}).build(key, run))[0] == b"secret"


def test_without_a_challenge_there_is_no_attribute(key, run):
    with pytest.raises(x509.AttributeNotFound):
        challenge_of(subject().build(key, run))


def test_a_renewal_omits_the_challenge_unless_told(key, tmp_path, warned):
    """C-030: a renewal SHOULD omit it; a command that gives it is not even run."""
    run = make_run(tmp_path, warned, renewal=True)
    csr = subject(challenge={"command": ["touch", "spent"]}).build(key, run)
    with pytest.raises(x509.AttributeNotFound):
        challenge_of(csr)
    assert not (tmp_path / "spent").exists()
    csr = subject(challenge="secret", challenge_in_renewal=True).build(key, run)
    assert challenge_of(csr)[0] == b"secret"


def test_other_attributes_are_sent(key, run):
    csr = subject(attributes={"1.2.3.4": "text", "1.2.3.5": "te_xt"}, challenge="secret").build(key, run)
    found = {a.oid.dotted_string: (a.value, a._type) for a in csr.attributes}
    assert found["1.2.3.4"] == (b"text", PRINTABLE)
    assert found["1.2.3.5"] == (b"te_xt", UTF8)
    assert found[CHALLENGE.dotted_string] == (b"secret", PRINTABLE)


@pytest.mark.parametrize("oid", ["name", CHALLENGE.dotted_string, "1.2.840.113549.1.9.14"])
def test_attributes_with_options_of_their_own_are_refused(oid):
    with pytest.raises(OptionError) as caught:
        subject(attributes={oid: "x"})
    assert caught.value.where == "attributes"


# The signature


@pytest.mark.parametrize("digest", ["sha-224", "sha-256", "sha-384", "sha-512"])
def test_the_digest_is_what_was_asked_for(key, ec_key, run, digest):
    for one in (key, ec_key):
        csr = subject(digest=digest).build(one, run)
        assert csr.signature_hash_algorithm.name == digest.replace("-", "")
        assert csr.is_signature_valid


def test_sha_1_is_possible_with_a_warning(key, ec_key, run, warned):
    for one, oid in ((key, "1.2.840.113549.1.1.5"), (ec_key, "1.2.840.10045.4.1")):
        csr = subject(digest="sha-1", challenge="secret").build(one, run)
        assert csr.signature_algorithm_oid.dotted_string == oid
        assert csr.subject.rfc4514_string() == "CN=gw1"
        assert challenge_of(csr)[0] == b"secret"
    assert codes(warned) == ["csr-sha-1"] * 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")
def test_openssl_reads_the_request_and_verifies_it(key, run):
    csr = subject(
        subject="CN=gw1.example.com,O=Example",
        san=["dns:gw1.example.com", "ip:192.0.2.7", "upn:gw1@example.com", "dirname:CN=x"],
        challenge="secret",
        template="VPN",
        digest="sha-1",
    ).build(key, run)
    command = ["openssl", "req", "-noout", "-text", "-verify"]
    seen = subprocess.run(
        command, input=csr.public_bytes(ser.Encoding.PEM), stdout=-1, stderr=subprocess.STDOUT, check=True
    ).stdout.decode()
    assert "verify OK" in seen
    assert "Subject: O = Example, CN = gw1.example.com" in seen
    assert "DNS:gw1.example.com, IP Address:192.0.2.7, othername: UPN::gw1@example.com, DirName:" in seen
    assert "challengePassword        :secret" in seen


# What a dry run checks


def test_check_reads_the_challenge(run, tmp_path):
    subject().check(run)
    with pytest.raises(OptionError, match="cannot read the secret"):
        subject(challenge={"file": "challenge"}).check(run)
    (tmp_path / "challenge").write_text("two\nlines\n")
    with pytest.raises(CsrError, match="line end"):
        subject(challenge={"file": "challenge"}).check(run)


def test_check_runs_no_command_that_may_use_up_a_challenge(run, tmp_path):
    subject(challenge={"command": ["touch", "spent"]}).check(run)
    assert not (tmp_path / "spent").exists()


def test_a_secret_never_shows_in_the_stage():
    assert "hunter2" not in repr(subject(challenge="hunter2"))
    assert subject(challenge="hunter2").challenge.origin == Secret("hunter2").origin


# A request from a file


@pytest.fixture(scope="module")
def request_pem(key):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of("CN=gw1"))
    return builder.sign(key, hashes.SHA256()).public_bytes(ser.Encoding.PEM)


def from_file(tmp_path, data):
    (tmp_path / "gw1.csr").write_bytes(data)
    return FileCsrBuilder(path=PathTemplate("gw1.csr"))


def test_a_request_in_a_file_goes_out_unchanged(key, run, tmp_path, request_pem):
    der = x509.load_pem_x509_csr(request_pem).public_bytes(DER)
    old_label = request_pem.replace(b"CERTIFICATE REQ", b"NEW CERTIFICATE REQ")
    for data in (request_pem, der, b"Certificate Request:\n  Data:\n" + request_pem, old_label):
        builder = from_file(tmp_path, data)
        builder.check(run)
        assert builder.build(key, run).public_bytes(DER) == der


def test_a_request_signed_with_sha_1_is_accepted(key, ec_key, run, tmp_path):
    for one in (key, ec_key):
        der = subject(digest="sha-1").build(one, run).public_bytes(DER)
        assert from_file(tmp_path, der).build(one, run).public_bytes(DER) == der


def test_a_request_for_another_key_is_refused(ec_key, run, tmp_path, request_pem):
    with pytest.raises(CsrError, match="is for another key") as caught:
        from_file(tmp_path, request_pem).build(ec_key, run)
    assert "[key]" in caught.value.hint


def test_a_request_with_a_wrong_signature_is_refused(key, run, tmp_path, request_pem):
    der = bytearray(x509.load_pem_x509_csr(request_pem).public_bytes(DER))
    der[-1] ^= 1
    with pytest.raises(CsrError, match=r"signature of the request .* is not valid"):
        from_file(tmp_path, bytes(der)).build(key, run)


def test_a_request_with_a_san_that_cannot_be_read_is_refused(key, run, tmp_path):
    party = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("3006a504a1020c00"))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(party, critical=True).sign(key, hashes.SHA256())
    (tmp_path / "gw1.csr").write_bytes(csr.public_bytes(ser.Encoding.PEM))
    with pytest.raises(CsrError, match="no certification request can be read"):
        FileCsrBuilder(path=PathTemplate("gw1.csr")).build(key, run)


def test_a_request_signed_with_an_unknown_algorithm_is_refused(key, run, tmp_path, request_pem):
    der = x509.load_pem_x509_csr(request_pem).public_bytes(DER)
    sha_256, unknown = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d01017f")
    with pytest.raises(CsrError, match="is not valid"):
        from_file(tmp_path, der.replace(sha_256, unknown)).check(run)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_sha_1_request_with_a_wrong_signature_is_refused(key, ec_key, run, tmp_path, kind):
    der = bytearray(subject(digest="sha-1").build({"rsa": key, "ec": ec_key}[kind], run).public_bytes(DER))
    der[-1] ^= 1
    with pytest.raises(CsrError, match="is not valid"):
        from_file(tmp_path, bytes(der)).check(run)


def test_a_sha_1_request_of_another_kind_of_key_is_refused(ec_key, run, tmp_path):
    """The algorithm says SHA-1, the key is Ed25519."""
    spki = (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(DER, ser.PublicFormat.SubjectPublicKeyInfo)
    )
    content = der_value(0x30, b"\x02\x01\x00\x30\x00" + spki + b"\xa0\x00")
    algorithm = bytes.fromhex("300906072a8648ce3d0401")
    with pytest.raises(CsrError, match="is not valid"):
        from_file(tmp_path, der_value(0x30, content + algorithm + b"\x03\x02\x00\x00")).check(run)


def test_a_file_that_is_no_request_is_named(key, run, tmp_path):
    pem = key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(CsrError, match=r"no certification request .*\(PEM: PUBLIC KEY\)"):
        from_file(tmp_path, pem).check(run)
    with pytest.raises(CsrError, match=r"cannot read the request .*No such file"):
        FileCsrBuilder(path=PathTemplate("nothing.csr")).check(run)
