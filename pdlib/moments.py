"""Moments: a figure whose numbers a reader can move in the static page, without a kernel.

Each moment is shown as a figure, like every other of the book, and below it a box that holds the same numbers.
The book's own script, ``book/_static/moments.js``, puts controls into the box and computes what they show in the
browser. Without the script, in print or in a notebook, the box says so and points at the figure.
"""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

import librosa
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdlib import features
from pdlib.confounding import hanley_mcneil_se, predictive_value
from pdlib.errors import DataError, ParameterError, PrivacyError
from pdlib.evaluate import (
    Confusion,
    accuracy,
    auc,
    check_predictions,
    choose_threshold,
    confusion,
    f1,
    precision,
    recall,
    roc_curve,
    specificity,
)
from pdlib.figures import COLOURS, OTHER_COLOURS, Page, Shown, format_number, subplots
from pdlib.markup import SYNTHETIC
from pdlib.preprocessing import preprocess

FEW = 10  # people of a class; an AUC of fewer is warned of
PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
RULES = ("one half", "chosen in training", "best on the test")
_LOOKS = dict(
    zip(RULES, (("s", OTHER_COLOURS[3]), ("^", OTHER_COLOURS[1]), ("D", OTHER_COLOURS[2])), strict=True)
)
PARTS = ("whole", "harmonic", "percussive", "sum of the two parts")
_RATE = 8000  # Hz, of the recordings and of the players


class Moment(NamedTuple):
    """A figure and the box below it, as they stand on the page; a cell that ends with it shows nothing more."""

    figure: Shown
    box: Shown

    def _ipython_display_(self) -> None:
        """Nothing, see `figures.Shown`."""


# ── a threshold on the ROC curve ───────────────────────────────────────────────────────────────────────
def operating_points(predictions: pd.DataFrame, prevalence: float) -> pd.DataFrame:
    """What a model's scores give at one half, at the thresholds chosen in training, and at the best one on the test.

    Parameters
    ----------
    predictions : DataFrame
        Of one model and one seed; see `evaluate.check_predictions`.
    prevalence : float
        Share of people with PD for which the predictive value is given.

    Returns
    -------
    DataFrame
        Indexed by rule: tp, fn, fp, tn, accuracy, precision, recall, specificity, f1, predictive_value.
        "chosen in training" decides each recording with the threshold of its own fold.
    """
    labels, scores = predictions["label"], predictions["score"]
    thresholds = (0.5, predictions["threshold"], choose_threshold(labels, scores))
    rows = {}
    for rule, threshold in zip(RULES, thresholds, strict=True):
        counts = confusion(labels, (scores >= threshold).astype(int))
        rows[rule] = vars(counts) | rates(counts, prevalence)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def rates(counts: Confusion, prevalence: float) -> dict[str, float]:
    """The counted metrics of a confusion matrix, and the predictive value at a prevalence."""
    found = {m.__name__: float(m(counts)) for m in (accuracy, precision, recall, specificity, f1)}
    value = predictive_value(found["recall"], found["specificity"], prevalence)
    return found | {"predictive_value": float(value)}


