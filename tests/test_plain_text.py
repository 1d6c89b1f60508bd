"""Text of others, fit to be shown."""

import sys

from xpnet.plain_text import printable


def test_of_all_characters_the_printable_ones_stay_and_the_others_are_escaped():
    for number in range(sys.maxunicode + 1):
        shown = printable(chr(number))
        assert shown.isprintable()
        assert (shown == chr(number)) == chr(number).isprintable()


def test_nothing_breaks_a_line_or_turns_the_writing():
    text = "a\nb\r\tc\x85d\u2028e\u2029f\u202eg\u2066h\udce9i\x9bj\x7fk"
    assert printable(text) == (r"a\nb\r\tc\x85d\u2028e\u2029f\u202eg\u2066h\udce9i\x9bj\x7fk")
