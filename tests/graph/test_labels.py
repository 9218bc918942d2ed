"""Labels: equality, products, refinement, and freezing, which is always sound."""

import numpy as np

from whet.graph.labels import FROZEN, Labels


def test_equal_dimensions_have_equal_roots_and_unequal_lengths_freeze() -> None:
    labels = Labels()
    a, b, c = labels.fresh(3), labels.fresh(3), labels.fresh(4)
    labels.unify(a, b)
    assert np.array_equal(labels.roots(a), labels.roots(b)) and not labels.frozen(a)
    labels.unify(b, c)
    assert labels.frozen(a) and labels.frozen(c)


def test_one_element_cannot_be_removed() -> None:
    labels = Labels()
    assert labels.fresh(1).tolist() == [FROZEN]
    assert labels.leaves(FROZEN) == ()


def test_a_merged_dimension_falls_with_either_of_its_parts() -> None:
    labels = Labels()
    heads, features = labels.fresh(2), labels.fresh(3)
    (merged,) = labels.reshape([heads, features], (6,))
    assert [labels.leaves(int(x)) for x in merged[:3]] == [(int(heads[0]), int(f)) for f in features]
    gone = np.zeros(labels.count, bool)
    gone[heads[0]] = True
    assert labels.spread(gone)[merged].tolist() == [True] * 3 + [False] * 3
    assert labels.common(merged[:3]) == {int(heads[0])} and labels.common(merged) == set()


def test_a_split_and_a_merge_give_the_dimension_back() -> None:
    labels = Labels()
    width = labels.fresh(6)
    parts = labels.reshape([width], (2, 3))
    (back,) = labels.reshape(parts, (6,))
    assert np.array_equal(labels.roots(back), labels.roots(width))
    (turned,) = labels.reshape(parts[::-1], (6,))
    assert labels.leaves(int(turned[1])) == labels.leaves(int(turned[1]))
    assert set(labels.leaves(int(turned[1]))) == set(labels.leaves(int(back[3])))


def test_a_product_is_a_set_and_unifying_it_refines_or_freezes() -> None:
    labels = Labels()
    a, b, c, d = (int(x) for x in labels.fresh(4))
    ab = labels.product([a, b])
    assert labels.product([ab, b]) == ab and labels.product([a]) == a and labels.product([]) == FROZEN
    labels.unify(np.array([ab]), np.array([c]))
    assert labels.leaves(c) == (a, b), "one leaf becomes the product"
    e, f, g = (int(x) for x in labels.fresh(3))
    labels.unify(np.array([labels.product([d, e])]), np.array([labels.product([f, g, a])]))
    assert labels.frozen(np.array([d, e, f, g])), "two against three cannot be expressed"


def test_sizes_that_do_not_line_up_are_refined_along_both() -> None:
    labels = Labels()
    six, two = labels.fresh(6), labels.fresh(2)
    three, four = labels.reshape([six, two], (3, 4))
    assert not labels.frozen(three)
    gone = np.zeros(labels.count, bool)
    gone[labels.leaves(int(three[0]))[0]] = True
    assert labels.spread(gone)[six].tolist() == [True, True, False, False, False, False]
    assert len(four) == 4


def test_columns_are_the_leaves_filled_up() -> None:
    labels = Labels()
    a, b = (int(x) for x in labels.fresh(2))
    assert labels.columns(np.array([a, labels.product([a, b]), FROZEN])).tolist() == [[a, 0], [a, b], [0, 0]]
