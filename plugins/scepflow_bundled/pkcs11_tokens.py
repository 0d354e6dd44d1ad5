"""A PKCS#11 token's RSA key as one of cryptography's: signs and decrypts on the token, in one open session.

PKCS#11 is OASIS "PKCS #11 Cryptographic Token Interface Base Specification".
Must never hold: a way to make, copy or delete what is on a token, or a difference between one failed decryption and another.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

import pkcs11
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass, PKCS11Error, TokenFlag

from scepflow.errors import KeySourceError
from scepflow.text import sanitise
from scepflow_bundled.pkcs11_words import (
    error_text,
    explained,
    first_of,
    key_text,
    match_text,
    read_attribute,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
    from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        KeySerializationEncryption,
        PrivateFormat,
    )

__all__ = ["TokenRsaKey", "open_key"]

# What comes before the digest in a DigestInfo (RFC 8017 §9.2 EMSA-PKCS1-v1_5, note 1). With it made here,
# CKM_RSA_PKCS is enough, which every token has; not every one hashes.
_DIGEST_INFO = {
    "md5": bytes.fromhex("3020300c06082a864886f70d020505000410"),
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_OAEP = (
    (hashes.SHA1(), Mechanism.SHA_1, MGF.SHA1),  # noqa: S303  # OAEP's default, and safe there
    (hashes.SHA224(), Mechanism.SHA224, MGF.SHA224),
    (hashes.SHA256(), Mechanism.SHA256, MGF.SHA256),
    (hashes.SHA384(), Mechanism.SHA384, MGF.SHA384),
    (hashes.SHA512(), Mechanism.SHA512, MGF.SHA512),
)
# The token is gone or the login is; what was to be decrypted has no part in it.
_LOST = (
    pkcs11.DeviceRemoved,
    pkcs11.PinExpired,
    pkcs11.PinIncorrect,
    pkcs11.PinLocked,
    pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid,
    pkcs11.TokenNotPresent,
    pkcs11.UserNotLoggedIn,
)
_WRONG_PIN = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange)


def open_key(
    module: Path,
    *,
    token: str | None,
    slot: int | None,
    label: str | None,
    key_id: bytes | None,
    pin: str | None,
) -> TokenRsaKey:
    """Return the one private key that matches, logged in to its token.

    Args:
        module: the token's PKCS#11 library.
        token: the token's label, or None for any.
        slot: the number (CK_SLOT_ID) of its slot, or None for any.
        label: the key's label (CKA_LABEL), or None for any.
        key_id: the key's id (CKA_ID), or None for any.
        pin: the user's PIN, or None for no login.

    Raises:
        KeySourceError: there is not exactly one, the login fails, or the key cannot do what SCEP needs.
    """
    chosen = _one_token(module, label=token, slot=slot)
    name = f'token "{sanitise(chosen.label)}"'
    login = _login(chosen, module=module, pin=pin, name=name)
    with explained(f"the {name} failed"), login.used():
        key = _one_key(login.session, label=label, key_id=key_id, name=name, logged_in=pin is not None)
        return TokenRsaKey(key, _public_key(key), login=login, name=name, pin=pin)


class TokenRsaKey(rsa.RSAPrivateKey):
    """An RSA private key on a token. Nothing else can be asked of it than to sign and decrypt.

    Args:
        key: its object on the token.
        public_key: its public half.
        login: keeps the session open in which ``key`` lives.
        name: such as ``token "gateway"``, for errors.
        pin: given again for each operation if the key wants that (CKA_ALWAYS_AUTHENTICATE).
    """

    def __init__(
        self, key: Any, public_key: rsa.RSAPublicKey, *, login: _Login, name: str, pin: str | None
    ) -> None:
        self._key = key
        self._login = login
        self._public_key = public_key
        self._name = name
        self._pin = pin if read_attribute(key, Attribute.ALWAYS_AUTHENTICATE) else None

    @property
    def key_size(self) -> int:
        """The bits of the modulus."""
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half, which is no token's secret."""
        return self._public_key

    def sign(
        self,
        data: bytes,
        padding: AsymmetricPadding,
        algorithm: Prehashed | hashes.HashAlgorithm | NoDigestInfo,
    ) -> bytes:
        """Return a signature (RFC 8017 §8.2 RSASSA-PKCS1-v1_5).

        Raises:
            UnsupportedAlgorithm: another padding, or a digest that is not MD5, SHA-1 or SHA-2.
            KeySourceError: the token refuses, or is gone.
        """
        known = isinstance(algorithm, hashes.HashAlgorithm) and algorithm.name in _DIGEST_INFO
        if not known or not isinstance(padding, PKCS1v15):
            raise UnsupportedAlgorithm("a key on a token signs with PKCS#1 v1.5, and MD5, SHA-1 or SHA-2")
        assert isinstance(algorithm, hashes.HashAlgorithm)
        digest = hashes.Hash(algorithm)
        digest.update(data)
        info = _DIGEST_INFO[algorithm.name] + digest.finalize()
        with explained(f"the {self._name} could not sign"), self._login.used():
            return bytes(self._key.sign(info, mechanism=Mechanism.RSA_PKCS, pin=self._pin))

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> bytes:
        """Return what was encrypted (RFC 8017 §7.1 RSAES-OAEP, §7.2 RSAES-PKCS1-v1_5).

        Tokens report bad padding in as many ways as there are tokens; here they are one.

        Raises:
            ValueError: it does not decrypt, for whatever reason in it.
            UnsupportedAlgorithm: another padding.
            KeySourceError: the token or the login is gone.
        """
        mechanism, parameters = _decryption(padding)
        if len(ciphertext) != (self.key_size + 7) // 8:
            raise ValueError("not as long as the key")
        try:
            with explained(f"the {self._name} could not decrypt", only=_LOST), self._login.used():
                return bytes(
                    self._key.decrypt(
                        ciphertext, mechanism=mechanism, mechanism_param=parameters, pin=self._pin
                    )
                )
        except PKCS11Error:
            raise ValueError("decryption failed") from None

    def private_numbers(self) -> NoReturn:
        """Refuse: they are the token's secret."""
        raise self._stays()

    def private_bytes(
        self,
        encoding: Encoding,  # noqa: ARG002  # as its base
        format: PrivateFormat,  # noqa: A002, ARG002  # as its base
        encryption_algorithm: KeySerializationEncryption,  # noqa: ARG002  # as its base
    ) -> NoReturn:
        """Refuse: they are the token's secret."""
        raise self._stays()

    def _stays(self) -> KeySourceError:
        return KeySourceError(
            f"the private key stays on the {self._name}; it cannot be written anywhere",
            kind="key source",
            name="pkcs11",
            hint="leave the key out of the outputs, and let the program that needs it use the token",
        )

    def __copy__(self) -> TokenRsaKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenRsaKey:
        return self


