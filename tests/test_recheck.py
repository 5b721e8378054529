"""Folds trained again from scratch: equal ones are called equal, a changed score or setting is found."""

import ast
import json
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest

from pdlib import custnetgc, evaluate, fold_results, paths, recheck, transfer
from pdlib.baselines import cross_validate_table
from pdlib.errors import DataError, ParameterError
from pdlib.params import Project, read_chapters
from pdlib.picture_sets import slope_pictures, spectrogram_pictures
from pdlib.protocols import speaker_folds
from pdlib.provenance import Store

FOLDS = {"n_splits": 2, "cross_fits": 2, "seed": 0, "repeats": 1, "table_repeats": 2}
CHAIN = FOLDS | {
    "input_size": 32, "width": 0.05, "middle_blocks": 1, "epochs": 1, "batch_size": 4, "learning_rate": 0.001,
    "strength": 0.4, "iterations": 5,
}  # fmt: skip
NETWORKS = FOLDS | {
    "picture_size": 32, "weights": "untrained", "head_epochs": 1, "finetune_epochs": 1, "cnn_epochs": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(small_cohort, tmp_path_factory):
    """Predictions as the chapters make them, and their settings."""
    store = Store(tmp_path_factory.mktemp("results"))
    graphs = slope_pictures(small_cohort, variant="paper", size=32, store=store)
    first = speaker_folds(graphs.names, graphs.labels, 2, 0)[0]
    chain = [custnetgc.stored_fold(graphs, first, recheck.plan_of(CHAIN), store=store)]
    pictures = spectrogram_pictures(small_cohort, variant="sound", size=32, store=store)
    recipe = transfer.cnn_recipe("plain_cnn", 32, epochs=1)
    cnn = transfer.cross_validate(pictures, recipe, seeds=[0], n_splits=2, cross_fits=2, store=store)
    age = cross_validate_table(
        small_cohort.covariates("age"),
        small_cohort.labels,
        model="age",
        n_splits=2,
        seeds=range(2),
        store=store,
    )
    frames = [
        fold_results.predictions(chain, graphs, custnetgc.MODELS, "paper"),
        fold_results.predictions(cnn, pictures, ["plain_cnn"], "sound"),
        age,
    ]
    settings = {
        number: {"profile": "smoke", "cohort": small_cohort.fingerprint, "parameters": parameters}
        for number, parameters in (("10", CHAIN), ("12", NETWORKS))
    }
    return evaluate.check_predictions(pd.concat(frames, ignore_index=True)), settings


@pytest.fixture
def no_training(monkeypatch):
    """Whoever trains in a test that refuses before any training fails."""

    def refuse(*_, **__):
        raise AssertionError("trained")

    for module in (custnetgc, transfer):
        monkeypatch.setattr(module, "run_fold", refuse)


# ── training again ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def result(made, small_cohort):
    seen = []
    predictions, settings = made
    found = recheck.recheck(predictions, settings, 3, 0, small_cohort, on_fold=seen.append)
    assert pd.concat(seen, ignore_index=True).equals(found)
    return found


def test_every_kind_of_model_gives_the_same_scores_again(result):
    assert set(result["model"]) == {*custnetgc.MODELS, "plain_cnn", "age"}
    assert list(result.columns) == list(recheck.COLUMNS)
    assert set(result["verdict"]) <= {"identical", "within tolerance"} and recheck.same(result)
    assert (result["flipped"] == 0).all() and (result["speakers"] == 6).all()
    assert recheck.said(result).startswith("5 trained again: ") and recheck.said(result).endswith(
        "0 different"
    )


def test_a_changed_score_is_found_in_its_model_and_no_other(made, small_cohort, monkeypatch):
    predictions, settings = made
    (unit,) = [u for u in recheck.draw(predictions, 3, 0) if "custnetgc" in u.models]
    monkeypatch.setattr(recheck, "draw", lambda *_: [unit])
    place = (predictions["model"] == "custnetgc") & (predictions["fold"] == unit.fold)
    row = predictions.index[place][0]
    changed = predictions.copy()
    moved = changed.loc[row, "score"] + (0.01 if changed.loc[row, "score"] < 0.5 else -0.01)
    changed.loc[row, ["score", "predicted"]] = moved, int(moved >= changed.loc[row, "threshold"])
    found = recheck.recheck(changed, settings, 1, 0, small_cohort).set_index("model")
    assert not recheck.same(found)
    assert found.loc["custnetgc", "verdict"] == "differs"
    assert found.loc["custnetgc", "largest difference"] == pytest.approx(0.01)
    assert (found.drop("custnetgc")["verdict"] != "differs").all()
    assert "1 different (largest difference 0.01," in recheck.said(found)


def test_one_parameter_changed_in_the_settings_is_found(made, small_cohort, monkeypatch):
    predictions, settings = made
    (unit,) = [u for u in recheck.draw(predictions, 3, 0) if "plain_cnn" in u.models]
    monkeypatch.setattr(recheck, "draw", lambda *_: [unit])
    other = settings | {"12": settings["12"] | {"parameters": NETWORKS | {"cnn_epochs": 2}}}
    assert not recheck.same(recheck.recheck(predictions, other, 1, 0, small_cohort))


@pytest.mark.parametrize(
    ("moved", "verdict"),
    [(0.0, "identical"), (1e-7, "within tolerance"), (1e-5, "differs"), (0.4, "differs")],
)
def test_the_verdict_follows_the_largest_difference_and_flips_are_counted(moved, verdict):
    unit = recheck.Unit(("m",), "none", 0, 0)
    before = pd.DataFrame({"model": "m", "recording": ["a", "b"], "score": [0.3, 0.7], "threshold": 0.5})
    after = before.assign(score=[0.3 + moved, 0.7])[::-1]
    before, after = (f.assign(predicted=(f["score"] >= f["threshold"]).astype(int)) for f in (before, after))
    (row,) = recheck._compared(unit, before, after).to_dict("records")
    assert row["verdict"] == verdict and row["flipped"] == (moved == 0.4)
    assert row["largest difference"] == pytest.approx(moved, abs=1e-12)
    shifted = after.assign(score=before["score"], threshold=0.5 + moved)
    assert recheck._compared(unit, before, shifted)["verdict"].tolist() == [verdict], (
        "the threshold counts too"
    )


# ── refused before anything is trained ─────────────────────────────────────────────────────────────────
def test_predictions_of_other_recordings_are_refused(made, small_cohort, no_training):
    predictions, settings = made
    other = {number: own | {"cohort": "f" * 64} for number, own in settings.items()}
    with pytest.raises(DataError, match="are of recordings ffffffffffff"):
        recheck.recheck(predictions, other, 1, 0, small_cohort)


@pytest.mark.parametrize("change", [{"n_splits": 3}, {"seed": 5}, {"repeats": 0, "table_repeats": 0}])
def test_predictions_of_other_folds_are_refused(made, small_cohort, no_training, change):
    predictions, settings = made
    other = {n: own | {"parameters": own["parameters"] | change} for n, own in settings.items()}
    with pytest.raises(DataError, match="not of the folds that the settings"):
        recheck.recheck(predictions, other, 1, 0, small_cohort)


def test_a_swapped_label_or_a_missing_speaker_is_refused(made, small_cohort, no_training):
    predictions, settings = made
    relabelled = predictions.assign(label=1 - predictions["label"])
    without = predictions[predictions["recording"] != "HC-01"]
    for changed in (relabelled, without):
        with pytest.raises(DataError, match="not of the folds"):
            recheck.recheck(changed, settings, 7, 0, small_cohort)


def test_settings_that_lack_a_chapter_or_a_parameter_are_named(made, small_cohort, no_training):
    predictions, settings = made
    with pytest.raises(DataError, match="no cohort of chapter 12"):
        recheck.recheck(predictions, {"10": settings["10"]}, 3, 0, small_cohort)
    short = {name: value for name, value in NETWORKS.items() if name != "cnn_epochs"}
    with pytest.raises(DataError, match="chapter 12 have no 'cnn_epochs'"):
        recheck.recheck(
            predictions, settings | {"12": settings["12"] | {"parameters": short}}, 3, 0, small_cohort
        )


def test_other_pretrained_weights_than_those_stored_are_named(made, small_cohort, no_training):
    predictions, settings = made
    other = settings | {"12": settings["12"] | {"weights": {"plain_cnn": "sha256 0"}}}
    with pytest.raises(
        DataError, match="plain_cnn started from the weights sha256 0; those found here are drawn"
    ):
        recheck.recheck(predictions, other, 3, 0, small_cohort)
    used = recheck.weights_used("12", NETWORKS, ["plain_cnn", "mobilenet_025", "age"])
    assert used == {"mobilenet_025": "untrained, seed 0", "plain_cnn": "drawn"}


# ── reading and drawing ────────────────────────────────────────────────────────────────────────────────
def test_what_a_run_stored_is_read_back_with_rows_of_several_chapters_once(made, tmp_path):
    predictions, settings = made
    age = predictions["model"] == "age"
    in_12 = age | (predictions["model"] == "plain_cnn")
    evaluate.write_predictions(predictions[~in_12 | age], tmp_path / "chapter_10.csv")
    evaluate.write_predictions(predictions[in_12], tmp_path / "chapter_12.csv")
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    found, kept = recheck.read(tmp_path)
    assert kept == settings
    order = ["model", "variant", "seed", "recording"]
    pd.testing.assert_frame_equal(*(f.sort_values(order, ignore_index=True) for f in (found, predictions)))
    other = predictions[age].assign(score=0.5, threshold=0.4, predicted=1)
    evaluate.write_predictions(other, tmp_path / "chapter_11.csv")
    with pytest.raises(DataError, match="occur twice"):
        recheck.read(tmp_path)


def test_missing_or_broken_files_are_named_with_the_way_to_get_them(made, tmp_path):
    with pytest.raises(DataError, match="there is no settings.json(.|\n)*audit --record"):
        recheck.read(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(DataError, match="settings.json cannot be read"):
        recheck.read(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(DataError, match="holds no chapter_10.csv"):
        recheck.read(tmp_path)


def many():
    """Three trainings: a chain of ten folds, a network of four, and a table model of a hundred."""
    rows = [(m, "paper", s, f) for m in custnetgc.MODELS for s in range(2) for f in range(5)]
    rows += [("plain_cnn", "sound", 0, f) for f in range(4)] + [
        ("age", "none", s, f) for s in range(20) for f in range(5)
    ]
    return pd.DataFrame(rows, columns=["model", "variant", "seed", "fold"]).assign(protocol="speaker")


def test_a_draw_depends_on_its_seed_and_no_fold_is_drawn_twice():
    draws = [recheck.draw(many(), 20, seed) for seed in range(5)]
    assert draws[0] == recheck.draw(many(), 20, 0)
    assert len({tuple(d) for d in draws}) == 5
    assert all(len(set(d)) == 20 for d in draws)


def test_cheap_models_do_not_crowd_out_the_networks():
    for seed in range(20):
        drawn = recheck.draw(many(), 3, seed)
        assert {unit.models for unit in drawn} == {custnetgc.MODELS, ("plain_cnn",), ("age",)}
    first = [recheck.draw(many(), 1, seed)[0].models[0] for seed in range(30)]
    assert set(first) == {"custnet_plain", "plain_cnn", "age"}


def test_every_fold_can_be_drawn_and_no_more_than_there_are():
    assert set(recheck.draw(many(), 114, 0)) == set(recheck.units(many()))
    for n in (0, 115):
        with pytest.raises(ParameterError, match="from 1 to 114"):
            recheck.draw(many(), n, 0)


def test_what_is_not_trained_again_is_named():
    other = pd.DataFrame(
        {"model": ["age", "custnetgc", "shortcuts"], "protocol": ["speaker", "class", "speaker"]}
    )
    assert recheck.left_out(other) == ["custnetgc (class)", "shortcuts (speaker)"]


# ── the settings are those of the chapters ─────────────────────────────────────────────────────────────
def assigned(number, *names, **values):
    """Values of ``names`` as the cells of a chapter assign them, its parameters being the defaults or ``values``."""
    chapter = read_chapters(Project())[number]
    place = {name: parameter.default for name, parameter in chapter.parameters.items()} | values
    defaults, wanted = dict(place), dict.fromkeys(names)
    for cell in nbformat.read(chapter.path, as_version=4).cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else []:
            if isinstance(node, ast.ImportFrom | ast.Import):
                exec(compile(ast.Module([node], []), "imports", "exec"), place)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in wanted and wanted[name] is None:
                    place[name] = wanted[name] = eval(
                        compile(ast.Expression(node.value), name, "eval"), place
                    )
    return defaults, wanted


def test_chapter_10_and_the_recheck_read_the_parameters_alike():
    defaults, found = assigned("10", "plan")
    assert found["plan"] == recheck.plan_of(defaults)
    defaults, found = assigned("10", "plan", strength=0.1, batch_size=3, middle_blocks=2, learning_rate=0.5)
    assert found["plan"] == recheck.plan_of(defaults)


def test_the_run_at_the_printed_size_is_trained_again_at_its_own_size_and_width(small_cohort, tmp_path):
    settings = CHAIN | {"printed_size": 40, "printed_width": 0.1, "printed_repeats": 1}
    plan, variant = recheck.plan_of(settings, "paper, 40 px"), "paper, 40 px"
    assert (plan.network.input_size, plan.network.width) == (40, 0.1)
    assert replace(plan, network=recheck.plan_of(settings).network) == recheck.plan_of(settings)
    graphs = slope_pictures(small_cohort, variant="paper", size=40, store=Store(tmp_path))
    first = speaker_folds(graphs.names, graphs.labels, 2, 0)[0]
    chain = [custnetgc.stored_fold(graphs, first, plan, store=Store(tmp_path))]
    predictions = fold_results.predictions(chain, graphs, custnetgc.MODELS, variant)
    kept = {"10": {"cohort": small_cohort.fingerprint, "parameters": settings}}
    found = recheck.recheck(predictions, kept, 1, 0, small_cohort)
    assert recheck.same(found) and set(found["variant"]) == {variant}
    kept["10"]["parameters"] = settings | {"printed_repeats": 0}
    with pytest.raises(DataError, match="not of the folds"):
        recheck.recheck(predictions, kept, 1, 0, small_cohort)


def test_chapters_11_and_12_and_the_recheck_read_the_parameters_alike():
    small = {"picture_size": 32, "weights": "untrained", "head_epochs": 3}
    for number, more in (
        ("11", {"backbones": ["mobilenet_v1_025"]}),
        ("12", {"cnn_epochs": 7, "finetune_epochs": 5}),
    ):
        defaults, found = assigned(number, "nets", "recipes", **small, **more)
        assert found["recipes"]
        for recipe in found["recipes"].values():
            assert recheck.chapter_of(recipe.model) == number
            assert recheck.recipe_of(recipe.model, number, defaults).identity == recipe.identity
    assert np.all(
        [recheck.chapter_of(model) == "10" for model in (*custnetgc.MODELS, "acoustic", "age", "age_sex")]
    )
    assert recheck.chapter_of("shortcuts") is None and paths.NOTEBOOKS.is_dir()
