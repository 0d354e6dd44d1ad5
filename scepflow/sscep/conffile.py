"""sscep's configuration file, in both of its syntaxes: ``Key Value`` lines (classic), and the sections of OpenSSL's CONF (INI).

Both give the same thing: option letters and their texts, for one operation.
Must never hold: what a value means; `scepflow.sscep.options` reads it as it reads the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from scepflow.sscep.settings import Engine, Exit, Operation, SscepExit
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Configuration", "is_ini", "load_configuration"]

_LARGEST_BYTES = 1 << 20
_LONGEST_VALUE = 1 << 16  # OpenSSL's MAX_CONF_VALUE_LENGTH: variables could double it line by line
_DEEPEST_INCLUDE = 10
_MOST_FILES = 100
_LARGEST_TOTAL = 4 << 20  # characters in all files


class _Key(NamedTuple):
    name: str
    letter: str
    sections: tuple[str, ...] = ("sscep",)


_MESSAGE = ("sscep_enroll", "sscep_getcert", "sscep_getcrl")
_ENROLL = ("sscep_enroll",)
# A setting of enroll counts for enroll only (sscep took SignCertFile and GetCertSerial over into
# other operations); getcert and getcrl may have their own.
_KEYS = (
    _Key("URL", "u"),
    _Key("Proxy", "p"),
    _Key("CACertFile", "c"),
    _Key("CAIdentifier", "i", ("sscep", "sscep_getca", "sscep_getnextca")),
    _Key("EncAlgorithm", "E"),
    _Key("SigAlgorithm", "S"),
    _Key("MonitorInformation", "M"),
    _Key("Verbose", "v"),
    _Key("Debug", "d"),
    _Key("engine", "g"),
    _Key("FingerPrint", "F", ("sscep_getca", "sscep_getnextca")),
    _Key("ChainRootCACertFile", "C", ("sscep_getnextca",)),
    _Key("SignerCertificateFile", "w", ("sscep_getnextca",)),
    _Key("PrivateKeyFile", "k", _MESSAGE),
    _Key("LocalCertFile", "l", _MESSAGE),
    _Key("CertReqFile", "r", _ENROLL),
    _Key("SignKeyFile", "K", _ENROLL),
    _Key("SignCertFile", "O", _MESSAGE),
    _Key("EncCertFile", "e", _MESSAGE),
    _Key("SelfSignedFile", "L", _ENROLL),
    _Key("PollInterval", "t", _ENROLL),
    _Key("MaxPollTime", "T", _ENROLL),
    _Key("MaxPollCount", "n", _ENROLL),
    _Key("Resume", "R", _ENROLL),
    _Key("GetCertSerial", "s", ("sscep_getcert", "sscep_getcrl")),
    _Key("GetCertFile", "w", ("sscep_getcert",)),
    _Key("GetCrlFile", "w", ("sscep_getcrl",)),
)
_FLAGS = frozenset("vdR")
# Everything else in a classic file is for every operation.
_CLASSIC_ONLY = {
    "GetCertFile": Operation.GETCERT,
    "GetCertSerial": Operation.GETCERT,
    "GetCrlFile": Operation.GETCRL,
    "SignerCertificateFile": Operation.GETNEXTCA,
}
_CLASSIC_EXACT = frozenset({"PrivateKeyFile", "SelfSignedFile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a file says for one operation.

    Attributes:
        values: option letter → text; the letters of flags are not among them.
        flags: the letters of flags that are on.
        engine: the engine that is asked for, or None.
        problems: lines, without the program's name, that only ``-v`` shows.
    """

    values: Mapping[str, str]
    flags: frozenset[str]
    engine: Engine | None = None
    problems: tuple[str, ...] = ()


