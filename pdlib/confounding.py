"""What tells two groups apart besides the disease: shortcuts, matching, restricted permutation, use, sample size.

Predictions are frames as `evaluate.check_predictions` wants them; people are frames with ``age`` (years) and
``sex``, indexed by recording. Nothing here is fitted on a label except in `recalibrated`, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression

from pdlib.cohort import Cohort, clipped_fraction
from pdlib.errors import DataError, ParameterError
from pdlib.evaluate import check_predictions
from pdlib.features import HOP_LENGTH, N_FFT, decibels, frame_times, power_spectrogram, slope_curves
from pdlib.patterns import low_between_highs
from pdlib.picture_sets import PictureSet, spectrogram_picture
from pdlib.preprocessing import EDGE_SECONDS, PAPER_SECONDS, SOUND_LEVEL_DB, Clip, preprocess, voiced_part

Array = NDArray[np.float64]

EDGE_LEVEL_SECONDS = 0.05  # the first and last 50 ms
FRAME_SECONDS = 0.02
QUIETEST_SHARE = 0.05  # of the frames; their level stands for the noise floor
BAND_HZ = 3800.0  # where telephone channels end
FALL_BANDS = ((100, 1000), (1000, 2000), (2000, 3000), (3000, 3800))  # Hz
NEAR_SECONDS = 0.05  # around a low or high
EQUAL_SECONDS = 1.4  # just below the shortest public recording (1.5 s)
SMALLEST_PROBABILITY = 1e-6  # keeps the logit of a score of 0 or 1 finite
MOST_YEARS = 10_000  # a difference in age that no two people have

#: Traces of how a recording was made, and what each says (`shortcut_table`).
SHORTCUTS = {
    "duration": "duration (s)",
    "padding": "share of zeros in the 3 s clip",
    "first-50-ms": "level of the first 50 ms (dB)",
    "last-50-ms": "level of the last 50 ms (dB)",
    "noise-floor": "level of the quietest frames (dB)",
    "high-band": "energy share above 3.8 kHz (dB)",
    "crest": "crest factor (dB)",
    "peak": "peak (1)",
    "clipping": "share of clipped samples",
}


# ── shortcuts ──────────────────────────────────────────────────────────────────────────────────────────
def shortcut_table(cohort: Cohort) -> pd.DataFrame:
    """Traces of the recording chain in every recording; no voice quality is measured.

    Returns
    -------
    DataFrame
        Index: recording; columns as in `SHORTCUTS`, levels in dB re full scale. The quietest frames are the
        lowest 5 % of frames of 20 ms; in a recording that was cut to the vowel they are its softest voice.
    """
    rows = {name: _shortcuts(*_sound(cohort, name)) for name in cohort.names}
    return pd.DataFrame.from_dict(rows, orient="index")[list(SHORTCUTS)].rename_axis("recording")


def _sound(cohort: Cohort, name: str) -> tuple[Array, int]:
    signal = cohort.signal(name)
    return signal.samples.astype(np.float64), signal.sample_rate


def _shortcuts(samples: Array, rate: int) -> dict[str, float]:
    edge, frame = round(EDGE_LEVEL_SECONDS * rate), round(FRAME_SECONDS * rate)
    whole = samples[: samples.size // frame * frame].reshape(-1, frame)
    levels = np.sort(10 * np.log10(np.mean(whole**2, axis=1) + 1e-12))
    power = np.abs(np.fft.rfft(samples)) ** 2
    high = power[np.fft.rfftfreq(samples.size, 1 / rate) >= BAND_HZ].sum() / power.sum()
    peak, level = float(np.abs(samples).max()), _level(samples)
    return {
        "duration": samples.size / rate,
        "padding": max(0.0, 1 - samples.size / (PAPER_SECONDS * rate)),
        "first-50-ms": _level(samples[:edge]),
        "last-50-ms": _level(samples[-edge:]),
        "noise-floor": float(levels[: max(1, round(QUIETEST_SHARE * levels.size))].mean()),
        "high-band": float(10 * np.log10(high + 1e-12)),
        "crest": 20 * np.log10(peak) - level,
        "peak": peak,
        "clipping": clipped_fraction(samples, rate),
    }


def _level(samples: Array) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-12))


def format_table(cohort: Cohort) -> pd.DataFrame:
    """Traces that a form left behind, which no voice model may ever see: how age and identifier are written.

    Returns
    -------
    DataFrame
        Index: recording. ``decimal-age``: 1 where the age is no whole number (only where all ages are known).
        ``identifier``: how many digits follow the first underscore of the file name (only for files that have
        one). A column that cannot be made is left out.
    """
    ages = cohort.people.loc[cohort.names, "age"].astype(float)
    columns = {}
    if ages.notna().all():
        columns["decimal-age"] = (ages % 1 > 0).astype(float)
    stems = [recording.path.stem if recording.path else "" for recording in cohort.recordings]
    if all("_" in stem for stem in stems):
        tails = [stem.split("_", 1)[1] for stem in stems]
        columns["identifier"] = [
            float(len(tail) - len(tail.lstrip("0123456789"))) for tail in tails
        ]  # fmt: skip
    return pd.DataFrame(columns, index=pd.Index(cohort.names, name="recording"))


def deep_lows(cohort: Cohort) -> pd.DataFrame:
    """The deepest low between two highs of every whole recording: when it comes and how evenly it falls.

    Returns
    -------
    DataFrame
        Index: recording. ``depth`` (dB, `patterns.low_between_highs` on the energy curve), ``start`` and ``end``
        (seconds from the start and from the end of the recording), and for each band of `FALL_BANDS` the fall
        in dB from the highs on both sides to the low (`fall_0` …). A gain that is turned down falls alike in all
        bands; a voice that becomes softer falls more in the upper ones.
    """
    rows = {name: _deepest_low(*_sound(cohort, name)) for name in cohort.names}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("recording")


def _deepest_low(samples: Array, rate: int) -> dict[str, float]:
    seconds = samples.size / rate
    curves = slope_curves(preprocess(samples, rate, "paper", seconds=seconds))
    low = low_between_highs(curves.energy)
    places = [
        int(curves.energy[: low.index + 1].argmax()),
        low.index,
        low.index + int(curves.energy[low.index :].argmax()),
    ]
    power = power_spectrogram(samples)
    hertz, times = np.arange(len(power)) * rate / N_FFT, frame_times(power.shape[1], N_FFT, HOP_LENGTH, rate)
    falls = {}
    for place, (lowest, highest) in enumerate(FALL_BANDS):
        band = 10 * np.log10(power[(hertz >= lowest) & (hertz < highest)].sum(axis=0) + 1e-12)
        near = [band[np.abs(times - curves.times[k]) <= NEAR_SECONDS] for k in places]
        before, at, after = (values.mean() if values.size else np.nan for values in near)
        falls[f"fall_{place}"] = (before + after) / 2 - at
    time = float(curves.times[low.index])
    return {"depth": low.depth, "start": time, "end": seconds - time, **falls}


def level_over_time(cohort: Cohort, edges: ArrayLike, *, from_end: bool = False) -> pd.DataFrame:
    """Level of every recording in steps of time, in dB re its own median level; NaN where it is over.

    ``edges`` (s) are the borders of the steps, counted from the start of the recording or from its end; the
    columns are the middles of the steps. A step counts when the recording fills at least half of it.
    """
    edges, rows = np.asarray(edges, dtype=float), {}
    for name in cohort.names:
        samples, rate = _sound(cohort, name)
        energy = decibels(power_spectrogram(samples).sum(axis=0))
        times = frame_times(energy.size, N_FFT, HOP_LENGTH, rate)
        place = np.digitize(samples.size / rate - times if from_end else times, edges) - 1
        least = np.diff(edges) * rate / HOP_LENGTH / 2
        kept = [energy[place == k] for k in range(edges.size - 1)]
        rows[name] = [
            values.mean() - np.median(energy) if values.size >= few else np.nan
            for values, few in zip(kept, least, strict=True)
        ]
    return pd.DataFrame.from_dict(rows, orient="index", columns=(edges[1:] + edges[:-1]) / 2)


# ── comparable speakers ────────────────────────────────────────────────────────────────────────────────
def age_strata(people: pd.DataFrame, years: int = 10, *, by_sex: bool = True) -> pd.Series:
    """Stratum of each speaker, such as "60–69 F": ages in steps of ``years``, and sex."""
    _positive_years(years)
    low = (people["age"].astype(float) // years * years).astype(int)
    names = low.astype(str) + "–" + (low + years - 1).astype(str)
    return (names + " " + people["sex"].astype(str) if by_sex else names).rename("stratum")


def all_pairs(labels: pd.Series) -> pd.DataFrame:
    """Every PD speaker with every HC speaker: columns pd and hc; ``labels`` (1 = PD) by recording."""
    return _pairs(labels, np.ones((int((labels == 1).sum()), int((labels == 0).sum())), dtype=bool))


def stratum_pairs(labels: pd.Series, strata: pd.Series) -> pd.DataFrame:
    """Every PD–HC pair within a stratum (`age_strata`)."""
    pd_, hc = (strata.loc[labels.index[labels == label]].to_numpy() for label in (1, 0))
    return _pairs(labels, pd_[:, None] == hc)


def close_pairs(labels: pd.Series, people: pd.DataFrame, max_years: float = 5) -> pd.DataFrame:
    """Every PD–HC pair of one sex whose ages lie at most ``max_years`` apart."""
    return _pairs(labels, _differences(labels, people) <= _positive_years(max_years))


def matched_pairs(labels: pd.Series, people: pd.DataFrame, max_years: float = 5) -> pd.DataFrame:
    """Pairs of one PD and one HC speaker of the same sex, each speaker at most once.

    As many pairs as can be formed with ages at most ``max_years`` apart and, of all ways to form that many, one
    with the smallest sum of age differences (assignment problem; `scipy.optimize.linear_sum_assignment`).

    Parameters
    ----------
    labels : Series
        1 for PD, 0 for HC, by recording.
    people : DataFrame
        ``age`` and ``sex`` by recording.
    max_years : float

    Returns
    -------
    DataFrame
        Columns pd, hc (recordings), sex, years (age of pd minus age of hc); no rows where no pair can be formed.
    """
    apart, limit = _differences(labels, people), _positive_years(max_years)
    # one forbidden pair costs more than all allowed ones together, so the number of pairs comes first
    cost = np.where(apart <= limit, apart, (limit + 1) * (min(apart.shape) + 1))
    rows, columns = linear_sum_assignment(cost)
    allowed = np.zeros(apart.shape, dtype=bool)
    allowed[rows, columns] = apart[rows, columns] <= limit
    pairs = _pairs(labels, allowed)
    ages = people["age"].astype(float)
    pairs["sex"] = people["sex"].reindex(pairs["pd"]).to_numpy()
    pairs["years"] = ages.reindex(pairs["pd"]).to_numpy() - ages.reindex(pairs["hc"]).to_numpy()
    return pairs


def overlap_of_ages(labels: pd.Series, people: pd.DataFrame) -> pd.Index:
    """Speakers no younger than the youngest and no older than the oldest of *each* class."""
    ages = people["age"].astype(float).loc[labels.index]
    by_class = ages.groupby(labels)
    return labels.index[ages.between(by_class.min().max(), by_class.max().min())]


def _positive_years(years: float) -> float:
    if isinstance(years, bool) or not np.isfinite(years) or years <= 0:
        raise ParameterError(
            f"years = {years!r} is not a positive number", "give a number of years, such as 5"
        )
    return years


def _differences(labels: pd.Series, people: pd.DataFrame) -> Array:
    """Years between every PD and every HC speaker, (PD, HC); `MOST_YEARS` for another sex or unknown."""
    ill, well = (people.loc[labels.index[labels == label]] for label in (1, 0))
    ages = [group["age"].astype(float).to_numpy() for group in (ill, well)]
    apart = np.abs(ages[0][:, None] - ages[1])
    same = ill["sex"].to_numpy()[:, None] == well["sex"].to_numpy()
    return np.where(same & np.isfinite(apart), apart, MOST_YEARS)


def _pairs(labels: pd.Series, allowed: NDArray[np.bool_]) -> pd.DataFrame:
    ill, well = (labels.index[labels == label].to_numpy(dtype=object) for label in (1, 0))
    rows, columns = np.nonzero(allowed)
    return pd.DataFrame({"pd": ill[rows], "hc": well[columns]})


def pair_concordance(
    predictions: pd.DataFrame, pairs: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.Series:
    """Share of the given PD–HC pairs in which the PD speaker scores higher, ties counted half.

    Over all pairs this is the AUC; over pairs within strata of age it is the age-adjusted concordance; over
    matched pairs it is the AUC within pairs. Seeds are averaged.

    Parameters
    ----------
    predictions : DataFrame
        Of one model; see `evaluate.check_predictions`.
    pairs : DataFrame
        Columns pd and hc.

    Returns
    -------
    Series
        value, low, high (percentile bootstrap: of pairs where each speaker stands in one pair, else of the
        speakers of each class), pairs, speakers. NaN without a pair.
    """
    scores = _scores(predictions)[1]
    ill, well = (scores.loc[pairs[side]].to_numpy() for side in ("pd", "hc"))
    wins = ((ill > well) + 0.5 * (ill == well)).mean(axis=1)
    speakers = pairs["pd"].nunique() + pairs["hc"].nunique()
    result = {"value": np.nan, "low": np.nan, "high": np.nan, "pairs": len(pairs), "speakers": speakers}
    if len(pairs):
        weights = _pair_weights(pairs, n_boot, seed)
        total = weights.sum(axis=1)
        drawn = (weights @ wins)[total > 0] / total[total > 0]
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        result |= {"value": float(wins.mean()), "low": float(low), "high": float(high)}
    return pd.Series(result)


def _pair_weights(pairs: pd.DataFrame, n_boot: int, seed: int) -> Array:
    """How often each pair is drawn, (n_boot, pairs)."""
    rng = np.random.default_rng(seed)
    if pairs["pd"].is_unique and pairs["hc"].is_unique:
        return rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=n_boot).astype(float)
    weights = np.ones((n_boot, len(pairs)))
    for side in ("pd", "hc"):
        codes, names = pd.factorize(pairs[side])
        weights *= rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_boot)[:, codes]
    return weights


def _scores(predictions: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Labels by recording, and scores (recordings, seeds), of one model."""
    frame = check_predictions(predictions)
    if len(frame[["model", "variant", "protocol"]].drop_duplicates()) > 1:
        raise DataError("predictions of more than one model", "give those of one model and variant")
    scores = frame.pivot(index="recording", columns="seed", values="score")
    if scores.isna().to_numpy().any():
        raise DataError("a seed misses a recording", "finish the run before comparing it")
    return frame.groupby("recording")["label"].first().loc[scores.index], scores


