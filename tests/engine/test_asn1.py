import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from issuing import name, request, version_1
from replies import to_ber

from scepflow.engine import asn1, oids
from scepflow.errors import ProtocolError

OID_DER = asn1.encode(oids.DATA)


def test_der_is_read_as_it_is():
    info = asn1.decode(asn1.ContentInfo, asn1.wrap(0x30, OID_DER + asn1.wrap(0xA0, b"\x05\0")), "thing")
    assert info.content_type == oids.DATA
    assert asn1.encode(info.content) == b"\x05\0"


def test_ber_is_read_where_der_is_expected():
    der = asn1.wrap(0x30, OID_DER + asn1.wrap(0xA0, asn1.encode(b"octets")))
    info = asn1.decode(asn1.ContentInfo, to_ber(der), "thing")
    assert asn1.parse(info.content, bytes, "octets") == b"octets"


def test_ber_inside_a_value_that_was_kept_is_read():
    value = asn1.tlv(asn1.wrap(0x30, OID_DER + b"\xa0\x80\x05\0\0\0"))
    assert asn1.parse(value, asn1.ContentInfo, "thing").content_type == oids.DATA


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x02\x01\x01", b"\x30\x00", b"\x30\x80\0\0", b"\x30\0\x30\0"]
)
def test_neither_der_nor_ber_is_a_protocol_error_that_names_the_thing(data):
    with pytest.raises(ProtocolError):
        asn1.decode(asn1.ContentInfo, data, "thing")


def test_the_error_names_what_was_expected():
    with pytest.raises(ProtocolError, match="not a thing"):
        asn1.decode(asn1.ContentInfo, b"\x30\x00", "thing")
    with pytest.raises(ProtocolError, match="not a second thing"):
        asn1.parse(asn1.tlv(b"\x05\0"), asn1.ContentInfo, "second thing")


def test_a_number_too_large_for_its_use_is_still_a_number():
    value = asn1.tlv(asn1.encode(1 << 4000))
    assert asn1.parse(value, int, "number") == 1 << 4000


def test_members_of_a_set_keep_their_order():
    value = asn1.tlv(asn1.wrap(0x31, asn1.encode(3) + asn1.encode(1) + asn1.encode(2)))
    assert [asn1.parse(member, int, "number") for member in asn1.members(value, "set")] == [3, 1, 2]


def test_members_want_the_tag():
    with pytest.raises(ProtocolError, match="set: unexpected tag 30"):
        asn1.members(asn1.tlv(b"\x30\0"), "set")
    assert asn1.members(asn1.tlv(b"\x30\0"), "sequence", tag=b"\x30") == []


def test_members_that_cannot_be_told_apart_are_a_protocol_error():
    with pytest.raises(ProtocolError):
        asn1.members(asn1.tlv(b"\x31\x02\x02\x05"), "set")


@given(st.binary(max_size=70_000))
def test_wrap_writes_the_shortest_length(content):
    assert asn1.wrap(0x04, content) == asn1.encode(content)


@pytest.mark.parametrize("size", [0, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
def test_wrap_is_right_where_lengths_grow(size):
    assert asn1.wrap(0x04, bytes(size)) == asn1.encode(bytes(size))


def test_a_set_is_sorted_by_its_encodings():
    assert asn1.set_of([b"\x02\x01\x09", b"\x02\x01\x01", b"\x01\x01\xff"]) == (
        b"\x31\x09\x01\x01\xff\x02\x01\x01\x02\x01\x09"
    )


def test_an_algorithm_has_null_parameters_unless_they_are_left_out():
    assert [asn1.encode(part) for part in asn1.algorithm(oids.SHA1)] == [asn1.encode(oids.SHA1), b"\x05\0"]
    assert [asn1.encode(part) for part in asn1.algorithm(oids.SHA256, None)] == [asn1.encode(oids.SHA256)]


@pytest.mark.parametrize("parameters", [asn1.NULL_DER, None])
def test_an_algorithms_encoding_is_that_of_its_parts(parameters):
    parts = asn1.members(asn1.tlv(asn1.algorithm_der(oids.SHA1, parameters)), "algorithm", tag=b"\x30")
    assert [*map(asn1.encode, parts)] == [*map(asn1.encode, asn1.algorithm(oids.SHA1, parameters))]


@pytest.mark.parametrize("parameters", [asn1.NULL_DER, None])
def test_an_algorithm_is_taken_apart(parameters):
    oid, found = asn1.algorithm_parts(asn1.algorithm(oids.SHA1, parameters))
    assert oid == oids.SHA1
    assert (None if found is None else asn1.encode(found)) == parameters


@pytest.mark.parametrize("size", [0, 3])
def test_an_algorithm_has_one_or_two_parts(size):
    with pytest.raises(ProtocolError, match="not an AlgorithmIdentifier"):
        asn1.algorithm_parts([asn1.tlv(OID_DER)] * size)


def test_an_algorithm_begins_with_an_oid():
    with pytest.raises(ProtocolError):
        asn1.algorithm_parts([asn1.tlv(b"\x05\0")])


def test_names_come_in_the_certificates_own_bytes(pki):
    certificate = pki.ra_signer.certificate
    issuer, serial_number, subject = asn1.certificate_names(certificate)
    assert (issuer, subject) == (certificate.issuer.public_bytes(), certificate.subject.public_bytes())
    assert serial_number == certificate.serial_number
    assert issuer in certificate.public_bytes(Encoding.DER)


def test_names_of_a_certificate_of_version_1_are_read(pki):
    certificate = version_1("Old CA", pki.stranger.key)
    assert asn1.certificate_names(certificate) == (
        name("Old CA").public_bytes(),
        7,
        name("Old CA").public_bytes(),
    )


def test_the_subject_of_a_request_comes_in_its_own_bytes(pki):
    csr = request("gw1", pki.client.key)
    assert asn1.csr_subject(csr) == csr.subject.public_bytes()


def test_the_subject_of_a_request_without_attributes_is_read(pki):
    csr = request("gw1", pki.client.key, challenge=None)
    assert x509.load_der_x509_csr(csr.public_bytes(Encoding.DER)) == csr
    assert asn1.csr_subject(csr) == csr.subject.public_bytes()
