"""The catalogue of behaviours: every one has a name to type, words to read, and a row that shows what comes of it."""

import re

import pytest
from table import ROWS

from scepflow.testca.behaviours import all_behaviours, behaviours


@pytest.mark.parametrize("behaviour", all_behaviours().values(), ids=lambda behaviour: behaviour.name)
def test_a_behaviour_can_be_typed_and_read(behaviour):
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", behaviour.name)
    assert re.fullmatch("[a-z]+ [^\n]*[^\n.]", behaviour.summary)


def test_every_behaviour_has_a_row_in_the_interop_table():
    shown = {name for row in ROWS for name in row.behave}
    assert set(all_behaviours()) == shown


def test_behaviours_are_found_in_the_order_of_their_names():
    assert [found.name for found in behaviours(["badnonce", "no-certificates"])] == [
        "badnonce",
        "no-certificates",
    ]


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(
        ValueError, match='there is no behaviour "no-certificate"; is it "no-certificates"\\?'
    ):
        behaviours(["no-certificate"])