def threshold(
    page: Page, key: str, models: Mapping[str, pd.DataFrame], *, prevalence: float = 0.01
) -> Moment:
    """Show ROC curves with three thresholds marked, and a box in which a reader moves the threshold.

    Parameters
    ----------
    key : str
        Of the figure; the box has this key with ``-moment``.
    models : mapping of str to DataFrame
        Predictions of one seed each, by the model's title.
    prevalence : float
        One of `PREVALENCES`: where the second slider stands at first.

    Raises
    ------
    DataError
        When a frame breaks the schema of predictions or holds several models or seeds.
    ParameterError
        For a prevalence that the slider does not have.
    """
    if prevalence not in PREVALENCES:
        raise ParameterError(f"prevalence {prevalence!r} is not on the slider", f"take one of {PREVALENCES}")
    models = {title: _of_one_seed(title, frame) for title, frame in models.items()}
    fig, axes = subplots(1, len(models), width=0.8 + 3.4 * len(models), height=3.9, squeeze=False)
    curves, points, said = [], [], []
    for ax, (title, frame) in zip(axes[0], models.items(), strict=True):
        curves.append(_draw_roc(ax, frame, title).assign(model=title))
        found = operating_points(frame, prevalence)
        for rule, row in found.iterrows():
            marker, colour = _LOOKS[rule]
            ax.plot(
                1 - row["specificity"], row["recall"], marker, color=colour, ms=8, mec="black", label=rule
            )
        points.append(found.reset_index().assign(model=title))
        own, best = (found.loc[rule, "recall"] + found.loc[rule, "specificity"] - 1 for rule in RULES[1:])
        said.append(
            f"{title}: {own:.2f} with thresholds chosen in training, {best:.2f} with the best on the test"
        )
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)
    shown = page.figure(
        fig,
        key,
        caption="ROC curve of one repeat, with three ways to set the threshold: at one half; chosen in training, each "
        "recording decided with the threshold of its own fold, so that the point need not lie on the curve; and the "
        "one that is best on the tested recordings themselves.",
        alt="Recall plus specificity minus one. " + "; ".join(said) + ".",
        data={"curve": pd.concat(curves, ignore_index=True), "points": pd.concat(points, ignore_index=True)},
    )
    values = {
        "models": [
            {
                "name": title,
                **{name: frame[name].tolist() for name in ("label", "score", "threshold")},
                "best": choose_threshold(frame["label"], frame["score"]),
            }
            for title, frame in models.items()
        ],
        "prevalences": PREVALENCES,
        "prevalence": prevalence,
    }
    return Moment(shown, _box(
        page, shown, "roc", "Move the threshold", values,
        "two sliders move the threshold and the share of people who have PD, and the point on the curve, the confusion "
        "matrix and the metrics follow",
    ))  # fmt: skip


def _of_one_seed(title: str, frame: pd.DataFrame) -> pd.DataFrame:
    frame = check_predictions(frame).sort_values(["label", "score"], ignore_index=True)
    if frame["recording"].duplicated().any():
        raise DataError(f"the predictions of {title} have a recording twice", "give one model and one seed")
    return frame


def _draw_roc(ax: Axes, frame: pd.DataFrame, title: str) -> pd.DataFrame:
    curve = roc_curve(frame["label"], frame["score"])
    ax.plot([0, 1], [0, 1], ":", color="#666666")
    ax.plot(curve["false_positive_rate"], curve["recall"], color="#4d4d4d")
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
        xlabel="false positive rate (1)",
        ylabel="recall (1)",
    )
    ax.set_title(f"{title}, AUC {auc(frame['label'], frame['score']):.2f}")
    return curve


