"""What is nobody's is shared out, and nothing is lost or made up by it."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from agents.cost.attribution import attributed
from agents.cost.bills import bill
from agents.cost.sharing import Cell, Rule
from tools.costs.port import MONEY_PLACES, Amount, Dimension

COMPONENT, PART, MODEL, VERSION = Dimension.COMPONENT, Dimension.PART, Dimension.MODEL, Dimension.VERSION
BY = (COMPONENT, PART, MODEL, VERSION)


def amount(cost: str, component: str, part: str, model: str = "", version: str = "") -> Amount:
    at = {COMPONENT: component, PART: part, MODEL: model, VERSION: version}
    return Amount(start=None, at=at, cost=Decimal(cost), currency="USD")


def found(cells: tuple[Cell, ...]) -> dict[tuple[str, ...], Decimal]:
    return {tuple(cell.at[each] for each in BY if cell.at[each]): cell.cost for cell in cells}


def test_a_load_balancer_stays_one_and_is_the_models_that_use_it() -> None:
    amounts = [
        amount("3", "serving", "CPU serving", "a", "1"),
        amount("1", "serving", "CPU serving", "b", "1"),
        amount("2", "serving", "CPU serving", "a"),
        amount("6", "serving", "load balancer"),
        amount("50", "training", "GPU hours", "b"),
    ]
    assert found(attributed(amounts, BY, "proportional")) == {
        ("serving", "CPU serving", "a", "1"): Decimal(5),  # with what was idle of its model's workers
        ("serving", "CPU serving", "b", "1"): Decimal(1),
        ("serving", "load balancer", "a", "1"): Decimal(5),
        ("serving", "load balancer", "b", "1"): Decimal(1),
        ("training", "GPU hours", "b", "1"): Decimal(50),  # nobody trains with a version: it is those that serve
    }
    even = found(attributed(amounts, BY, "even"))
    assert even["serving", "load balancer", "a", "1"] == even["serving", "load balancer", "b", "1"] == 3
    assert found(attributed(amounts, BY, "none"))["serving", "load balancer"] == 6


def test_what_finds_nobody_in_its_component_is_shared_among_all_and_else_stays() -> None:
    amounts = [amount("4", "monitoring", "Prometheus and Grafana"), amount("2", "training", "CPU hours", "a")]
    assert found(attributed(amounts, (MODEL,), "proportional"))["monitoring", "Prometheus and Grafana", "a"] == 4
    assert found(attributed(amounts[:1], (MODEL,), "proportional")) == {("monitoring", "Prometheus and Grafana"): Decimal(4)}


def test_what_is_in_no_experiment_is_not_for_one_to_pay() -> None:
    by = (COMPONENT, Dimension.EXPERIMENT)
    amounts = [
        Amount(start=None, at={COMPONENT: "serving", Dimension.EXPERIMENT: name}, cost=Decimal(cost), currency="USD")
        for name, cost in (("exp-1", 1), ("", 9))
    ]
    assert {cell.at[Dimension.EXPERIMENT]: cell.cost for cell in attributed(amounts, by, "proportional")} == {
        "exp-1": Decimal(1),
        "": Decimal(9),
    }


costs = st.decimals(min_value=-100, max_value=100, places=MONEY_PLACES)
words = st.sampled_from(["", "a", "b"])
some = st.lists(
    st.tuples(costs, st.sampled_from(["training", "serving"]), st.sampled_from(["x", "y"]), words, words), max_size=12
)


@given(some, st.sampled_from(["proportional", "even", "none"]), st.permutations(BY))
def test_the_whole_is_the_same_before_and_after(
    drawn: list[tuple[Decimal, str, str, str, str]], rule: Rule, by: list[Dimension]
) -> None:
    amounts = [amount(str(cost), *words) for cost, *words in drawn]
    cells = attributed(amounts, by, rule)
    whole = sum((each.cost for each in amounts), Decimal(0))
    assert sum((cell.cost for cell in cells), Decimal(0)) == whole
    for part in ("x", "y"):
        of_part = sum((each.cost for each in amounts if each.at[PART] == part), Decimal(0))
        assert sum((cell.cost for cell in cells if cell.at[PART] == part), Decimal(0)) == of_part
    # To the cent, at every level.
    entries = [bill(cells, by)]
    while entries:
        entry = entries.pop()
        if entry.parts:
            assert sum(part.cost for part in entry.parts) == entry.cost
            assert sum(part.exact for part in entry.parts) == entry.exact
        entries += entry.parts
