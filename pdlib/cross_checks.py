"""What one printed statement of the paper says about another: the arithmetic behind verdicts of chapter 18.

Most checks need nothing but what is printed. A few ask the recordings whether a printed sentence can be true of
them; those take a cohort. Printed numbers are texts, because the number of digits says how much was known
(`pdlib.printed`); those of other studies are read from ``data/literature.csv``.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas as pd

from pdlib import features, metrics, paths, patterns, preprocessing, printed
from pdlib.cohort import TABLE_2, Cohort
from pdlib.metrics import Confusion

Range = tuple[float, float]

#: 80 PD and 78 HC right, 4 HC called PD, of 162 (p. 33); what is left for PD called HC is nothing.
MATRIX = Confusion(tp=80, fn=162 - 80 - 78 - 4, fp=4, tn=78)
#: The paper's own results, by where they stand.
RESULTS = {
    "Tables 3–5": {"accuracy": "99%", "precision": "96%", "recall": "95%", "specificity": "94%", "f1": "90%"},
    "p. 33": {"accuracy": "0.9906", "precision": "0.9583", "f1": "0.8459"},
    "p. 42": {"accuracy": "0.9902", "precision": "0.9582", "f1": "0.8459"},
}  # pp. 38–41, 33, 42
AREAS = ("0.90", "0.89")  # AUC of PD and of HC, p. 33
HEADLINE = "99.06%"  # p. 1
NAMED_SETS = ((40, 41), (80, 82), (81, 81))  # PD and HC: p. 7; the matrix; "equal samples" of 162 (p. 33)
SHOWN = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "specificity": "specificity",
         "f1": "F1"}  # fmt: skip

ALGORITHM_4 = (
    "Accuracy = Total_Number_of_Predictions / Number_of_Correct_Predictions * 100",
    "Accuracy = (TP + TN) / (TP + TN + FP + FN) * 100",
    "Specificity = True_Negatives / (True_Negatives + False_Positives)",
    "Specificity = TN / (TN + FP)",
    "Confusion[0][0] = TP",
    "Confusion[0][1] = FP",
    "Confusion[1][0] = TN",
    "Confusion[1][1] = FN",
    "Sensitivity = True_Positives / (True_Positives + False_Negatives)",
    "Sensitivity = TP / (TP + FN)",
    "F1_score = 2 * Precision * Recall / (Precision + Recall)",
    "Precision = True_Positives / (True_Positives + False_Positives)",
    "Precision = TP / (TP + FP)",
    "FPR = False_Positives / (False_Positives + True_Negatives)",
    "FPR = FP / (FP + TN)",
    "ROC = (False_Positives / (False_Positives + True_Negatives), "
    "True_Positives / (True_Positives + False_Negatives))",
    "ROC = (FP / (FP + TN), TP / (TP + FN))",
    "AUC = (b1 + b2) * h / 2",
)  # pp. 32–33, in the printed order; words of a formula are joined to a name, the two loops are left out
AFTER_ALGORITHM_4 = "return metrics"  # p. 33, the line after "end Function"
_IN_WORDS = re.compile("(True|False|Total)_")  # counts by their names in words: a definition

REFERENCES = 47  # pp. 42–47
CITED_BY_NUMBER = frozenset({2, 3, 4, 5, 29, 30, 31, 37, 38, 39, 41, 42, 43, 44, 45, 46})  # pp. 2–41
UNCITED = {
    1: "review of PD detection from voice and speech",
    15: "ResNet-50 on speech features for PD",
    16: "voice as a biomarker of PD",
    32: "LeNet-5",
    33: "PD from finger tapping",
    34: "Grad-CAM, the conference paper of 2017",
    35: "small and efficient networks, a thesis",
    36: "facial masks by separable convolutions",
    40: "area of the ROC curve from one point",
    47: "tomato leaves; shares an author with the paper",
}  # titles (pp. 42–47), shortened


# --- the survey and its tables (pp. 3–8) ------------------------------------------------------------------
def literature() -> pd.DataFrame:
    """Every number of section 2 and of Tables 3–5 as printed, ``text`` with its per cent sign."""
    rows = pd.read_csv(paths.DATA / "literature.csv", dtype=str, keep_default_na=False)
    rows["metric"] = rows["metric"].replace({"sensitivity": "recall", "F1": "f1"})
    return rows.assign(text=rows["printed"] + rows["unit"].where(rows["unit"] == "%", ""))


def survey_places() -> pd.DataFrame:
    """Studies of section 2 by where they stand: in the text (pp. 3–4), in Table 1 (p. 5), or in both."""
    rows = literature()
    rows = rows[rows["place"].isin(["Table 1", "text"])]
    places = rows.groupby("reference", sort=False)["place"].agg(
        lambda place: " and ".join(sorted(set(place)))
    )
    found = places.rename("place").reset_index().sort_values("reference", key=lambda r: r.astype(int))
    return found.groupby("place", as_index=False).agg(
        studies=("reference", "size"), references=("reference", lambda r: ", ".join(f"[{n}]" for n in r))
    )


def mcc_range(accuracy: str, f1: str) -> Range:
    """Matthews correlations that a printed accuracy and F1 allow for one matrix.

    As shares of all tested the errors are e = 1 − accuracy, and F1 = 2·TP/(2·TP + e) gives TP. The correlation then
    falls with FP·FN, which lies between 0 (errors of one kind) and e²/4 (as many of each).
    """
    a, f = np.meshgrid(*(np.linspace(*printed.reach(text), 21) for text in (accuracy, f1)))
    wrong = 1 - a
    tp = f * wrong / (2 * (1 - f))
    tn = a - tp
    mixed = np.stack([np.zeros_like(wrong), wrong**2 / 4])
    value = metrics.ratio(
        tp * tn - mixed, np.sqrt((tp**2 + tp * wrong + mixed) * (tn**2 + tn * wrong + mixed).clip(0))
    )
    value = np.where(tn >= 0, value, np.nan)
    return float(np.nanmin(value)), float(np.nanmax(value))


def accuracy_with_equal_classes(precision: str, recall: str) -> Range:
    """Accuracies that precision and recall allow when half of the tested are PD: (R + S)/2, S = 1 − R(1 − P)/P."""
    p, r = np.meshgrid(printed.reach(precision), printed.reach(recall))
    found = (r + 1 - r * (1 - p) / p) / 2
    return float(found.min()), float(found.max())


def accuracy_from_rates(precision: str, recall: str, specificity: str) -> Range:
    """Accuracies that the three rates allow: they fix the share of PD, and accuracy is π·R + (1 − π)·S."""
    corners = itertools.product(*map(printed.reach, (precision, recall, specificity)))
    found = [share * r + (1 - share) * s for p, r, s in corners for share in [printed.prevalence(p, r, s)]]
    return min(found), max(found)


def quoted_metrics() -> pd.DataFrame:
    """Metrics that section 2 prints of one study (pp. 3–5): can they come from one confusion matrix?"""
    rows = literature()
    table, text = (
        rows[rows["place"] == place].groupby(["reference", "metric"])["text"].first()
        for place in ("Table 1", "text")
    )
    checks = [
        ("[4] Karaman, Table 1, equal classes", "accuracy", table["4"],
         accuracy_with_equal_classes(table["4", "precision"], table["4", "recall"])),
        ("[4] Karaman, text, equal classes", "accuracy", text["4"],
         accuracy_with_equal_classes(text["4", "precision"], text["4", "recall"])),
        ("[9] Quan, Table 1", "MCC", table["9"], mcc_range(table["9", "accuracy"], table["9", "f1"])),
        ("[12] Khosla, Table 1", "f1", table["12"], printed.f1_range(table["12", "precision"], table["12", "recall"])),
        ("[12] Khosla, order of the text", "f1", table["12"],
         printed.f1_range(text["12", "precision"], text["12", "recall"])),
        ("[16] Tracy, Table 1", "f1", table["16"], printed.f1_range(table["16", "precision"], table["16", "recall"])),
        ("[27] Solana-Lavalle, Table 1", "accuracy", table["27"],
         accuracy_from_rates(*(table["27", metric] for metric in ("precision", "recall", "specificity")))),
    ]  # fmt: skip
    return pd.DataFrame([
        {"study": study, "metric": SHOWN.get(metric, metric), "printed": of[metric], "lowest": low, "highest": high,
         "one matrix": _meets(printed.reach(of[metric]), (low, high))}
        for study, metric, of, (low, high) in checks
    ])  # fmt: skip


def shares_of_fifty() -> pd.DataFrame:
    """Rates of Table 1 (p. 5) for a study that the text gives 50 patients and 50 controls (p. 4): counts of 50?"""
    rows = literature()
    rates = rows[(rows["reference"] == "18") & rows["metric"].isin(["recall", "specificity"])]
    return pd.DataFrame([
        {"metric": row.metric, "printed": row.text, "nearest count of 50": near, "that is": near / 50,
         "is a share of 50": 50 in printed.possible_sizes(row.text, 50)}
        for row in rates.itertuples() for near in [round(50 * printed.value_of(row.text))]
    ])  # fmt: skip


def survey_above(headline: str = HEADLINE) -> pd.DataFrame:
    """Accuracies that section 2 prints of other studies (pp. 3–5) and that are not below the paper's own."""
    rows = literature()
    rows = rows[rows["place"].isin(["Table 1", "text"]) & (rows["metric"] == "accuracy")]
    rows = rows[rows["text"].map(printed.value_of) >= printed.value_of(headline)]
    rows = rows.assign(study="[" + rows["reference"] + "] " + rows["first_author"])
    return rows[["study", "place", "page", "printed", "input"]].reset_index(drop=True)