# ── age against score ──────────────────────────────────────────────────────────────────────────────────
def age_steps(ages: pd.Series, labels: pd.Series, scores: Mapping[str, pd.Series], step: int) -> pd.DataFrame:
    """One row per person, without a name: age in steps, class, scores, and where in its step a point is drawn.

    Nobody's age is given closer than to a step, and rows are ordered by what they hold, not by recording.

    Returns
    -------
    DataFrame
        Columns age (lower end of the step, years), label, place (years), and one of scores for each model,
        rounded to four digits.
    """
    frame = pd.DataFrame({"age": (ages // step * step).astype(int), "label": labels})
    for title, values in scores.items():
        frame[title] = values.round(4)
    if frame.isna().any(axis=None):
        raise DataError("an age, label or score is missing", "show the moment only where all are known")
    frame = frame.sort_values(["age", "label", *scores], ignore_index=True)
    spread = frame.groupby(["age", "label"]).cumcount() * 0.618 % 1  # even, however many there are
    frame.insert(2, "place", (frame["age"] + step * (0.08 + 0.44 * frame["label"] + 0.4 * spread)).round(2))
    return frame


def area(frame: pd.DataFrame, name: str) -> dict[str, float]:
    """AUC of a column, its approximate 95 % interval (Hanley & McNeil), and how many people of each class."""
    n_pd, n_hc = int((frame["label"] == 1).sum()), int((frame["label"] == 0).sum())
    if not (n_pd and n_hc):
        return {"auc": np.nan, "low": np.nan, "high": np.nan, "PD": n_pd, "HC": n_hc}
    # years are no probabilities; only their order counts
    value = auc(frame["label"], frame[name].rank(pct=True))
    half = 1.96 * float(hanley_mcneil_se(value, n_pd, n_hc))
    return {
        "auc": value,
        "low": max(0.0, value - half),
        "high": min(1.0, value + half),
        "PD": n_pd,
        "HC": n_hc,
    }


def ages(
    page: Page, key: str, age: pd.Series, labels: pd.Series, scores: Mapping[str, pd.Series], *, step: int = 5
) -> Moment:
    """Show age against score, and a box in which a reader chooses the model and the range of ages.

    Parameters
    ----------
    age, labels : Series
        Years and class (1 is PD), indexed by recording.
    scores : mapping of str to Series
        One score per recording for each model, by its title; the first is drawn.
    step : int
        Years; ages are shown no closer.
    """
    frame = age_steps(age, labels, scores, step)
    ends = frame.groupby("label")["age"].agg(["min", "max"])
    low, high = int(ends["min"].max()), int(ends["max"].min())
    both = (
        f"the ages of both classes, {low} to {high + step - 1} years"
        if low <= high
        else "no age, for none is of both"
    )
    first = next(iter(scores))
    areas = pd.DataFrame(
        {"score": name, "ages": which, **area(part, column)}
        for name, column in (("age in steps", "age"), *((title, title) for title in scores))
        for which, part in (("all", frame), ("overlap", frame[frame["age"].between(low, high)]))
    )
    fig, (left, right) = subplots(1, 2, width=9.4, height=3.8, width_ratios=(1, 1))
    if low <= high:
        left.axvspan(low, high + step, color="#000000", alpha=0.06, lw=0)
    for label, name, marker in ((0, "HC", "s"), (1, "PD", "o")):
        part = frame[frame["label"] == label]
        left.plot(part["place"], part[first], marker, color=COLOURS[name], ms=5, label=name)
    left.set(
        xlabel=f"age, in steps of {step} years (years)", ylabel=f"score of {first} (1)", ylim=(-0.02, 1.02)
    )
    left.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    _draw_areas(right, areas)
    overlap = areas[areas["ages"] == "overlap"].set_index("score")
    shown = page.figure(
        fig,
        key,
        caption=f"Left: age and score of {first}, one point per person, ages in steps of {step} years; the place "
        f"within a step has no meaning. Grey: {both}. Right: AUC among all people and among those in the grey, with "
        "approximate 95 % intervals.",
        alt=f"In {both} ({overlap['PD'].iloc[0]} PD, {overlap['HC'].iloc[0]} HC) the "
        + ", ".join(f"AUC of {name} is {format_number(row['auc'], '.2f')}" for name, row in overlap.iterrows()) + ".",
        data={"people": frame, "areas": areas},
    )  # fmt: skip
    values = {
        "step": step, "few": FEW, "models": list(scores),
        "people": {name: frame[name].tolist() for name in frame.columns},
    }  # fmt: skip
    return Moment(shown, _box(
        page, shown, "ages", "Choose who is compared", values,
        "you choose a model and the youngest and oldest age, and see how well age and the score separate those who are "
        "left, and how many they are",
    ))  # fmt: skip


def _draw_areas(ax: Axes, areas: pd.DataFrame) -> None:
    names = list(dict.fromkeys(areas["score"]))
    for which, offset, marker, colour in (
        ("all", -0.15, "o", "0.45"),
        ("overlap", 0.15, "s", OTHER_COLOURS[0]),
    ):
        part = areas[areas["ages"] == which].reset_index(drop=True)
        ax.hlines(part.index + offset, part["low"], part["high"], color=colour)
        ax.plot(part["auc"], part.index + offset, marker, ms=6, color=colour, label=which)
    ax.axvline(0.5, color="0.5", lw=1, ls=":")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlabel="AUC (1)", xlim=(0, 1.02))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


# ── harmonic and percussive parts to listen to ─────────────────────────────────────────────────────────
def harmonic_percussive_sounds(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic and percussive part of a sound, as sounds that add up to it.

    The shares of `features.harmonic_percussive` are applied to the complex spectrum, so amplitudes add up, not powers.

    Parameters
    ----------
    samples : array, shape (n,)
        At 8 kHz.

    Returns
    -------
    harmonic, percussive : ndarray, shape (m,)
        What `inside` leaves of the sound.
    """
    power = features.power_spectrogram(samples)
    lasting, _ = features.harmonic_percussive(power)
    share = np.divide(lasting, power, out=np.full_like(power, 0.5), where=power > 0)
    sizes = {"n_fft": features.N_FFT, "hop_length": features.HOP_LENGTH, "center": False}
    spectrum = librosa.stft(np.asarray(samples, dtype=np.float64), **sizes)
    length = features.N_FFT + (power.shape[1] - 1) * features.HOP_LENGTH
    return tuple(
        inside(librosa.istft(part, length=length, **sizes))
        for part in (share * spectrum, (1 - share) * spectrum)
    )


def inside(samples: np.ndarray) -> np.ndarray:
    """A sound without what fills no frame and without one frame at each end, where too few frames overlap."""
    whole = features.N_FFT + (samples.size - features.N_FFT) // features.HOP_LENGTH * features.HOP_LENGTH
    return samples[features.N_FFT : whole - features.N_FFT]


def listen(page: Page, key: str, cohort: Any, names: Mapping[str, str]) -> Moment:
    """Show the mean spectra of the parts of synthetic voices, and players for them.

    Parameters
    ----------
    cohort : Cohort
        Of synthetic voices; nothing else is ever played.
    names : mapping of str to str
        Recordings by class, "HC" and "PD".

    Raises
    ------
    PrivacyError
        For a cohort that is not synthetic, whatever the page may show: a voice is a person.
    """
    if cohort.kind != "synthetic":
        raise PrivacyError(
            f"{', '.join(names.values())} of the {cohort.kind} cohort would be played on a page",
            'pages play synthetic voices only: pass individuals_cohort(voices, "synthetic")',
        )
    voices = {}
    for label, name in names.items():
        signal = cohort.signal(name)
        samples = preprocess(signal.samples, signal.sample_rate, "sound", _RATE).samples
        harmonic, percussive = harmonic_percussive_sounds(samples)
        voices[label] = dict(
            zip(PARTS, (inside(samples), harmonic, percussive, harmonic + percussive), strict=True)
        )
    levels = {
        label: {
            name: 10 * np.log10(np.mean(part**2) / np.mean(parts["whole"] ** 2))
            for name, part in parts.items()
        }
        for label, parts in voices.items()
    }
    fig, axes = subplots(1, len(voices), width=4.4 * len(voices), height=3.2, sharey=True, squeeze=False)
    drawn = {}
    for ax, (label, parts) in zip(axes[0], voices.items(), strict=True):
        drawn[label.lower()] = _draw_spectra(ax, parts)
        ax.set_title(f"{label}, synthetic voice {names[label]}")
    axes[0, 0].set_ylabel("level (dB re full scale)")
    axes[0, 0].legend(fontsize=9)
    shown = page.figure(
        fig,
        key,
        cohort=cohort,
        caption="Mean spectrum of what the players below play: one synthetic voice of each class, its harmonic and its "
        "percussive part. The parts add up to the whole as sounds.",
        alt="Level of the percussive part below the harmonic one, in dB: "
        + ", ".join(f"{label} {at['harmonic'] - at['percussive']:.1f}" for label, at in levels.items()) + ".",
        data=drawn,
    )  # fmt: skip
    peak = max(np.abs(part).max() for parts in voices.values() for part in parts.values())
    players = "".join(
        _voice_html(f"pd-{page.chapter}-{key}-{label.lower()}", label, parts, levels[label], 0.8 / peak)
        for label, parts in voices.items()
    )
    return Moment(shown, _box(
        page, shown, "listen", "Listen", None,
        "a slider under the players mixes the two parts while they play",
        inside=players,
    ))  # fmt: skip


def _draw_spectra(ax: Axes, parts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    hertz = np.linspace(0, _RATE / 2, features.N_FFT // 2 + 1)
    looks = {
        "whole": ("-", "0.6", 3.0),
        "harmonic": ("-", OTHER_COLOURS[0], 1.6),
        "percussive": ("--", OTHER_COLOURS[1], 1.6),
    }
    spectra = {
        name: features.decibels(features.power_spectrogram(parts[name]).mean(axis=1), -120) for name in looks
    }
    for name, (line, colour, width) in looks.items():
        ax.plot(hertz, spectra[name], line, color=colour, lw=width, label=name)
    ax.set(xlabel="frequency (Hz)", xlim=(0, _RATE / 2))
    return pd.DataFrame({"hz": hertz} | spectra).round(2)


def _voice_html(
    anchor: str, label: str, parts: Mapping[str, np.ndarray], levels: Mapping[str, float], gain: float
) -> str:
    told = {name: f", {format_number(levels[name], '+.1f')} dB" for name in ("harmonic", "percussive")}
    rows = "".join(
        f"<li><span>{escape(name)}{told.get(name, '')}</span>"
        f'<audio controls preload="none" data-cohort="synthetic" data-part="{escape(name)}" '
        f'aria-label="{SYNTHETIC} {label} voice, {escape(name)}" src="{_wav_uri(gain * part)}"></audio></li>'
        for name, part in parts.items()
    )
    title = f'<strong class="pd-synthetic">{SYNTHETIC}</strong> {escape(label)} voice; levels re the whole'
    head = f'<div class="pd-voice" role="group" aria-labelledby="{anchor}"><p id="{anchor}">{title}</p>'
    return f"{head}<ul>{rows}</ul></div>"


def _wav_uri(samples: np.ndarray) -> str:
    """A mono 16-bit WAV at 8 kHz as a data address, faded over 10 ms at both ends so that it does not click."""
    fade = np.minimum(1, np.minimum(np.arange(samples.size), np.arange(samples.size)[::-1]) / (0.01 * _RATE))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(np.round(32767 * np.clip(samples * fade, -1, 1)).astype("<i2").tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# ── the box ────────────────────────────────────────────────────────────────────────────────────────────
def _box(page: Page, shown: Shown, kind: str, title: str, values: Any, what: str, inside: str = "") -> Shown:
    """The box below a figure: its data for the script, what it would show without, and the figure's stamp."""
    key, figure = f"{shown.key}-moment", f"pd-{page.chapter}-{shown.key}"
    stamp = shown.stamp
    marked = (
        f'<strong class="pd-synthetic">{SYNTHETIC}</strong> ' if page.items[shown.key]["synthetic"] else ""
    )
    # no "<" inside, so that nothing in a title can end the element
    data = json.dumps(values, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c") if values else ""
    html = (
        f'<div class="pd-moment" data-moment="{kind}" id="pd-{page.chapter}-{key}" role="group" '
        f'aria-labelledby="pd-{page.chapter}-{key}-title">'
        f'<p class="pd-moment-title" id="pd-{page.chapter}-{key}-title">{marked}<strong>{escape(title)}</strong></p>'
        f'<p class="pd-offline">Here, on the book’s page and with JavaScript, {escape(what)}. '
        f'Without it, <a href="#{figure}">the figure above</a> shows the same numbers standing still.</p>'
        f"{inside}"
        + (f'<script type="application/json">{data}</script>' if data else "")
        + f'<p class="pd-moment-foot">Made from the numbers of <a href="#{figure}">the figure above</a>: '
        f"{escape(stamp['cohort'])} ({escape(stamp['data_hash'])}), profile {escape(stamp['profile'])}, "
        f"seed {stamp['seed']}, code {escape(stamp['code_hash'])}.</p></div>"
    )
    return page.beside(shown, key, html, f"{title}: {what}.")
