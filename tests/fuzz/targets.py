"""What is fuzzed, by name: each target makes a case from chance, gives it to the engine and judges what comes out.

A case may end with a ScepflowError. Any other exception is a bug, and so is an
outcome that the case does not allow. Must never hold: a target itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plain_targets import Ber, CaCert, Capabilities, Conffile, EnvelopedData, Toml
from reply_targets import Certificate, CertRep, Crl, NextCa

if TYPE_CHECKING:
    from cases import Target

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        CertRep,
        EnvelopedData,
        CaCert,
        NextCa,
        Capabilities,
        Crl,
        Certificate,
        Ber,
        Toml,
        Conffile,
    )
}
