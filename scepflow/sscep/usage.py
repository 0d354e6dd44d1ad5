"""The text that sscep prints for want of an operation, in its layout.

Must never hold: anything that depends on what was asked.
"""

from __future__ import annotations

from scepflow.sscep.settings import VERSION

__all__ = ["usage_lines"]

_USAGE = """
sscep version {version}

Usage: {program} OPERATION [OPTIONS]

Available OPERATIONs are
  getca             Get the CA's certificate, or its chain with RA certificates
  getnextca         Get the certificates that the CA will use next
  getcaps           Show what the CA can do
  enroll            Get a certificate, new or renewed
  getcert           Get a certificate by its serial number
  getcrl            Get the CA's revocation list
  mkrequest         Make a key and a request; alone it shows its own OPTIONS

General OPTIONS
  -u <url>          SCEP server, http:// or https://
  -p <host:port>    HTTP proxy, port 80 unless given
  -f <file>         Configuration file, "Key Value" lines or [sscep] sections
  -c <file>         CA certificate; getca and getnextca write it
  -E <name>         Encryption algorithm (des|3des|blowfish|aes[128]|aes192|aes256)
  -S <name>         Signature digest (md5|sha1|sha224|sha256|sha384|sha512)
  -W <secs>         Keep trying to connect for <secs> seconds in all
  -M <string>       Monitor information, added to each request's query
  -m <file>         Write the message to file and do not send it
  -g <engine>       Engine, or its section in the configuration file
  -P <source>       Pass phrase of the key files (pass:TEXT|env:NAME|file:NAME|fd:NUMBER)
  -v                Verbose output
  -d                Debug output, and verbose

OPTIONS for OPERATION getca are
  -i <string>       CA identifier
  -F <name>         Fingerprint digest (as -S)

OPTIONS for OPERATION getnextca are
  -C <file>         CA certificates (PEM) that the signer must lead to
  -i <string>       CA identifier
  -w <file>         Write the signer's certificate to file

OPTIONS for OPERATION enroll are
  -k <file>         Private key
  -r <file>         Certificate request
  -l <file>         Write the certificate to file
  -K <file>         Key of the certificate -O
  -O <file>         Certificate that signs, for a renewal
  -e <file>         CA certificate to encrypt for, if it is not that of -c
  -L <file>         Write the self-signed certificate to file
  -t <secs>         Time between polls, in seconds (default 300)
  -T <secs>         Poll for that many seconds at most (default 28800)
  -n <count>        Poll that many times at most (default 256)
  -R                Resume: ask for the certificate of an earlier request

OPTIONS for OPERATION getcert are
  -k <file>         Private key of the certificate -l
  -l <file>         A certificate of ours, which signs
  -O <file>         Certificate of the issuer, if it is not that of -c
  -e <file>         CA certificate to encrypt for, if it is not that of -c
  -s <number>       Serial number, decimal or hexadecimal
  -w <file>         Write the certificate to file

OPTIONS for OPERATION getcrl are
  -k <file>         Private key of the certificate -l
  -l <file>         A certificate of ours, which signs
  -O <file>         Certificate to get the CRL for
  -e <file>         CA certificate to encrypt for, if it is not that of -c
  -s <number>       Serial number, if it is not that of -O
  -w <file>         Write the CRL to file
"""


def usage_lines(program: str) -> tuple[str, ...]:
    """Return the usage text for a program of that name."""
    return (*_USAGE.format(version=VERSION, program=program).splitlines(), "")