def table_2_against_all(voices: Cohort) -> pd.DataFrame:
    """Mean age and share of men in the twelve rows of Table 2 (p. 8) and among all speakers."""
    shown = pd.DataFrame(TABLE_2, columns=["id", "label", "age", "sex"]).replace({"label": {"PwPD": "PD"}})
    return pd.DataFrame([
        {"of": name, "class": label, "speakers": len(group), "men": int((group["sex"] == "M").sum()),
         "share of men": float((group["sex"].dropna() == "M").mean()), "mean age": float(group["age"].mean())}
        for name, people in (("Table 2", shown), ("all recordings", voices.table))
        for label, group in people.groupby("label")
    ])  # fmt: skip


def table_2_age_auc() -> float:
    """AUC of the printed age in the twelve rows of Table 2 (p. 8), ties counted half."""
    return metrics.auc([row[1] == "PwPD" for row in TABLE_2], [row[2] / 100 for row in TABLE_2])


# --- the matrix of p. 33 ----------------------------------------------------------------------------------
def rates(c: Confusion) -> dict[str, float]:
    """The five metrics of Tables 3–5 for one confusion matrix."""
    return {metric: getattr(metrics, metric)(c) for metric in SHOWN}


def matrix_metrics() -> pd.DataFrame:
    """The matrix of p. 33 beside every printed value of the same metric (pp. 33, 38–42)."""
    return pd.DataFrame([
        {"metric": SHOWN[metric], "from the matrix": value}
        | {place: results.get(metric, "–") for place, results in RESULTS.items()}
        for metric, value in rates(MATRIX).items()
    ])  # fmt: skip


