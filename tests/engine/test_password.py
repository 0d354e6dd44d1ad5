import pytest
from issuing import CHALLENGE
from replies import algorithm, random_bytes, seq

from scepflow.engine import asn1, oids, password
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.errors import ProtocolError, TrustError

SALT = b"salt of 16 bytes"
IV = b"i" * 16
HMAC = algorithm(oids.HMAC_SHA256)


def recipient(
    *,
    key=b"K" * 16,
    challenge=CHALLENGE,
    iterations=1,
    prf=HMAC,
    prf_digest=Digest.SHA256,
    salt=SALT,
    cipher=Cipher.AES128,
    formatted=None,
    derivation=None,
    key_encryption=None,
    wrapped=None,
):
    """Return a PasswordRecipientInfo made by the book (RFC 3211 §2.3.1), quick to open."""
    iv = b"i" * cipher.block_bytes
    if formatted is None:
        formatted = bytes((len(key),)) + bytes(0xFF ^ b for b in key[:3]) + key
        formatted += b"p" * (-len(formatted) % cipher.block_bytes)
    if wrapped is None:
        kek = password._derive(challenge, SALT, iterations, prf_digest, cipher)
        encryptor = cipher.context(kek, iv).encryptor()
        wrapped = encryptor.update(encryptor.update(formatted))
    if derivation is None:
        parameters = seq(asn1.encode(salt), asn1.encode(iterations), prf)
        derivation = seq(asn1.encode(oids.PBKDF2), parameters)
    if key_encryption is None:
        key_encryption = algorithm(oids.PWRI_KEK, algorithm(cipher.oid, asn1.encode(iv)))
    return asn1.tlv(
        asn1.wrap(
            0xA3,
            b"\x02\x01\0"
            + (b"\xa0" + derivation[1:] if derivation else b"")
            + key_encryption
            + asn1.encode(wrapped),
        )
    )


@pytest.mark.parametrize("size", [8, 16, 24, 32])
def test_a_key_comes_back_with_the_password_and_with_no_other(size):
    key = bytes(range(size))
    value = asn1.tlv(password.build_recipient(key, CHALLENGE, random_bytes()))
    assert password.open_recipient(value, CHALLENGE) == key
    if size == 16:
        assert password.open_recipient(value, CHALLENGE + "x") is None


def test_what_is_built_has_the_parameters_that_slow_guessing():
    der = password.build_recipient(b"K" * 16, CHALLENGE, random_bytes())
    value = asn1.tlv(b"\x30" + der[1:])
    info = asn1.parse(value, asn1.PasswordRecipientInfo, "x")
    assert asn1.algorithm_parts(info.key_encryption)[0] == oids.PWRI_KEK
    salt, iterations, prf = password._derivation(info.key_derivation)
    assert (len(salt), iterations, prf) == (16, 600_000, Digest.SHA256)
    assert len(info.encrypted_key) == 32


def test_the_padding_fills_two_blocks_or_more():
    for size, wrapped in ((8, 32), (16, 32), (24, 32), (28, 32), (32, 48)):
        encrypted = password._wrap_key(b"K" * size, b"k" * 16, IV, random_bytes())
        assert len(encrypted) == wrapped


@pytest.mark.parametrize("cipher", list(Cipher))
def test_the_wrapping_key_may_be_of_any_cipher(cipher):
    assert password.open_recipient(recipient(cipher=cipher), CHALLENGE) == b"K" * 16


@pytest.mark.parametrize(
    ("prf", "digest"),
    [
        (b"", Digest.SHA1),
        (algorithm(oids.HMAC_SHA1), Digest.SHA1),
        (algorithm(oids.HMAC_SHA256, b""), Digest.SHA256),
        (algorithm(oids.HMAC_SHA384), Digest.SHA384),
        (algorithm(oids.HMAC_SHA512), Digest.SHA512),
    ],
    ids=["absent", "SHA-1", "SHA-256", "SHA-384", "SHA-512"],
)
def test_the_key_is_derived_with_the_hash_that_is_named(prf, digest):
    assert password.open_recipient(recipient(prf=prf, prf_digest=digest), CHALLENGE) == b"K" * 16


def test_a_key_length_may_be_named():
    named = seq(
        asn1.encode(oids.PBKDF2),
        seq(asn1.encode(SALT), asn1.encode(1), asn1.encode(16), algorithm(oids.HMAC_SHA256)),
    )
    assert password.open_recipient(recipient(derivation=named), CHALLENGE) == b"K" * 16


def test_the_password_is_utf_8():
    value = recipient(challenge="pässwörd")
    assert password.open_recipient(value, "pässwörd") == b"K" * 16
    assert password.open_recipient(value, "passwort") is None


