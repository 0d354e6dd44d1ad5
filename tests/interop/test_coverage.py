"""No item is left out in silence, every reference leads to a test, and the page is what the table says."""

import ast
from pathlib import Path

import pytest
from coverage_page import PAGE, page
from departures import DEPARTURES
from items import GROUPS, ITEMS
from rows import Elsewhere
from table import ROWS, TABLE

ROOT = Path(__file__).parents[2]


def test_every_item_has_its_place_in_the_table():
    assert {item for part in TABLE for item in part.items} == set(ITEMS)


def test_rows_have_names_of_their_own():
    names = [row.name for row in ROWS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    "test",
    sorted({part.test for part in TABLE if isinstance(part, Elsewhere)}),
)
def test_a_reference_leads_to_a_test(test):
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name.rpartition("::")[2] in functions


def test_the_items_are_in_order_and_each_heading_has_one():
    numbers = [int(item[2:]) for item in ITEMS if item.startswith("Q")]
    assert list(ITEMS) == sorted(ITEMS)
    assert numbers == [number for number in range(1, 126) if number not in {89, 99}]
    assert set(GROUPS) <= set(ITEMS)


def test_every_item_is_on_the_page_with_what_shows_it():
    """What is shown is said in one line each, without what Markdown would swallow."""
    text = page()
    for item, what in ITEMS.items():
        below = text.partition(f"\n**{item}** {what}\n\n")[2]
        assert below.startswith("- "), item
    assert "- \n" not in text
    assert "``" not in text
    assert "|" not in text.partition("## Rules")[2]


def test_what_departs_from_an_item_is_said_below_it():
    for item, why in DEPARTURES.items():
        below = page().partition(f"\n**{item}** {ITEMS[item]}\n\n")[2].partition("\n\n")[0]
        assert below.endswith(f"- *Why:* {why}"), item


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/interop/coverage_page.py"