# ── is it more than the confounder? ────────────────────────────────────────────────────────────────────
def restricted_permutation(
    predictions: pd.DataFrame,
    strata: pd.Series | None = None,
    *,
    n: int = 2000,
    seed: int = 0,
    two_sided: bool = False,
) -> pd.Series:
    """AUC against labels shuffled only within strata (Chaibub Neto et al. 2019), scores held fixed.

    Shuffling within strata of age and sex keeps what these say about the label and breaks everything else, so
    the mean of the shuffled AUCs is what the strata alone explain of the model's AUC. An AUC above that range
    says that the score tells the classes apart *within* strata. Strata that are too wide leave some of the
    confounder in; strata with one class cannot be shuffled.

    Parameters
    ----------
    predictions : DataFrame
        Of one model.
    strata : Series, optional
        Stratum by recording; left out, all speakers are shuffled together: the ordinary permutation test.
    two_sided : bool
        Count shuffles at least as far from the mean of the shuffles, in either direction.

    Returns
    -------
    Series
        auc; null, null_low, null_high (mean and middle 95 % of the shuffled AUCs); p, never 0
        (Phipson & Smyth 2010); mixed (speakers in strata with both classes). NaN p where nothing can be
        shuffled.
    """
    labels, scores = _scores(predictions)
    codes = np.zeros(len(labels), int) if strata is None else pd.factorize(strata.loc[labels.index])[0]
    rng, own = np.random.default_rng(seed), labels.to_numpy()
    shuffled = np.tile(own, (n, 1))
    mixed = 0
    for code in range(codes.max() + 1):
        members = np.flatnonzero(codes == code)
        if 0 < own[members].mean() < 1:
            mixed += members.size
            shuffled[:, members] = rng.permuted(shuffled[:, members], axis=1)
    everything = np.vstack([own, shuffled])
    aucs = np.round(_weighted_auc(scores.to_numpy(), everything), 12)
    observed, null = aucs[0], aucs[1:]
    middle = null.mean()
    far = np.abs(null - middle) >= np.abs(observed - middle) - 1e-12 if two_sided else null >= observed
    low, high = np.quantile(null, [0.025, 0.975])
    p = (1 + far.sum()) / (1 + n) if mixed else np.nan
    return pd.Series(
        {"auc": observed, "null": middle, "null_low": low, "null_high": high, "p": p, "mixed": mixed}
    )


