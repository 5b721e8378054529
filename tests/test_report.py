"""What a report says of one recording: who may judge it, what a score was worth, and when nothing is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdlib import baselines, data, report, transfer
from pdlib.errors import DataError, ParameterError
from pdlib.params import Project, load_profile, read_chapters, resolve
from pdlib.report import CLASSES, MARKERS, Person, in_population, reference, table_votes
from pdlib.single_case import Alike
from pdlib.synthetic import synthetic_cohort
from tests import reports


@pytest.fixture(scope="module")
def own():
    return reports.of_own_file()


@pytest.fixture(scope="module")
def member():
    return reports.of_member()


@pytest.fixture(scope="module")
def models(member):
    """The trained models of both reports, read from their store."""
    project = Project()
    p = resolve(read_chapters(project), load_profile("smoke", project), {}, ["13"])["13"]
    with reports.tiny():
        return report.Models.read(
            member.voices,
            member.markers,
            p,
            train=False,
            profile="smoke",
            project=project,
            say=lambda _: None,
        )


# ── who may judge ──────────────────────────────────────────────────────────────────────────────────────
def test_an_unseen_recording_is_judged_by_every_fold_and_one_of_the_cohort_by_those_without_it(own, member):
    asked = {answer.model: len(answer.votes) for answer in own.answers}
    assert asked["plain_cnn"] == asked["mobilenet_025"] == asked["custnetgc"] == 2
    assert asked["age"] == 4  # two repeats of two folds
    assert {len(a.votes) for a in member.answers if a.kind == "network"} == {1}


def test_what_is_put_together_from_the_store_says_of_a_member_what_it_said_then(member, models):
    own = models.predicted[models.predicted["recording"] == "PD-02"]
    for answer in member.answers:
        both = answer.votes.merge(own, on=["model", "seed", "fold"], suffixes=("", "_then"))
        assert len(both) == len(answer.votes) > 0
        np.testing.assert_allclose(both["score"], both["score_then"], atol=1e-3)


def test_a_member_is_no_other_of_itself_anywhere(member):
    assert "PD-02" not in member.reference.names
    assert all("PD-02" not in answer.others.index and len(answer.others) == 11 for answer in member.answers)


def test_a_table_model_says_of_a_tested_row_what_its_cross_validation_said(small_cohort, store):
    table = small_cohort.covariates("age", "sex")
    predicted = baselines.cross_validate_table(
        table, small_cohort.labels, model="age_sex", n_splits=3, seeds=range(2), store=store
    )
    votes = table_votes(table, predicted, table.loc["PD-03"])
    assert len(votes) == 6
    then = predicted[predicted["recording"] == "PD-03"]
    both = then.merge(votes, on=["seed", "fold"], suffixes=("_then", ""))
    assert len(both) == 2
    np.testing.assert_allclose(both["score"], both["score_then"], rtol=1e-9)
    np.testing.assert_array_equal(both["predicted"], both["predicted_then"])


def test_the_shared_graph_of_a_model_is_the_network_of_the_fold(own, models):
    asked = report._Asked(models, own.case, "sound")
    picture = asked.spectrogram[np.newaxis].astype(np.float32)
    for model in ("mobilenet_025", "plain_cnn"):
        for row in (1, 0):
            network = asked._joined(model, row)
            alone = transfer.fold_network(asked.judges[model][row], models.recipes[model])
            np.testing.assert_allclose(network(picture), alone(picture), atol=1e-6)
            assert float(network(picture)[0, 1]) == pytest.approx(
                asked.votes[model]["score"].iloc[row], abs=1e-4
            )


# ── what it has been worth ─────────────────────────────────────────────────────────────────────────────
def test_a_share_is_restated_for_a_population_by_bayes_rule_on_the_odds():
    like = Alike(15, 12, 0.5, 0.8, 0.6, 0.9, 0.5)
    low, high = in_population(like, 0.01)
    assert low == pytest.approx(0.01)  # odds unchanged
    assert high == pytest.approx(4 / (4 + 99))  # odds times four
    assert in_population(like._replace(low=0.0, high=1.0), 0.01) == (0.0, 1.0)


def test_every_answer_stands_beside_an_auc_and_what_became_of_recordings_like_it(own):
    kinds = {answer.model: answer.kind for answer in own.answers}
    assert kinds["plain_cnn"] == "network" and kinds["acoustic"] == "voice table"
    assert kinds["age"] == kinds["age_sex"] == "person table"
    for answer in own.answers:
        value, low, high = answer.auc
        assert 0 <= low <= value <= high <= 1
        assert answer.like.count == own.neighbours == 4
        assert answer.at_one_in_a_hundred[0] <= answer.at_one_in_a_hundred[1]
        assert np.isnan(answer.adjusted) == (answer.kind != "network")


def test_age_models_are_asked_only_where_age_and_sex_are_known(own, models):
    asked = report._Asked(models, own.case, "sound")
    assert set(asked._table_votes(Person(None, "F", ""), own.quality.markers)) == {"acoustic"}
    assert set(asked._table_votes(Person(60, None, ""), own.quality.markers)) == {"acoustic", "age"}
    older, younger = (
        asked._table_votes(Person(years, "F", ""), own.quality.markers)["age"]["score"].mean()
        for years in (80, 30)
    )
    assert older > younger


def test_only_networks_through_the_gate_are_explained_and_the_trees_never(own):
    assert own.alpha == 1.0  # the smoke profile lets every network through
    assert {each.model for each in own.explained} == {
        "mobilenet_025", "plain_cnn", "custnet_plain", "custnet_overlay"
    }  # fmt: skip
    strict = [answer.model for answer in own.answers if report.may_be_explained(answer, -1.0)]
    assert strict == []
    for each in own.explained:
        assert each.again is not None and each.look.asked in CLASSES


# ── markers ────────────────────────────────────────────────────────────────────────────────────────────
def test_markers_are_held_against_the_nearest_group_that_is_large_enough():
    voices = synthetic_cohort(60, seed=0)
    people, label = voices.people, dict(zip(voices.names, voices.labels, strict=True))
    near = reference(voices, None, Person(58, "F", ""))
    assert near.said == "women within 10 years of age 58"
    assert all(people.loc[n, "sex"] == "F" and abs(people.loc[n, "age"] - 58) <= 10 for n in near.names)
    assert len(near.names) >= report.GROUP
    assert min(pd.Series([label[n] for n in near.names]).value_counts()) >= report.GROUP_OF_CLASS
    assert "of all ages" in reference(voices, None, Person(119, "F", "")).said
    assert "the sex was not given" in reference(voices, None, Person(58, None, "")).said
    everyone = reference(voices, "HC-01", Person(None, None, ""))
    assert len(everyone.names) == 59 and "neither age nor sex was given" in everyone.said
    few = reference(synthetic_cohort(8, seed=0), None, Person(58, "F", ""))
    assert len(few.names) == 8 and "too few" in few.said


def test_every_marker_of_the_page_is_in_the_acoustic_table(own):
    assert set(marker.key for marker in MARKERS) <= set(own.markers.columns)


# ── when nothing is said ───────────────────────────────────────────────────────────────────────────────
def test_a_refused_recording_gets_no_answer_and_needs_no_network():
    found = reports.of_speech()
    assert found.refused and found.answers == () and found.explained == ()


def test_nothing_is_trained_unless_it_is_asked_for(tmp_path, monkeypatch):
    with reports.tiny():
        monkeypatch.setenv("PDLIB_RESULTS", str(tmp_path))
        with pytest.raises(DataError, match="are not in the store") as error:
            report.make("PD-02", profile="smoke")
    assert "run --profile smoke --cohort synthetic --only 10,12,13" in error.value.way_out
    assert "minutes" in error.value.way_out and "--train" in error.value.way_out
    assert not any(tmp_path.glob("*-fold/*.npz"))


def test_the_synthetic_cohort_never_stands_in_for_a_missing_one(monkeypatch):
    monkeypatch.setattr(data, "find_local", lambda: None)
    with pytest.raises(DataError, match="not on this machine") as error:
        report.make("PD-02")
    assert "pdlib fetch" in error.value.way_out and "--cohort synthetic" in error.value.way_out


@pytest.mark.parametrize(("age", "sex"), [(0, None), (-3, None), (200, None), (50, "x")])
def test_an_age_or_sex_that_cannot_be_is_wrong_use(age, sex):
    with pytest.raises(ParameterError, match="--age|--sex"):
        report.checked_person(age, sex)


def test_a_member_brings_its_own_age_and_a_file_only_what_was_given(own, member):
    known = member.voices.people.loc["PD-02"]
    assert (member.person.age, member.person.sex) == (known["age"], known["sex"])
    assert (own.person.age, own.person.sex) == (50, "M") and "as given" in own.person.source
