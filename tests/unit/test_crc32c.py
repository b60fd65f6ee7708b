"""CRC-32C against its definition, bit by bit."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frepo.data.sources import crc32c as module
from frepo.data.sources.crc32c import PIECE, crc32c


def test_it_is_that_of_the_standard():
    zeros, ones, rising = bytes(32), b"\xff" * 32, bytes(range(32))
    assert crc32c([b"123456789", zeros, ones, rising]).tolist() == [0xE3069283, 0x8A9136AA, 0x62A8AB43, 0x46DD794E]
    assert crc32c([]).tolist() == []


@given(st.lists(st.binary(max_size=2100), max_size=6))
@example([bytes(n) for n in (PIECE - 5, PIECE - 4, PIECE - 3, 2 * PIECE - 4, 3 * PIECE + 1)])
@settings(derandomize=True, deadline=None, max_examples=30)
def test_it_does_not_depend_on_what_stands_beside_a_string(crc_bit_by_bit, strings):
    assert crc32c(strings).tolist() == [crc_bit_by_bit(string) for string in strings]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_it_does_not_depend_on_the_size_of_a_group(monkeypatch, crc_bit_by_bit, size):
    strings = [bytes([n]) * n for n in range(9)]
    monkeypatch.setattr(module, "GROUP_BYTES", size)
    assert crc32c(strings).tolist() == [crc_bit_by_bit(string) for string in strings]