def _weighted_auc(scores: Array, labels: NDArray) -> Array:
    """AUC for each row of labels (replicates, speakers), averaged over the seeds of scores (speakers, seeds)."""
    pos, neg = labels.astype(float), 1.0 - labels
    wins = [
        np.sum((pos @ ((s[:, None] > s) + 0.5 * (s[:, None] == s))) * neg, axis=1) for s in scores.T
    ]  # fmt: skip
    return np.mean(wins, axis=0) / (pos.sum(axis=1) * neg.sum(axis=1))


def age_correlation(
    predictions: pd.DataFrame, ages: pd.Series, label: int, *, n_boot: int = 2000, seed: int = 0
) -> pd.Series:
    """Rank correlation of a model's score with age within one class: does the model hear age?

    Scores are averaged over seeds as log-odds. Returns rho (Spearman), low, high (percentile bootstrap over
    speakers) and speakers; NaN with fewer than four speakers.
    """
    labels, scores = _scores(predictions)
    chosen = labels.index[labels == label]
    x = log_odds(scores.loc[chosen]).mean(axis=1).to_numpy()
    y = ages.astype(float).loc[chosen].to_numpy()
    result = {"rho": np.nan, "low": np.nan, "high": np.nan, "speakers": len(chosen)}
    if len(chosen) >= 4 and np.ptp(x) > 0 and np.ptp(y) > 0:
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(chosen), size=(n_boot, len(chosen)))
        replicates = _spearman(x[drawn], y[drawn])
        low, high = np.nanquantile(replicates, [0.025, 0.975])
        result |= {"rho": float(_spearman(x[None], y[None])[0]), "low": float(low), "high": float(high)}
    return pd.Series(result)


