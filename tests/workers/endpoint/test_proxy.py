"""The proxy from the environment, and the hosts exempt from it."""

import pytest

from swarmeval.workers.endpoint.client import proxy_for

PROXY = "http://proxy.test:3128"
PROXIES = {"http": PROXY, "https": PROXY}


@pytest.mark.parametrize(
    ("exempt", "url"),
    [
        ("gpu1:8000", "http://gpu1:8000/v1"),
        ("gpu1", "http://gpu1:8000/v1"),
        (" other , GPU1:8000 ", "http://gpu1:8000/v1"),
        ("gpu1:443", "https://gpu1/v1"),
        ("gpu1:80", "http://gpu1/v1"),
        ("lab.test", "http://gpu1.lab.test:8000/v1"),
        (".lab.test:8000", "http://gpu1.lab.test:8000/v1"),
        ("10.0.0.7:8000", "http://10.0.0.7:8000/v1"),
        ("[fd00::7]:8000", "http://[fd00::7]:8000/v1"),
        ("fd00::7", "http://[fd00::7]:8000/v1"),
        ("*", "http://gpu1:8000/v1"),
        ("", "http://localhost:8000/v1"),
        ("", "http://127.0.0.2:8000/v1"),
        ("", "http://[::1]:8000/v1"),
    ],
)
def test_no_proxy_exempts_a_host_and_a_host_with_its_port(exempt: str, url: str) -> None:
    assert proxy_for(url, PROXIES | {"no": exempt}) is None


@pytest.mark.parametrize(
    ("exempt", "url"),
    [
        ("", "http://gpu1:8000/v1"),
        ("gpu1:8001", "http://gpu1:8000/v1"),
        ("gpu1:443", "https://gpu1:8000/v1"),
        ("gpu1:800", "http://gpu1:8000/v1"),
        ("gpu2:8000", "http://gpu1:8000/v1"),
        ("b.test", "http://ab.test:8000/v1"),
    ],
)
def test_another_host_or_port_is_reached_through_the_proxy(exempt: str, url: str) -> None:
    assert proxy_for(url, PROXIES | {"no": exempt}) == PROXY