def matrix_readings() -> pd.DataFrame:
    """Every way to read the counts of p. 33 as a matrix, and which values of Tables 3–5 it prints.

    The last reading is that of the sentence "equal samples": 81 of each class, 80 and 78 of them right.
    """
    cells = ("TP", "FN", "FP", "TN")
    counts = (MATRIX.tp, MATRIX.tn, MATRIX.fp, MATRIX.fn)
    readings = {
        ", ".join(f"{cell} {n}" for cell, n in zip(cells, order, strict=True)): Confusion(*order)
        for order in itertools.permutations(counts)
    }
    readings["TP 80, FN 1, FP 3, TN 78 (equal classes)"] = Confusion(80, 1, 3, 78)
    rows = []
    for name, c in readings.items():
        of = rates(c)
        met = [SHOWN[m] for m, value in of.items() if printed.prints_as(value, RESULTS["Tables 3–5"][m])]
        rows.append({"reading": name} | {SHOWN[m]: value for m, value in of.items()}
                    | {"values met": len(met), "which": ", ".join(met) or "none"})  # fmt: skip
    return pd.DataFrame(rows).sort_values("values met", ascending=False, kind="stable", ignore_index=True)


def least_auc(recall: float, specificity: float) -> float:
    """The least AUC of any scores that, cut at some threshold, have this recall and specificity (p. 33).

    Every PD recording called PD scores above every HC recording called HC; these pairs are the share R·S of all pairs,
    and the AUC is the share of pairs in the right order. The least is reached when all other pairs are wrong.
    """
    return recall * specificity


