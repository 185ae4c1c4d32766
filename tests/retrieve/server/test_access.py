from pathlib import Path

import pytest

from ordinate.ground.errors import InputError
from ordinate.retrieve.server.access import Access, is_loopback, read_token
from ordinate.retrieve.server.refusal import Refused

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_this_machine_itself(host: str) -> None:
    assert is_loopback(host)
    Access(host, None)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.7", "example.org", "localhost.example.org", "127.0.0.1.example.org", "", "2130706433"]
)
def test_other_machines_need_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(InputError, match="can be reached from other machines: give a token"):
        Access(host, None)
    assert Access(host, TOKEN).needs_token


@pytest.mark.parametrize("name", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_requests_to_this_machine_are_let_in(name: str) -> None:
    Access("127.0.0.1", None).check("/search", {b"host": name.encode()})


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8000", "localhost.evil.example:80", "[::2]:80", "10.1.1.1", "\xff"])
def test_other_names_are_refused_without_a_token(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        Access("127.0.0.1", None).check("/", {b"host": name.encode("latin-1")})
    assert refusal.value.status == 400
    Access("127.0.0.1", TOKEN).check("/", {b"host": name.encode("latin-1")})


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_token_lets_in(given: str) -> None:
    Access("0.0.0.0", TOKEN).check("/search", {b"authorization": given.encode()})


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer \xff\xfe"]
)
def test_anything_else_does_not(given: str) -> None:
    with pytest.raises(Refused) as refusal:
        Access("0.0.0.0", TOKEN).check("/search", {b"authorization": given.encode("latin-1")})
    assert refusal.value.status == 401 and refusal.value.headers == {"WWW-Authenticate": "Bearer"}
    assert TOKEN not in refusal.value.message
    Access("0.0.0.0", TOKEN).check("/health", {})


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORDINATE_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("ORDINATE_TOKEN", TOKEN)
    assert read_token(None) == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}2\n")
    assert read_token(tmp_path / "token") == f"{TOKEN}2"
    for bad in ("", "short", "with a space in it", "ünïcödë-token"):
        (tmp_path / "token").write_text(bad)
        with pytest.raises(InputError, match="8 or more visible ASCII characters"):
            read_token(tmp_path / "token")
    with pytest.raises(InputError, match="no token can be read"):
        read_token(tmp_path / "absent")
    monkeypatch.setenv("ORDINATE_TOKEN", "")
    with pytest.raises(InputError, match="ORDINATE_TOKEN"):
        read_token(None)
