"""Option types that stages share: secrets, durations, file modes and templates.

A stage names these types in its fields; the pipeline loader converts TOML
values into them. Must never hold: I/O at import or at construction, or a way
to see a secret by printing something.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Self

from scepflow.errors import OptionError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from subprocess import Popen

__all__ = ["Duration", "FileMode", "NameTemplate", "PathTemplate", "Secret", "Template", "UrlTemplate"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


class Duration(float):
    """A length of time in seconds, written "90s", "10m", "8h", "30d" or "1h30m" in TOML.

    Raises:
        OptionError: the text is not a duration, or a bare number was given.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Parse one duration, 0 seconds or more."""
        text = value.replace(" ", "") if isinstance(value, str) else ""
        total_s = sum(float(n) * _UNITS_S[unit] for n, unit in _DURATION.findall(text))
        if not text or _DURATION.sub("", text) or math.isinf(total_s):
            raise OptionError(
                f"not a duration: {value!r}", hint='write a number and a unit: "90s", "8h", "30d"'
            )
        return super().__new__(cls, total_s)

    @property
    def text(self) -> str:
        """The duration as it is written in TOML, such as ``1h30m``."""
        parts, rest = [], float(self)
        for unit, unit_s in sorted(_UNITS_S.items(), key=lambda item: -item[1])[:-1]:
            count, rest = divmod(rest, unit_s)
            parts += [f"{count:.0f}{unit}"] if count else []
        seconds = f"{rest:.9f}".rstrip("0").rstrip(".")
        return "".join(parts + ([f"{seconds}s"] if seconds != "0" or not parts else []))

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # copies go through our own constructor
        return (self.text,)


class FileMode(int):
    """Permission bits of a file, 0 to 0o777, written "0600" (octal text) in TOML.

    Raises:
        OptionError: the text is not three or four octal digits, or a bare number was given.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Parse octal digits."""
        if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
            raise OptionError(f"not a file mode: {value!r}", hint='write octal text: "0600"')
        return super().__new__(cls, int(value, 8))

    @property
    def text(self) -> str:
        """The mode as it is written in TOML, such as ``0600``."""
        return f"{int(self):04o}"

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # copies go through our own constructor
        return (self.text,)


class Template(str):
    """Text in which ``{var.x}``, ``{host.fqdn}`` and ``{device.x}`` are filled in.

    ``{{`` and ``}}`` stand for braces. Subclasses say how a value is escaped
    for the place where it lands. By the time a stage sees one it is filled in.
    """

    __slots__ = ()
    _field = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

    @classmethod
    def names(cls, text: str) -> tuple[str, ...]:
        """Return the names that a template's fields use, such as ``host.fqdn``, in their order."""
        return tuple(name for name in cls._field.findall(text) if name)

    @classmethod
    def fill(cls, text: str, values: Mapping[str, str]) -> Template:
        """Return the text with every field replaced.

        Args:
            text: the template as written.
            values: dotted names, such as ``host.fqdn``, and their values.

        Raises:
            OptionError: an unknown name, a lone brace, or a value that cannot stand there.
        """
        unknown = [name for name in dict.fromkeys(cls.names(text)) if name not in values]
        if unknown:
            listed = sanitise(", ".join(f"{{{name}}}" for name in unknown))
            raise OptionError(
                f"unknown template name{'s' * (len(unknown) > 1)} {listed}",
                hint=f"known: {', '.join(sorted(values)) or 'none'}",
            )

        def one(match: re.Match[str]) -> str:
            found, name = match.group(0), match.group(1)
            if found in ("{{", "}}"):
                return found[0]
            if name is None:
                raise OptionError(f"lone {found!r} in a template", hint="write {{ or }} for a brace")
            if not name:
                raise OptionError("a template name is missing in {}", hint="write {{ or }} for a brace")
            return cls.escape(values[name], name=name, at_start=match.start() == 0)

        return cls(cls._field.sub(one, text))

    @classmethod
    def escape(cls, value: str, *, name: str, at_start: bool) -> str:  # noqa: ARG003  # subclasses need them
        """Return the value as it must be written at this place."""
        return value


