"""What a pipeline that replaces an sscep command has no words for, said in comments above it.

Must never hold: a secret.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scepflow.options import Secret
from scepflow.sscep.ca_files import find_ca_files
from scepflow.sscep.engine import is_same_key, names_token, token_of, without_pin
from scepflow.sscep.key_files import look_at_key
from scepflow.sscep.pipeline_of import SHORTEST_KEY_BITS, pipeline_text
from scepflow.sscep.settings import Exit, Operation, SscepExit
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.sscep.ca_files import CaFiles
    from scepflow.sscep.engine import Token
    from scepflow.sscep.settings import Settings

__all__ = ["commented_pipeline"]

_PASSPHRASE = Secret({"env": "SSCEP_PASSPHRASE"})
_PIN = Secret({"env": "SSCEP_PIN"})
_PROXY_PASSWORD = Secret({"env": "SSCEP_PROXY_PASSWORD"})
_NO_KEY = (
    "MISSING: the key (-k): there is no such file now, and it names no key on a token either, as"
    " pkcs11:token=…;object=… or slot_N-id_HEX does; [key] takes it for a file."
)
_LONGEST_REMARK = 1000
_SAFE_BITS = 2048
_MODULE = "/usr/lib/pkcs11/MODULE.so"
_QUESTIONS = {
    Operation.GETCAPS: "scepflow getcaps PIPELINE",
    Operation.GETCA: "scepflow getca PIPELINE --output {ca_file}",
    Operation.GETNEXTCA: "scepflow getnextca PIPELINE --output {ca_file}",
    Operation.GETCERT: "scepflow getcert PIPELINE --serial {serial:x} --output {output}",
    Operation.GETCRL: "scepflow getcrl PIPELINE --output {output}",
}


def commented_pipeline(settings: Settings, *, origin: str) -> str:
    """Return the pipeline that does what a command does, with what it does not do in comments.

    Args:
        settings: the command; it may be incomplete.
        origin: what it was read from.

    Raises:
        SscepExit: code 93; a name in it is not UTF-8, and so cannot stand in a pipeline.
    """
    try:
        files = find_ca_files(settings) if settings.ca_file else None
    except SscepExit:
        files = None
    token, of_token = _token(settings)
    settings, of_keys, min_bits = _key_files(settings)
    remarks = [
        f"From {origin}. Paths start where this file is.",
        *_missing(settings),
        *of_token,
        *of_keys,
        *_lost(settings, files),
    ]
    text = pipeline_text(_without_secrets(settings), files, token=token, min_bits=min_bits)
    _check_text(text, settings.program)
    # Names stand in remarks: none may end its line.
    comments = (f"# {sanitise(remark, limit=_LONGEST_REMARK)}\n" for remark in remarks)
    return "".join(comments) + "\n" + text


def _without_secrets(settings: Settings) -> Settings:
    """Return the settings with the name of a variable for each secret that was typed, and an address."""
    if settings.key is not None:
        settings = replace(settings, key=without_pin(settings.key))
    if settings.old_key is not None:
        settings = replace(settings, old_key=without_pin(settings.old_key))
    if settings.passphrase is not None and settings.passphrase.is_literal:
        settings = replace(settings, passphrase=_PASSPHRASE)
    if settings.proxy_password is not None:
        settings = replace(settings, proxy_password=_PROXY_PASSWORD)
    return replace(settings, url=settings.url or "http://pki.example.com/scep")


def _check_text(text: str, program: str) -> None:
    """Refuse what TOML cannot hold: it is UTF-8, a file's name need not be."""
    for line in text.splitlines():
        try:
            line.encode()
        except UnicodeEncodeError:
            shown = sanitise(line, limit=_LONGEST_REMARK)
            raise SscepExit(
                Exit.FILE,
                stderr=(
                    f"{program}: no pipeline can have a name that is not UTF-8: {shown}",
                    f"{program}: rename the file, or link to it by another name",
                ),
            ) from None


def _token(settings: Settings) -> tuple[Token | None, list[str]]:
    """Return the key on a token that ``-k`` names, its PIN taken out, and what is to be said of it."""
    if not names_token(settings):
        return None, []
    try:
        token = token_of(settings)
    except SscepExit:
        return None, [_NO_KEY]
    remarks = ["The key stays on its token, for which scepflow needs: pip install 'scepflow[pkcs11]'"]
    if token.module is None:
        token = replace(token, module=_MODULE)
        remarks.append("MISSING: the token's library (MODULE_PATH); fill in [key] module.")
    if token.pin is not None and token.pin.is_literal:
        token = replace(token, pin=_PIN)
        remarks.append(
            "The PIN is not copied: put it into the environment variable SSCEP_PIN, or into a file: "
            'pin = { file = "…" }.'
        )
    if settings.old_key is not None and not is_same_key(settings):
        remarks.append("-K: [signer] reads the old key from a file; it cannot be on the token.")
    return token, remarks


