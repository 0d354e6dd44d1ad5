from itertools import product

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding
from hypothesis import given
from hypothesis import strategies as st
from replies import algorithm, seq

from scepflow.engine import algorithms, asn1, oids
from scepflow.engine.algorithms import Cipher, Digest, Security, check_reply, choose
from scepflow.engine.capabilities import NONE, Capabilities
from scepflow.engine.checks import Checks
from scepflow.errors import ProtocolError, TrustError


def capabilities(words):
    return Capabilities(frozenset(words.split()))


def identifier(der):
    """Return an AlgorithmIdentifier as the engine holds it."""
    return asn1.members(asn1.tlv(der), "AlgorithmIdentifier", tag=b"\x30")


# The choice for requests


@pytest.mark.parametrize(
    ("words", "digest", "cipher", "method"),
    [
        ("SCEPStandard", Digest.SHA256, Cipher.AES128, "POST"),
        ("AES SHA-256 POSTPKIOperation", Digest.SHA256, Cipher.AES128, "POST"),
        ("AES DES3 SHA-1 SHA-256 SHA-512 Renewal", Digest.SHA256, Cipher.AES128, "GET"),
        ("SHA-512 SHA-1 DES3", Digest.SHA512, Cipher.DES3, "GET"),
        ("SHA-1 DES3 POSTPKIOperation", Digest.SHA1, Cipher.DES3, "POST"),
        ("AES", Digest.SHA1, Cipher.AES128, "GET"),
        ("", Digest.SHA1, Cipher.DES3, "GET"),
    ],
)
@pytest.mark.parametrize("security", [Security.DEFAULT, Security.LEGACY])
def test_the_best_that_is_offered_is_chosen(words, digest, cipher, method, security):
    choice = choose(capabilities(words), security=security)
    assert (choice.digest, choice.cipher, choice.method) == (digest, cipher, method)


@given(
    st.frozensets(st.sampled_from(("AES", "DES3", "SHA-1", "SHA-256", "SHA-512", "SCEPStandard", "Renewal")))
)
def test_capabilities_lead_never_below_3des_and_sha_1(names):
    """They are not authenticated (S-040, S-041)."""
    for security in (Security.DEFAULT, Security.LEGACY):
        choice = choose(Capabilities(names), security=security)
        assert choice.digest in {Digest.SHA256, Digest.SHA512, Digest.SHA1}
        assert choice.cipher in {Cipher.AES128, Cipher.DES3}


def test_an_explicit_option_wins():
    choice = choose(capabilities("SCEPStandard"), digest=Digest.SHA384, cipher=Cipher.AES256, method="GET")
    assert (choice.digest, choice.cipher, choice.method) == (Digest.SHA384, Cipher.AES256, "GET")


@pytest.mark.parametrize(
    ("words", "codes", "said"),
    [
        ("SCEPStandard", [], ""),
        ("AES SHA-256", ["get-request"], "URL"),
        ("AES POSTPKIOperation", ["weak-request"], "sha-1: set by option, or the CA offers nothing better"),
        ("", ["weak-request", "get-request"], "sha-1 and 3des-cbc: the CA lists no capabilities"),
    ],
)
def test_a_weak_request_is_never_silent(words, codes, said):
    findings = choose(capabilities(words)).findings
    assert [finding.code for finding in findings] == codes
    assert said in "".join(finding.text for finding in findings[:1])


@pytest.mark.parametrize("words", ["", "AES", "SHA-256", "DES3 SHA-1 POSTPKIOperation", "AES SHA-512"])
def test_strict_demands_aes_and_sha_256(words):
    with pytest.raises(TrustError, match="security = strict demands") as error:
        choose(capabilities(words), security=Security.STRICT, digest=Digest.SHA256, cipher=Cipher.AES128)
    assert error.value.check == "algorithms"


@pytest.mark.parametrize("words", ["SCEPStandard", "AES SHA-256"])
def test_strict_takes_what_is_strong(words):
    assert choose(capabilities(words), security=Security.STRICT).cipher is Cipher.AES128


STRONG = {
    Digest.SHA256,
    Digest.SHA512,
    Digest.SHA384,
    Digest.SHA224,
    Cipher.AES128,
    Cipher.AES192,
    Cipher.AES256,
}
ALLOWED_IN_REQUESTS = {
    Security.STRICT: STRONG,
    Security.DEFAULT: STRONG | {Digest.SHA1, Cipher.DES3},
    Security.LEGACY: {*Digest, *Cipher},
}
ALLOWED_IN_REPLIES = {
    Security.STRICT: STRONG,
    Security.DEFAULT: {*Digest, *Cipher} - {Digest.MD5, Cipher.BLOWFISH},
    Security.LEGACY: {*Digest, *Cipher},
}