def _decryption(padding: AsymmetricPadding) -> tuple[Mechanism, tuple[Mechanism, MGF, None] | None]:
    """Return mechanism and parameter for a padding."""
    if isinstance(padding, PKCS1v15):
        return Mechanism.RSA_PKCS, None
    for digest, mechanism, _ in _OAEP:
        for mask, _, mgf in _OAEP:
            if padding == OAEP(MGF1(mask), digest, None):
                return Mechanism.RSA_PKCS_OAEP, (mechanism, mgf, None)
    raise UnsupportedAlgorithm("a key on a token decrypts PKCS#1 v1.5 and OAEP with SHA-1 or SHA-2")


# -- finding it


def _one_token(module: Path, *, label: str | None, slot: int | None) -> pkcs11.Token:
    with explained(f"the PKCS#11 module {module} failed"):
        tokens = list(_tokens(_loaded(module)))
    matching = [
        token for token in tokens if label in (None, token.label) and slot in (None, token.slot.slot_id)
    ]
    if len(matching) == 1:
        return matching[0]
    wanted = match_text(token=label, slot=slot)
    if not tokens:
        raise KeySourceError(
            f"the PKCS#11 module {module} shows no token", hint="is it plugged in, and set up?"
        )
    listed = first_of(
        f'"{sanitise(token.label)}" in slot {token.slot.slot_id}' for token in matching or tokens
    )
    raise KeySourceError(
        f"{len(matching)} tokens match{wanted} in {module}: exactly one must",
        hint=f"name one with token or slot: {listed}",
    )