@pytest.mark.parametrize(
    "formatted",
    [
        b"\x10" + b"\xb4" * 2 + b"\xb5" + b"K" * 16 + b"p" * 12,
        b"\x10" + b"\xb5" + b"\xb4" * 2 + b"K" * 16 + b"p" * 12,
        b"\x1d" + b"\xb4" * 3 + b"K" * 28,
        b"\x02" + b"\xb4" * 2 + b"x" + b"K" * 28,
        b"\0" * 32,
    ],
    ids=["last check byte", "first check byte", "longer than there is", "shorter than the check", "empty"],
)
def test_a_wrapped_key_that_is_none_does_not_open(formatted):
    assert password.open_recipient(recipient(formatted=formatted), CHALLENGE) is None


def test_a_key_that_fills_its_blocks_opens():
    assert password.open_recipient(recipient(key=b"K" * 28), CHALLENGE) == b"K" * 28


@pytest.mark.parametrize("wrapped", [b"", b"x" * 16, b"x" * 31, b"x" * 33])
def test_a_wrapped_key_of_a_wrong_size_does_not_open(wrapped):
    assert password.open_recipient(recipient(wrapped=wrapped), CHALLENGE) is None


def derived(salt=SALT, iterations=1, prf=HMAC, oid=oids.PBKDF2):
    return seq(asn1.encode(oid), seq(asn1.encode(salt), asn1.encode(iterations), prf))


@pytest.mark.parametrize(
    "derivation",
    [
        derived(iterations=password.MAX_ITERATIONS + 1),
        derived(iterations=1 << 70),
        derived(iterations=0),
        derived(iterations=-1),
        derived(salt=b"s" * 1025),
        derived(prf=algorithm(oids.MD5)),
    ],
    ids=["many", "very many", "none", "negative", "salt", "unknown hash"],
)
def test_parameters_out_of_bounds_are_an_error_before_anything_is_derived(derivation):
    """S-035."""
    with pytest.raises(ProtocolError, match="out of bounds"):
        password.open_recipient(recipient(derivation=derivation, wrapped=b"x" * 32), CHALLENGE)


@pytest.mark.parametrize(
    "derivation",
    [derived(oid=oids.SHA1), seq(asn1.encode(oids.PBKDF2)), b"", seq(asn1.encode(oids.PBKDF2), seq())],
    ids=["another", "without parameters", "absent", "empty"],
)
def test_a_derivation_that_we_do_not_know_is_an_error(derivation):
    with pytest.raises(ProtocolError):
        password.open_recipient(recipient(derivation=derivation, wrapped=b"x" * 32), CHALLENGE)


@pytest.mark.parametrize(
    "key_encryption",
    [
        algorithm(oids.RSA_ENCRYPTION),
        algorithm(oids.PWRI_KEK, b""),
        algorithm(oids.PWRI_KEK),
        algorithm(oids.PWRI_KEK, algorithm(oids.RSA_ENCRYPTION)),
        algorithm(oids.PWRI_KEK, algorithm(oids.AES128_CBC, asn1.encode(b"short"))),
    ],
    ids=["another", "without parameters", "NULL", "cipher", "vector"],
)
def test_a_key_encryption_that_we_do_not_know_is_an_error(key_encryption):
    with pytest.raises(ProtocolError):
        password.open_recipient(recipient(key_encryption=key_encryption), CHALLENGE)


def test_weak_parameters_are_judged_before_the_key_is_used():
    seen = []
    value = recipient(cipher=Cipher.DES3, prf=b"", prf_digest=Digest.SHA1)
    assert password.open_recipient(value, CHALLENGE, judge=lambda *parts: seen.append(parts)) == b"K" * 16
    assert seen == [(Digest.SHA1, Cipher.DES3)]

    def refuse(prf, cipher):
        raise TrustError("too weak", check="algorithms")

    with pytest.raises(TrustError, match="too weak"):
        password.open_recipient(recipient(wrapped=b""), CHALLENGE, judge=refuse)


@pytest.mark.parametrize(
    ("challenge", "allowed", "said"),
    [
        ("x" * 14, True, None),
        (None, True, None),  # nothing is encrypted then, see `build_envelope`
        ("x" * 13, True, "fewer than 14 characters"),
        ("x" * 99, False, "no RSA key"),
        (None, False, "no RSA key"),
    ],
)
def test_a_password_envelope_needs_leave_and_a_long_challenge(challenge, allowed, said):
    """S-093."""
    if said is None:
        password.check_password(challenge, allowed=allowed, why="no RSA key")
        return
    with pytest.raises(TrustError, match=said) as error:
        password.check_password(challenge, allowed=allowed, why="no RSA key")
    assert error.value.check == "recipient"
    assert "guess" in error.value.hint
    assert "xxx" not in f"{error.value.message} {error.value.hint}"


def test_what_is_no_recipient_is_an_error():
    with pytest.raises(ProtocolError, match="PasswordRecipientInfo"):
        password.open_recipient(asn1.tlv(b"\xa3\0"), CHALLENGE)
