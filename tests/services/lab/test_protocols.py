import pytest

from services.lab.protocols import NOT_MEASURED_BY, POLICIES_OF, PROTOCOLS, policies_by_protocol


def test_without_a_choice_every_protocol_measures_its_own():
    assert policies_by_protocol(None, None) == POLICIES_OF
    assert policies_by_protocol(["next_item"], None) == {"next_item": POLICIES_OF["next_item"]}


def test_a_protocol_that_can_measure_none_of_the_policies_is_left_out():
    assert policies_by_protocol(None, ["sequence"]) == {"next_item": ["sequence"]}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_protocol_measures_by_itself_what_it_cannot(name):
    assert not NOT_MEASURED_BY[name] & set(POLICIES_OF[name]) - {"random"}
