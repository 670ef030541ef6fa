import pytest

from kms.console.charts import Series, build_bars, find_top


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 5), (4, 5), (5, 5), (6, 10), (11, 20), (23, 50), (101, 200), (5000, 5000)]
)
def test_the_scale_ends_at_a_round_number(highest: int, top: int) -> None:
    assert find_top(highest) == top


def test_bars_are_stacked_from_the_base_up_to_their_sum() -> None:
    chart = build_bars(title="t", labels=["a", "b"], series=[Series("x", "good", [3, 0]), Series("y", "bad", [1, 5])])
    first, second, third = chart.bars
    assert first.y + first.height == pytest.approx(chart.base)
    assert second.y + second.height == pytest.approx(first.y)
    assert second.x == first.x < third.x
    assert third.y == pytest.approx(chart.scale[-1].at)  # the highest reaches the end of the scale
    assert [bar.title for bar in chart.bars] == ["a: 3 x", "a: 1 y", "b: 5 y"]


def test_the_table_and_the_words_say_what_the_bars_say() -> None:
    chart = build_bars(title="t", labels=["a", "b"], series=[Series("x", "good", [3, 0]), Series("y", "bad", [1, 5])])
    assert chart.rows == (("a", (3, 1)), ("b", (0, 5)))
    assert chart.description == "3 x, 6 y in all; most in b: 5."


def test_a_chart_of_nothing_says_so() -> None:
    chart = build_bars(title="t", labels=["a"], series=[Series("x", "one", [0])])
    assert chart.is_empty
    assert chart.description == "Nothing in this time."


def test_everything_lies_inside_the_drawing() -> None:
    chart = build_bars(title="t", labels=[str(n) for n in range(13)], series=[Series("x", "one", list(range(13)))])
    for bar in chart.bars:
        assert chart.left <= bar.x < bar.x + bar.width <= chart.right
        assert bar.y >= 0
        assert bar.y + bar.height <= chart.base + 0.01
