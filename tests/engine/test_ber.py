import contextlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from scepflow.engine.ber import MAX_DEPTH, join_octets, normalise
from scepflow.errors import ProtocolError

EOC = b"\0\0"
STRING_TAGS = (0x04, 0x07, 0x0C, 0x13, 0x16, 0x17, 0x18, 0x1E)
OTHER_TAGS = (0x01, 0x02, 0x03, 0x05, 0x06, 0x0A, 0x80, 0x81, 0x9E, 0x41, 0xC2)
CONTAINER_TAGS = (0x30, 0x31, 0xA0, 0xA3, 0x61, 0xE1)


def der(tag, *parts):
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = f"{len(content):x}"
    octets = bytes.fromhex(size if len(size) % 2 == 0 else "0" + size)
    return bytes([tag, 0x80 + len(octets)]) + octets + content


def indefinite(tag, *parts):
    return bytes([tag, 0x80]) + b"".join(parts) + EOC


def encode(tree):
    tag, content = tree
    return der(tag, content if isinstance(content, bytes) else b"".join(map(encode, content)))


@st.composite
def ber_of(draw, tree, depth=0):
    """One of the many BER encodings of a tree."""
    tag, content = tree
    if isinstance(content, bytes):
        if tag in STRING_TAGS and depth < 6 and draw(st.booleans()):
            cut = draw(st.integers(0, len(content)))
            parts = [
                draw(ber_of((0x04, part), depth=depth + 2)) for part in (content[:cut], content[cut:]) if part
            ]
            return draw(wrapped(tag | 0x20, b"".join(parts)))
        return draw(with_length(tag, content))
    return draw(wrapped(tag, b"".join(draw(ber_of(child, depth=depth + 1)) for child in content)))


@st.composite
def wrapped(draw, tag, content):
    if draw(st.booleans()):
        return indefinite(tag, content)
    return draw(with_length(tag, content))


@st.composite
def with_length(draw, tag, content):
    octets = draw(st.sampled_from([0, 3, 4]))
    if octets:
        return bytes([tag, 0x80 + octets]) + len(content).to_bytes(octets, "big") + content
    return der(tag, content)


leaves = st.tuples(st.sampled_from(STRING_TAGS + OTHER_TAGS), st.binary(max_size=300))
trees = st.recursive(
    leaves,
    lambda deeper: st.tuples(st.sampled_from(CONTAINER_TAGS), st.lists(deeper, max_size=4)),
    max_leaves=12,
)


@given(trees)
def test_der_comes_back_as_it_is(tree):
    assert normalise(encode(tree)) == encode(tree)


@given(st.data(), trees)
def test_every_ber_encoding_of_a_value_becomes_its_der(data, tree):
    assert normalise(data.draw(ber_of(tree))) == encode(tree)


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(b"\0\1\4\x24\x30\x31\x80\x81\x84\xa0\xff"), max_size=40).map(bytes)
)
@example(b"")
@example(b"\x30")
@example(b"\x30\x84\xff")
def test_any_bytes_raise_only_a_protocol_error(data):
    try:
        result = normalise(data)
    except ProtocolError:
        return
    assert normalise(result) == result


@given(st.data(), trees)
def test_a_damaged_value_raises_only_a_protocol_error(data, tree):
    whole = bytearray(data.draw(ber_of(tree)))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        normalise(bytes(whole))


def test_the_forms_that_ejbca_sends_are_understood():
    chunks = indefinite(0x24, der(0x04, b"a" * 1000), der(0x04, b"b" * 51))
    sent = indefinite(0x30, der(0x06, b"\x2a"), indefinite(0xA0, chunks))
    assert normalise(sent) == der(0x30, der(0x06, b"\x2a"), der(0xA0, der(0x04, b"a" * 1000 + b"b" * 51)))


def test_sets_keep_the_order_they_came_in():
    unsorted = der(0x31, der(0x04, b"zz"), der(0x02, b"\1"), der(0x04, b"a"))
    assert normalise(unsorted) == unsorted


def test_a_tagged_constructed_value_is_not_joined():
    ciphertext = der(0xA0, der(0x04, b"12"), der(0x04, b"34"))
    assert normalise(indefinite(0xA0, der(0x04, b"12"), der(0x04, b"34"))) == ciphertext
    assert join_octets(0xA0, ciphertext[2:]) == b"1234"


def test_nested_and_empty_parts_of_a_string_are_joined():
    sent = indefinite(0x24, der(0x24), der(0x24, der(0x04, b"ab"), der(0x04)), der(0x04, b"c"))
    assert normalise(sent) == der(0x04, b"abc")
    assert normalise(indefinite(0x24)) == der(0x04)


def test_a_character_string_is_joined_from_octet_strings():
    assert normalise(der(0x33, der(0x04, b"1"), der(0x04, b"9"))) == der(0x13, b"19")


@pytest.mark.parametrize("padding", [b"", b"\n", b"\r\n", b" \t", b"\0" * 8])
def test_padding_after_the_value_is_left_out(padding):
    assert normalise(der(0x02, b"\1") + padding) == der(0x02, b"\1")


