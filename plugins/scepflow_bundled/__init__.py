"""The bundled stages, registered exactly as a stranger's plugin is. Public scepflow imports only.

Each hook imports its module when it is asked, so a command that needs no
transport does not pay for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepflow.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.stages import CsrBuilder, KeySource, OutputSink, Poller, Signer, Transport


@hookimpl
def scepflow_key_sources() -> Sequence[type[KeySource]]:
    """Offer ``generate``, ``file`` and ``pkcs11``."""
    from scepflow_bundled.keys import FileKeySource, GenerateKeySource
    from scepflow_bundled.pkcs11_keys import Pkcs11KeySource

    return [GenerateKeySource, FileKeySource, Pkcs11KeySource]


@hookimpl
def scepflow_csr_builders() -> Sequence[type[CsrBuilder]]:
    """Offer ``subject`` and ``file``."""
    from scepflow_bundled.csr import FileCsrBuilder, SubjectCsrBuilder

    return [SubjectCsrBuilder, FileCsrBuilder]


@hookimpl
def scepflow_signers() -> Sequence[type[Signer]]:
    """Offer ``auto``, ``self-signed`` and ``existing``."""
    from scepflow_bundled.signers import AutoSigner, ExistingSigner, SelfSignedSigner

    return [AutoSigner, SelfSignedSigner, ExistingSigner]


@hookimpl
def scepflow_transports() -> Sequence[type[Transport]]:
    """Offer ``direct``, ``proxy`` and ``embedded``."""
    from scepflow_bundled.embedded import EmbeddedTransport
    from scepflow_bundled.transports import DirectTransport, ProxyTransport

    return [DirectTransport, ProxyTransport, EmbeddedTransport]


@hookimpl
def scepflow_pollers() -> Sequence[type[Poller]]:
    """Offer ``fixed`` and ``backoff``."""
    from scepflow_bundled.pollers import BackoffPoller, FixedPoller

    return [BackoffPoller, FixedPoller]


@hookimpl
def scepflow_sinks() -> Sequence[type[OutputSink]]:
    """Offer ``file``, ``isakmpd``, ``pkcs12`` and ``command``."""
    from scepflow_bundled.sinks import CommandSink, FileSink, IsakmpdSink, Pkcs12Sink

    return [FileSink, IsakmpdSink, Pkcs12Sink, CommandSink]