def _spearman(x: Array, y: Array) -> Array:
    """Spearman's rho of each row, NaN where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    a, b = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)


def log_odds(scores: ArrayLike) -> ArrayLike:
    """Logit of scores, with 0 and 1 moved inwards by `SMALLEST_PROBABILITY`."""
    return logit(np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))


def combined(a: pd.DataFrame, b: pd.DataFrame, *, model: str) -> pd.DataFrame:
    """Predictions by the mean of the log-odds of two models, over the seeds both have; nothing is fitted.

    Both were tested on the same speakers. The threshold of one half is a convention; read the AUC.
    """
    frames = [check_predictions(part).set_index(["recording", "seed"]) for part in (a, b)]
    common = frames[0].index.intersection(frames[1].index)
    if len(common) == 0:
        raise DataError(
            "the two models share no speaker and seed", "combine models of the same cohort and seeds"
        )
    first, second = (frame.loc[common] for frame in frames)
    mean = (log_odds(first["score"].to_numpy()) + log_odds(second["score"].to_numpy())) / 2
    score = expit(mean)
    made = first.assign(model=model, score=score, threshold=0.5, predicted=(score >= 0.5).astype(int))
    return check_predictions(made.reset_index())


# ── of what use it would be ────────────────────────────────────────────────────────────────────────────
def recalibrated(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores turned into probabilities by a logistic line, fitted for each fold on the other folds' scores.

    Two numbers per fold and seed (Platt's scaling). The other folds' models were trained on this fold's
    speakers, so a trace of them can reach these two numbers; that is accepted, and said.
    """
    parts = []
    for _, one_seed in check_predictions(predictions).groupby("seed"):
        for fold in one_seed["fold"].unique():
            own, rest = (one_seed[one_seed["fold"] == fold], one_seed[one_seed["fold"] != fold])
            line = LogisticRegression(C=1.0).fit(log_odds(rest["score"].to_numpy())[:, None], rest["label"])
            score = line.predict_proba(log_odds(own["score"].to_numpy())[:, None])[:, 1]
            parts.append(own.assign(score=score, threshold=0.5, predicted=(score >= 0.5).astype(int)))
    return check_predictions(pd.concat(parts, ignore_index=True))