def _key_files(settings: Settings) -> tuple[Settings, list[str], int | None]:
    """Return the settings with a source for a pass phrase that is needed, what is to be said, and the least bits."""
    remarks: list[str] = []
    min_bits = None
    for name in dict.fromkeys((settings.key, settings.old_key)):
        found = look_at_key(name)
        if found.encrypted and settings.passphrase is None:
            settings = replace(settings, passphrase=_PASSPHRASE)
            remarks.append(
                f"MISSING: the pass phrase of {name}: put it into the environment variable SSCEP_PASSPHRASE."
            )
        if name == settings.key and found.rsa_bits is not None and found.rsa_bits < _SAFE_BITS:
            min_bits = SHORTEST_KEY_BITS
            remarks.append(
                f"The RSA key in {name} has {found.rsa_bits} bits, too few to be safe: make a longer one for the next"
                " renewal, and take [key] min_bits out."
            )
    return settings, remarks, min_bits


def _missing(settings: Settings) -> Iterator[str]:
    """Yield what the command lacks, and what stands in its place."""
    if settings.url is None:
        yield "MISSING: the address (-u, URL); fill in [ca] url."
    if settings.operation == Operation.ENROLL:
        if not settings.ca_file:
            yield "MISSING: the CA certificate (-c, CACertFile); pin it in [ca], `scepflow doctor` prints how."
        if not settings.key:
            yield "MISSING: the key (-k, PrivateKeyFile); a new one is made, add [sink.file] key to keep it."
        if not settings.request:
            yield "MISSING: the request (-r, CertReqFile); one is made, fill in [csr] subject and challenge."
        if not settings.local_certificate:
            yield "MISSING: where the certificate goes (-l, LocalCertFile); it is certificate.pem."
    elif settings.serial is None and settings.operation == Operation.GETCERT:
        yield "MISSING: the serial number (-s, GetCertSerial)."


def _lost(settings: Settings, files: CaFiles | None) -> Iterator[str]:
    """Yield what has no equivalent, or another one than a line of the pipeline."""
    if settings.operation in _QUESTIONS:
        command = _QUESTIONS[settings.operation].format(
            ca_file=settings.ca_file or "ca.crt",
            serial=settings.serial or 0,
            output=settings.output or "FILE",
        )
        yield f"{settings.operation} issues nothing: {command}"
    if settings.ca_file and files is None and settings.operation == Operation.ENROLL:
        yield f"{settings.ca_file} cannot be read now: if it is an RA's certificate, name the CA's in [ca] certificate."
    if files and files.guessed:
        yield f"{settings.ca_file}-0, -1, …: these were chosen by their key usage, as sscep does at each run."
    if files and files.anchor is None:
        yield 'No CA certificate is known, hence relax = ["chain"]: name it in [ca] certificate and take that out.'
    if settings.passphrase is not None and settings.passphrase.is_literal:
        yield "The pass phrase is not copied: put it into the environment variable SSCEP_PASSPHRASE."
    if settings.proxy_password is not None:
        yield "The proxy's password is not copied: put it into the environment variable SSCEP_PROXY_PASSWORD."
    yield from _options(settings)


def _options(settings: Settings) -> Iterator[str]:
    engine = settings.engine
    lines = (
        (
            engine and engine.id != "pkcs11",
            "engine (-g): OpenSSL has none any more; use a key source for the token in [key].",
        ),
        (settings.signer_output, "-L SelfSignedFile: the self-signed certificate is not written."),
        (settings.message_file, "-m: the message is not written; `scepflow run --dry-run` sends nothing."),
        (settings.resume, "-R Resume: not in a pipeline; `scepflow sscep enroll -R` goes on with a request."),
        (settings.wait_s, "-W: a pipeline does not try to connect again; run it again, as a timer does."),
        (settings.verbose or settings.debug, "-v, -d: `scepflow run -v`."),
        (settings.fingerprint_digest, "-F FingerPrint: fingerprints are SHA-256."),
        (settings.monitor, "-M MonitorInformation: in the query of [ca] url, and so in GetCACaps too."),
        (
            settings.poll_interval_s < 0,
            "-t PollInterval is negative, for which 300 seconds stand in [poller].",
        ),
    )
    for given, line in lines:
        if given:
            yield line
    if settings.operation == Operation.ENROLL:
        yield "The transaction id is a new one for each run, not the MD5 of the key."