@pytest.mark.parametrize(
    ("data", "at", "what"),
    [
        (b"", 0, "the data ends"),
        (b"\x30", 0, "the data ends"),
        (b"\x30\x80", 2, "the data ends"),
        (b"\x30\x80\0", 2, "the data ends"),
        (b"\x30\x80\5\0", 4, "the data ends"),
        (b"\x30\3\x31\x80\0", 4, "the data ends"),
        (b"\x30\4\x31\x80\5\0\0\0", 6, "the data ends"),
        (b"\x30\x82\1", 0, "runs past"),
        (b"\x04\5abc", 0, "runs past"),
        (b"\x30\3\4\2a\0", 2, "runs past"),
        (b"\x30\x85\0\0\0\0\0", 0, "a length of 5 octets"),
        (b"\x30\x88\x7f" + b"\xff" * 7, 0, "a length of 8 octets"),
        (b"\x30\xff", 0, "a length of 127 octets"),
        (b"\x04\x80a\0\0", 0, "indefinite length in a primitive value"),
        (b"\x1f\x81\1\0", 0, "tag 0x1f is not used"),
        (b"\xbf\x1f\0", 0, "tag 0xbf is not used"),
        (b"\0\0", 0, "tag 0x00 is not used"),
        (b"\x30\2\0\0", 2, "tag 0x00 is not used"),
        (b"\x30\x80\0\1\0", 2, "tag 0x00 is not used"),
        (b"\x10\0", 0, "tag 0x10 is not used"),
        (b"\x11\0", 0, "tag 0x11 is not used"),
        (b"\x22\3\2\1\1", 0, "cannot be constructed"),
        (b"\x23\4\3\2\0a", 0, "cannot be constructed"),
        (b"\x24\3\2\1\1", 2, "tag 0x02 where a part"),
        (b"\x24\x80\x33\3\4\1a\0\0", 2, "tag 0x33 where a part"),
        (b"\x05\0\0x", 3, "data after the end"),
        (b"\x05\0\x05\0", 2, "data after the end"),
    ],
)
def test_what_is_not_ber_is_refused_with_its_place(data, at, what):
    with pytest.raises(ProtocolError, match=f"at byte {at}: .*{what}"):
        normalise(data)


@pytest.mark.parametrize("tag", [0x30, 0x31, 0xA0, 0x24])
def test_a_value_may_be_nested_32_levels_and_no_deeper(tag):
    def nested(levels):
        return bytes([tag, 0x80]) * (levels - 1) + b"\4\0" + EOC * (levels - 1)

    assert normalise(nested(MAX_DEPTH))
    with pytest.raises(ProtocolError, match=f"nested deeper than {MAX_DEPTH}"):
        normalise(nested(MAX_DEPTH + 1))


def test_a_bomb_of_open_values_is_refused_at_the_depth_limit():
    with pytest.raises(ProtocolError, match="nested deeper"):
        normalise(b"\x30\x80" * 500_000)


def test_a_value_may_hold_so_many_elements_and_no_more():
    three = der(0x30, der(0x05), der(0x05))
    assert normalise(three, max_elements=3) == three
    with pytest.raises(ProtocolError, match="at byte 4: too many elements"):
        normalise(three, max_elements=2)


def test_a_million_elements_are_refused():
    with pytest.raises(ProtocolError, match="too many elements"):
        normalise(indefinite(0x31, b"\5\0" * 500_000))


def test_data_longer_than_allowed_is_refused_unread():
    with pytest.raises(ProtocolError, match="5 bytes, more than the 4 allowed"):
        normalise(b"\x04\3abc", max_bytes=4)
    assert normalise(b"\x04\3abc", max_bytes=5) == b"\x04\3abc"


@given(st.lists(st.binary(max_size=300)))
def test_a_constructed_string_under_an_implicit_tag_is_joined(parts):
    content = b"".join(der(0x04, part) for part in parts)
    assert join_octets(0xA0, content) == b"".join(parts)
    assert join_octets(0x80, memoryview(content)) == content


@pytest.mark.parametrize("content", [b"\x30\0", b"\x02\1\1", b"\x04", b"\x04\2a", b"\x04\0\0"])
def test_a_constructed_string_holds_octet_strings_only(content):
    with pytest.raises(ProtocolError):
        join_octets(0xA0, content)


def test_a_streamed_signature_of_openssl_verifies_after_normalising(tmp_path):
    """OpenSSL streams CMS in BER, and accepts the DER made of it."""
    if not shutil.which("openssl"):
        pytest.skip("apt-get install openssl")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "streamer")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "both.pem").write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "text").write_bytes(b"0123456789" * 1000)
    sign = "openssl cms -sign -binary -nodetach -stream -signer both.pem -in text -outform DER -out ber"
    subprocess.run(sign.split(), cwd=tmp_path, check=True, capture_output=True)
    ber = (tmp_path / "ber").read_bytes()
    assert ber[:2] == b"\x30\x80"
    (tmp_path / "der").write_bytes(normalise(ber))
    assert pkcs7.load_der_pkcs7_certificates((tmp_path / "der").read_bytes()) == [certificate]
    verify = "openssl cms -verify -binary -noverify -inform DER -in der"
    done = subprocess.run(verify.split(), cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout == b"0123456789" * 1000
