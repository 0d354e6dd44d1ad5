"""sscep's command line, read as sscep reads it: an operation, then getopt, then the configuration file.

Must never hold: what an operation does, or a file that only an operation needs.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from scepflow.engine.urls import DEFAULT_PATH, check_url
from scepflow.errors import OptionError
from scepflow.options import Secret
from scepflow.sscep.conffile import Configuration, load_configuration
from scepflow.sscep.settings import (
    MAX_POLL_S,
    MAX_POLLS,
    POLL_INTERVAL_S,
    QUESTIONS,
    VERSION,
    Engine,
    Exit,
    Operation,
    Settings,
    SscepExit,
)
from scepflow.sscep.usage import usage_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["address_lines", "opening_lines", "parse_arguments", "parse_serial", "peer_of"]

_FLAGS = frozenset("vdRhH")  # -h and -H are accepted and do nothing; -h is no help
_WITH_VALUE = frozenset("uPpgfcCeESWiFkrKOlLtTnswMm")

# As sscep has it: the first prefix that fits wins, so des3 is single DES and aes-256-cbc AES-128.
_CIPHERS = (
    ("blowfish", "blowfish-cbc"),
    ("des", "des-cbc"),
    ("3des", "3des-cbc"),
    ("aes128", "aes-128-cbc"),
    ("aes192", "aes-192-cbc"),
    ("aes256", "aes-256-cbc"),
    ("aes", "aes-128-cbc"),
)
_DIGESTS = (
    ("md5", "md5"),
    ("sha1", "sha-1"),
    ("sha224", "sha-224"),
    ("sha256", "sha-256"),
    ("sha384", "sha-384"),
    ("sha512", "sha-512"),
)
_ALGORITHMS = {"E": _CIPHERS, "S": _DIGESTS, "F": _DIGESTS}

_REQUIRED = {
    Operation.GETCAPS: "u",
    Operation.GETCA: "cu",
    Operation.GETNEXTCA: "cCu",
    Operation.ENROLL: "ckrlu",
    Operation.GETCERT: "clswku",
    Operation.GETCRL: "clwku",
}
"""What each operation needs, in the order in which the first that is missing is reported."""

_MISSING = {
    "c": "missing CA certificate (-c)",
    "C": "missing nextCA certificate chain filename (-C)",
    "k": "missing private key (-k)",
    "r": "missing request (-r)",
    "l": "missing local cert (-l)",
    "s": "missing serial no (-s)",
    "w": "missing cert file (-w)",
    "u": "missing URL (-u)",
}
_MISSING_FOR = {
    (Operation.GETCA, "c"): "missing CA certificate filename (-c)",
    (Operation.GETCRL, "w"): "missing crl file (-w)",
}
_TEXTS = {
    "u": "url",
    "c": "ca_file",
    "C": "chain_root",
    "e": "encryption_file",
    "i": "identifier",
    "k": "key",
    "r": "request",
    "K": "old_key",
    "O": "old_certificate",
    "l": "local_certificate",
    "L": "signer_output",
    "w": "output",
    "M": "monitor",
    "m": "message_file",
}
"""Options whose text is a field of the settings as it is."""
_INT_MAX = 2**31 - 1


def parse_arguments(
    arguments: Sequence[str],
    *,
    program: str,
    environment: Mapping[str, str] | None = None,
    complete: bool = True,
) -> Settings:
    """Read a command line and the configuration file that it names.

    Args:
        arguments: the words after the program's name, the operation first.
        program: the program's name, as lines on the screen begin with it.
        environment: what ``$ENV::NAME`` in a configuration file stands for.
        complete: whether what the operation needs must be there.

    Raises:
        SscepExit: sscep would end here: usage (0), a missing option, an illegal URL or algorithm (1), a serial
            number that is none (91), the configuration file or -K without -O (93).
    """
    operation = _operation(arguments, program)
    values, flags = _scan(arguments[1:], program)
    configuration = _configuration(values, operation, program=program, environment=environment or {})
    values = {**configuration.values, **values}
    draft = _draft(operation, program=program, flags=flags, configuration=configuration)
    try:
        return _settings(draft, values, flags | configuration.flags, complete=complete)
    except SscepExit as end:
        raise end.after(stdout=opening_lines(draft), stderr=draft.notes) from None


def _operation(arguments: Sequence[str], program: str) -> Operation:
    """Find the operation by its prefix: ``getcafoo`` is getca."""
    if not arguments:
        raise SscepExit(Exit.SUCCESS, stdout=usage_lines(program))
    for operation in Operation:
        if arguments[0].startswith(operation):
            return operation
    raise SscepExit(
        Exit.SUCCESS,
        stdout=usage_lines(program),
        stderr=(f"{program}: missing or illegal operation parameter",),
    )


def _scan(words: Sequence[str], program: str) -> tuple[dict[str, str], frozenset[str]]:
    """Read options as glibc's getopt does: anywhere among operands, bundled, with values joined or apart.

    A later value wins, except that those of -M are joined.
    """
    values: dict[str, str] = {}
    flags: set[str] = set()
    waiting = list(words)
    while waiting and (word := waiting.pop(0)) != "--":
        letters = word[1:] if word.startswith("-") else ""
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _FLAGS:
                flags.add(letter)
            elif letter not in _WITH_VALUE:
                following = [word] if letters else waiting
                raise _misused(f"{program}: invalid option -- '{letter}'", following, program)
            elif not letters and not waiting:
                raise _misused(f"{program}: option requires an argument -- '{letter}'", waiting, program)
            else:
                value, letters = letters or waiting.pop(0), ""
                joined = letter == "M" and "M" in values
                values[letter] = f"{values['M']}&{value}" if joined else value
    return values, frozenset(flags)


def _misused(message: str, following: Sequence[str], program: str) -> SscepExit:
    argv = f"argv: {following[0] if following else '(null)'}"
    return SscepExit(Exit.SUCCESS, stdout=(argv, *usage_lines(program)), stderr=(message,))


def _configuration(
    values: Mapping[str, str], operation: Operation, *, program: str, environment: Mapping[str, str]
) -> Configuration:
    engine = values.get("g")
    if "f" not in values:
        configuration = Configuration(
            values={}, flags=frozenset(), engine=Engine(id=engine) if engine else None
        )
    else:
        configuration = load_configuration(
            values["f"], operation=operation, program=program, environment=environment, engine=engine
        )
    module = environment.get("PKCS11_MODULE_PATH")  # where engine_pkcs11 looked as well
    if module and configuration.engine and configuration.engine.module_path is None:
        return replace(configuration, engine=replace(configuration.engine, module_path=module))
    return configuration


def _draft(
    operation: Operation, *, program: str, flags: frozenset[str], configuration: Configuration
) -> Settings:
    """Return settings that know how to speak; ``Debug`` of a file does not mean verbose, -d does."""
    verbose = bool({"v", "d"} & flags or "v" in configuration.flags)
    return Settings(
        program=program,
        operation=operation,
        verbose=verbose,
        debug="d" in flags | configuration.flags,
        engine=configuration.engine,
        notes=tuple(f"{program}: {line}" for line in configuration.problems if verbose),
    )


def _settings(
    draft: Settings, values: Mapping[str, str], flags: frozenset[str], *, complete: bool
) -> Settings:
    """Check in sscep's order: what is missing, the URL, the algorithms, then what it finds while it works."""
    program, operation = draft.program, draft.operation
    if complete:
        _check_required(values, operation, program)
    if "u" in values:
        _check_url(values["u"], program)
    algorithms, notes = _algorithms(values, program)
    passphrase = _passphrase(values["P"], program) if "P" in values else None
    serial = parse_serial(values["s"]) if operation in QUESTIONS and "s" in values else None
    if serial is None and operation in QUESTIONS and "s" in values:
        _refuse(program, "error converting serial", code=Exit.SELF_SIGNED)
    _check_pair(values, operation, program)
    texts: dict[str, Any] = {field: values[letter] for letter, field in _TEXTS.items() if letter in values}
    return replace(
        draft,
        **texts,
        **_proxy(values["p"], program) if "p" in values else {},
        cipher=algorithms.get("E"),
        digest=algorithms.get("S"),
        fingerprint_digest=algorithms.get("F"),
        poll_interval_s=_atoi(values.get("t"), POLL_INTERVAL_S),
        max_poll_s=_atoi(values.get("T"), MAX_POLL_S),
        max_polls=_atoi(values.get("n"), MAX_POLLS),
        resume="R" in flags,
        serial=serial,
        wait_s=_atoi(values.get("W"), 0),
        passphrase=passphrase,
        notes=(*draft.notes, *notes),
    )


