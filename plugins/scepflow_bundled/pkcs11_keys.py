"""The ``pkcs11`` key source: a private key that stays on its token, a smartcard or an HSM.

Must never hold: the token's library; ``pkcs11_tokens`` loads it when a run needs the key.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from scepflow.errors import OptionError
from scepflow.options import PathTemplate, Secret
from scepflow.stages import KeySource, Run

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["Pkcs11KeySource"]


class Pkcs11KeySource(KeySource, frozen=True, kw_only=True, tag="pkcs11"):
    """An RSA key on a PKCS#11 token (smartcard, HSM), which signs and decrypts there and never leaves it.

    Needs ``pip install 'scepflow[pkcs11]'``. Exactly one token and one private key on it must match.

        [key]
        use = "pkcs11"
        module = "/usr/lib/softhsm/libsofthsm2.so"
        token = "gateway"
        label = "gw1"
        pin = { file = "gw1.pin" }

    Attributes:
        module: the token's PKCS#11 library; its whole path, or one relative to the pipeline file.
        token: label of the token; needed when the module shows several.
        slot: number of the slot that the token is in, where labels do not tell tokens apart.
        label: label of the private key.
        id: id of the private key in hex, such as ``01``; colons do not matter.
        pin: secret that logs in as the token's user; most tokens show no private key without it.
    """

    durable: ClassVar[bool] = True
    exportable: ClassVar[bool] = False

    module: PathTemplate
    token: str | None = None
    slot: Annotated[int, msgspec.Meta(ge=0)] | None = None
    label: str | None = None
    id: str | None = None
    pin: Secret | None = None

    def __post_init__(self) -> None:
        """Refuse an id that is not hex, and a run without python-pkcs11."""
        if find_spec("pkcs11") is None:
            raise OptionError(
                'use = "pkcs11" needs python-pkcs11, which is not installed',
                where="use",
                hint="pip install 'scepflow[pkcs11]'",
            )
        try:
            self._id()
        except ValueError:
            raise OptionError(f"not hex: {self.id!r}", where="id", hint='write such as id = "01"') from None

    def obtain(self, run: Run) -> rsa.RSAPrivateKey:
        """Return the key; its session on the token is open as long as the key is in use.

        Raises:
            KeySourceError: module, token, login or key are not as they must be.
            OptionError: the PIN cannot be read.
        """
        from scepflow_bundled.pkcs11_tokens import open_key

        return open_key(
            run.path(self.module),
            token=self.token,
            slot=self.slot,
            label=self.label,
            key_id=self._id(),
            pin=None if self.pin is None else run.reveal(self.pin),
        )

    def check(self, run: Run) -> None:
        """Log in, look at the key and log out."""
        self.obtain(run)

    def _id(self) -> bytes | None:
        return None if self.id is None else bytes.fromhex(self.id.replace(":", ""))
