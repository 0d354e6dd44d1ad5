"""What the operations of one sscep command share: its settings, the screen, the way to the CA, pipelines and output files.

Must never hold: an operation, a message, a check or a retry of its own; or a pass phrase or PIN in a line.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from scepflow.errors import OptionError
from scepflow.options import Secret
from scepflow.output_files import check_output, write_output
from scepflow.sscep.algorithms import algorithms_of
from scepflow.sscep.engine import Token, find_token
from scepflow.sscep.inputs import Inputs, read_inputs
from scepflow.sscep.lines import pem_lines, tell_capabilities
from scepflow.sscep.options import peer_of
from scepflow.sscep.pipeline_of import SHORTEST_KEY_BITS, pipeline_text
from scepflow.sscep.settings import Exit, Operation, SscepExit
from scepflow.sscep.wire import CommandEnded, WatchedTransport, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.pipeline import Pipeline
    from scepflow.registry import Registry
    from scepflow.sscep.output import Screen
    from scepflow.sscep.settings import Settings
    from scepflow.state import StateDirectory
    from scepflow.system import System

__all__ = ["Command"]


@dataclass
class Command:
    """One command while it runs.

    Attributes:
        settings: what is asked.
        screen: where it is told.
        registry: where the stages come from; it is told the events.
        state: where a run keeps what must not be lost.
        system: clock, sleep and randomness.
        ask: asks the user for the pass phrase of an encrypted key.
        wire: what passes between us and the CA.
        token: the key on a token that ``-k`` names, or None.
        inputs: the certificates that a message needs, once `message_pipeline` has read them.
    """

    settings: Settings
    screen: Screen
    registry: Registry
    state: StateDirectory
    system: System
    ask: Callable[[], str]
    wire: Wire = field(init=False)
    token: Token | None = field(init=False, default=None)
    inputs: Inputs = field(init=False)

    def __post_init__(self) -> None:
        self.wire = Wire(
            screen=self.screen,
            peer=peer_of(self.settings),
            wait_s=self.settings.wait_s,
            sleep=self.system.sleep,
            take=self._take if self.settings.message_file else None,
        )

    # -- pipelines

    def capabilities(self) -> frozenset[str]:
        """Ask what the CA offers, as every operation does first; a CA that cannot say so offers nothing."""
        from scepflow.inquiry import get_capabilities

        settings = replace(self.settings, operation=Operation.GETCAPS, monitor=None)
        pipeline = self._pipeline(settings, pipeline_text(settings))
        answer = get_capabilities(pipeline, emit=self.registry.emit, system=self.system)
        tell_capabilities(self.screen, answer)
        return answer.capabilities.names

    def pipeline(self) -> Pipeline:
        """Return the pipeline of an operation that sends no message."""
        return self._pipeline(self.settings, pipeline_text(self.settings))

    def message_pipeline(self, names: frozenset[str]) -> Pipeline:
        """Return the pipeline of an operation that sends a message.

        Args:
            names: the CA's capabilities.

        Raises:
            SscepExit: a file that is needed cannot be read.
        """
        self.token = self._find_token()
        self.inputs = read_inputs(self.settings, key_is_file=self.token is None)
        for line in self.inputs.ca.lines():
            self.screen.verbose(line)
        cipher, digest = algorithms_of(names)
        passphrase = self._passphrase()
        if self.token and self.token.pin is self.settings.passphrase:
            self.token = replace(self.token, pin=passphrase)
        settings = replace(
            self.settings,
            cipher=self.settings.cipher or cipher,
            digest=self.settings.digest or digest,
            passphrase=passphrase,
        )
        text = pipeline_text(settings, self.inputs.ca, token=self.token, min_bits=SHORTEST_KEY_BITS)
        return self._pipeline(settings, text)

    def _pipeline(self, settings: Settings, text: str) -> Pipeline:
        """Return the pipeline, with its transport watched and a typed pass phrase or PIN in its place."""
        from scepflow.pipeline import InvalidPipelineError, check_pipeline

        report = check_pipeline(Path.cwd() / "sscep", self.registry, text=text)
        if report.pipeline is None:
            raise InvalidPipelineError(report)
        pipeline = report.pipeline
        key, signer = pipeline.key, pipeline.signer
        if settings.passphrase is not None:
            key, signer = (_with_passphrase(stage, settings.passphrase) for stage in (key, signer))
        if self.token and self.token.pin:
            key = msgspec.structs.replace(key, pin=self.token.pin)
        inner = pipeline.transport
        if settings.proxy_password is not None:
            inner = msgspec.structs.replace(inner, password=settings.proxy_password)
        transport = WatchedTransport(inner=inner, wire=self.wire)
        return replace(pipeline, key=key, signer=signer, transport=transport)

    def _find_token(self) -> Token | None:
        settings = self.settings
        token = find_token(settings)
        if token is None and settings.engine is not None:
            self.screen.say(
                f"Found private key {settings.key} as file. If the engine can handle it, loading the file"
            )
        return token

    def _passphrase(self) -> Secret | None:
        """Return the pass phrase, read once; without ``-P`` it is asked for when a key file is encrypted."""
        settings = self.settings
        if settings.passphrase is not None:
            return Secret(settings.passphrase.reveal(Path.cwd()))
        if self.inputs.encrypted:
            return self._typed()
        return None

    def _typed(self) -> Secret:
        try:
            return Secret(self.ask())
        except (EOFError, ValueError, OptionError):
            line = f"error while reading private key {self.inputs.encrypted}"
            why = f"{self.settings.program}: its pass phrase was not given: type it, or name a source of it with -P"
            raise SscepExit(Exit.FILE, stderr=(f"{self.settings.program}: {line}", why)) from None

    # -- files

    def check_output(self, name: str, *, complaint: str) -> None:
        """Refuse an output file that cannot be written, before the CA issues into nothing.

        Raises:
            SscepExit: code 93.
        """
        if self.settings.message_file is not None:
            return  # nothing is sent, and so nothing comes
        try:
            check_output(name)
        except OSError as error:
            raise self._unwritable(name, error, complaint=complaint, code=Exit.FILE) from None

    def write(self, name: str, content: Any, *, complaint: str, code: int = Exit.FILE) -> None:
        """Write a certificate or CRL as PEM.

        Args:
            name: the file.
            content: the certificate or CRL.
            complaint: sscep's words for a file that cannot be written.
            code: sscep's exit code for it.

        Raises:
            SscepExit: it cannot be written.
        """
        from cryptography.hazmat.primitives.serialization import Encoding

        try:
            write_output(name, content.public_bytes(Encoding.PEM))
        except OSError as error:
            raise self._unwritable(name, error, complaint=complaint, code=code) from None

    def _unwritable(self, name: str, error: OSError, *, complaint: str, code: int) -> SscepExit:
        p = self.settings.program
        return SscepExit(code, stderr=(f"{p}: {complaint}", f"{p}: {name}: {error.strerror}"))

    def _take(self, message_der: bytes) -> None:
        """Write the message that ``-m`` asks for."""
        name = self.settings.message_file or ""
        self.screen.say("writing PEM fomatted PKCS#7")
        try:
            write_output(name, "".join(f"{line}\n" for line in pem_lines("PKCS7", message_der)).encode())
        except OSError as error:
            why = (f"{name}: cannot open output file for writing", f"{name}: {error.strerror}")
            raise CommandEnded(SscepExit(Exit.FILE, stderr=why)) from None


def _with_passphrase(stage: Any, passphrase: Secret) -> Any:
    """Return a stage that reads a key file, with this pass phrase; another as it is."""
    if getattr(stage, "passphrase", stage) is stage or not (getattr(stage, "path", None) or stage.key):
        return stage
    return msgspec.structs.replace(stage, passphrase=passphrase)