def _proxy(text: str, program: str) -> dict[str, Any]:
    """Return the proxy's place and its login apart; sscep knew no login, so it is written as in any address."""
    match = re.fullmatch(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?)(?:(.*)@)?([^@]*)", text, re.DOTALL)
    assert match is not None, "the pattern matches any text"
    scheme, login, place = match.groups()
    if login is None:
        return {"proxy": text}
    user, _, password = login.partition(":")
    if not user:
        _refuse(program, "illegal proxy (-p): a login needs a user name")
    return {
        "proxy": f"{scheme}{place}",
        "proxy_user": unquote(user),
        "proxy_password": Secret(unquote(password)) if password else None,
    }


def _refuse(program: str, message: str, *, code: int = Exit.ERROR) -> NoReturn:
    raise SscepExit(code, stderr=(f"{program}: {message}",))


def _check_required(values: Mapping[str, str], operation: Operation, program: str) -> None:
    for letter in _REQUIRED[operation]:
        if letter not in values:
            _refuse(program, _MISSING_FOR.get((operation, letter), _MISSING[letter]))


_ADDRESS = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:[^/?#]*@)?(?P<host>\[[^\]]*\]|[^/:?#]*)(?::(?P<port>[^/?#]*))?(?:/(?P<path>.*))?.*",
    re.DOTALL,
)


def _address(text: str) -> dict[str, str | None]:
    match = _ADDRESS.fullmatch(text)
    assert match is not None, "the pattern matches any text"
    return match.groupdict()