def _loaded(module: Path) -> Any:
    """Return the library, which stays loaded until the process ends."""
    if not module.is_file():
        raise KeySourceError(
            f"there is no PKCS#11 module {module}",
            hint="write the whole path of the library that came with the token, mostly a .so below /usr/lib",
        )
    try:
        return pkcs11.lib(str(module))
    except PKCS11Error as error:
        reason = sanitise(str(error).rpartition(f"{module}: ")[2]) or error_text(error)
        raise KeySourceError(f"cannot load the PKCS#11 module {module}: {reason}") from None


def _tokens(library: Any) -> Iterator[pkcs11.Token]:
    for slot in library.get_slots(token_present=True):
        with suppress(pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
            token = slot.get_token()
            if TokenFlag.TOKEN_INITIALIZED in token.flags:
                yield token


class _Login:
    """A session that is logged in, until nobody holds it any more."""

    def __init__(self, session: pkcs11.Session) -> None:
        self.session = session
        self.lost = False
        weakref.finalize(self, _close, session)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Notice when the token does not know the session any more, so that the next key opens another."""
        try:
            yield
        except _LOST:
            self.lost = True
            raise


# To log out one session of a process logs out all of them (C_Logout), so keys in use at the same time share theirs.
# Module, slot and PIN → login; what is process-wide in PKCS#11 is so here.
_LOGINS: WeakValueDictionary[tuple[str, int, str | None], _Login] = WeakValueDictionary()
_LOGGING_IN = Lock()


def _login(token: pkcs11.Token, *, module: Path, pin: str | None, name: str) -> _Login:
    place = (str(module), token.slot.slot_id, pin)
    with _LOGGING_IN:
        login = _LOGINS.get(place)
        if login is None or login.lost:
            login = _LOGINS[place] = _Login(_opened(token, pin, name))
        return login


def _opened(token: pkcs11.Token, pin: str | None, name: str) -> pkcs11.Session:
    try:
        with explained(f"cannot open the {name}", but=_WRONG_PIN):
            return token.open(user_pin=pin)
    except _WRONG_PIN:
        raise KeySourceError(
            f"the {name} does not take the PIN",
            hint="it locks itself after a few wrong ones: look before you try again",
        ) from None


def _close(session: pkcs11.Session) -> None:
    with suppress(PKCS11Error):  # a token that is gone needs no logout
        session.close()


def _one_key(
    session: pkcs11.Session, *, label: str | None, key_id: bytes | None, name: str, logged_in: bool
) -> Any:
    every: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    wanted = every | ({} if label is None else {Attribute.LABEL: label})
    wanted |= {} if key_id is None else {Attribute.ID: key_id}
    found = list(session.get_objects(wanted))
    if len(found) == 1:
        return _usable(found[0], name)
    text = match_text(label=label, id=None if key_id is None else key_id.hex())
    hint = f"name one with label or id: {first_of(map(key_text, found))}"
    if not found:
        others = first_of(map(key_text, session.get_objects(every)))
        hint = f"it has: {others}" if others else "there is no private key on it"
        hint += "" if logged_in else "; most tokens show private keys only to who gives the pin"
    raise KeySourceError(f"{len(found)} private keys match{text} on the {name}: exactly one must", hint=hint)


def _usable(key: Any, name: str) -> Any:
    """Return the key if it is RSA, signs and decrypts."""
    described = f"the private key {key_text(key)} on the {name}"
    if read_attribute(key, Attribute.KEY_TYPE) is not KeyType.RSA:
        raise KeySourceError(f"{described} cannot be used", hint="use an RSA key of 2048 bits or more")
    for verb in ("sign", "decrypt"):
        if not hasattr(key, verb):
            raise KeySourceError(
                f"{described} may not {verb}",
                hint=f"SCEP needs a key that signs and decrypts: make one with CKA_{verb.upper()}",
            )
    return key


def _public_key(key: Any) -> rsa.RSAPublicKey:
    modulus, exponent = (
        int.from_bytes(key[attribute]) for attribute in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT)
    )
    try:
        public_key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise KeySourceError(f"the RSA key on the token is none that others take: {error}") from None
    if public_key.key_size < 2048:
        raise KeySourceError(
            f"the RSA key on the token has {public_key.key_size} bits, too few to be safe",
            hint="use an RSA key of 2048 bits or more",
        )
    return public_key