def most_auc(recall: float, specificity: float) -> float:
    """The largest such AUC: each PD recording called HC scores below each HC recording called PD."""
    return 1 - (1 - recall) * (1 - specificity)


def auc_bounds() -> pd.DataFrame:
    """Areas that the printed decisions allow, and whether the printed areas (p. 33) are among them."""
    points = {"matrix of p. 33": ((metrics.recall(MATRIX),) * 2, (metrics.specificity(MATRIX),) * 2)}
    tables = RESULTS["Tables 3–5"]
    points["Tables 3–5, rounding granted"] = (
        printed.reach(tables["recall"]),
        printed.reach(tables["specificity"]),
    )
    rows = []
    for name, (recall, specificity) in points.items():
        bounds = least_auc(recall[0], specificity[0]), most_auc(recall[1], specificity[1])
        rows.append({"operating point": name, "least AUC": bounds[0], "largest AUC": bounds[1]}
                    | {f"{area} possible": _meets(printed.reach(area), bounds) for area in AREAS})  # fmt: skip
    return pd.DataFrame(rows)


# --- metrics that cannot be one model's (pp. 33–42) -------------------------------------------------------
def recall_needed(precision: float, f1: float) -> float:
    """The recall that precision and F1 leave: F1·P/(2P − F1)."""
    return f1 * precision / (2 * precision - f1)


def printed_triples() -> pd.DataFrame:
    """Accuracy, precision and F1 of pp. 33 and 42: the recall they imply, and the specificity that remains.

    With equal classes (p. 33) specificity is 2·accuracy − recall. Without, the errors,
    1 − accuracy, give the share of PD.
    """
    rows = []
    for place in ("p. 33", "p. 42"):
        texts = RESULTS[place]
        accuracy, p, f1 = (printed.value_of(texts[m]) for m in ("accuracy", "precision", "f1"))
        corners = itertools.product(*(printed.reach(texts[m]) for m in ("accuracy", "precision", "f1")))
        recall = recall_needed(p, f1)
        rows.append({
            "place": place, "recall implied": recall, "specificity needed, equal classes": 2 * accuracy - recall,
            "least, rounding granted": min(2 * a - recall_needed(q, f) for a, q, f in corners),
            "share of PD implied": (1 - accuracy) / (1 - recall + recall * (1 / p - 1)),
        })  # fmt: skip
    return pd.DataFrame(rows)


def fewest_samples(largest: int = 2000) -> pd.DataFrame:
    """Fewest samples on which a printed precision or F1 can be a count, and which sets the paper names have it.

    Sizes up to ``largest`` are searched in whole counts; NaN where none of them will do.
    """
    asked = (
        ("precision", "p. 33"),
        ("precision", "p. 42"),
        ("f1", "p. 33"),
    )  # p. 42 prints the F1 of p. 33
    rows = []
    for metric, place in asked:
        text = {metric: RESULTS[place][metric]}
        sizes = (n for n in range(1, largest + 1) if len(printed.possible_matrices(n, **text)))
        named = []
        for n_pd, n_hc in NAMED_SETS:
            found = printed.possible_matrices(n_pd + n_hc, **text)
            if (found["tp"] + found["fn"]).eq(n_pd).any():
                named.append(f"{n_pd} + {n_hc}")
        rows.append({
            "metric": SHOWN[metric], "page": "33, 42" if metric == "f1" else place.removeprefix("p. "),
            "printed": text[metric], "fewest samples": next(sizes, np.nan),
            "sets (PD + HC) that have it": ", ".join(named) or "none",
        })  # fmt: skip
    return pd.DataFrame(rows)


def most_precise() -> float:
    """Largest precision that recall and specificity of Tables 3–5 allow with equal classes, rounding granted."""
    recall, specificity = (printed.reach(RESULTS["Tables 3–5"][m])[1] for m in ("recall", "specificity"))
    return recall / (recall + 1 - specificity)


