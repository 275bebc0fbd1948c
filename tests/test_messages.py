"""Which texts of a module are found, and as what: tools/messages."""

from __future__ import annotations

import pytest

from tools.messages import messages_of


@pytest.mark.parametrize(
    ("source", "messages"),
    [
        ("say('done')", ["done"]),
        ("raise Refused(f'made {folder}')", ["made {folder}"]),
        ("raise Refused(f'{path} is no ledger: ' f'name another')", ["{path} is no ledger: name another"]),
        ("say(f'{rows:,} of {totals.rows:,} rows')", ["{rows:,} of {rows_2:,} rows"]),
        ("say(f'{len(names)} codes, no {word!r}')", ["{names:d} codes, no {word!r}"]),
        ("say(f'{name}: {name} again')", ["{name}: {name} again"]),
        ("say(f'at {self._clock.now()} h')", ["at {clock} h"]),
        ("say('a {brace} in it')", ["a {{brace}} in it"]),
        # What is chosen from is written out.
        ("say('all of it' if whole else 'a part of it')", ["a part of it", "all of it"]),
        ("say(f\"{n} row{'s' if n != 1 else ''} read\")", ["{n} row read", "{n} rows read"]),
        ("say(f'{n} rows' + (f', {m} left out' if m else ''))", ["{n} rows", "{n} rows, {m} left out"]),
        (
            "def f(n):\n more = ' and more' if n else ''\n say(f'{n} rows{more}')",
            ["and more", "{n} rows", "{n} rows and more"],
        ),
        # A text that is put behind another with a sign is one of its own.
        ("after = f'; it was {why} before'", ["it was {why} before"]),
        # No texts for people.
        ("'''The docstring of a module.'''", []),
        ("log.warning('the key file has changed')", []),
        ("raise TypeError('give it a mapping')", []),
        ("if 'no such user' in said: pass", []),
        ("db.execute('SELECT code FROM codes WHERE stock = ?')", []),
        ("query = 'UPDATE batch SET state = 1'", []),
        ("word = 'stored'", []),
        ("name = f'{folder}/codes.txt'", []),
    ],
)
def test_messages_are_found_as_they_are_translated(source: str, messages: list[str]) -> None:
    assert sorted(messages_of(source)) == sorted(messages)


def test_the_help_of_a_command_is_a_message_a_paragraph() -> None:
    source = '@group.command()\ndef send() -> None:\n    """Give a coupon\n    to a user.\n\n    Only one.\n    """\n'
    assert sorted(messages_of(source)) == ["Give a coupon to a user.", "Only one."]