@pytest.mark.parametrize(("security", "digest", "cipher"), list(product(Security, Digest, Cipher)))
def test_the_policy_on_requests(security, digest, cipher):
    def chosen():
        return choose(capabilities("SCEPStandard"), security=security, digest=digest, cipher=cipher)

    if {digest, cipher} <= ALLOWED_IN_REQUESTS[security]:
        assert (chosen().digest, chosen().cipher) == (digest, cipher)
        assert bool(chosen().findings) == (not {digest, cipher} <= STRONG)
    else:
        with pytest.raises(TrustError) as error:
            chosen()
        assert error.value.check == "algorithms"


@pytest.mark.parametrize(("security", "digest", "cipher"), list(product(Security, Digest, [None, *Cipher])))
def test_the_policy_on_replies(security, digest, cipher):
    parts = {digest, cipher} - {None}
    checks = Checks()
    if parts <= ALLOWED_IN_REPLIES[security]:
        check_reply(digest, cipher, security, checks)
        assert [finding.code for finding in checks.findings] == ["weak-reply"] * (not parts <= STRONG)
    else:
        with pytest.raises(TrustError, match=f"security = {security} refuses") as error:
            check_reply(digest, cipher, security, checks)
        assert error.value.check == "algorithms"
        relaxed = Checks(frozenset({"algorithms"}))
        check_reply(digest, cipher, security, relaxed)
        assert [finding.code for finding in relaxed.findings] == ["relaxed-algorithms", "weak-reply"]


def test_only_the_default_policy_has_a_weaker_one_to_name():
    for security, hint in ((Security.DEFAULT, "legacy"), (Security.STRICT, None)):
        with pytest.raises(TrustError) as error:
            check_reply(Digest.MD5, None, security, Checks())
        assert (hint in error.value.hint) if hint else error.value.hint is None


# Digests and signatures


@pytest.mark.parametrize("digest", list(Digest))
@pytest.mark.parametrize("parameters", [asn1.NULL_DER, b""])
def test_a_digest_is_known_by_its_oid(digest, parameters):
    assert algorithms.digest_of(identifier(algorithm(digest.oid, parameters))) is digest
    assert len(digest.of(b"")) == digest.hash().digest_size


def test_the_digest_of_nothing_is_the_known_one():
    assert Digest.SHA1.of(b"").hex() == "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    assert Digest.SHA1.of(b"\0").hex() == "5ba93c9db0cff93f52b521d7420e43f6eda2784f"
    assert Digest.SHA256.of(b"").hex().startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_an_unknown_digest_is_an_error():
    with pytest.raises(ProtocolError, match=r"unknown digest algorithm 1\.2\.840\.113549\.1\.1\.1"):
        algorithms.digest_of(identifier(algorithm(oids.RSA_ENCRYPTION)))


def verify(key, der, *, signature, digest=Digest.SHA256, data=b"data"):
    return algorithms.verify(key, algorithm=identifier(der), digest=digest, signature=signature, data=data)


@pytest.mark.parametrize("digest", list(Digest))
def test_an_rsa_signature_is_verified(pki, digest):
    key = pki.client.key
    named_der, signature = algorithms.sign(key, b"data", digest)
    named = identifier(named_der)
    assert algorithms.verify(
        key.public_key(), algorithm=named, digest=digest, signature=signature, data=b"data"
    )
    assert not algorithms.verify(
        key.public_key(), algorithm=named, digest=digest, signature=signature, data=b"Data"
    )
    assert algorithms.sign(key, b"data", digest)[1] == signature


def signed_bare(key, digest, data, *, null=b"", after=b""):
    """Sign by hand (RFC 8017 §9.2 EMSA-PKCS1-v1_5), with a DigestInfo as wanted."""
    info = seq(algorithm(digest.oid, null), asn1.encode(digest.of(data))) + after
    size = key.key_size // 8
    padded = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
    numbers = key.private_numbers()
    return pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")


@pytest.mark.parametrize("digest", list(Digest))
def test_a_digest_info_may_lack_its_null_and_nothing_else(pki, digest):
    """Q-109."""
    key, public_key = pki.client.key, pki.client.key.public_key()
    named = algorithm(oids.RSA_ENCRYPTION)
    for signature, right in (
        (signed_bare(key, digest, b"data"), True),
        (signed_bare(key, digest, b"data", null=asn1.NULL_DER), True),
        (signed_bare(key, digest, b"Data"), False),
        (signed_bare(key, digest, b"data", after=b"\0"), False),
        (signed_bare(key, digest, b"data", null=asn1.encode(0)), False),
    ):
        assert verify(public_key, named, digest=digest, signature=signature) is right


