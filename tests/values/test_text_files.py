"""Text files of all encodings that editors write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.text_files import NotText, decode, has_crlf_only, with_line_feeds

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"))


@pytest.mark.parametrize(
    ("codec", "name"),
    [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("utf-32", "UTF-32")],
)
@given(text=TEXTS)
def test_what_was_written_is_read(codec: str, name: str, text: str) -> None:
    data = text.encode(codec)
    assert decode(data) == (text, name)


@pytest.mark.parametrize(("mark", "codec"), [(b"\xfe\xff", "utf-16-be"), (b"\0\0\xfe\xff", "utf-32-be")])
@given(text=TEXTS)
def test_big_endian_files(mark: bytes, codec: str, text: str) -> None:
    assert decode(mark + text.encode(codec)).text == text


def test_one_mark_is_taken_off() -> None:
    assert decode(b"\xef\xbb\xbf\xef\xbb\xbfa").text == "\ufeffa"
    assert decode("a\ufeffb".encode()).text == "a\ufeffb"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"caf\xe9", "not UTF-8 at byte offset 3: save it as UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9", "not UTF-8 at byte offset 6: save it as UTF-8"),
        (b"\xff\xfeh", "not UTF-16 at byte offset 2"),
        (b"\xff\xfe\x00\xd8a\0", "not UTF-16 at byte offset 2"),
        (b"\xff\xfeh\0\0\0i\0", "not text: U\\+0000"),
        ("hello".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("hello".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        ("Größe\r\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\x7fELF\x02\x01\x01\x00", "not text: a zero byte at offset 7"),
        (b"GGUF\x03\0\0\0", "not text: a zero byte at offset 5"),
        (bytes(1000), "not text: a zero byte at offset 0"),
        (b"a\0b\n", "not text: a zero byte at offset 1"),
        ("hi".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\x89PNG\r\n\x1a\n\0", "not text: a zero byte at offset 8"),
    ],
)
def test_what_is_no_text_is_told(data: bytes, expected: str) -> None:
    with pytest.raises(NotText, match=expected):
        decode(data)


@given(st.binary())
def test_any_bytes_are_text_or_told_in_one_line(data: bytes) -> None:
    text = told = ""
    try:
        text = decode(data).text
    except NotText as error:
        told = str(error)
    assert told.isprintable()
    assert "\0" not in text
    text.encode()


@given(TEXTS)
def test_line_ends(text: str) -> None:
    unix = text.replace("\r", "")
    assert with_line_feeds(unix) == unix
    assert with_line_feeds(unix.replace("\n", "\r\n")) == unix
    assert not has_crlf_only(unix)
    mixed = f"a\nb\r\n{text}"
    assert with_line_feeds(mixed) == mixed
