"""``mkrequest``: a new RSA key and a certificate request, as sscep's shell script makes them, by the installed stages.

What one edits at the top of the script are options here.
Must never hold: the challenge in a line that is shown, or a process that is started.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.errors import OptionError, ScepflowError
from scepflow.events import Warned
from scepflow.faults import working
from scepflow.options import NameTemplate, Secret
from scepflow.output_files import write_beside
from scepflow.pipeline.fields import filler
from scepflow.sscep.settings import Exit, SscepExit
from scepflow.stages import Run
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scepflow.events import Event
    from scepflow.registry import Registry

__all__ = ["Made", "make_request"]

_KINDS = {"-ip": "ip", "-dns": "dns", "-email": "email"}
_DIGESTS = {
    "sha256": "sha-256",
    "sha384": "sha-384",
    "sha512": "sha-512",
    "sha224": "sha-224",
    "sha1": "sha-1",
}
_BROKEN = "it is broken, and the library signs nothing with it: "
_KEY_BITS = ("2048", "3072", "4096")

_SUBJECT = {
    "country": "C",
    "state": "ST",
    "locality": "L",
    "organization": "O",
    "organizational-unit": "OU",
}
"""Options for what stands before the common name, in the script's order."""

_DEVICE = ("unstructured-name", "unstructured-address", "serial-number")
_HELP = {
    "prefix": "TEXT: names the files TEXT.key and TEXT.csr (default local; empty: the name)",
    **{name: f"TEXT: {short} of the subject, before the name" for name, short in _SUBJECT.items()},
    **dict.fromkeys(_DEVICE, "TEXT: of a device, instead of the name in the subject"),
    "key-bits": f"NUMBER: of the RSA key, {', '.join(_KEY_BITS)} (default {_KEY_BITS[0]})",
    "challenge-env": "NAME: environment variable with the challenge",
    "challenge-file": "FILE: file with the challenge",
}
"""Options, and what the usage says of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made.

    Attributes:
        key_file: the private key, PKCS#8 in PEM without a pass phrase, mode 0600.
        request_file: the request in PEM.
        stdout_lines: what to say.
        stderr_lines: warnings.
    """

    key_file: Path
    request_file: Path
    stdout_lines: tuple[str, ...]
    stderr_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Words:
    """The command line, taken apart."""

    positional: tuple[str, ...]
    options: Mapping[str, str]

    def option(self, name: str, default: str = "") -> str:
        """Return an option; an empty one counts as not given, as in the script."""
        return self.options.get(name) or default

    def argument(self, number: int) -> str:
        """Return a positional word, the first is 0, or ""."""
        return self.positional[number] if len(self.positional) > number else ""


def make_request(
    arguments: Sequence[str],
    *,
    program: str,
    registry: Registry,
    environment: Mapping[str, str],
    directory: Path,
) -> Made:
    """Make ``PREFIX.key`` and ``PREFIX.csr``; files of these names are replaced.

    Args:
        arguments: ``-ip|-dns|-email NAME [CHALLENGE [DIGEST]]`` and long options, in any order.
        program: the program's name, for what is shown.
        registry: where the stages ``generate`` (key) and ``subject`` (CSR) come from.
        environment: where ``--challenge-env`` looks.
        directory: where relative names start.

    Raises:
        SscepExit: code 1 for what cannot be made, 93 for a file that cannot be written.
    """
    warnings: list[str] = []
    try:
        words = _parse(arguments, program)
        challenge = _challenge(words, environment, directory)
        if challenge is None and environment.get("PASSWORD"):
            warnings.append("PASSWORD of the environment is not sent; --challenge-env PASSWORD sends it")
        key_pem, request_pem = _make(words, challenge, registry, _run(directory, warnings))
    except ScepflowError as error:
        raise _failed(program, error.message, hint=error.hint) from None
    stem = words.options.get("prefix", "local") or words.argument(1)
    key_file, request_file = directory / f"{stem}.key", directory / f"{stem}.csr"
    said = [
        f"{program}: {what} {'replaced' if file.exists() else 'written as'} {stem}{file.suffix}"
        for what, file in (("private key", key_file), ("request", request_file))
    ]
    try:
        _write({key_file: (key_pem, 0o600), request_file: (request_pem, 0o666)})
    except OSError as error:
        message = f"cannot write {stem}.key and {stem}.csr: {error.strerror}"
        raise _failed(program, message, code=Exit.FILE) from None
    return Made(
        key_file=key_file,
        request_file=request_file,
        stdout_lines=tuple(said),
        stderr_lines=tuple(f"{program}: {warning}" for warning in warnings),
    )


def _failed(program: str, message: str, *, hint: str | None = None, code: int = Exit.ERROR) -> SscepExit:
    return SscepExit(code, stderr=(f"{program}: {message}", *([f"{program}: {hint}"] if hint else [])))


# -- the command line


def _parse(arguments: Sequence[str], program: str) -> _Words:
    positional: list[str] = []
    options: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            positional += waiting
            break
        if not word.startswith("--"):
            positional.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name not in _HELP:
            raise OptionError(
                f"unknown option --{sanitise(name)}",
                hint=f"known: {' '.join(f'--{known}' for known in _HELP)}",
            )
        if not equals and not waiting:
            raise OptionError(f"--{name} needs a value")
        options[name] = value if equals else waiting.pop(0)
    words = _Words(tuple(positional), options)
    _check(words, program)
    return words


