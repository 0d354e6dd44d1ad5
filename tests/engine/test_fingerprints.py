import pytest

from scepflow.engine.fingerprints import parse_fingerprint

HEX = "0123456789abcdef" * 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEX[:64], f"sha256:{HEX[:64]}"),
        (f"sha256:{HEX[:64]}", f"sha256:{HEX[:64]}"),
        (f" SHA-256:{HEX[:64].upper()}\n", f"sha256:{HEX[:64]}"),
        (":".join(HEX[i : i + 2] for i in range(0, 64, 2)), f"sha256:{HEX[:64]}"),
        ("sha256: " + " ".join(HEX[i : i + 8] for i in range(0, 64, 8)), f"sha256:{HEX[:64]}"),
        (HEX[:40], f"sha1:{HEX[:40]}"),
        (f"sha1:{HEX[:40]}", f"sha1:{HEX[:40]}"),
        (HEX, f"sha512:{HEX}"),
    ],
)
def test_a_fingerprint_is_read_as_people_write_it(text, expected):
    """C-006."""
    assert parse_fingerprint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        HEX[:63],
        HEX[:65],
        HEX[:16],
        HEX[:32],
        f"sha256:{HEX[:40]}",
        f"sha256:{HEX[:63]}g",
        f"md5:{HEX[:32]}",
        "g" * 64,
    ],
)
def test_a_fingerprint_that_is_not_whole_is_refused(text):
    """S-080."""
    with pytest.raises(ValueError, match="not a fingerprint"):
        parse_fingerprint(text)