def shifted(probabilities: ArrayLike, sample: float, population: float) -> Array:
    """Probabilities of a sample with prevalence ``sample`` restated for ``population`` (Bayes' rule on the odds)."""
    return expit(log_odds(probabilities) + logit(population) - logit(sample))


def net_benefit(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, prevalence: float | None = None
) -> Array:
    """Net benefit of calling PD whoever reaches a threshold (Vickers & Elkin 2006).

    recall · π − (1 − specificity) · (1 − π) · t / (1 − t): true cases found, less false alarms weighed by the
    odds at which they are worth it. With π the sample's share this is TP/n − FP/n · t/(1 − t).

    Parameters
    ----------
    labels, probabilities : array_like, shape (n,)
    thresholds : array_like
        Each in (0, 1).
    prevalence : float, optional
        π; left out, the share of PD among the labels.

    Returns
    -------
    ndarray, shape of ``thresholds``
    """
    labels = np.asarray(labels, dtype=float)
    recall, alarms = _rates(labels, np.asarray(probabilities, dtype=float), thresholds)
    return _benefit(recall, alarms, thresholds, labels.mean() if prevalence is None else prevalence)


def treat_all(thresholds: ArrayLike, prevalence: float) -> Array:
    """Net benefit of calling everybody PD; calling nobody has 0."""
    return _benefit(np.ones(np.shape(thresholds)), np.ones(np.shape(thresholds)), thresholds, prevalence)