def _check(words: _Words, program: str) -> None:
    """Refuse what the script refuses, in its words, and what it should."""
    usage = f"Usage: {program} -ip|-dns|-email name"
    if not words.argument(1):
        raise SscepExit(Exit.ERROR, stdout=(f"{usage} [challenge]", *_option_lines()))
    if words.argument(0) not in _KINDS:
        illegal = f"Illegal subjectAltName extension {words.argument(0)}"
        raise SscepExit(Exit.ERROR, stdout=(illegal, f"{usage} [keybits]"))
    if not words.option("unstructured-name") and any(words.option(name) for name in _DEVICE):
        raise SscepExit(Exit.ERROR, stdout=("unstructuredName is required",))
    if len(words.positional) > 4:
        raise OptionError("too many words", hint="quote what has blanks in it")
    try:
        "".join((*words.positional, *words.options.values())).encode()
    except UnicodeEncodeError:
        raise OptionError("an argument is not UTF-8 text") from None


def _option_lines() -> Iterator[str]:
    """Yield what the script has no need of, since one edits it."""
    yield f"A digest may follow the challenge, which may be empty: {', '.join(_DIGESTS)}."
    yield "OPTIONS, anywhere:"
    yield from (f"  {f'--{name}':<23}{text}" for name, text in _HELP.items())


def _challenge(words: _Words, environment: Mapping[str, str], directory: Path) -> str | None:
    """Return the challenge: the third word, or what an option names, which no list of processes shows."""
    literal, variable, file = (
        words.argument(2),
        words.option("challenge-env"),
        words.option("challenge-file"),
    )
    if sum(map(bool, (literal, variable, file))) > 1:
        raise OptionError("more than one challenge", hint="give the third word or one of the options")
    if file:
        return Secret({"file": file}).reveal(directory)
    if variable and not environment.get(variable):
        raise OptionError(f"the environment variable {sanitise(variable)} is not set")
    return literal or environment.get(variable)


def _digest(words: _Words) -> str:
    """Return the stage's name for a digest that openssl's spelling names."""
    spelling = words.argument(3).lower().replace("-", "")
    if spelling and spelling not in _DIGESTS:
        raise OptionError(
            f"a request cannot be signed with {sanitise(words.argument(3))}",
            hint=f"{_BROKEN if spelling in ('md4', 'md5') else ''}use {', '.join(_DIGESTS)}",
        )
    return _DIGESTS[spelling or "sha256"]


def _algorithm(words: _Words) -> str:
    bits = words.option("key-bits", _KEY_BITS[0])
    if bits not in _KEY_BITS:
        raise OptionError(f"no RSA key of {sanitise(bits)} bits is made", hint=f"use {', '.join(_KEY_BITS)}")
    return f"rsa-{bits}"


def _names(words: _Words) -> dict[str, Any]:
    """Return the stage's options for the subject: the common name, or a device's own attributes instead."""
    given = [(short, words.option(name)) for name, short in _SUBJECT.items()]
    device = {name.replace("-", "_"): _literal(words.option(name)) for name in _DEVICE if words.option(name)}
    if not device:
        given.append(("CN", words.argument(1)))
    parts = [
        f"{short}={NameTemplate.escape(value, name=short, at_start=False)}" for short, value in given if value
    ]
    # RFC 4514 has the most specific part first.
    return {"subject": _literal(",".join(reversed(parts))), **device}


def _literal(text: str) -> str:
    """Return the template that gives this text."""
    return text.replace("{", "{{").replace("}", "}}")


# -- key and request


def _run(directory: Path, warnings: list[str]) -> Run:
    def note(event: Event) -> None:
        if isinstance(event, Warned):
            warnings.append(event.text)

    return Run(
        pipeline="mkrequest",
        directory=directory,
        now=lambda: datetime.now(UTC),
        random_bytes=secrets.token_bytes,
        emit=note,
    )


def _make(words: _Words, challenge: str | None, registry: Registry, run: Run) -> tuple[bytes, bytes]:
    """Return key and request in PEM.

    The script's subjectAltName is critical, the stage's is not: so the stage
    builds it once, and the request has it as bytes.
    """

    def stage(kind: str, name: str, **options: Any) -> Any:
        return msgspec.convert(options, registry.stage(kind, name), dec_hook=filler({}))

    names = {**_names(words), "key_usage": []}
    san = _literal(f"{_KINDS[words.argument(0)]}:{words.argument(1)}")
    draft = stage("csr", "subject", **names, san=[san])
    digest = _digest(words)
    key_source = stage("key", "generate", algorithm=_algorithm(words))
    with working(key_source):
        key = key_source.obtain(run)
    with working(draft):
        built = draft.build(key, run).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    extension = {"der": built.value.public_bytes().hex(), "critical": True}
    builder = stage(
        "csr",
        "subject",
        **names,
        digest=digest,
        extensions={built.oid.dotted_string: extension},
        **({"challenge": challenge} if challenge else {}),
    )
    with working(builder):
        csr = builder.build(key, run)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key_pem, csr.public_bytes(Encoding.PEM)


def _write(contents: Mapping[Path, tuple[bytes, int]]) -> None:
    """Put files in place once all are on disk; each has its mode before its first byte.

    Raises:
        OSError: one cannot be written; what was there before still is, unless only a rename failed.
    """
    staged: dict[Path, Path] = {}
    try:
        for file, (content, mode) in contents.items():
            staged[file] = write_beside(file, content, mode=mode)
        for file, temporary in staged.items():
            temporary.replace(file)
    finally:
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                temporary.unlink()
