"""OpenSSL's command as an independent witness."""

import shutil
import subprocess

import pytest

openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="apt-get install openssl")


def run_openssl(*arguments, stdin):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout
