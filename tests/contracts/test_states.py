"""Of several states of one thing the newest counts, in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.ids import EmployeeId, ProviderId
from shared.contracts.states import newest
from shared.contracts.workforce import EmployeeChanged


def _state(name: str, version: int) -> EmployeeChanged:
    return EmployeeChanged(
        provider=ProviderId("acme"),
        employee=EmployeeId(name),
        version=version,
        display_name=name,
        country="PT",
        locale="pt-PT",
        assignments=(),
    )


@given(st.lists(st.builds(_state, st.sampled_from("abc"), st.integers(1, 5))))
def test_the_highest_version_of_each_is_left_in_the_order_of_the_keys(states: list[EmployeeChanged]) -> None:
    highest: dict[str, int] = {}
    for state in states:
        highest[state.employee] = max(state.version, highest.get(state.employee, 0))

    assert [(state.employee, state.version) for state in newest(states)] == sorted(highest.items())
