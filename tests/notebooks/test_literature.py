"""The survey as typed: a slip of the finger in data/literature.csv would be held against the paper."""

import re

import pandas as pd
import pytest

from pdlib import paths

COLUMNS = (
    "reference first_author cited_year reference_year input same_data place page row technique performance "
    "demerit metric of printed unit note"
).split()
PLACES = {"Table 1": {5}, "text": {3, 4}, "Table 3": {38}, "Table 4": {39}, "Table 5": {41}}


@pytest.fixture(scope="module")
def literature():
    return pd.read_csv(paths.DATA / "literature.csv", dtype=str, keep_default_na=False)


def test_the_columns_are_those_the_chapters_read(literature):
    assert list(literature.columns) == COLUMNS


def test_every_row_stands_on_a_page_of_its_place(literature):
    for place, part in literature.groupby("place"):
        assert set(part["page"].astype(int)) <= PLACES[place], place
    assert set(literature["place"]) == set(PLACES)


def test_table_1_has_its_24_rows_and_one_reference_each(literature):
    table = literature[literature["place"] == "Table 1"]
    rows = table.groupby(table["row"].astype(int))
    assert list(rows.groups) == list(range(1, 25))
    assert (rows["reference"].nunique() == 1).all()
    assert rows["reference"].first().is_unique


def test_every_printed_number_stands_in_the_words_it_was_taken_from(literature):
    survey = literature[literature["place"].isin(["Table 1", "text"]) & (literature["printed"] != "")]
    for row in survey.itertuples():
        numbers = re.findall(r"\d+(?:\.\d+)?", row.performance)
        assert row.printed in numbers, f"[{row.reference}] {row.place}: {row.printed}"


def test_no_number_of_the_printed_words_was_left_out_of_table_1(literature):
    table = literature[literature["place"] == "Table 1"]
    for row, part in table.groupby("row"):
        words = part["performance"].iloc[0]
        numbers = re.findall(r"\d+(?:\.\d+)?", words.replace("F1", "F"))
        counted = [number for number in numbers if number not in ("300", "1")]  # features; a gain in AUC
        assert sorted(counted) == sorted(part.loc[part["printed"] != "", "printed"]), f"row {row}: {words}"


def test_values_are_shares_in_the_unit_they_are_printed_in(literature):
    numbers = literature[literature["printed"] != ""]
    assert set(numbers["unit"]) == {"%", "1"}
    share = numbers["printed"].astype(float) / numbers["unit"].map({"%": 100, "1": 1})
    assert share.between(0.3, 1).all()


def test_the_comparison_tables_have_five_metrics_of_four_models(literature):
    for place in ("Table 3", "Table 4", "Table 5"):
        part = literature[literature["place"] == place]
        wide = part.pivot(index="technique", columns="metric", values="printed")
        assert wide.shape == (4, 5) and wide.notna().all(axis=None), place
        assert set(wide.columns) == {"accuracy", "F1", "precision", "sensitivity", "specificity"}


def test_the_paper_s_own_row_is_the_same_in_all_three_tables(literature):
    own = literature[(literature["reference"] == "paper")].copy()
    own["value"] = own["printed"].astype(float) / own["unit"].map({"%": 100, "1": 1})
    assert (own.groupby("metric")["value"].nunique() == 1).all()


def test_one_reference_has_one_author_one_pair_of_years_and_one_judgement(literature):
    columns = ["first_author", "cited_year", "reference_year", "input", "same_data"]
    for reference, part in literature.groupby("reference"):
        assert (part[columns].nunique() == 1).all(), reference


def test_only_the_study_on_the_same_recordings_and_the_paper_say_so(literature):
    assert set(literature.loc[literature["same_data"] == "yes", "reference"]) == {"5", "paper"}
    earlier = literature[pd.to_numeric(literature["reference_year"], errors="coerce") < 2023]
    assert set(earlier["same_data"]) == {"no"}, "the recordings were published in 2023"
