"""One sscep command, run as a pipeline: settings → pipeline → `scepflow.runner` or `scepflow.inquiry` → lines, files, exit code.

Must never hold: a message, a check or a retry of its own; or a pass phrase in a line.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from scepflow.errors import (
    OptionError,
    PendingError,
    PipelineError,
    ProtocolError,
    RejectedError,
    ScepflowError,
    TransportError,
    TrustError,
)
from scepflow.options import Secret
from scepflow.sscep.ca_files import find_ca_files, oneline
from scepflow.sscep.files import umask, write_output
from scepflow.sscep.options import address_lines, opening_lines, parse_arguments
from scepflow.sscep.output import Screen, certificate_lines, fingerprint_line
from scepflow.sscep.pipeline_of import pipeline_text
from scepflow.sscep.settings import Exit, Operation, SscepExit
from scepflow.sscep.wire import CommandEnded, SteadySigner, WatchedTransport, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography import x509

    from scepflow.pipeline import Pipeline
    from scepflow.registry import Registry
    from scepflow.runner import System
    from scepflow.sscep.settings import Settings
    from scepflow.state import StateDirectory

__all__ = ["algorithms_of", "run_sscep"]

TRANSACTION_ID = "SSCEP transactionId"
"""What sscep calls every question for a certificate or a CRL."""

_KEYWORDS = (
    "AES",
    "DES3",
    "GetNextCACert",
    "POSTPKIOperation",
    "Renewal",
    "SHA-1",
    "SHA-224",
    "SHA-256",
    "SHA-384",
    "SHA-512",
    "SCEPStandard",
)
"""The capabilities that sscep knows, in the order in which it prints them."""

_RA_TYPES = ("application/x-x509-ca-ra-cert", "application/x-x509-ra-ca-certs")


def run_sscep(
    arguments: Sequence[str],
    *,
    program: str,
    environment: Mapping[str, str],
    registry: Registry,
    state: StateDirectory,
    system: System | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    ask: Callable[[], str] | None = None,
) -> int:
    """Run one sscep command and return its exit code (reference §3).

    Args:
        arguments: the words after the program's name, the operation first.
        program: the program's name, as lines on the screen begin with it.
        environment: what ``$ENV::NAME`` in a configuration file stands for.
        registry: where the stages come from; it is told the events.
        state: where a run keeps what must not be lost.
        system: clock, sleep and randomness; the real ones when None.
        stdout: sys.stdout when None.
        stderr: sys.stderr when None.
        ask: asks the user for the pass phrase of an encrypted key; the terminal when None.
    """
    from scepflow.runner import System as RealSystem

    screen = Screen(program, stdout=stdout or sys.stdout, stderr=stderr or sys.stderr)
    try:
        settings = parse_arguments(arguments, program=program, environment=environment)
        screen.is_verbose, screen.is_debug = settings.verbose, settings.debug
        registry.register(screen, "sscep")
        command = _Command(
            settings=settings,
            screen=screen,
            registry=registry,
            state=state,
            system=system or RealSystem(),
            ask=ask or _ask,
        )
        return command.run()
    except SscepExit as end:
        return screen.ended(end)
    except CommandEnded as ended:
        return screen.ended(ended.end)
    except ScepflowError as error:
        return _failed(screen, error)


def _ask() -> str:
    from getpass import getpass

    return getpass("Enter PEM pass phrase:")


def _failed(screen: Screen, error: ScepflowError) -> int:
    """Say what went wrong; return sscep's code for it."""
    if isinstance(error, RejectedError):
        screen.rejected(error)
        return error.exit_code if error.exit_code >= 70 else Exit.MESSAGE
    if isinstance(error, PendingError):
        screen.replied("PENDING")
        return Exit.PENDING
    screen.failed(error)
    if isinstance(error, TransportError):
        screen.complain("error while sending message")
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FILE)


_CODES = (
    (TransportError, Exit.NETWORK),
    (TrustError, Exit.MESSAGE),
    (ProtocolError, Exit.MESSAGE),
    (OptionError, Exit.FILE),
    (PipelineError, Exit.ERROR),
)
"""The first that an error is; anything else is about a file."""


def algorithms_of(names: frozenset[str]) -> tuple[str | None, str | None]:
    """Return cipher and digest for a CA's capabilities (Appendix C.2); None leaves scepflow's floor, 3DES and SHA-1.

    Without capabilities sscep used single DES and MD5; those are for whoever types them.
    """
    standard = "SCEPStandard" in names
    cipher = "aes-128-cbc" if standard or "AES" in names else None
    for digest in ("SHA-512", "SHA-384", "SHA-256", "SHA-224", "SHA-1"):
        if digest in names or (standard and digest == "SHA-256"):
            return cipher, digest.lower()
    return cipher, None