class NameTemplate(Template):
    """A distinguished name (RFC 4514); values are escaped so that none adds an RDN."""

    __slots__ = ()

    @classmethod
    def escape(cls, value: str, *, name: str, at_start: bool) -> str:  # noqa: ARG003  # as its base
        """Escape by RFC 4514 §2.4 Converting an AttributeValue from ASN.1 to a String."""
        text = re.sub(r'([\\",+;<>=#])', r"\\\1", value)
        text = re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\{ord(m.group()):02X}", text)
        return re.sub(r"^ | $", r"\\ ", text)


class UrlTemplate(Template):
    """A URL; values are percent-encoded (RFC 3986 §2.1 Percent-Encoding), save those of ``[vars]``, which may hold parts of one."""

    __slots__ = ()

    @classmethod
    def escape(cls, value: str, *, name: str, at_start: bool) -> str:  # noqa: ARG003  # as its base
        """Percent-encode all but unreserved characters."""
        from urllib.parse import quote

        return value if name.startswith("var.") else quote(value, safe="")


class PathTemplate(Template):
    """A path, relative to the pipeline file; values cannot leave the text around them."""

    __slots__ = ()

    @classmethod
    def fill(cls, text: str, values: Mapping[str, str]) -> Template:
        """Return the path with every field replaced; it is neither empty nor holds a NUL."""
        path = super().fill(text, values)
        if not path or "\0" in path:
            raise OptionError(f"not a path: {path!r}")
        return path

    @classmethod
    def escape(cls, value: str, *, name: str, at_start: bool) -> str:
        """Refuse a value that would climb out: "..", NUL, or a separator in what is not a ``var``."""
        own = name.startswith("var.")
        if (
            not value
            or {".", ".."} & set(value.split("/"))
            or ("/" in value and not own)
            or (value.startswith("/") and not at_start)
        ):
            raise OptionError(f"{{{name}}} is {value!r}, which cannot stand in a path")
        return value