RSA_OIDS = {
    Digest.MD5: oids.MD5_WITH_RSA,
    Digest.SHA1: oids.SHA1_WITH_RSA,
    Digest.SHA224: oids.SHA224_WITH_RSA,
    Digest.SHA256: oids.SHA256_WITH_RSA,
    Digest.SHA384: oids.SHA384_WITH_RSA,
    Digest.SHA512: oids.SHA512_WITH_RSA,
}


@pytest.mark.parametrize(("named", "digest"), list(product(Digest, Digest)))
def test_a_signature_algorithm_with_a_digest_must_agree_with_the_signers(pki, named, digest):
    """S-013, Q-106."""
    key = pki.client.key
    signature = key.sign(b"data", padding.PKCS1v15(), digest.hash())
    der = algorithm(RSA_OIDS[named])
    if named is digest:
        assert verify(key.public_key(), der, signature=signature, digest=digest)
    else:
        with pytest.raises(ProtocolError, match=f"does not fit {digest.value}"):
            verify(key.public_key(), der, signature=signature, digest=digest)


@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA224, Digest.SHA256, Digest.SHA384, Digest.SHA512])
def test_an_ec_signature_is_verified(pki, digest):
    key = pki.ec_client.key
    named_der, signature = algorithms.sign(key, b"data", digest)
    named = identifier(named_der)
    assert len(named) == 1  # ecdsa-with-SHA256 has no parameters
    assert algorithms.verify(
        key.public_key(), algorithm=named, digest=digest, signature=signature, data=b"data"
    )
    assert not algorithms.verify(
        key.public_key(), algorithm=named, digest=digest, signature=signature, data=b""
    )
    other = Digest.SHA256 if digest is not Digest.SHA256 else Digest.SHA512
    with pytest.raises(ProtocolError, match="does not fit the signer's EC key"):
        algorithms.verify(key.public_key(), algorithm=named, digest=other, signature=signature, data=b"data")


def test_an_ec_key_does_not_sign_md5(pki):
    with pytest.raises(TrustError, match="md5 cannot be signed with an EC key"):
        algorithms.sign(pki.ec_client.key, b"data", Digest.MD5)


def test_an_rsa_algorithm_does_not_fit_an_ec_key_nor_the_other_way(pki):
    with pytest.raises(ProtocolError, match="EC key"):
        verify(pki.ec_client.key.public_key(), algorithm(oids.RSA_ENCRYPTION), signature=b"")
    with pytest.raises(ProtocolError, match="RSA key"):
        verify(pki.client.key.public_key(), algorithm(oids.ECDSA_WITH_SHA256, b""), signature=b"")


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate().public_key(), None])
def test_a_key_of_another_kind_is_an_error(key):
    with pytest.raises(ProtocolError, match="neither RSA nor EC"):
        verify(key, algorithm(oids.RSA_ENCRYPTION), signature=b"")


@pytest.mark.parametrize("signature", [b"", b"x", b"x" * 256, b"\xff" * 5000])
def test_a_signature_that_is_none_is_wrong(pki, signature):
    assert not verify(pki.client.key.public_key(), algorithm(oids.RSA_ENCRYPTION), signature=signature)
    ecdsa = algorithm(oids.ECDSA_WITH_SHA256, b"")
    assert not verify(pki.ec_client.key.public_key(), ecdsa, signature=signature)


def pss(*, digest=oids.SHA256, mask=oids.SHA256, salt=32, generator=oids.MGF1):
    """Return PSS parameters; a part that is None is left out."""
    parts = [
        None if digest is None else algorithm(digest),
        None if mask is None else algorithm(generator, algorithm(mask) if mask else b""),
        None if salt is None else asn1.encode(salt),
    ]
    explicit = (asn1.wrap(0xA0 + n, part) for n, part in enumerate(parts) if part is not None)
    return algorithm(oids.RSASSA_PSS, seq(*explicit))


def pss_signature(pki, hash_algorithm, salt):
    pad = padding.PSS(padding.MGF1(hash_algorithm), salt)
    return pki.client.key.sign(b"data", pad, hash_algorithm)