def load_configuration(
    file: str,
    *,
    operation: Operation,
    program: str,
    environment: Mapping[str, str],
    engine: str | None = None,
) -> Configuration:
    """Read a configuration file, whichever syntax it is in.

    Args:
        file: its name, relative to where the command runs.
        operation: whose settings are wanted.
        program: begins each line of an error.
        environment: what ``$ENV::NAME`` stands for (INI only).
        engine: the engine named on the command line, which wins over the file's.

    Raises:
        SscepExit: code 93; the file cannot be read or understood, or names an engine section that is not there.
    """
    try:
        text = _read(file)
    except OSError as error:
        raise SscepExit(
            Exit.FILE,
            stderr=(
                f"{program}: Error opening configuration file",
                f"{program}: cannot open {file}: {error.strerror}",
            ),
        ) from None
    try:
        if not is_ini(text):
            return _classic(text, operation, engine)
        reader = _IniReader(environment)
        reader.read(text, file)
    except _BadLineError as error:
        raise SscepExit(
            Exit.FILE,
            stderr=(f"{program}: Error in {error.file} on line {error.line}", f"{program}: {error.why}"),
        ) from None
    return _from_ini(reader, operation, engine=engine, program=program)


def _read(file: str) -> str:
    """Return a file's text; bytes that are not UTF-8 survive, as they do in arguments."""
    with Path(file).open("rb") as opened:
        data = opened.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise OSError(0, f"it is larger than {_LARGEST_BYTES} bytes")
    if b"\0" in data:
        raise OSError(0, "it is no text: it has a NUL byte")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def is_ini(text: str) -> bool:
    """Tell the syntaxes apart: a section or a ``key =`` makes it INI; ``URL http://h/x?a=b`` does not."""
    return re.search(r"^[ \t]*(?:\[|\.include\b|[A-Za-z0-9_.:]+[ \t]*=)", text, re.MULTILINE) is not None


def _is_on(text: str) -> bool:
    """Tell whether a flag's value turns it on; sscep knew ``yes…`` in one syntax and ``tru…`` in the other."""
    word = text.strip().lower()
    return word.startswith(("yes", "tru")) or word in {"on", "1"}


def _configuration(
    found: Mapping[str, str], engine: Engine | None = None, problems: tuple[str, ...] = ()
) -> Configuration:
    return Configuration(
        values={letter: text for letter, text in found.items() if letter not in _FLAGS},
        flags=frozenset(letter for letter in _FLAGS & found.keys() if _is_on(found[letter])),
        engine=engine,
        problems=problems,
    )


# -- classic

_QUOTED = r'"(?:\\"|[^"])*"?'
_CLASSIC_LINE = re.compile(rf"\s*(?P<key>{_QUOTED}|\S+)(?:\s+(?P<value>{_QUOTED}|\S+))?")


def _classic(text: str, operation: Operation, engine: str | None) -> Configuration:
    """Read ``Key Value`` lines; the first of a key counts, and what follows a value does not."""
    found: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        match = _CLASSIC_LINE.match(line)
        if match is None or match["key"].startswith("#"):
            continue
        if match["value"] is None:
            problems.append(f"config file parse error, line {number}")
        key = _classic_key(_unquoted(match["key"]))
        if key and _CLASSIC_ONLY.get(key.name, operation) == operation and not _is_settled(found, key):
            found[key.letter] = _unquoted(match["value"] or "")
    name = engine or found.get("g")
    return _configuration(found, Engine(id=name) if name else None, tuple(problems))


def _is_settled(found: Mapping[str, str], key: _Key) -> bool:
    """Tell whether a key has its value; a flag can still be turned on, never off."""
    return key.letter in found and (key.letter not in _FLAGS or _is_on(found[key.letter]))


def _classic_key(word: str) -> _Key | None:
    for key in _KEYS:
        if word == key.name or (key.name not in _CLASSIC_EXACT and word.startswith(key.name)):
            return key
    return None


def _unquoted(word: str) -> str:
    if not word.startswith('"'):
        return word
    return re.fullmatch(r'"((?:\\"|[^"])*)"?', word)[1].replace('\\"', '"')  # type: ignore[index]  # the line's pattern has it