def table_rows() -> pd.DataFrame:
    """Tables 3–5 (pp. 38–41) with one row per model, values as printed and per cent with their sign."""
    rows = literature()
    rows = rows[rows["place"].isin(["Table 3", "Table 4", "Table 5"])]
    wide = rows.pivot(index=["place", "row", "technique", "reference"], columns="metric", values="text")
    return wide.reset_index().rename(columns={"place": "table", "technique": "model"})


def harmonic_means() -> pd.DataFrame:
    """Harmonic mean of printed precision and recall beside printed F1, which it is, and accuracy, which it is not."""
    rows = []
    for row in table_rows().itertuples():
        p, r, accuracy = (printed.value_of(text) for text in (row.precision, row.recall, row.accuracy))
        mean = 2 * p * r / (p + r)
        rows.append({
            "table": row.table, "model": row.model, "quoted": row.reference != "paper", "harmonic mean": mean,
            "printed F1": row.f1, "printed accuracy": row.accuracy, "accuracy − mean": accuracy - mean,
            "F1 possible": _meets(printed.reach(row.f1), printed.f1_range(row.precision, row.recall)),
        })  # fmt: skip
    return pd.DataFrame(rows)


# --- preparation (pp. 9–18) -------------------------------------------------------------------------------
def clip_lengths() -> pd.DataFrame:
    """Seconds that ``int(target_duration * sr / 8)`` samples (p. 17) last, for every rate printed (pp. 11, 16)."""
    rates_hz = preprocessing.TARGET_RATES
    return pd.DataFrame([
        {"sr (Hz)": sr, "target_samples": count} | {f"at {rate} Hz (s)": count / rate for rate in rates_hz}
        for sr in rates_hz for count in [int(preprocessing.PAPER_SECONDS * sr / 8)]
    ])  # fmt: skip


def padded_to_longest(voices: Cohort) -> pd.DataFrame:
    """Zeros and cuts when recordings are made as long as the longest, and three seconds long (both p. 9)."""
    lengths = voices.table["duration_s"].to_numpy()
    return pd.DataFrame([
        {"made as long as": name, "seconds": goal, "filled": int((lengths < goal).sum()),
         "cut": int((lengths > goal).sum()), "median share of zeros": float(np.median((1 - lengths / goal).clip(0)))}
        for name, goal in (("the longest", lengths.max()), ("three seconds", preprocessing.PAPER_SECONDS))
    ])  # fmt: skip


def sample_counts(voices: Cohort) -> pd.DataFrame:
    """How many recordings have the 24 000 samples of p. 11: as they come, and after padding and truncation."""
    found = [signal.samples.size for signal in voices.signals().values()]
    prepared = [clip.samples.size for clip in _clips(voices, "paper")]
    return pd.DataFrame([
        {"recordings": name, "with 24 000 samples": counts.count(24_000), "fewest": min(counts), "most": max(counts)}
        for name, counts in (("as they come", found), ("after padding and truncation", prepared))
    ])  # fmt: skip


def gain_and_noise(gains: tuple[float, ...] = (1.0, 4.0), seed: int = 0) -> pd.DataFrame:
    """Levels of a made-up tone and of noise under a constant gain (pp. 9–10), and their ratio, in dB."""
    tone = np.sin(2 * np.pi * 150 * np.arange(8000) / 8000)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(8000)
    return pd.DataFrame([
        {"gain": gain, "tone (dB)": _level(gain * tone), "noise (dB)": _level(gain * noise),
         "signal-to-noise ratio (dB)": _level(gain * tone) - _level(gain * noise)}
        for gain in gains
    ])  # fmt: skip


def one_gain(voices: Cohort, gains: tuple[float, ...] = (1.0, 0.5)) -> pd.DataFrame:
    """Levels of all recordings, in dB, under one constant gain for all of them (pp. 9–10)."""
    rows = []
    for gain in gains:
        levels = [_level(gain * signal.samples) for signal in voices.signals().values()]
        rows.append({"gain": gain, "lowest level (dB)": min(levels), "highest level (dB)": max(levels),
                     "range (dB)": max(levels) - min(levels)})  # fmt: skip
    return pd.DataFrame(rows)