class Secret:
    """A secret that is read only when it is used, and never shown.

    In TOML: ``{ file = "path" }``, ``{ env = "NAME" }``, ``{ command = ["argv", …] }``,
    ``{ credential = "name" }`` (systemd), ``{ keyring = "service/user" }``, or literal
    text, which earns a warning.

    Args:
        source: the TOML value.

    Raises:
        OptionError: not one of the forms above.
    """

    __slots__ = ("_source",)
    LARGEST_BYTES = 64 << 10
    COMMAND_S = 60
    SOURCES = ("file", "env", "command", "credential", "keyring")

    def __init__(self, source: str | Mapping[str, Any]) -> None:
        if source == "":
            raise OptionError("the secret is empty")
        if not isinstance(source, str):
            self._check(source)
        self._source = source

    @classmethod
    def _check(cls, source: Any) -> None:
        known = f"one of {', '.join(cls.SOURCES)}"
        if not hasattr(source, "keys") or len(source) != 1 or next(iter(source)) not in cls.SOURCES:
            raise OptionError("not a secret", hint=f'write {{ file = "path" }}; the key is {known}')
        (kind, value), *_ = source.items()
        words = value if kind == "command" and isinstance(value, list) else [value]
        # No file name, variable or argument can hold a NUL.
        fits = words and words[0] and all(isinstance(word, str) and "\0" not in word for word in words)
        if not fits or (kind == "command") != isinstance(value, list):
            wanted = "a list of words (argv)" if kind == "command" else "text"
            raise OptionError(f"{kind} of a secret must be {wanted}")
        if kind == "keyring" and not all(value.rpartition("/")):
            raise OptionError('keyring of a secret must be "service/user"')

    def __repr__(self) -> str:
        return f"Secret({self.origin})"

    @property
    def is_literal(self) -> bool:
        """Whether the secret itself stands in the pipeline file."""
        return isinstance(self._source, str)

    @property
    def file(self) -> str | None:
        """The file that it is read from, as it is named in the pipeline file, or None."""
        return None if isinstance(self._source, str) else self._source.get("file")

    @property
    def origin(self) -> str:
        """Where the secret comes from, fit to be shown, such as ``file challenge``."""
        if isinstance(self._source, str):
            return "literal"
        (kind, value), *_ = self._source.items()
        return f"{kind} {value[0] if kind == 'command' else value}"

    def gives_once(self, directory: Path) -> bool:
        """Return whether to read it may use it up, or wait: a command, a FIFO, a terminal, /dev/stdin.

        Args:
            directory: where relative files start.
        """
        if self.file is None:
            return self.origin.startswith("command ")
        path = directory / self.file
        try:
            return path.exists() and not path.is_file() and not path.is_dir()
        except OSError:  # reading it says why
            return False

    def reveal(self, directory: Path) -> str:
        """Return the secret's text, one trailing line end removed (Q-122).

        Args:
            directory: where relative files start, and where a command runs.

        Raises:
            OptionError: the secret cannot be read, is empty or is not UTF-8; names the origin, never the value.
        """
        if isinstance(self._source, str):
            return self._source
        (kind, value), *_ = self._source.items()
        text: str = getattr(self, f"_from_{kind}")(value, directory)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise OptionError(f"the secret ({self.origin}) is empty")
        return text

    def _from_file(self, name: str, directory: Path) -> str:
        try:
            with (directory / name).open("rb") as file:
                return self._text(file.read(self.LARGEST_BYTES + 1)).removeprefix("\ufeff")
        except OSError as error:
            raise OptionError(f"cannot read the secret ({self.origin}): {error.strerror}") from None

    def _text(self, data: bytes) -> str:
        """Return what was read as text, unless it is too much."""
        if len(data) > self.LARGEST_BYTES:
            raise OptionError(f"the secret ({self.origin}) is larger than {self.LARGEST_BYTES >> 10} KiB")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise OptionError(f"the secret ({self.origin}) is not UTF-8 text") from None

    def _from_env(self, name: str, _directory: Path) -> str:
        import os

        try:
            return os.environ[name]
        except KeyError:
            raise OptionError(f"the environment variable {name} is not set") from None

    def _from_command(self, argv: list[str], directory: Path) -> str:
        import subprocess

        try:
            process = subprocess.Popen(  # noqa: S603  # argv comes from the pipeline file, no shell
                argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise OptionError(f"cannot run the secret's command {argv[0]}: {error.strerror}") from None
        with process:
            try:
                text = self._text(self._output(process))
            except subprocess.TimeoutExpired:
                raise OptionError(
                    f"the secret's command {argv[0]} took longer than {self.COMMAND_S} s"
                ) from None
            finally:
                process.kill()  # does nothing to one that has ended
        if process.returncode:
            raise OptionError(f"the secret's command {argv[0]} exited {process.returncode}")
        return text

    def _output(self, process: Popen[bytes]) -> bytes:
        """Return what a command writes, until it ends or has written too much."""
        import os
        import select
        import time
        from subprocess import TimeoutExpired

        assert process.stdout is not None
        end_s = time.monotonic() + self.COMMAND_S
        data = b""
        while len(data) <= self.LARGEST_BYTES:
            left_s = max(0, end_s - time.monotonic())
            if not select.select([process.stdout], [], [], left_s)[0]:
                raise TimeoutExpired(process.args, self.COMMAND_S)
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                process.wait(max(0, end_s - time.monotonic()))
                break
            data += chunk
        return data

    def _from_credential(self, name: str, directory: Path) -> str:
        import os

        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise OptionError(
                f"no credentials directory for the credential {name}",
                hint="run as a systemd service with LoadCredential=",
            )
        if "/" in name or name in (".", ".."):
            raise OptionError(f"not the name of a credential: {name!r}")
        return self._from_file(f"{folder}/{name}", directory)

    def _from_keyring(self, name: str, _directory: Path) -> str:
        try:
            import keyring
        except ImportError:
            raise OptionError("keyring is not installed", hint="pip install 'scepflow[keyring]'") from None
        service, _, user = name.rpartition("/")
        try:
            secret: str | None = keyring.get_password(service, user)
        except keyring.errors.KeyringError as error:
            raise OptionError(f"cannot read the secret ({self.origin}): {type(error).__name__}") from None
        if secret is None:
            raise OptionError(f"the keyring has no password for {name}")
        return secret