def _benefit(recall: Array, alarms: Array, thresholds: ArrayLike, prevalence: float) -> Array:
    t = np.asarray(thresholds, dtype=float)
    if ((t <= 0) | (t >= 1)).any() or not 0 < prevalence < 1:
        raise ParameterError("thresholds and prevalence lie between 0 and 1", "leave both ends out")
    return recall * prevalence - alarms * (1 - prevalence) * t / (1 - t)


def _rates(labels: Array, probabilities: Array, thresholds: ArrayLike, weights: Array | None = None):
    """Recall and false alarm rate at each threshold; with weights (replicates, n) one row per replicate."""
    called = (probabilities[:, None] >= np.asarray(thresholds, dtype=float)).astype(float)
    weights = np.ones((1, labels.size)) if weights is None else weights
    pos, neg = weights * labels, weights * (1 - labels)
    rates = [w @ called / w.sum(axis=1, keepdims=True) for w in (pos, neg)]
    return tuple(rate[0] if len(rate) == 1 else rate for rate in rates)


def net_benefit_band(
    predictions: pd.DataFrame,
    thresholds: ArrayLike,
    *,
    prevalence: float | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Net benefit of one model over its seeds, with a pointwise 95 % band over speakers.

    With ``prevalence`` the probabilities are restated for that population first (`shifted`). Returns columns
    threshold, value, low, high.
    """
    labels, scores = _scores(predictions)
    own, share = labels.to_numpy(float), float(labels.mean())
    weights = np.vstack([np.ones(own.size), _drawn(own, n_boot, seed)])
    curves = []
    for probabilities in scores.to_numpy().T:
        moved = probabilities if prevalence is None else shifted(probabilities, share, prevalence)
        recall, alarms = _rates(own, moved, thresholds, weights)
        curves.append(_benefit(recall, alarms, thresholds, prevalence or share))
    mean = np.mean(curves, axis=0)
    low, high = np.quantile(mean[1:], [0.025, 0.975], axis=0)
    return pd.DataFrame({"threshold": thresholds, "value": mean[0], "low": low, "high": high})


def _drawn(labels: Array, n_boot: int, seed: int) -> Array:
    """How often each speaker is drawn, classes apart: (n_boot, speakers)."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((n_boot, labels.size))
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        weights[:, own] = rng.multinomial(own.size, np.full(own.size, 1 / own.size), size=n_boot)
    return weights


def predictive_value(recall: ArrayLike, specificity: ArrayLike, prevalence: float) -> Array:
    """Share of PD among those called PD in a population with this prevalence (Bayes); NaN if none is called."""
    true, false = _called(recall, specificity, prevalence)
    return np.divide(true, true + false, out=np.full(np.shape(true), np.nan), where=true + false > 0)[()]


def false_alarms_per_case(recall: ArrayLike, specificity: ArrayLike, prevalence: float) -> Array:
    """Healthy people called PD for every true case found; infinite where no case is found."""
    true, false = _called(recall, specificity, prevalence)
    return np.divide(false, true, out=np.full(np.shape(true), np.inf), where=true > 0)[()]


def _called(recall: ArrayLike, specificity: ArrayLike, prevalence: float) -> tuple[Array, Array]:
    recall, specificity = np.asarray(recall, dtype=float), np.asarray(specificity, dtype=float)
    if not 0 < prevalence < 1:
        raise ParameterError(f"prevalence = {prevalence!r} is not a share", "give a number between 0 and 1")
    return recall * prevalence, (1 - specificity) * (1 - prevalence)


def predictive_summary(
    predictions: pd.DataFrame, prevalence: float, *, n_boot: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Recall, specificity, predictive value and false alarms per case of a model's decisions, with intervals.

    Returns a frame indexed by quantity with value, low, high; 95 % percentile bootstrap over speakers. A
    replicate that finds no case has infinitely many false alarms per case, so that interval may be open.
    """
    frame = check_predictions(predictions)
    labels = frame.groupby("recording")["label"].first().to_numpy(float)
    called = frame.groupby("recording")["predicted"].mean().to_numpy(float)
    weights = np.vstack([np.ones(labels.size), _drawn(labels, n_boot, seed)])
    recall, alarms = ((weights * w) @ called / (weights * w).sum(axis=1) for w in (labels, 1 - labels))
    found = {
        "recall": recall,
        "specificity": 1 - alarms,
        "predictive value": predictive_value(recall, 1 - alarms, prevalence),
        "false alarms per case": false_alarms_per_case(recall, 1 - alarms, prevalence),
    }
    rows = {}
    for name, values in found.items():
        exists = values[1:][~np.isnan(values[1:])]
        ends = np.quantile(exists, [0.025, 0.975], method="nearest") if exists.size else (np.nan, np.nan)
        rows[name] = {"value": float(values[0]), "low": float(ends[0]), "high": float(ends[1])}
    return pd.DataFrame.from_dict(rows, orient="index")


# ── how many speakers it would take ────────────────────────────────────────────────────────────────────
def hanley_mcneil_se(auc: ArrayLike, n_pd: ArrayLike, n_hc: ArrayLike) -> Array:
    """Standard error of an AUC with ``n_pd`` and ``n_hc`` speakers (Hanley & McNeil 1982)."""
    a, m, n = (np.asarray(value, dtype=float) for value in (auc, n_pd, n_hc))
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
    return np.sqrt((a * (1 - a) + (m - 1) * (q1 - a**2) + (n - 1) * (q2 - a**2)) / (m * n))


def binormal_shift(auc: float) -> float:
    """Distance of two normals of unit variance whose AUC is ``auc``: √2 Φ⁻¹(auc)."""
    if not 0 < auc < 1:
        raise ParameterError(f"auc = {auc!r} is not between 0 and 1", "leave both ends out")
    return float(np.sqrt(2) * norm.ppf(auc))


def simulated_power(
    auc: float, n: int, *, simulations: int = 1000, seed: int = 0, level: float = 0.95
) -> float:
    """Chance that the interval of an AUC lies above one half, with ``n`` speakers in each class.

    Scores are normal in both classes, so far apart that their AUC is ``auc``; the interval is DeLong's.
    """
    rng = np.random.default_rng(seed)
    ill, well = rng.normal(binormal_shift(auc), 1, (simulations, n)), rng.normal(0, 1, (simulations, n))
    v10, v01 = _placements(ill, well)
    return _share_above(v10, v01, 0.5, level)


def simulated_gain_power(
    base: float, gain: float, n: int, *, simulations: int = 1000, seed: int = 0, level: float = 0.95
) -> float:
    """Chance that the interval of a paired gain in AUC lies above zero, with ``n`` speakers in each class.

    One score (age) has AUC ``base``; a second (voice) is independent of it within each class and just strong
    enough that the best weighted sum has AUC ``base + gain``. The weights are taken as known, which is
    optimistic. The interval is DeLong's for the difference of two AUCs on the same speakers.
    """
    if not 0.5 <= base < base + gain < 1:
        raise ParameterError(f"base {base} and gain {gain} leave no AUC below 1", "choose smaller ones")
    first, both = binormal_shift(base), binormal_shift(base + gain)
    second = np.sqrt(both**2 - first**2)
    rng = np.random.default_rng(seed)
    ages = [rng.normal(mean, 1, (simulations, n)) for mean in (first, 0)]
    sums = [
        first * age + second * rng.normal(mean, 1, age.shape)
        for age, mean in zip(ages, (second, 0), strict=True)
    ]
    of_sum, of_age = _placements(*sums), _placements(*ages)
    return _share_above(of_sum[0] - of_age[0], of_sum[1] - of_age[1], 0.0, level)


def _placements(ill: Array, well: Array) -> tuple[Array, Array]:
    """DeLong's placement values of every PD and every HC score, (simulations, n) each; no ties assumed."""
    m, n = ill.shape[1], well.shape[1]
    ranks = _ranks(np.concatenate([ill, well], axis=1))
    return (ranks[:, :m] - _ranks(ill)) / n, 1 - (ranks[:, m:] - _ranks(well)) / m


def _ranks(values: Array) -> Array:
    order = values.argsort(axis=1)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, values.shape[1] + 1)[None], axis=1)
    return ranks


