import pytest

from scepflow_bundled.web_addresses import BadAddressError, check_no_proxy, is_exempt, parse_address


@pytest.mark.parametrize(
    ("url", "origin", "authority", "target"),
    [
        ("http://ca", "http://ca", "ca", "/"),
        ("http://CA.example.com:80/scep/", "http://ca.example.com", "ca.example.com", "/scep/"),
        ("https://ca:8443/a%2fb/../c?x=1&operation=PKIOperation", "https://ca:8443", "ca:8443", None),
        ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080", "[2001:db8::1]:8080", "/x"),
        ("https://192.0.2.1?x=%00", "https://192.0.2.1", "192.0.2.1", "/?x=%00"),
        ("http://ca.example.com./x#part", "http://ca.example.com.", "ca.example.com.", "/x"),
    ],
)
def test_an_address_keeps_its_path_and_query_as_written(url, origin, authority, target):
    address = parse_address(url)
    assert str(address.origin) == origin
    assert address.origin.authority == authority
    assert address.target == (target or "/a%2fb/../c?x=1&operation=PKIOperation")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ca.example.com/scep",
        "ftp://ca/scep",
        "file:///etc/passwd",
        "http:///scep",
        "http://ca:0/",
        "http://ca:99999/",
        "http://ca:x/",
        "http://[::1/",
        "http://[fe80::zz]/",
        "http://a..b/",
        f"http://{'a' * 64}/",
        "http://c_a$/",
        "http://ca/a b",
        "http://ca/\r\nX: y",
        "http://ca/\x00",
        "http://c\ta/",
        "http://ca/ü",
        "http://user@ca/",
        "http://user:secret@ca/",
        "http://good\\@evil/",
    ],
)
def test_an_address_that_nothing_can_be_sent_to_is_refused_without_being_shown(url):
    with pytest.raises(BadAddressError) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)


def test_an_address_is_shown_without_its_query():
    assert parse_address("http://ca/scep?message=MIIB").shown == "http://ca/scep"


def test_connect_names_the_port_even_when_it_is_the_usual_one():
    assert parse_address("https://ca/").origin.host_and_port == "ca:443"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "http://ca/x"),
        ("x?y=1", "http://ca/scep/x?y=1"),
        ("//other/x", "http://other/x"),
        ("https://ca/scep/", "https://ca/scep/"),
    ],
)
def test_a_location_is_resolved_against_the_address(location, url):
    assert parse_address("http://ca/scep/").resolve(location) == parse_address(url)


@pytest.mark.parametrize("location", ["javascript:x", "http://[", "/\x7f", "/\xe4", "/a\tb"])
def test_a_location_that_cannot_be_used_is_refused(location):
    with pytest.raises(BadAddressError):
        parse_address("http://ca/").resolve(location)


@pytest.mark.parametrize(
    ("host", "no_proxy", "exempt"),
    [
        ("ca.example.com", ["example.com"], True),
        ("ca.example.com", [".example.com"], True),
        ("example.com", [".example.com"], True),
        ("CA.Example.COM.", ["example.com."], True),
        ("badexample.com", ["example.com"], False),
        ("example.com.evil.net", ["example.com"], False),
        ("anything", ["*"], True),
        ("192.0.2.7", ["*"], True),
        ("192.0.2.7", ["example.com", "192.0.2.0/24"], True),
        ("192.0.3.7", ["192.0.2.0/24"], False),
        ("192.0.2.7", ["192.0.2.7"], True),
        ("2001:db8::1", ["2001:db8::/32"], True),
        ("2001:db8::1", ["192.0.2.0/24"], False),
        ("ca", [], False),
        ("ca", ["192.0.2.0/24"], False),
    ],
)
def test_no_proxy_names_hosts_domains_addresses_and_networks(host, no_proxy, exempt):
    assert is_exempt(host, no_proxy) is exempt


@pytest.mark.parametrize(
    "entry", ["", ".", "10.0.0.0/99", "example.com/x", "http://x", "a b", "*.example.com"]
)
def test_an_entry_of_no_proxy_that_could_never_match_is_refused(entry):
    with pytest.raises(ValueError):
        check_no_proxy([entry])


def test_entries_of_no_proxy_that_can_match_are_accepted():
    check_no_proxy(["*", "ca", ".example.com", "::1", "192.0.2.1", "10.1.2.3/8", "2001:db8::/32"])