def test_pss_is_verified_with_the_parameters_that_are_named(pki):
    key = pki.client.key.public_key()
    assert verify(key, pss(), signature=pss_signature(pki, hashes.SHA256(), 32))
    assert verify(key, pss(salt=0), signature=pss_signature(pki, hashes.SHA256(), 0))
    assert not verify(key, pss(salt=20), signature=pss_signature(pki, hashes.SHA256(), 32))
    sha_1 = pss_signature(pki, hashes.SHA1(), 20)
    assert verify(key, pss(digest=None, mask=None, salt=None), signature=sha_1, digest=Digest.SHA1)
    sha_512 = pss_signature(pki, hashes.SHA512(), 64)
    der = pss(digest=oids.SHA512, mask=oids.SHA512, salt=64)
    assert verify(key, der, signature=sha_512, digest=Digest.SHA512)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"digest": oids.SHA1}, "do not agree"),
        ({"digest": None}, "do not agree"),
        ({"mask": oids.SHA1}, "do not agree"),
        ({"mask": None}, "do not agree"),
        ({"salt": 65}, "salt length out of bounds"),
        ({"salt": -1}, "salt length out of bounds"),
        pytest.param({"salt": 1 << 15000}, "salt length out of bounds", id="a salt of 4516 digits"),
        ({"generator": oids.SHA1}, "unknown mask generation function"),
        ({"mask": b""}, "unknown mask generation function"),
    ],
    ids=str,
)
def test_pss_parameters_are_checked(pki, parameters, said):
    """S-007."""
    signature = pss_signature(pki, hashes.SHA256(), 32)
    with pytest.raises(ProtocolError, match=said):
        verify(pki.client.key.public_key(), pss(**parameters), signature=signature)


def test_pss_without_parameters_is_an_error(pki):
    with pytest.raises(ProtocolError, match="does not fit"):
        verify(pki.client.key.public_key(), algorithm(oids.RSASSA_PSS, b""), signature=b"")
    with pytest.raises(ProtocolError):
        verify(pki.client.key.public_key(), algorithm(oids.RSASSA_PSS), signature=b"")


def test_a_key_too_small_for_its_padding_verifies_nothing():
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.RSAPublicNumbers(65537, (1 << 1024) - 1).public_key()
    der = pss(digest=oids.SHA512, mask=oids.SHA512, salt=64)
    assert not verify(key, der, signature=b"x" * 128, digest=Digest.SHA512)


# Ciphers


@pytest.mark.parametrize("cipher", list(Cipher))
@given(data=st.binary(max_size=100))
def test_what_is_encrypted_comes_back(cipher, data):
    key, iv = b"k" * cipher.key_bytes, b"i" * cipher.block_bytes
    encrypted = algorithms.encrypt(cipher, key, iv, data)
    assert len(encrypted) % cipher.block_bytes == 0
    assert len(data) < len(encrypted) <= len(data) + cipher.block_bytes
    assert algorithms.decrypt(cipher, key, iv, encrypted) == data


def test_des_is_des():
    """A vector of FIPS 81: OpenSSL 3 has no single DES, three equal keys are the same (Q-020)."""
    key, iv = bytes.fromhex("0123456789abcdef"), bytes.fromhex("1234567890abcdef")
    encrypted = algorithms.encrypt(Cipher.DES, key, iv, b"Now is the time for all ")
    assert encrypted.hex().startswith("e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6")


def test_blowfish_has_16_bytes_of_key_as_sscep_sends_it():
    """The vector is Eric Young's, of SSLeay."""
    key, iv = bytes.fromhex("0123456789abcdeff0e1d2c3b4a59687"), bytes.fromhex("fedcba9876543210")
    encrypted = algorithms.encrypt(Cipher.BLOWFISH, key, iv, b"7654321 Now is the time ")
    assert encrypted.hex().startswith("6b77b4d63006dee605b156e27403979358deb9e7154616d9")
    assert (Cipher.BLOWFISH.key_bytes, Cipher.BLOWFISH.block_bytes) == (16, 8)


def test_what_needs_the_legacy_policy_is_named():
    with pytest.raises(TrustError, match="requests in md5 and blowfish-cbc need security = legacy"):
        choose(capabilities("SCEPStandard"), digest=Digest.MD5, cipher=Cipher.BLOWFISH)


def unpadded(plain, cipher=Cipher.AES128):
    """Encrypt whole blocks without adding padding."""
    context = cipher.context(b"k" * cipher.key_bytes, b"i" * cipher.block_bytes).encryptor()
    return context.update(plain) + context.finalize()


@pytest.mark.parametrize(
    "plain",
    [
        b"x" * 15 + b"\0",
        b"x" * 15 + b"\x11",
        b"x" * 14 + b"\x01\x02",
        b"\x0f" + b"\x10" * 15,
        b"x" * 15 + b"\xff",
        b"x" * 15 + b"\x11" * 17,
    ],
    ids=["0", "17", "2 of which one is wrong", "16 of which the first is wrong", "255", "17 of 17"],
)
def test_every_byte_of_the_padding_is_checked(plain):
    """S-051."""
    assert algorithms.decrypt(Cipher.AES128, b"k" * 16, b"i" * 16, unpadded(plain)) is None