def _check_url(url: str, program: str) -> None:
    """Refuse what is no http or https address; sscep knew http only."""
    shown = re.sub(r"//[^/?#]*@", "//…@", url)  # a password may stand there
    port = _address(url)["port"]
    if (
        re.match(r"(?i)https?://(?:[^/?#:[]|\[[^]/?#]*\])", url)
        and port is not None
        and not 1 <= _atoi(port, 0) <= 65535
    ):
        _refuse(program, f"illegal port number {_atoi(port, 0)}")
    try:
        check_url(url)
    except OptionError as error:
        why = f"{program}: {error.message}" + (f": {error.hint}" if error.hint else "")
        raise SscepExit(Exit.ERROR, stderr=(f"{program}: illegal URL {shown}", why)) from None


def _algorithms(values: Mapping[str, str], program: str) -> tuple[dict[str, str], list[str]]:
    """Return scepflow's names of -E, -S and -F, and a line for each spelling that sscep reads as something else."""
    names: dict[str, str] = {}
    notes: list[str] = []
    for letter, table in _ALGORITHMS.items():
        if letter not in values:
            continue
        spelling = values[letter]
        known = next(((prefix, name) for prefix, name in table if spelling.startswith(prefix)), None)
        if known is None:
            _refuse(program, f"unsupported algorithm: {spelling}")
        if spelling not in known:
            notes.append(f"{program}: -{letter} {spelling} means {known[1]}, as sscep reads it")
        names[letter] = known[1]
    return names, notes


def parse_serial(text: str) -> int | None:
    """Return a serial number as ``-s`` has it, or None when there is none in the text.

    With colons or a letter a to f it is hexadecimal, with an even number of
    digits; else decimal up to the first character that is no digit. Upper-case
    letters count: sscep took ``1F2E`` for 1.

    Args:
        text: such as ``0a:1f``, ``1f2e`` or ``7982``.
    """
    if re.search(r"[:A-Fa-f]", text):
        digits = text.replace(":", "")
        return int(digits, 16) if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits) else None
    match = re.match(r"-?[0-9]{1,1000}", text)
    return int(match.group()) if match else None


def _atoi(text: str | None, default: int) -> int:
    """Return the number that a text begins with, 0 for none, as C's atoi does; too large a one is the largest."""
    if text is None:
        return default
    match = re.match(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,1000})", text)
    return max(-_INT_MAX, min(int(match[1]), _INT_MAX)) if match else 0


def _passphrase(source: str, program: str) -> Secret:
    """Return the secret that openssl's ``-passin`` spelling names."""
    kind, colon, value = source.partition(":")
    forms: dict[str, str | dict[str, str]]
    forms = {
        "pass": value,
        "env": {"env": value},
        "file": {"file": value},
        "fd": {"file": f"/dev/fd/{value}"},
    }
    if not colon or kind not in forms or (kind == "fd" and not value.isdecimal()):
        _refuse(program, "illegal pass phrase source (-P): write pass:TEXT, env:NAME, file:NAME or fd:NUMBER")
    try:
        return Secret(forms[kind])
    except OptionError as error:
        _refuse(program, f"illegal pass phrase source (-P): {error.message}")


def _check_pair(values: Mapping[str, str], operation: Operation, program: str) -> None:
    """Refuse half a renewal; a query may name a certificate (-O) without its key."""
    half = {"K", "O"} & values.keys()
    if (operation == Operation.ENROLL and len(half) == 1) or (operation in QUESTIONS and half == {"K"}):
        _refuse(program, "-O also requires -K (and vice-versa)", code=Exit.FILE)


def opening_lines(settings: Settings) -> tuple[str, ...]:
    """Return the lines that -v begins with.

    sscep names a transaction here; for enroll it is that of no key at all, so it is left out.
    """
    if not settings.verbose:
        return ()
    p = settings.program
    named = () if settings.operation == Operation.ENROLL else (f"{p}: transaction id: SSCEP transactionId",)
    return (f"{p}: starting sscep, version {VERSION}", f"{p}: new transaction", *named)


def address_lines(settings: Settings) -> tuple[str, ...]:
    """Return the lines in which -v shows where it connects to; a proxy is asked for the whole URL."""
    if not settings.verbose:
        return ()
    p, url = settings.program, settings.url or ""
    host, port = _peer(settings)
    directory = url if settings.proxy else _address(url)["path"] or DEFAULT_PATH.removeprefix("/")
    return (f"{p}: hostname: {host}", f"{p}: directory: {directory}", f"{p}: port: {port}")


def peer_of(settings: Settings) -> str:
    """Return host and port that are connected to: the proxy's, or the server's."""
    host, port = _peer(settings)
    return f"{host}:{port}"


def _peer(settings: Settings) -> tuple[str, int]:
    url = settings.url or ""
    parts = _address(settings.proxy or url)
    default = 443 if url.lower().startswith("https:") and not settings.proxy else 80
    return parts["host"] or "", default if parts["port"] is None else _atoi(parts["port"], 0)