# -- INI

_LETTER = r"(?:\\.|[A-Za-z0-9_!%&*+,\-./;?@^~|])"
_WORD = rf"{_LETTER}*"
_QUOTE = r"""(?:"(?:\\.|[^"\\])*(?:"|\\?$)|'(?:\\.|[^'\\])*(?:'|\\?$)|`(?:\\.|[^`\\])*(?:`|\\?$))"""
_CONTENT = re.compile(rf"(?:[^#\"'`\\]+|{_QUOTE}|\\.?)*", re.DOTALL)
# Possessive: a name without its bracket is given up at once, however many blanks are in it.
_SECTION = re.compile(rf"\[[ \t\r]*+((?:{_LETTER}++(?:[ \t\r]++{_LETTER}++)*+)?)[ \t\r]*+\]", re.DOTALL)
_SETTING = re.compile(
    rf"(?:(?P<section>{_WORD})::)?(?P<name>{_WORD})[ \t\r]*(?P<equals>=?)[ \t\r]*(?P<value>.*)", re.DOTALL
)
_PIECE = re.compile(rf"({_QUOTE})|\\(.?)|(\$)|([^\"'`\\$]+)", re.DOTALL)
_VARIABLE = re.compile(r"([{(]?)(?:([A-Za-z0-9_]*)::)?([A-Za-z0-9_]*)")
_SPECIAL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b"}
_BLANKS = " \t\r\n"


class _BadLineError(Exception):
    """A line that cannot be understood; ``why`` shows no value, which may be a PIN."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(why)
        self.file = file
        self.line = line
        self.why = why


class _IniReader:
    """OpenSSL's CONF (config(5)): sections, quotes, escapes, variables, includes; the last of a key counts.

    Args:
        environment: what ``$ENV::NAME`` stands for.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.sections: dict[str, dict[str, str]] = {"default": {}}
        self._environment = environment
        self._section = "default"
        self._place = ("", 0)
        self._depth = 0
        self._files = 0
        self._total = 0

    def find(self, section: str, name: str) -> str | None:
        """Return a value of the section, or of ``default``."""
        for values in (
            self.sections.get(section, {}),
            self._environment if section == "ENV" else {},
            self.sections["default"],
        ):
            if name in values:
                return values[name]
        return None

    def read(self, text: str, file: str) -> None:
        """Add what the text of a file says.

        Raises:
            _BadLineError: a line cannot be understood, or there are too many files in it.
        """
        self._files, self._total = self._files + 1, self._total + len(text)
        if self._files > _MOST_FILES or self._total > _LARGEST_TOTAL:
            self._refuse("too much is included")
        for number, line in _logical_lines(text):
            self._place = (file, number)
            content = _CONTENT.match(line)
            assert content is not None, "the pattern matches the empty string"
            if words := content.group().strip(_BLANKS):
                self._read_line(words)

    def _read_line(self, line: str) -> None:
        if line.startswith("["):
            section = _SECTION.match(line) or self._refuse("missing close square bracket")
            self._section = self._expanded(section[1], self._section)
            self.sections.setdefault(self._section, {})
            return
        setting = _SETTING.fullmatch(line)
        assert setting is not None, "the pattern matches any line"
        section_name = setting["section"] or self._section
        if setting["name"] == ".include" and setting["section"] is None:
            self._include(self._expanded(setting["value"], section_name))
            return
        if not setting["equals"]:
            self._refuse(f"missing equal sign after {sanitise(setting['name'], limit=60) or 'nothing'}")
        value = self._expanded(setting["value"], section_name)
        self.sections.setdefault(section_name, {})[setting["name"]] = value

    def _include(self, name: str) -> None:
        """Read another file, or each of a directory; one that is not there is no error, as in OpenSSL."""
        place, self._depth = self._place, self._depth + 1
        if self._depth > _DEEPEST_INCLUDE:
            self._refuse("files are included too deep")
        opened = name
        try:
            for opened in map(str, _included(Path(name))):
                self.read(_read(opened), opened)
        except OSError as error:
            self._place = place
            self._refuse(f"cannot open {sanitise(opened)}: {error.strerror}")
        self._place, self._depth = place, self._depth - 1

    def _expanded(self, text: str, section: str) -> str:
        """Return a value without its quotes and escapes, with its variables filled in."""
        parts: list[str] = []
        position = 0
        while match := _PIECE.match(text, position):
            quoted, escaped, dollar, plain = match.groups()
            position = match.end()
            if dollar:
                part, position = self._variable(text, position, section)
                parts.append(part)
            elif quoted is not None:
                parts.append(re.sub(r"\\(.?)", r"\1", quoted[1:].removesuffix(quoted[0]), flags=re.DOTALL))
            else:
                parts.append(plain if plain is not None else _SPECIAL.get(escaped, escaped))
        if sum(map(len, parts)) > _LONGEST_VALUE:
            self._refuse("variable expansion too long")
        return "".join(parts)

    def _variable(self, text: str, position: int, section: str) -> tuple[str, int]:
        match = _VARIABLE.match(text, position)
        assert match is not None, "the pattern matches the empty string"
        brace, named_section, name = match.groups()
        end = match.end()
        if brace:
            if text[end : end + 1] != {"{": "}", "(": ")"}[brace]:
                self._refuse("no close brace")
            end += 1
        value = self.find(section if named_section is None else named_section, name)
        if value is None:
            self._refuse(f"variable has no value: {name}")
        return value, end

    def _refuse(self, why: str) -> NoReturn:
        raise _BadLineError(*self._place, why)


