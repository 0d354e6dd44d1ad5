"""Targets that get what no one signed: answers of a CA, single values, and the files of users.

Must never hold: a limit on time or memory.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import forge
from cases import Case, Target, der, is_showable, response
from cryptography.hazmat.primitives.serialization import Encoding
from forge import ec_authority, rsa_authority, signed_data
from issuing import NOW
from mutation import Specimen, damaged, mutated, mutated_text
from replies import to_ber
from reply_targets import CertRep

from scepflow.engine import ber, envelopes, queries, trust
from scepflow.engine.algorithms import choose
from scepflow.engine.capabilities import parse_capabilities
from scepflow.pipeline.load import load_document
from scepflow.sscep.conffile import load_configuration
from scepflow.sscep.settings import Operation

if TYPE_CHECKING:
    import random


class CaCert(Target):
    """Answers to GetCACert, read and then authenticated with a pin."""

    name = "getcacert"

    def __init__(self) -> None:
        self.authority = authority = rsa_authority()
        ra = {"key": authority.client.key.public_key()}
        signer = authority.issued("RA signing", 5, **ra)
        receiver = authority.issued("RA encryption", 6, usage="key_encipherment", **ra)
        ders = (authority.ca_der, der(signer), der(receiver))
        bundle = signed_data(None, ders)
        self.true = set(ders)
        values = [authority.ca_der, bundle, bundle, to_ber(bundle), signed_data(None, (*ders, *ders))]
        self.specimens = [*map(Specimen.of, values)]
        pems = b"".join(
            certificate.public_bytes(Encoding.PEM) for certificate in (authority.ca.certificate, signer)
        )
        self.texts = [
            pems.decode(),
            in_base64(bundle),
            f"-----BEGIN PKCS7-----\n{in_base64(bundle)}-----END PKCS7-----\n",
        ]
        self.pin = trust.fingerprint(authority.ca.certificate)

    def case(self, chance: random.Random) -> Case:
        kind = chance.random()
        if kind < 0.25:
            text = mutated_text(chance, chance.choice(self.texts), self.texts)
            return Case("text", text.encode())
        specimen = chance.choice(self.specimens)
        if kind < 0.4:
            return Case("bytes", damaged(chance, specimen.data, chance.choice(self.specimens).data))
        data = mutated(chance, specimen, self.specimens)
        if kind < 0.5:
            return Case("within base64", in_base64(data).encode())
        return Case("message", data)

    def outcome(self, case: Case) -> str:
        certificates = queries.parse_ca_cert(response(case.data))
        bundle = trust.authenticate(certificates, fingerprints=[self.pin], now=NOW)
        assert set(map(der, bundle.certificates)) <= self.true, "a certificate that the CA never issued"
        assert set(map(der, bundle.signers)) <= self.true, "a signer that the CA never issued"
        return "authenticated"


def in_base64(data: bytes) -> str:
    return base64.encodebytes(data).decode()


class Capabilities(Target):
    """Answers to GetCACaps."""

    name = "getcacaps"
    texts = (
        "AES\nPOSTPKIOperation\nSHA-256\nSCEPStandard\nRenewal\n",
        "\ufeffsha-512\r\nDES3\r\nOther thing\r\n",
        "",
    )

    def case(self, chance: random.Random) -> Case:
        data = mutated_text(chance, chance.choice(self.texts), self.texts).encode()
        return Case("text", data) if chance.random() < 0.6 else Case("bytes", damaged(chance, data, data))

    def outcome(self, case: Case) -> str:
        found = parse_capabilities(case.data)
        assert all(is_showable(text) and len(text) <= 80 for text in found.unknown)
        choose(found)
        return "capabilities" if found.names else "none"


class EnvelopedData(Target):
    """Envelopes, opened without the signature around them."""

    name = "envelope"

    def __init__(self) -> None:
        self.authority = authority = ec_authority()
        self.inner = signed_data(None, (authority.ca_der,))
        recipients = ((), (authority.for_password,), (authority.for_password, authority.key_transport))
        sealed = [authority.sealed(self.inner, *those) for those in recipients]
        self.specimens = [Specimen.of(data) for data in (*sealed, *map(to_ber, sealed))]

    def case(self, chance: random.Random) -> Case:
        specimen = chance.choice(self.specimens)
        if chance.random() < 0.3:
            return Case("bytes", damaged(chance, specimen.data, chance.choice(self.specimens).data))
        return Case("message", mutated(chance, specimen, self.specimens))

    def outcome(self, case: Case) -> str:
        envelope = envelopes.parse_envelope(case.data)
        opened = envelopes.open_envelope(envelope, self.authority.client, challenge_password=forge.CHALLENGE)
        return "opened" if opened == self.inner else "opened to something else"


class Ber(Target):
    """Any BER, made DER; what comes out must be its own DER."""

    name = "ber"

    def __init__(self) -> None:
        self.specimens = CertRep().others

    def case(self, chance: random.Random) -> Case:
        specimen = chance.choice(self.specimens)
        if chance.random() < 0.3:
            return Case("bytes", damaged(chance, specimen.data, chance.choice(self.specimens).data))
        return Case("message", mutated(chance, specimen, self.specimens))

    def outcome(self, case: Case) -> str:
        normalised = ber.normalise(case.data)
        assert ber.normalise(normalised) == normalised, "DER that is not its own"
        return "unchanged" if normalised == case.data else "changed"


_ROOT = Path(__file__).parents[2]
_TOML = '''[csr]
"quoted key" = "a\\tb"
'single' = \'\'\'one
two\'\'\'
text = """x\\
   y"""
dotted . key = [1, 2.5, 1979-05-27 07:32:00, {a = 1, b.c = "2"}, [[], ["x"]], 0xff, inf, true]
[[fleet.device]]
name = "a"
[[fleet.device]]
[fleet.device.deep]
x = "y" # comment
'''


class Toml(Target):
    """Pipeline files: the tables, and where each value stands."""

    name = "toml"

    def __init__(self) -> None:
        self.texts = [
            _TOML,
            _TOML,
            *(file.read_text("utf-8") for file in sorted((_ROOT / "pipelines").glob("*.toml"))),
        ]

    def case(self, chance: random.Random) -> Case:
        text = mutated_text(chance, chance.choice(self.texts), self.texts)
        return Case("text", text.encode("utf-8", "surrogatepass"))

    def outcome(self, case: Case) -> str:
        document = load_document("fuzz.toml", text=case.data.decode("utf-8", "surrogatepass"))
        size = len(document.main.text)
        for path in document.origins:
            found = document.place(path)
            assert found is not None, "a value without a place"
            key, value = found[1]
            assert 0 <= key.start < key.end <= size, "a key beyond the text"
            assert 0 <= value.start < value.end <= size, "a value beyond the text"
            document.main.position(value.start)
        assert all(
            document.main.text[value.start] not in " \t\n#" for _, value in document.main.places.values()
        )
        return "loaded"


_INI = """[sscep]
URL = "http://ca.example/scep" # comment
CACertFile = ${dir}/ca.crt
Verbose = yes
[sscep_enroll]
PrivateKeyFile = 'local.key'
PollInterval = 5
dir = $ENV::HOME
x = a\\
b
[engine_x]
dynamic_path = `x`
"""
_CLASSIC = """# comment
URL http://ca.example/scep
CACertFile "./ca \\"1\\".crt"
PrivateKeyFile local.key
Verbose yes
PollInterval 5
"""


class Conffile(Target):
    """sscep's configuration files, in both syntaxes."""

    name = "conffile"
    texts = (_INI, _CLASSIC)

    def case(self, chance: random.Random) -> Case:
        data = mutated_text(chance, chance.choice(self.texts), self.texts).encode("utf-8", "surrogatepass")
        return Case("text", data) if chance.random() < 0.7 else Case("bytes", damaged(chance, data, data))

    def outcome(self, case: Case) -> str:
        operation = (Operation.ENROLL, Operation.GETCA)[len(case.data) % 2]
        with tempfile.NamedTemporaryFile() as file:
            file.write(case.data)
            file.flush()
            load_configuration(file.name, operation=operation, program="sscep", environment={"HOME": "/h"})
        return "read"
