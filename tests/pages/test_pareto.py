"""The Pareto front of results with a cost and a value."""

from operator import itemgetter

from kgated.pages.pareto import pareto_front


def test_the_front_has_what_no_other_point_beats(rng):
    points = [tuple(point) for point in rng.integers(0, 6, (20, 2)).astype(float)]

    def beaten(point):
        return any(p[0] <= point[0] and p[1] >= point[1] and p != point for p in points)

    front = pareto_front(points, itemgetter(0), itemgetter(1))
    assert set(front) == {point for point in points if not beaten(point)}
    assert front == sorted(front)