def test_a_whole_block_of_padding_is_padding():
    assert algorithms.decrypt(Cipher.AES128, b"k" * 16, b"i" * 16, unpadded(b"\x10" * 16)) == b""


@pytest.mark.parametrize(
    ("key", "data"),
    [(b"k" * 15, b"x" * 16), (b"k" * 24, b"x" * 16), (b"k" * 16, b""), (b"k" * 16, b"x" * 17)],
)
def test_wrong_sizes_do_not_decrypt(key, data):
    """Q-111."""
    assert algorithms.decrypt(Cipher.AES128, key, b"i" * 16, data) is None


@pytest.mark.parametrize("cipher", list(Cipher))
def test_a_cipher_is_known_by_its_oid(cipher):
    iv = b"i" * cipher.block_bytes
    assert algorithms.cipher_of(identifier(algorithm(cipher.oid, asn1.encode(iv)))) == (cipher, iv)


@pytest.mark.parametrize(
    "oid", ["1.2.840.113549.3.2", "2.16.840.1.101.3.4.1.6", "1.2.840.113549.3.4"], ids=["RC2", "GCM", "RC4"]
)
def test_an_unknown_cipher_is_an_error(oid):
    with pytest.raises(ProtocolError, match=f"unknown content cipher {oid}"):
        algorithms.cipher_of(identifier(algorithm(x509.ObjectIdentifier(oid), asn1.encode(b"i" * 16))))


@pytest.mark.parametrize("parameters", [b"", asn1.NULL_DER, asn1.encode(b""), asn1.encode(b"i" * 8), seq()])
def test_an_initialisation_vector_of_another_size_or_kind_is_an_error(parameters):
    """S-036."""
    with pytest.raises(ProtocolError, match="initialisation vector"):
        algorithms.cipher_of(identifier(algorithm(oids.AES128_CBC, parameters)))


# Key transport


def oaep_parameters(*parts):
    return algorithm(oids.RSAES_OAEP, seq(*(asn1.wrap(0xA0 + n, part) for n, part in parts)))


def padding_of(der):
    return algorithms.key_transport_padding(identifier(der))


def test_key_transport_is_pkcs1_or_oaep():
    assert isinstance(padding_of(algorithm(oids.RSA_ENCRYPTION)), padding.PKCS1v15)
    for der in (algorithm(oids.RSAES_OAEP, b""), oaep_parameters()):
        sha_1 = padding_of(der)
        assert isinstance(sha_1.algorithm, hashes.SHA1)
        assert isinstance(sha_1.mgf._algorithm, hashes.SHA1)


def test_hash_and_mask_of_oaep_are_read_each_for_itself():
    """.NET and Java differ in what they leave at SHA-1."""
    hash_only = padding_of(oaep_parameters((0, algorithm(oids.SHA256))))
    assert isinstance(hash_only.algorithm, hashes.SHA256)
    assert isinstance(hash_only.mgf._algorithm, hashes.SHA1)
    mask_only = padding_of(oaep_parameters((1, algorithm(oids.MGF1, algorithm(oids.SHA512)))))
    assert isinstance(mask_only.algorithm, hashes.SHA1)
    assert isinstance(mask_only.mgf._algorithm, hashes.SHA512)


@pytest.mark.parametrize(
    ("der", "said"),
    [
        (algorithm(oids.RSASSA_PSS), "unknown key transport"),
        (algorithm(oids.RSAES_OAEP), "RSAES-OAEP parameters"),
        (oaep_parameters((0, algorithm(oids.RSA_ENCRYPTION))), "unknown digest algorithm"),
        (oaep_parameters((1, algorithm(oids.SHA1))), "unknown mask generation function"),
        (oaep_parameters((2, algorithm(x509.ObjectIdentifier("1.2.840.113549.1.1.9")))), "with a label"),
    ],
    ids=["another", "NULL", "hash", "mask", "label"],
)
def test_key_transport_that_we_do_not_know_is_an_error_before_the_key_is_used(der, said):
    """S-036."""
    with pytest.raises(ProtocolError, match=said):
        padding_of(der)


def test_without_capabilities_everything_is_at_its_floor():
    choice = choose(NONE)
    assert (choice.digest, choice.cipher, choice.method) == (Digest.SHA1, Cipher.DES3, "GET")
