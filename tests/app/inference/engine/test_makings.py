"""What is in the making is overtaken by deletions of its own components, and by no other."""

from app.inference.engine.makings import Makings


def test_a_deletion_overtakes_what_has_its_component_and_has_begun():
    makings = Makings()
    own, other = makings.begin(["a", "b"]), makings.begin(["c"])
    makings.overtake(["b", "d"])
    later = makings.begin(["b"])
    assert [each.is_overtaken for each in (own, other, later)] == [True, False, False]


def test_a_deletion_elsewhere_overtakes_all_that_has_begun():
    makings = Makings()
    begun = [makings.begin(["a"]), makings.begin([])]
    makings.overtake_all()
    assert [each.is_overtaken for each in (*begun, makings.begin(["a"]))] == [True, True, False]


def test_what_is_overtaken_is_not_to_be_kept():
    makings = Makings()
    begun = makings.begin(["a", "b"])
    assert makings.have(["b"])
    assert not makings.have(["c"])
    makings.overtake(["a"])
    assert not makings.have(["b"])
    assert begun.is_overtaken


def test_what_nobody_makes_any_more_is_not_remembered():
    makings = Makings()
    for _ in range(100):
        makings.begin(["a"])
    assert len(makings._under_way) == 0
