"""What is said of a bad code, word for word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quanma.api import rules
from quanma.upload.diagnosis import explain, warn
from tests.support.every import every_row


@every_row("coupon_code", ["A", "0" * 32, "a-Z_0\\/=|", " A 1 ", "1E15"])
def test_nothing_is_said_of_a_legal_code(coupon_code: str) -> None:
    assert explain(coupon_code) is None


@every_row(
    ("text", "said"),
    [
        ("", "the text is empty"),
        ("A" * 33, "row text is 33 characters long, at most 32 are allowed"),
        (
            "AB１2",
            "character 3 is '１' (U+FF11 FULLWIDTH DIGIT ONE), full-width: type '1' in half width instead",
        ),
        (
            "ＡＢ",
            (
                "character 1 is 'Ａ' (U+FF21 FULLWIDTH LATIN CAPITAL LETTER A), full-width: "
                "type 'A' in half width instead (1 more are not allowed)"
            ),
        ),
        (
            "A\u3000B",
            "character 2 is IDEOGRAPHIC SPACE (U+3000), invisible or like a plain blank: remove it",
        ),
        ("\ufeffA1", "character 1 is a byte order mark (U+FEFF), invisible or like a plain blank: remove it"),
        ("A1\u200b", "character 3 is ZERO WIDTH SPACE (U+200B), invisible or like a plain blank: remove it"),
        ("A\u00a01", "character 2 is a no-break space (U+00A0), invisible or like a plain blank: remove it"),
        ("A1\t", "character 3 is a tab (U+0009): remove it"),
        ("A\x001", "character 2 is NUL (U+0000): remove it"),
        ("A\n1", "character 2 is a line feed (U+000A): remove it"),
        ("A1\r", "character 3 is a carriage return (U+000D): remove it"),
        ("A\x1b1", "character 2 is a control character (U+001B): remove it"),
        (
            "A\ue0001",
            ("character 2 is U+E000, no character at all: perhaps the file is in another encoding than UTF-8"),
        ),
        (
            "A\ufffd1",
            (
                "character 2 is '\ufffd' (U+FFFD REPLACEMENT CHARACTER): "
                "an earlier conversion lost the character, export again"
            ),
        ),
        ("A+1", "character 2 is '+' (U+002B PLUS SIGN), which is not allowed: correct or remove it"),
        (
            "券A1",
            ("character 1 is '券' (U+5238 CJK UNIFIED IDEOGRAPH-5238), which is not allowed: correct or remove it"),
        ),
        (
            "1.23E+15",
            (
                "a spreadsheet made the code a number in scientific notation (like 1.23E+15), "
                "and digits are lost: export the column as text from where the codes were made"
            ),
        ),
        (
            "123456.0",
            (
                "a program made the code a number with decimals (like 123.0), and leading zeros may be lost: "
                "export the column as text from where the codes were made"
            ),
        ),
        (
            '="00123"',
            (
                'the code stands in a spreadsheet formula, ="…": '
                "export the column as text from where the codes were made"
            ),
        ),
    ],
)
def test_a_bad_code_is_explained_with_its_code_point_and_what_to_do(text: str, said: str) -> None:
    assert explain(text) == said


@every_row(
    ("coupon_code", "said"),
    [
        (" A1", "the code begins with a blank, which is sent as part of it; --trim takes it off"),
        ("A1 ", "the code ends with a blank, which is sent as part of it; --trim takes it off"),
        (" A1 ", "the code begins and ends with a blank, which is sent as part of it; --trim takes it off"),
        ("A 1", None),
        ("", None),
    ],
)
def test_outer_blanks_are_suspicious(coupon_code: str, said: str | None) -> None:
    assert warn(coupon_code) == said


@given(st.text(max_size=40))
def test_what_is_explained_is_what_the_rule_refuses_and_no_message_holds_the_text(text: str) -> None:
    said = explain(text)
    assert (said is None) == (rules.BUSIFAVOR.why_refused(text) is None)
    assert said is None or len(text) < 6 or text not in said