def _included(path: Path) -> list[Path]:
    """Return a file, or those of a directory; raises OSError for a name that none can have."""
    files = sorted((*path.glob("*.cnf"), *path.glob("*.conf"))) if path.is_dir() else [path]
    return [file for file in files if file.is_file()]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield lines joined where one ends in a single ``\``, with the number of the last."""
    pending = ""
    for number, line in enumerate(text.split("\n"), start=1):
        pending += line.rstrip("\r")
        if pending.endswith("\\") and not pending.endswith("\\\\"):
            pending = pending[:-1]
            continue
        yield number, pending
        pending = ""
    if pending:
        yield number, pending


def _from_ini(reader: _IniReader, operation: Operation, *, engine: str | None, program: str) -> Configuration:
    found: dict[str, str] = {}
    for key in _KEYS:
        for section in key.sections:
            value = reader.find(section, key.name) if section in ("sscep", f"sscep_{operation}") else None
            if value is not None:
                found.setdefault(key.letter, value)
    name, own = engine or found.get("g"), found.get("g")
    if engine and own and engine not in reader.sections and reader.find(own, "engine_id") == engine:
        name = own  # the file's section is about the engine that -g names
    return _configuration(
        found, _engine(reader, name, program=program, given=engine is not None) if name else None
    )


def _engine(reader: _IniReader, name: str, *, program: str, given: bool) -> Engine:
    """Return the engine of a section; one named on the command line needs no section."""
    section = reader.sections.get(name)
    if section is None and not given:
        raise SscepExit(Exit.FILE, stderr=(f"{program}: Section {sanitise(name)} defined but not found!",))
    engine_id = name if section is None else reader.find(name, "engine_id")
    if not engine_id:
        raise SscepExit(
            Exit.FILE,
            stderr=(
                f"{program}: Engine ID not specified, cannot continue. Please provide an eninge ID",
                f"{program}: write engine_id = … under [{sanitise(name)}]",
            ),
        )
    return Engine(
        id=engine_id,
        module_path=reader.find(name, "MODULE_PATH"),
        pin=reader.find(f"sscep_engine_{engine_id}", "PIN"),
        commands=tuple(reader.sections.get(reader.find(name, "cmds") or "", {}).items()),
    )
