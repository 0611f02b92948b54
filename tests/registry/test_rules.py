"""Versions, labels, rollouts, the audit log and the test behind verdicts: the rules, with nothing around them."""

import json
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry import audit, diffing, rollouts, sequential, versions
from services.registry.audit import Broken, Entry
from services.registry.rollouts import Rollout, Rules, Tally
from services.registry.sequential import Compared
from services.registry.versions import Reference, ReferenceUnfit, Review
from tests.registry.made import ANN, BEN, NOW, label, template, version
from tests.support.scale import sized


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("a/b", Reference("a/b", "production")),
        ("a@canary", Reference("a", "canary")),
        ("a@7", Reference("a", number=7)),
        ("a@sha256:0123456789ab", Reference("a", digest="sha256:0123456789ab")),
    ],
)
def test_a_reference_names_a_label_a_number_or_a_digest(said: str, means: Reference) -> None:
    assert versions.reference(said) == means


@pytest.mark.parametrize("said", ["", "@production", "a@", "a@0", "a@sha256:12", "A", "a@Production", "a@b@c"])
def test_what_is_no_reference_is_refused(said: str) -> None:
    with pytest.raises(ReferenceUnfit):
        versions.reference(said)


def test_a_version_is_known_by_what_it_says() -> None:
    one = version(template("Hello"))
    assert one.digest == replace(one, why="for another reason", author=BEN, number=9).digest
    assert one.digest == version({"template": dict(reversed(list(one.content["template"].items())))}).digest
    assert one.digest != version(template("Hello.")).digest
    assert one.digest != replace(one, includes={"rules": "sha256:1"}).digest


def test_a_version_follows_its_kind() -> None:
    first = versions.following(None, version(template("a")))
    assert (first.number, first.parent) == (1, 0)
    assert versions.following(first, version(template("b"))).parent == 1
    with pytest.raises(versions.KindDiffers):
        versions.following(first, version({"snippet": {"text": "b"}}))
    with pytest.raises(versions.VersionUnknown):
        versions.following(first, version(template("b"), parent=2))


def test_nobody_reviews_what_they_proposed_and_a_no_stands() -> None:
    made = version(template("a"), number=1)
    with pytest.raises(versions.OwnProposal):
        versions.reviewed(made, Review(ANN.key_id, True, "", NOW))
    with pytest.raises(versions.NotApproved):
        versions.check_moved(made, "production", 1)
    yes = versions.reviewed(made, Review(BEN.key_id, True, "", NOW))
    versions.check_moved(yes, "production", 1)
    again = versions.reviewed(yes, Review(BEN.key_id, True, "still", NOW))
    with pytest.raises(versions.NotApproved):  # one person twice is one
        versions.check_moved(again, "production", 2)
    with pytest.raises(versions.VersionRejected):
        versions.check_moved(versions.reviewed(yes, Review(BEN.key_id, False, "", NOW)), "production", 0)


def test_a_label_moves_only_from_where_its_mover_saw_it() -> None:
    assert versions.moved(None, label(revision=0)).revision == 1
    with pytest.raises(versions.LabelMoved):
        versions.moved(label(revision=3), label(revision=2))
    with pytest.raises(versions.LabelMoved):
        versions.moved(None, label(revision=2))


def test_a_diff_reads_as_people_write() -> None:
    before = version(template("Be kind.\nBe brief."), number=1)
    after = version(template("Be kind.\nBe very brief."), number=2)
    made = diffing.diff(before, after)
    assert "--- support/answer@1" in made and "-        Be brief." in made and "+        Be very brief." in made, made
    assert diffing.diff(before, before) == ""


# The audit log.


def log(count: int) -> list[Entry]:
    made: list[Entry] = []
    for n in range(count):
        change = audit.proposed(version(template(f"version {n}"), number=n + 1))
        made.append(audit.entry(change, n + 1, made[-1].hash if made else audit.GENESIS))
    return made


def test_a_log_verifies_whole_and_in_pages() -> None:
    made = log(9)
    assert audit.verified(made) == made[-1]
    assert audit.verified(made[4:], 4, made[3].hash) == made[-1]
    said = json.loads(made[0].json)
    assert said["actor"] == "key_ann" and said["action"] == "version.propose" and said["previous"] == audit.GENESIS


@given(st.integers(0, 8), st.data())
def test_one_altered_byte_is_found(place: int, data: st.DataObject) -> None:
    made = log(9)
    raw = bytearray(made[place].json.encode())
    at, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    raw[at] ^= 1 << bit
    altered = replace(made[place], json=raw.decode("utf-8", "replace"))
    with pytest.raises(Broken, match=f"entry {place + 1} "):
        audit.verified([*made[:place], altered, *made[place + 1 :]])


@given(st.integers(0, 7))
def test_an_entry_taken_out_moved_or_forged_is_found(place: int) -> None:
    made = log(9)
    with pytest.raises(Broken):
        audit.verified([*made[:place], *made[place + 1 :]])
    with pytest.raises(Broken):
        audit.verified([*made[:place], made[place + 1], made[place], *made[place + 2 :]])
    forged = audit.entry(audit.proposed(version(template("other"), number=1)), place + 1, audit.GENESIS)
    if place:
        with pytest.raises(Broken):
            audit.verified([*made[:place], forged, *made[place + 1 :]])
    else:
        with pytest.raises(Broken):  # the next one tells
            audit.verified([forged, *made[1:]])