def _share_above(v10: Array, v01: Array, limit: float, level: float) -> float:
    error = np.sqrt(v10.var(axis=1, ddof=1) / v10.shape[1] + v01.var(axis=1, ddof=1) / v01.shape[1])
    return float(np.mean(v10.mean(axis=1) - norm.ppf((1 + level) / 2) * error > limit))


def speakers_needed(power_at: Callable[[int], float], power: float, guess: int) -> int:
    """Speakers per class at which ``power_at`` reaches ``power``, from a search around ``guess``.

    Doubles or halves until the value is enclosed, then halves the gap, in steps of one part in fifty; with one
    seed for all sizes the answer is the same every time.
    """
    low, high = 4, max(5, guess)
    while power_at(high) < power:
        low, high = high, 2 * high
        if high > 200_000:
            raise ParameterError(
                f"a power of {power} is not reached with {high} speakers", "look for a larger effect"
            )
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high


# ── the same network on other cuts of the recordings ───────────────────────────────────────────────────
def _edges_cut(samples: Array, rate: int) -> Array:
    start, stop = voiced_part(samples, rate)
    edge = round(EDGE_SECONDS * rate)
    return samples[start + edge : stop - edge]


def _middle(samples: Array, length: int) -> Array:
    first = (samples.size - length) // 2
    return samples[first : first + length]