def energy_above(voices: Cohort) -> pd.DataFrame:
    """Equation 6 (p. 10) read backwards: the highest frequency a printed rate stands for, and the energy above it."""
    shares = {rate: [] for rate in preprocessing.TARGET_RATES}
    for clip in _clips(voices, "sound"):
        power = features.power_spectrogram(clip.samples).sum(axis=1)
        hertz = np.linspace(0, clip.sample_rate / 2, power.size)
        for rate, found in shares.items():
            found.append(power[hertz > rate / 2].sum() / power.sum())
    return pd.DataFrame([
        {"rate (Hz)": rate, "Fmax by eq. 6 (Hz)": rate / 2, "median share of energy above": float(np.median(found)),
         "recordings with more than 1 % above": int((np.array(found) > 0.01).sum())}
        for rate, found in shares.items()
    ])  # fmt: skip


def least_low(voices: Cohort) -> pd.DataFrame:
    """Shallowest low between highs of each class: with no least height named (p. 18), whose graphs have one?"""
    rows = []
    for variant in ("paper", "sound"):
        curves = [features.slope_curves(clip).energy for clip in _clips(voices, variant)]
        depth = np.array([patterns.low_between_highs(curve).depth for curve in curves])
        for label, name in ((0, "HC"), (1, "PD")):
            own = depth[voices.labels == label]
            rows.append({
                "prepared": variant, "class": name, "clips": own.size, "shallowest (dB)": own.min(),
                "a low of any depth": int((own > 0).sum()), "1 dB or more": int((own >= 1).sum()),
            })  # fmt: skip
    return pd.DataFrame(rows)


# --- Algorithm 4 (pp. 32–33) ------------------------------------------------------------------------------
def algorithm_4() -> pd.DataFrame:
    """Algorithm 4 (pp. 32–33) line by line, given its four counts; then once more, when the rest has run.

    The column “written in” tells the definitions in words, which no program is meant to run, from the others.
    """
    names = {"TP": MATRIX.tp, "TN": MATRIX.tn, "FP": MATRIX.fp, "FN": MATRIX.fn}
    first, second = ([_runs(line, names) for line in ALGORITHM_4] for _ in range(2))
    try:
        compile(AFTER_ALGORITHM_4, "p. 33", "exec")
        after = "runs"
    except SyntaxError as error:
        after = error.msg
    lines = [*ALGORITHM_4, f"{AFTER_ALGORITHM_4} (after “end Function”)"]
    return pd.DataFrame(
        {
            "printed line": lines,
            "written in": ["words" if _IN_WORDS.search(line) else "letters" for line in lines],
            "in the printed order": [*first, after],
            "a second time": [*second, after],
        }
    )


# --- the list of references (pp. 42–47) -------------------------------------------------------------------
def uncited() -> pd.DataFrame:
    """References of the list (pp. 42–47) that the text cites neither by number nor by author and year (pp. 3–4)."""
    rows = literature()
    by_name = set(rows.loc[rows["place"] == "text", "reference"].astype(int))
    left = sorted(set(range(1, REFERENCES + 1)) - CITED_BY_NUMBER - by_name)
    return pd.DataFrame(
        {"reference": [f"[{n}]" for n in left], "about, by its title": [UNCITED[n] for n in left]}
    )


# --- inside -----------------------------------------------------------------------------------------------
def _meets(first: Range, second: Range) -> bool:
    """Whether two ranges have a value in common; 1e-12 for what floats add to a printed end."""
    return bool(first[0] <= second[1] + 1e-12 and second[0] <= first[1] + 1e-12)


def _clips(voices: Cohort, variant: str) -> list[preprocessing.Clip]:
    return [preprocessing.preprocess(s.samples, s.sample_rate, variant) for s in voices.signals().values()]


def _level(samples: np.ndarray) -> float:
    """Mean power in dB."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def _runs(line: str, names: dict[str, object]) -> str:
    """Run one printed line on ``names``, which it may add to; what came of it."""
    try:
        exec(line, {}, names)
    except NameError as error:
        return f"{error.name} is not defined"
    return "runs"