# Rollouts.

RULES = Rules(ramp=(0.1, 0.5), step=timedelta(minutes=1), step_answers=50, promote=True)


def ramping(share: float = 0.1, **more: object) -> Rollout:
    return replace(Rollout(2, share, RULES, 1, NOW), **more)  # type: ignore[arg-type]


def test_a_subject_always_sees_the_same_side_and_the_share_holds() -> None:
    subjects = [f"user {n}" for n in range(20_000)]
    ten = {one for one in subjects if rollouts.chosen(ramping(0.1), one, "a")}
    half = {one for one in subjects if rollouts.chosen(ramping(0.5), one, "a")}
    assert 0.09 < len(ten) / 20_000 < 0.11 and 0.48 < len(half) / 20_000 < 0.52
    assert ten < half, "who had the candidate keeps it as its share grows"
    assert not rollouts.chosen(None, "user 1", "a")
    assert all(rollouts.chosen(ramping(1.0), one, "a") for one in subjects)


def test_a_ramp_goes_on_when_time_and_answers_are_enough_and_ends_in_promotion() -> None:
    stable, later = Tally(1000, 5, timedelta(seconds=500)), NOW + timedelta(minutes=2)
    assert rollouts.decided(ramping(), stable, Tally(49), later) is None
    assert rollouts.decided(ramping(), stable, Tally(50), NOW) is None
    step = rollouts.decided(ramping(), stable, Tally(50), later)
    assert step is not None and step.rollout is not None and (step.rollout.share, step.rollout.step_from) == (0.5, 50)
    assert rollouts.decided(step.rollout, stable, Tally(99), later + timedelta(minutes=2)) is None
    end = rollouts.decided(step.rollout, stable, Tally(100), later + timedelta(minutes=2))
    assert end is not None and end.promoted and end.rollout is None
    kept = replace(step.rollout, rules=replace(RULES, promote=False))
    assert rollouts.decided(kept, stable, Tally(100), later + timedelta(minutes=2)) is None


def test_a_candidate_that_fails_or_is_slow_is_taken_back() -> None:
    stable = Tally(1000, 5, timedelta(seconds=500))
    step = rollouts.decided(ramping(), stable, Tally(4, 4), NOW)
    assert step is not None and step.rollout is None and not step.promoted and "4 of 4" in step.why
    assert rollouts.decided(ramping(), stable, Tally(200, 4), NOW) is None
    slow = Tally(100, 0, timedelta(seconds=160))
    rules = replace(RULES, slowest=3.0)
    assert rollouts.decided(ramping(rules=rules), stable, slow, NOW + timedelta(0)) is not None
    assert rollouts.decided(ramping(rules=replace(rules, slowest=4.0)), stable, slow, NOW) is None


def test_a_ramp_only_rises() -> None:
    with pytest.raises(rollouts.RampUnfit):
        rollouts.checked(Rules(ramp=(0.1, 0.1)))


def test_a_good_candidate_is_seldom_taken_back_however_often_one_looks() -> None:
    """It fails exactly as often as it may; looked at after every answer."""
    dice, back, runs = random.Random(7), 0, sized(300, 3000)
    for _ in range(runs):
        failed = 0
        for answers in range(1, 1001):
            failed += dice.random() < 0.02
            if sequential.failing(answers, failed, 0.02) >= 1 / rollouts.ERROR:
                back += 1
                break
    assert back / runs <= 0.03, back  # 1 % and three deviations


# The test.


def compared(*differences: float) -> Compared:
    made = Compared()
    for one in differences:
        made = made.with_(one)
    return made


def test_evidence_grows_with_a_difference_and_says_which_way() -> None:
    assert compared(*[1.0, 0.0, 0.0] * 40).verdict(0.05) == "better"
    assert compared(*[-1.0, 0.0, 0.0] * 40).verdict(0.05) == "worse"
    even = compared(*[1.0, -1.0] * 200)
    assert even.verdict(0.05) == "undecided" and even.more(0.05) == -1
    some = compared(*[1.0, 0.0, -1.0, 0.0, 1.0] * 3)
    assert some.verdict(0.05) == "undecided" and 10 < some.more(0.05) < 1000
    with pytest.raises(ValueError):
        compared(1.5)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40), st.randoms())
def test_the_order_of_differences_does_not_count(differences: list[float], dice: random.Random) -> None:
    shuffled = differences[:]
    dice.shuffle(shuffled)
    one, other = compared(*differences), compared(*shuffled)
    assert one.above == pytest.approx(other.above) and one.below == pytest.approx(other.below)
    assert one.mean == pytest.approx(other.mean)


def test_equal_sides_are_seldom_told_apart_however_often_one_looks() -> None:
    dice, wrong, runs = random.Random(3), 0, sized(200, 2000)
    for _ in range(runs):
        made = Compared()
        for _ in range(500):
            made = made.with_(dice.choice((-1.0, 0.0, 0.0, 0.0, 1.0)))
            if made.verdict(0.05) == "better":
                wrong += 1
                break
    assert wrong / runs <= 0.095, wrong  # 5 % and three deviations