@dataclass
class _Command:
    """One command while it runs."""

    settings: Settings
    screen: Screen
    registry: Registry
    state: StateDirectory
    system: System
    ask: Callable[[], str]

    def run(self) -> int:
        settings, screen = self.settings, self.screen
        for line in settings.notes:
            screen.complain(line.removeprefix(f"{settings.program}: "))
        for line in (*opening_lines(settings), *address_lines(settings)):
            screen.raw(line)
        self._refuse_engine()
        self.wire = Wire(
            verbose=screen.verbose,
            wait_s=settings.wait_s,
            sleep=self.system.sleep,
            take=self._take if settings.message_file else None,
        )
        names = self._capabilities()
        screen.verbose(f"SCEP_OPERATION_{settings.operation.upper()}")
        operations: dict[Operation, Callable[[frozenset[str]], int]] = {
            Operation.GETCAPS: self._getcaps,
            Operation.GETCA: self._getca,
            Operation.GETNEXTCA: self._getnextca,
            Operation.ENROLL: self._enroll,
            Operation.GETCERT: self._getcert,
            Operation.GETCRL: self._getcrl,
        }
        return operations[settings.operation](names)

    def _refuse_engine(self) -> None:
        """Engines are gone from OpenSSL."""
        if self.settings.engine is None:
            return
        p, name = self.settings.program, self.settings.engine.id
        raise SscepExit(
            Exit.ERROR,
            stderr=(
                f"{p}: OpenSSL has no engines any more, so engine {name} cannot be loaded",
                f"{p}: write a pipeline (`scepflow import`) whose [key] uses a key source for the token",
                f"{p}: `scepflow plugins` lists the key sources that are installed",
            ),
        )

    # -- pipelines

    def _pipeline(self, settings: Settings, text: str) -> Pipeline:
        """Return the pipeline, with its transport watched and a typed pass phrase in its place."""
        from scepflow.pipeline import InvalidPipelineError, check_pipeline

        report = check_pipeline(Path.cwd() / "sscep", self.registry, text=text)
        if report.pipeline is None:
            raise InvalidPipelineError(report)
        pipeline = report.pipeline
        if settings.passphrase is not None:
            pipeline = replace(
                pipeline,
                key=_with_passphrase(pipeline.key, settings.passphrase),
                signer=_with_passphrase(pipeline.signer, settings.passphrase),
            )
        return replace(pipeline, transport=WatchedTransport(inner=pipeline.transport, wire=self.wire))

    def _asked_pipeline(self) -> Pipeline:
        return self._pipeline(self.settings, pipeline_text(self.settings))

    def _capabilities(self) -> frozenset[str]:
        """Ask what the CA offers, as every operation does first; a CA that cannot say so offers nothing."""
        from scepflow.inquiry import get_capabilities

        settings = replace(self.settings, operation=Operation.GETCAPS, monitor=None)
        pipeline = self._pipeline(settings, pipeline_text(settings))
        answer = get_capabilities(pipeline, emit=self.registry.emit, system=self.system)
        if answer.response.status == 200:
            from scepflow.text import sanitise

            lines = [line for line in answer.response.body.decode("latin-1").split("\n") if line.strip()]
            for line in map(str.strip, lines):
                self.screen.verbose(sanitise(line))
                if line not in _KEYWORDS and line not in answer.capabilities.names:
                    self.screen.complain(f"unknown capability {sanitise(line)}")
        return answer.capabilities.names

    def _message_pipeline(self, names: frozenset[str]) -> Pipeline:
        """Return the pipeline of an operation that sends a message."""
        files = find_ca_files(self.settings)
        subjects = dict(files.subjects)
        if files.guessed:
            self.screen.verbose(f"using RA certificate: {subjects[files.signing]}")
            self.screen.verbose(f"using RA encryption certificate: {subjects[files.encryption]}")
        if files.anchor is None:
            self.screen.verbose("no CA certificate is known: the new certificate's issuer is not verified")
        cipher, digest = algorithms_of(names)
        settings = replace(
            self.settings,
            cipher=self.settings.cipher or cipher,
            digest=self.settings.digest or digest,
            passphrase=self._passphrase(),
        )
        return self._pipeline(settings, pipeline_text(settings, files, mode=0o666 & ~umask()))

    def _passphrase(self) -> Secret | None:
        """Return the pass phrase, read once; without ``-P`` it is asked for when a key file is encrypted."""
        settings = self.settings
        if settings.passphrase is not None:
            return Secret(settings.passphrase.reveal(Path.cwd()))
        if any(_is_encrypted(name) for name in (settings.key, settings.old_key) if name):
            return Secret(self.ask())
        return None

    # -- operations

    def _getcaps(self, names: frozenset[str]) -> int:
        self.screen.say(f"scep capabilities: {', '.join(name for name in _KEYWORDS if name in names)}")
        return Exit.SUCCESS

    def _getca(self, names: frozenset[str]) -> int:
        from scepflow.inquiry import get_ca

        screen, base = self.screen, self.settings.ca_file or ""
        screen.say("requesting CA certificate")
        answer = get_ca(self._asked_pipeline(), emit=self.registry.emit, system=self.system)
        screen.say("valid response from server")
        digest = self.settings.fingerprint_digest or algorithms_of(names)[1] or "sha-256"
        kind = self.wire.answers["GetCACert"].content_type
        if len(answer.certificates) == 1 and kind not in _RA_TYPES:
            (certificate,) = answer.certificates
            screen.say(fingerprint_line(certificate, digest))
            self._write(base, certificate, complaint="cannot open CA file for writing", code=Exit.ERROR)
            screen.say(f"CA certificate written as {base}")
            return Exit.SUCCESS
        self._write_numbered(base, answer.certificates, digest)
        return Exit.SUCCESS

    def _write_numbered(self, base: str, certificates: Sequence[x509.Certificate], digest: str) -> None:
        """Write ``FILE-0``, ``FILE-1``, …; those of a longer chain before would be taken for this one's."""
        screen = self.screen
        for number, certificate in enumerate(certificates):
            screen.raw("")
            screen.say("found certificate with")
            for line in certificate_lines(certificate):
                screen.raw(line)
            screen.raw(f"  {fingerprint_line(certificate, digest)}")
            self._write(f"{base}-{number}", certificate, complaint="cannot open cert file for writing")
            screen.say(f"certificate written as {base}-{number}")
        if Path(f"{base}-{len(certificates)}").exists():
            screen.complain(f"{base}-{len(certificates)} is older than these, remove it")

    def _getnextca(self, names: frozenset[str]) -> int:
        from scepflow.inquiry import get_next_ca

        settings, screen = self.settings, self.screen
        screen.say("requesting next CA certificate")
        following = get_next_ca(self._asked_pipeline(), emit=self.registry.emit, system=self.system)
        screen.say("valid response from server")
        if settings.output:
            signer = self._next_signer()
            self._write(settings.output, signer, complaint="cannot open cert file for writing")
            screen.say(f"certificate written as {settings.output}")
        digest = settings.fingerprint_digest or algorithms_of(names)[1] or "sha-256"
        self._write_numbered(settings.ca_file or "", following, digest)
        return Exit.SUCCESS

    def _next_signer(self) -> x509.Certificate:
        """Return who signed GetNextCACert, whose signature is verified by now."""
        from scepflow.engine import attributes, cms, trust
        from scepflow.engine.exchange import cms_body

        signed = cms.parse_signed_data(cms_body(self.wire.answers["GetNextCACert"]))
        known = trust.parse_certificates(Path(self.settings.chain_root or "").read_bytes())
        return attributes.named_by(attributes.only_signer(signed), (*signed.certificates(), *known))[0]

    def _enroll(self, names: frozenset[str]) -> int:
        from scepflow.engine.enrollment import key_transaction_id
        from scepflow.runner import make_run, run_pipeline

        settings = self.settings
        if settings.resume and settings.max_polls <= 0:
            return Exit.SUCCESS
        pipeline = self._message_pipeline(names)
        run = make_run(pipeline, lambda _event: None, self.system)
        csr = pipeline.csr.build(pipeline.key.obtain(run), run)
        transaction_id = key_transaction_id(csr)
        self.screen.verbose(f" Read request with transaction id: {transaction_id}")
        signer = SteadySigner(
            inner=pipeline.signer, serial=bytes.fromhex(transaction_id), ready=self._signer_ready
        )
        try:
            outcome = run_pipeline(
                replace(pipeline, signer=signer),
                emit=self.registry.emit,
                state=self.state,
                system=self.system,
                transaction_id=transaction_id,
                resume=settings.resume,
            )
        except CommandEnded:
            self.state.attempt(pipeline.file, transaction_id).discard()
            raise
        if outcome.kept_at:
            self.screen.complain(f"the certificate is kept in {outcome.kept_at}")
        return Exit.FILE if outcome.exit_code else Exit.SUCCESS

    def _signer_ready(self, certificate: x509.Certificate) -> None:
        if self.settings.signer_output:
            try:
                self._write(
                    self.settings.signer_output,
                    certificate,
                    complaint="cannot open file for writing",
                    code=Exit.ERROR,
                )
            except SscepExit as end:
                raise CommandEnded(end) from None
            self.screen.say(f"selfsigned certificate written as {self.settings.signer_output}")

    def _getcert(self, names: frozenset[str]) -> int:
        from scepflow.inquiry import get_certificate

        settings = self.settings
        assert settings.serial is not None, "the command line has it"
        issuer = self._issuer_of_question()
        certificate = get_certificate(
            self._message_pipeline(names),
            settings.serial,
            emit=self.registry.emit,
            issuer_der=issuer.subject.public_bytes() if issuer else None,
            transaction_id=TRANSACTION_ID,
            system=self.system,
        )
        for line in (
            f"  subject: {oneline(certificate.subject)}",
            f"  issuer: {oneline(certificate.issuer)}",
        ):
            if self.screen.is_verbose:
                self.screen.raw(line)
        self._write(settings.output or "", certificate, complaint="cannot open cert file for writing")
        self.screen.say(f"certificate written as {settings.output}")
        return Exit.SUCCESS

    def _getcrl(self, names: frozenset[str]) -> int:
        from scepflow.inquiry import get_crl

        settings = self.settings
        checked = self._issuer_of_question()
        serial = settings.serial
        if serial is None and checked is not None:
            serial = checked.serial_number
        crl = get_crl(
            self._message_pipeline(names),
            serial,
            emit=self.registry.emit,
            issuer_der=checked.issuer.public_bytes() if checked else None,
            transaction_id=TRANSACTION_ID,
            system=self.system,
        )
        self._write(settings.output or "", crl, complaint="cannot open CRL file for writing")
        self.screen.say(f"CRL written as {settings.output}")
        return Exit.SUCCESS

    def _issuer_of_question(self) -> x509.Certificate | None:
        """Return the certificate that ``-O`` names: getcert's issuer, or what getcrl shall cover."""
        name = self.settings.old_certificate
        if name is None:
            return None
        from scepflow.engine.trust import parse_certificates

        try:
            return parse_certificates(Path(name).read_bytes())[0]
        except (OSError, ProtocolError):
            p = self.settings.program
            raise SscepExit(Exit.FILE, stderr=(f"{p}: cannot read renewal cert (-O) {name}",)) from None

    # -- files

    def _take(self, message_der: bytes) -> None:
        """Write the message that ``-m`` asks for."""
        from base64 import b64encode

        body = b64encode(message_der).decode("ascii")
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        text = "\n".join(["-----BEGIN PKCS7-----", *lines, "-----END PKCS7-----", ""])
        self.screen.say("writing PEM fomatted PKCS#7")
        try:
            write_output(self.settings.message_file or "", text.encode())
        except OSError as error:
            name = self.settings.message_file
            why = (f"{name}: cannot open output file for writing", f"{name}: {error.strerror}")
            raise CommandEnded(SscepExit(Exit.FILE, stderr=why)) from None

    def _write(self, name: str, content: Any, *, complaint: str, code: int = Exit.FILE) -> None:
        """Write a certificate or CRL as PEM."""
        from cryptography.hazmat.primitives.serialization import Encoding

        p = self.settings.program
        try:
            write_output(name, content.public_bytes(Encoding.PEM))
        except OSError as error:
            raise SscepExit(code, stderr=(f"{p}: {complaint}", f"{p}: {name}: {error.strerror}")) from None


def _with_passphrase(stage: Any, passphrase: Secret) -> Any:
    """Return a stage that reads a key file, with this pass phrase; another as it is."""
    if getattr(stage, "passphrase", stage) is stage or not (getattr(stage, "path", None) or stage.key):
        return stage
    return msgspec.structs.replace(stage, passphrase=passphrase)


def _is_encrypted(name: str) -> bool:
    try:
        return b"ENCRYPTED" in Path(name).read_bytes()
    except OSError:
        return False  # said when the key is wanted
