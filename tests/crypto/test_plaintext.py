"""Plaintext in its own type: reachable on purpose, never by accident."""

import pytest

from crypto.plaintext import Plaintext


def test_it_holds_a_view_and_no_copy():
    buffer = bytearray(b"customer row")
    plaintext = Plaintext(buffer)
    assert plaintext.view == buffer
    assert len(plaintext) == len(buffer)
    buffer[0] = ord("C")
    assert bytes(plaintext.view) == b"Customer row"


def test_wiping_overwrites_the_callers_buffer():
    buffer = bytearray(b"customer row")
    Plaintext(buffer).wipe()
    assert buffer == bytes(12)


def test_it_is_not_taken_for_bytes():
    plaintext = Plaintext(b"customer row")
    with pytest.raises(TypeError):
        bytes(plaintext)
    with pytest.raises(TypeError):
        iter(plaintext)
    with pytest.raises(TypeError):
        vars(plaintext)
    assert plaintext != b"customer row"


def test_a_read_only_buffer_cannot_be_wiped():
    with pytest.raises(TypeError, match="read-only"):
        Plaintext(b"customer row").wipe()