def _whole(samples: Array, rate: int) -> Clip:
    return preprocess(samples, rate, "paper", seconds=samples.size / rate)


def _low_passed(samples: Array, rate: int) -> Array:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / rate) >= BAND_HZ] = 0
    return np.fft.irfft(spectrum, samples.size)


def _levelled(samples: Array, rate: int) -> Clip:
    clip = preprocess(samples, rate, "paper")
    return replace(clip, samples=clip.samples * 10 ** ((SOUND_LEVEL_DB - _level(clip.voice)) / 20))


def _zeros_only(samples: Array, rate: int) -> Clip:
    clip = preprocess(samples, rate, "paper")
    noise = 0.1 * np.random.default_rng(0).standard_normal(clip.samples.size)  # the same for everybody
    return replace(clip, samples=np.where(clip.mask, noise, 0.0))


#: How a clip is made of a recording, by name: (samples, rate, seconds of the equal cut) → Clip.
PREPARATIONS: dict[str, Callable[[Array, int, float], Clip]] = {
    "as printed": lambda x, rate, _: preprocess(x, rate, "paper"),
    "edges cut": lambda x, rate, _: preprocess(_edges_cut(x, rate), rate, "paper"),
    "equal level": lambda x, rate, _: _levelled(x, rate),
    "below 3.8 kHz": lambda x, rate, _: preprocess(_low_passed(x, rate), rate, "paper"),
    "equal length, start": lambda x, rate, seconds: _whole(x[: round(seconds * rate)], rate),
    "equal length, middle": lambda x, rate, seconds: _whole(_middle(x, round(seconds * rate)), rate),
    "middle second": lambda x, rate, _: preprocess(x, rate, "sound"),
    "zeros only": lambda x, rate, _: _zeros_only(x, rate),
}


def prepared_pictures(cohort: Cohort, preparation: str, size: int) -> PictureSet:
    """Log-mel pictures of a whole cohort from another cut of the recordings, see `PREPARATIONS`.

    "as printed": 3 s, cut or filled with zeros. "edges cut": the voice without 0.15 s at each end, then as
    printed. "equal level": as printed, but every voice at −20 dB. "below 3.8 kHz": nothing above, then as
    printed. "equal length": 1.4 s (or as much as the shortest recording has) from the start or from the
    middle of the recording, no zeros, peak at 1. "middle second": sound practice. "zeros only": one and the
    same noise where the voice was, zeros where zeros were.

    Raises
    ------
    ParameterError
        When the preparation is unknown.
    """
    if preparation not in PREPARATIONS:
        raise ParameterError(
            f"preparation {preparation!r} is unknown", f"choose from {', '.join(PREPARATIONS)}"
        )
    sounds = [_sound(cohort, name) for name in cohort.names]
    seconds = min(EQUAL_SECONDS, *(samples.size / rate for samples, rate in sounds))
    make = PREPARATIONS[preparation]
    drawn = [spectrogram_picture(make(samples, rate, seconds), size) for samples, rate in sounds]
    return PictureSet(tuple(cohort.names), np.asarray(cohort.labels), np.stack(drawn))


def pooled_table(maps: ArrayLike, names: Sequence[str]) -> pd.DataFrame:
    """Global averages of a frozen network's maps (n, rows, columns, channels), one row per recording."""
    values = np.asarray(maps, dtype=np.float64).mean(axis=(1, 2))
    columns = [f"channel_{k}" for k in range(values.shape[1])]
    return pd.DataFrame(values, index=pd.Index(names, name="recording"), columns=columns)
