"""The report of one recording as one page of HTML: everything inline, nothing fetched, no script.

The order is that of caution: what the page is not, whether the recording can be judged at all, what was measured,
what models say and what that has been worth, where they look, what they do not know, and what made the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pdlib import features, paths, plots, quality, scores
from pdlib.markup import SYNTHETIC, encode, format_number
from pdlib.preprocessing import SOUND_SECONDS
from pdlib.quality import FINE, FLAGGED, REFUSED
from pdlib.recordings import RATE
from pdlib.report import CLASSES, MARKERS, PREVALENCE, Answer, Explained, Marker, Report, may_be_explained
from pdlib.single_case import said

FINEST_SIGNED = 32  # cells per side a signed map is drawn in; finer ones are speckle
MAP_COLOURS = 128
NOISE_FREE = 1e-12  # below it a map is zero
_FREQUENCIES = (250, 500, 1000, 2000, 4000)  # Hz, marked on the axis of a spectrogram
_LABELS = {FINE: "fine", FLAGGED: "look out", REFUSED: "refused"}


def write(report: Report, folder: Path, stem: str) -> Path:
    """Write the page to ``<folder>/<stem>-report.html``, whole or not at all, and return where it is.

    Raises
    ------
    WriteError
        When the folder cannot be made or written to.
    """
    return paths.write_text(Path(folder) / f"{stem}-report.html", page(report))


def page(report: Report) -> str:
    """The whole page."""
    parts = [_statement(report), _quality(report), _markers(report)]
    parts += [_no_answers(report)] if report.refused else [_answers(report), _explained(report)]
    parts += [_unknown(report), _stamp(report)]
    title = f"{SYNTHETIC}: " if report.synthetic else ""
    title += f"Report on {escape(report.name)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="robots" content="noindex">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title} – research and teaching, not a diagnosis</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


# ── small parts ────────────────────────────────────────────────────────────────────────────────────────
def _section(report: Report, key: str, title: str, *content: str) -> str:
    badge = _badge() if report.synthetic else ""
    inside = "\n".join(content)
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 id="{key}-title">{escape(title)}{badge}</h2>\n'
        f"{inside}\n</section>\n"
    )


def _badge() -> str:
    return f' <strong class="synthetic">{SYNTHETIC}</strong>'


def _p(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _percent(value: float, digits: int = 0) -> str:
    return format_number(value, f".{digits}%")


def _population(value: float) -> str:
    return format_number(value, ".1%") if 0 < value < 0.1 else format_number(value, ".0%")


def _table(report: Report, caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML cells that becomes one block per row on a phone; the first cell of a row names it.

    The roles are spelt out because a browser takes a table that is laid out as blocks for no table.
    """
    badge = _badge() if report.synthetic else ""
    head = "".join(f'<th role="columnheader" scope="col">{escape(name)}</th>' for name in heads)
    lines = []
    for first, *rest in rows:
        cells = "".join(
            f'<td role="cell" data-label="{escape(name)}"{_wide(cell)}><span class="cell">{cell}</span></td>'
            for name, cell in zip(heads[1:], rest, strict=True)
        )
        lines.append(f'<tr role="row"><th role="rowheader" scope="row">{first}</th>{cells}</tr>')
    return (
        f'<table role="table" class="stack"><caption>{escape(caption)}{badge}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(lines)}</tbody></table>'
    )


def _whole(text: str) -> str:
    """A number that is not torn from its unit and interval at the end of a line."""
    return escape(text).replace(" ", "&nbsp;")


def _wide(cell: str) -> str:
    """On a phone a drawing takes the whole width, under its label."""
    return ' class="wide"' if cell.startswith("<svg") else ""


def _strip(
    others: pd.DataFrame, own: Sequence[float], said_: str, *, limits: tuple[float, float] | None = None
) -> str:
    """Dots of the others, HC above and PD below, with the recording's own values as a diamond on its range.

    ``others`` has columns label and value; ``own`` is one value, or lowest, mean and highest.
    """
    values = others["value"].to_numpy(float)
    low, high = limits or (min(values.min(), *own), max(values.max(), *own))
    span = high - low or 1.0

    def x(value: float) -> float:
        return round(8 + 224 * (value - low) / span, 1)

    marks = []
    for label, name in CLASSES.items():
        for value in others.loc[others["label"] == label, "value"]:
            marks.append(
                f'<circle class="hc" cx="{x(value)}" cy="10" r="2.4"/>' if name == "HC" else
                f'<rect class="pd" x="{round(x(value) - 2.2, 1)}" y="25.8" width="4.4" height="4.4"/>'
            )  # fmt: skip
    lowest, middle, highest = own if len(own) == 3 else (own[0],) * 3
    where = x(middle)
    marks.append(f'<line class="own" x1="{x(lowest)}" y1="19" x2="{x(highest)}" y2="19"/>')
    marks.append(f'<path class="own" d="M{where} 13.5 l5.5 5.5 -5.5 5.5 -5.5 -5.5 z"/>')
    return (
        f'<svg class="strip" viewBox="0 0 264 38" role="img" aria-label="{escape(said_)}">'
        f'<line class="axis" x1="8" y1="35" x2="232" y2="35"/>'
        f'<text x="262" y="13.5" text-anchor="end">HC</text><text x="262" y="31.5" text-anchor="end">PD</text>'
        f"{''.join(marks)}</svg>"
    )


_KEY = (
    '<p class="key"><svg viewBox="0 0 14 14" aria-hidden="true"><circle class="hc" cx="7" cy="7" r="3.4"/></svg> '
    'a healthy speaker (HC) <svg viewBox="0 0 14 14" aria-hidden="true"><rect class="pd" x="4" y="4" width="6" '
    'height="6"/></svg> a speaker with PD <svg viewBox="0 0 14 14" aria-hidden="true"><path class="own" '
    'd="M7 1.5 l5.5 5.5 -5.5 5.5 -5.5 -5.5 z"/></svg> this recording{more}</p>'
)


# ── 1. what this page is ───────────────────────────────────────────────────────────────────────────────
def _statement(report: Report) -> str:
    n = len(report.voices)
    banner = ""
    if report.synthetic:
        banner = (
            f'<p class="banner"><strong>{SYNTHETIC}.</strong> The models on this page learned from {n} computed '
            "voices that no person spoke. Nothing here is about people. The page only shows how such a report "
            "looks.</p>"
        )
    where = "on" if report.case is None or report.case.member is None else "on the cohort's recording"
    about = f"Report {where} {report.name}"
    facts = f"Speaker: {_speaker(report)}. Made on {report.stamp['date'][:10]}."
    return (
        f'<header>{banner}<p class="kicker">One recording, every model</p><h1>{escape(about)}</h1>'
        f"<p>{escape(facts)}</p></header>\n"
        '<section id="statement" class="statement" aria-labelledby="statement-title">\n'
        '<h2 id="statement-title">This is research and teaching, not a diagnosis</h2>\n'
        + _p(
            "Nothing on this page says whether the speaker has Parkinson's disease (PD). It shows what some models say "
            f"of one recording, and how little that is worth: they learned from {n} recordings and are wrong about "
            f"many of them.{_age_is_better(report)} It is no medical device, it has not been tried in any clinic, and "
            "no decision should rest on it."
        )
        + _p(
            "If you are worried about your voice or your health, talk to a doctor, whatever is written below. A page "
            "that finds nothing is no all-clear either."
        )
        + "</section>\n"
    )


def _age_is_better(report: Report) -> str:
    """A sentence where the ages alone rank the cohort's speakers better than every network."""
    aucs = {answer.model: answer.auc[0] for answer in report.answers}
    nets = [answer.auc[0] for answer in report.answers if answer.kind == "network"]
    if not nets or aucs.get("age", 0) <= max(nets):
        return ""
    return " A model that hears no voice and knows only the speakers' ages does better than any network here."


def _speaker(report: Report) -> str:
    person = report.person
    age = "" if person.age is None else f"{person.age:.0f} years"
    sex = {"F": "woman", "M": "man"}.get(person.sex or "", "")
    known = ", ".join(part for part in (sex, age) if part)
    return f"{known} ({person.source})" if known else person.source


# ── 2. quality ─────────────────────────────────────────────────────────────────────────────────────────
def _quality(report: Report) -> str:
    found = report.quality
    n = len(report.voices) - (report.case is not None and report.case.member is not None)
    if found.refused:
        verdict = (
            f"No. {_count(len(found.refused), 'check')} of {len(found.checks)} refused it, so no model was asked. "
            "What would come out would be a number all the same, and it would rest on nothing."
        )
    elif found.flagged:
        verdict = (
            f"With care. No check refused it, but {_count(len(found.flagged), 'check')} of {len(found.checks)} "
            "found something that the scores below cannot make good."
        )
    else:
        verdict = (
            f"As far as these {len(found.checks)} checks can tell, yes. That is necessary and not sufficient: a room, "
            "a microphone or a vowel has more properties than are looked at here."
        )
    rows = [
        [
            f'{escape(each.name)} <span class="verdict {each.verdict}">{_LABELS[each.verdict]}</span>',
            escape(each.value),
            escape(each.cohort) or "–",
            escape(each.said),
        ]
        for each in found.checks
    ]
    limits = [
        [escape(each.name), escape(each.limit) or "none", escape(quality.LIMITS[each.name].why)]
        for each in found.checks
    ]
    parts = [
        _p(verdict, "lead"),
        _table(
            report,
            f"Checks of {report.name}, made before any model. Cohort: the lowest and the highest of its {n} other "
            "recordings.",
            ("check", "here", "cohort", "in words"),
            rows,
        ),
        "<details><summary>Every limit and its reason</summary>"
        + _table(report, "What is refused and what is flagged.", ("check", "limit", "why"), limits)
        + "</details>",
    ]
    if found.unlike:
        parts.append(
            _p(
                f"Beyond all recordings of the cohort in: {', '.join(map(_plain, found.unlike))}. In any one "
                f"measure the lowest and the highest of {n + 1} lie beyond the others; several at once are a warning."
            )
        )
    parts.append(_source_said(report))
    cut = quality.said_of_file(report.case) if report.case else ""
    notes = [*filter(None, [cut]), *found.notes]
    if notes:
        parts.append(
            f"<details><summary>What was found and done on reading</summary>{_list(notes)}</details>"
        )
    return _section(report, "quality", "Is the recording fit to be judged?", *parts)


def _plain(name: str) -> str:
    """A measure's name for readers."""
    for marker in MARKERS:
        if marker.key == name:
            return marker.title.lower()
    return name.replace("_", " ")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _source_said(report: Report) -> str:
    case = report.case
    if case is None:
        return ""
    if case.member is None:
        return _p(
            "Its sound equals no recording of the cohort, so no model has been trained on it"
            f"{'' if report.refused else ' and all may be asked'}. "
            "Only a part cut out of one of them would not be recognised."
        )
    same = "The file has the sound of" if case.file is not None else "This is"
    return _p(
        f"{same} {case.member}, a recording of the cohort, from the group {report.group}. Networks that were "
        "trained on it are not asked, and it is left out of everything it is compared with."
    )


# ── 3. markers ─────────────────────────────────────────────────────────────────────────────────────────
def _markers(report: Report) -> str:
    title = "Acoustic markers against the cohort"
    own, group = report.quality.markers, report.reference
    if own is None:
        return _section(
            report,
            "markers",
            title,
            _p("They cannot be measured: the checks found no steady, voiced second."),
        )
    label = pd.Series(report.voices.labels, index=report.voices.names)
    others = report.markers.loc[list(group.names)].assign(label=label)
    counts = others["label"].value_counts().reindex([0, 1], fill_value=0)
    rows = [_marker_row(marker, own, others) for marker in MARKERS]
    outside = sum(row[1] for row in rows)
    return _section(
        report,
        "markers",
        title,
        _p(
            f"Measured in the same steady second that the models are given, and held against {group.said}: "
            f"{counts[0]} HC and {counts[1]} PD."
        ),
        _KEY.format(more=""),
        _table(
            report,
            f"Acoustic markers of {report.name}. Middle 80 %: of the healthy (HC) and of the speakers with PD in "
            "this group.",
            ("marker", "here", "middle 80 %", "among the group", "in words"),
            [row[0] for row in rows],
        ),
        _p(
            f"{_count(outside, 'marker')} of {len(MARKERS)} {'lies' if outside == 1 else 'lie'} outside the middle "
            "80 % of both classes. In any single marker one in five healthy speakers lies outside the middle 80 % of "
            "the healthy, and age, a cold, a cigarette or the microphone move it too. How much all markers together "
            "tell about PD in this cohort stands in the next table."
            if not report.refused
            else "Markers of a recording that was refused are shown for the record; the checks above say why they may "
            "mean nothing."
        ),
    )


def _marker_row(marker: Marker, own: pd.Series, others: pd.DataFrame) -> tuple[list[str], bool]:
    value = float(own[marker.key]) * marker.factor
    frame = pd.DataFrame({"label": others["label"], "value": others[marker.key] * marker.factor})
    below, n = int((frame["value"] < value).sum()), len(frame)
    middles, inside = {}, False
    for label, name in CLASSES.items():
        low, high = frame.loc[frame["label"] == label, "value"].quantile([0.1, 0.9])
        middles[name] = f"{name} {format_number(low, marker.fmt)} to {format_number(high, marker.fmt)}"
        inside |= low <= value <= high
    shown = f"{format_number(value, marker.fmt)} {marker.unit}"
    rank = f"above {below} of {n}"
    words = f"{rank}; " + (
        "within the middle of at least one class" if inside else "outside the middle of both"
    )
    cells = [
        f'{escape(marker.title)} <span class="why">{escape(marker.what)}</span>',
        escape(shown),
        escape(f"{middles['HC']}; {middles['PD']}"),
        _strip(frame, [value], f"{marker.title} {shown}, {words}. {middles['HC']}, {middles['PD']}."),
        escape(words),
    ]
    return cells, not inside


# ── 4. answers ─────────────────────────────────────────────────────────────────────────────────────────
def _no_answers(report: Report) -> str:
    return _section(
        report,
        "models",
        "Why no model was asked",
        _p(
            "The models would give numbers for any sound, for a door as for a voice. What such a number is worth was "
            "measured on recordings unlike this one, so here it is not known at all. These are the reasons:",
            "lead",
        ),
        _list(report.refused),
        *([_p(report.quality.notes[0])] if report.case is None else []),
        _p(
            "What helps: a sustained “aah” of three seconds or more, in one breath, at an even pitch and loudness, in "
            "a quiet room, about a hand's length from the microphone, saved as wav at 8000 Hz or more and not so loud "
            "that the meter turns red."
        ),
    )


def _answers(report: Report) -> str:
    k = report.neighbours
    rows = [_answer_row(answer, k) for answer in report.answers]
    asked = [answer for answer in report.answers if answer.votes is not None]
    return _section(
        report,
        "models",
        "What the models say, and what that has been worth",
        _p(
            "A score, P(PD), is a number from 0 to 1 that a model was trained to make large for PD. It is no "
            "probability of having PD. Two things say what it is worth: how far it moves when another model of "
            f"the same kind is asked, and how many of the {k} other recordings with the nearest scores, given by "
            "models that had not seen them, are of speakers with PD."
        ),
        _KEY.format(more=", its range over folds and seeds"),
        _table(
            report,
            f"What every model says of {report.name}. Nearest: the {k} other recordings with the nearest "
            "scores, with Wilson's 95 % interval. At one in a hundred: that interval where 1 % of people have PD. "
            "AUC: how well the model ranks new speakers (0.5 is a coin, 1 is faultless), with its 95 % interval. "
            + _weights_said(report),
            (
                "model",
                "P(PD)",
                "score among others",
                "decisions",
                "of the nearest, PD",
                "at one in a hundred",
                "AUC",
            ),
            rows,
        ),
        *map(_p, _answers_said(report, asked)),
        f"<h3>One in a hundred</h3>{_p(_prevalence_said(report, asked))}",
        f"<h3>What can be said of {escape(report.name)}</h3>{_p(_verdict_said(report, asked), 'lead')}",
    )


def _weights_said(report: Report) -> str:
    return f"Pretrained weights: {'; '.join(report.weights)}."


def _auc(answer: Answer) -> str:
    value, low, high = answer.auc
    return format_number(value, ".2f", low, high)


def _answer_row(answer: Answer, k: int) -> list[str]:
    kinds = {"network": "network", "voice table": "no network", "person table": "baseline"}
    name = f'{escape(answer.title)} <span class="why">{kinds[answer.kind]}</span>'
    worth = _whole(_auc(answer))
    if not np.isnan(answer.adjusted):
        better = "better than chance" if answer.adjusted <= 0.05 else "not shown to be better than chance"
        worth += f' <span class="why">{better}</span>'
    if answer.votes is None:
        missing = "needs --age" if answer.model == "age" else "needs --age and --sex"
        return [name, "not asked", escape(missing), "–", "–", "–", worth]
    score, like = answer.votes["score"], answer.like
    mean = format_number(score.mean(), ".2f")
    reach = f"{format_number(score.min(), '.2f')} to {format_number(score.max(), '.2f')}"
    share = format_number(like.share, ".0%", like.low, like.high)
    frame = answer.others.rename(columns={"score": "value"})
    drawn = _strip(
        frame, [score.min(), score.mean(), score.max()],
        f"{answer.title}: mean score {mean}, {reach}, over {len(score)} models; of the {k} nearest others {share} "
        "have PD.", limits=(0.0, 1.0),
    )  # fmt: skip
    low, high = answer.at_one_in_a_hundred
    return [
        name,
        f'{mean} <span class="why">{reach}, {_count(len(score), "model")}</span>',
        drawn,
        escape(said(answer.votes, CLASSES)),
        f'{_whole(share)} <span class="why">{like.positive} of {like.count}</span>',
        f"{_whole(_population(low))} to {_whole(_population(high))}",
        worth,
    ]


def _answers_said(report: Report, asked: Sequence[Answer]) -> list[str]:
    nets = [answer for answer in asked if answer.kind == "network"]
    calls = pd.concat([answer.votes for answer in nets])
    yes, total = int(calls["predicted"].sum()), len(calls)
    widest = max(nets, key=lambda answer: np.ptp(answer.votes["score"]))
    reach = np.ptp(widest.votes["score"])
    texts = [
        f"{yes} of {total} networks call it PD and {total - yes} HC, each at the threshold that its own training "
        "speakers gave. They are no independent witnesses, having learned from nearly the same recordings, so a "
        "majority among them is no probability."
        + (
            f" The answers of one kind of network differ by up to {reach:.2f} ({widest.title}): a seed or a fold, "
            "nothing about the speaker, made that difference."
            if reach > 0
            else ""
        )
    ]
    if report.group:
        right = yes if report.group == "PD" else total - yes
        texts[0] += f" It belongs to the group {report.group}, so {right} of these {total} are right."
    telling = [answer for answer in asked if answer.like.tells]
    prevalence = asked[0].like.prevalence
    named = "; ".join(
        f"{answer.title} ({'more' if answer.like.share > prevalence else 'fewer'} have PD)"
        for answer in telling
    )
    texts.append(
        f"Among all the other recordings {_percent(prevalence)} are of speakers with PD. "
        + (
            f"In {len(telling)} of {len(asked)} models the interval of the nearest leaves that share out: {named}. "
            "One interval in twenty does so by luck."
            if telling
            else f"In none of the {len(asked)} models does the interval of the nearest leave that share out: nothing "
            "is known after asking that was not known before."
        )
    )
    by_name = {answer.model: answer for answer in report.answers}
    age = by_name.get("age")
    best = max(nets, key=lambda answer: answer.auc[0])
    if age is None:
        texts.append("What age alone would say is not known, because the ages of this cohort are not.")
    else:
        worth = (
            f"A model that hears no voice and knows only the age has an AUC of {_auc(age)}; the best of the networks, "
            f"{best.title}, has {_auc(best)}."
        )
        ages = report.voices.people["age"].reindex(report.voices.names).groupby(report.voices.labels).median()
        if ages[1] > ages[0] + 1:
            worth += f" The median age is {ages[0]:.0f} in HC and {ages[1]:.0f} in PD, so what a network finds may be "
            worth += "age."
        if age.votes is not None:
            worth += (
                f" Of this speaker it says {age.votes['score'].mean():.2f} from the age alone; of the {age.like.count} "
                f"others with the nearest scores {age.like.positive} have PD."
            )
        else:
            worth += " It was not asked here, for want of the speaker's age (--age)."
        texts.append(worth)
    return texts


def _prevalence_said(report: Report, asked: Sequence[Answer]) -> str:
    best = _best(asked)
    example = best or asked[0]
    low, high = example.at_one_in_a_hundred
    like = example.like
    return (
        f"In this cohort {_percent(like.prevalence)} have PD, because patients were looked for. Where "
        f"{_percent(PREVALENCE)} of people have it, the same score means much less. For {example.title}, "
        f"{_percent(like.low)} to {_percent(like.high)} of recordings like this one have PD here; out of a hundred "
        f"such people there, {_population(low)} to {_population(high)} would. And that takes for granted that the "
        "score means the same outside this cohort, which nothing on this page shows."
    )


def _best(asked: Sequence[Answer]) -> Answer | None:
    """The network with the highest AUC among those that are better than chance."""
    good = [answer for answer in asked if answer.kind == "network" and answer.adjusted <= 0.05]
    return max(good, key=lambda answer: answer.auc[0], default=None)


def _verdict_said(report: Report, asked: Sequence[Answer]) -> str:
    best = _best(asked)
    flagged = (
        ""
        if not report.quality.flagged
        else " And the checks found something to look out for, which no score takes into account."
    )
    if best is None:
        return (
            "No network on this page is shown to be better than chance on recordings it has not seen. So nothing "
            f"follows from what they say, however sure they sound.{flagged}"
        )
    score, like = best.votes["score"], best.like
    return (
        f"The network with the highest AUC of those better than chance is {best.title}. It gives a score of "
        f"{score.mean():.2f} ({score.min():.2f} to {score.max():.2f} over {_count(len(score), 'network')}). Of the "
        f"{like.count} other recordings with the nearest scores {like.positive} are of speakers with PD, "
        f"{format_number(like.share, '.0%', like.low, like.high)}; among all the others the share is "
        f"{_percent(like.prevalence)}. "
        + (
            "So the answer has changed the odds for others like it, in this sample, in which PD is far more common "
            "than anywhere else."
            if like.tells
            else "So for others like it the answer has not been shown to change the odds at all."
        )
        + flagged
        + " Whether this speaker has PD does not follow."
    )


# ── 5. explanations ────────────────────────────────────────────────────────────────────────────────────
def _explained(report: Report) -> str:
    shown = report.explained
    closed = [
        answer.title
        for answer in report.answers
        if answer.kind == "network"
        and answer.model != "custnetgc"
        and not may_be_explained(answer, report.alpha)
    ]
    gate = (
        f"Only networks that are better than chance on new speakers may be explained: a permutation p of the AUC, "
        f"after Holm's step, of {report.alpha:g} or less. "
        + ("At 1 every network passes; such a run only tries the code. " if report.alpha >= 1 else "")
        + ("" if shown else "No network passes, and no map is drawn. ")
        + (f"Not drawn, for that reason: {'; '.join(closed)}. " if closed else "")
        + "CustNetGC ends in trees, and trees have no gradient."
    )
    parts = [_p(gate)]
    if shown:
        place = (
            "over the recording's own picture. A spectrogram is like a voice print: think before you pass this page on"
            if report.own_picture
            else "averaged over the cells of the network and laid over the mean picture of the cohort, because a fine "
            "map of one person's spectrogram shows the spectrogram, which is like a voice print"
        )
        parts.append(
            _p(
                "Grad-CAM marks where a network's last maps spoke for the class it named (yellow). Integrated "
                "gradients ask every point how its change from silence to what it is moved the answer (orange for the "
                f"named class, purple against it). Both are drawn {place}. Each map is scaled by its "
                "own largest values."
            )
        )
        parts.append(
            f'<div class="explained">{"".join(_explained_one(report, each) for each in shown)}</div>'
        )
        parts.append(
            _p(
                "A map says where a network found what moved its answer. It does not say that what it found has to do "
                "with the disease, and it is no evidence that the answer is right: a wrong answer has as good a map."
            )
        )
    return _section(report, "explanations", "Where the networks look", *parts)


def _explained_one(report: Report, each: Explained) -> str:
    named = CLASSES[each.look.asked]
    about = (
        f"{each.title}, seed {each.seed}, fold {each.fold}: score {each.look.probability:.2f}, maps for {named}. "
        f"Integrated gradients miss their sum by {_percent(each.look.gap, 1)}. "
    )
    about += (
        "The two methods cannot be compared, for Grad-CAM is zero everywhere."
        if each.look.dead
        else f"The two methods agree with a rank correlation of {format_number(each.agree, '.2f')}."
    )
    if each.again is not None:
        methods = ("Grad-CAM", "integrated gradients")
        again = [
            f"{format_number(value, '.2f')} ({method})"
            for method, value in zip(methods, each.again, strict=True)
            if np.isfinite(value)
        ]
        about += (
            f" Another network of the same kind draws maps that agree with these by {' and '.join(again)}."
            * (len(again) > 0)
        )
    figures = "".join(
        f'<img alt="{escape(_map_alt(each, values, method))}" '
        f'src="data:image/png;base64,{base64.b64encode(_map_png(report, each, values, signed)).decode()}">'
        for method, values, signed in zip(
            ("Grad-CAM", "Integrated gradients"), each.maps, (False, True), strict=True
        )
    )
    badge = _badge() if report.synthetic else ""
    return (
        f"<figure><h3>{escape(each.title)}</h3>"
        f'<div class="maps">{figures}</div><figcaption>{escape(about)}{badge}</figcaption></figure>'
    )


def _map_alt(each: Explained, values: NDArray, method: str) -> str:
    mass = np.abs(values)
    if mass.sum() <= NOISE_FREE:
        return f"{method} of {each.title} is zero everywhere: this network has no map for its own answer."
    upper = mass[: len(mass) // 2].sum() / mass.sum()
    first = mass[:, : mass.shape[1] // 2].sum() / mass.sum()
    half = features.mel_to_hz(features.hz_to_mel(RATE / 2) / 2)
    where = f"above {half:.0f} Hz" if each.kind == "spectrogram" else "in the upper half of the slope graph"
    against = mass[values < 0].sum() / mass.sum()
    signs = f", and {_percent(against)} speaks against {CLASSES[each.look.asked]}" if against > 0 else ""
    return (
        f"{method} of {each.title}: {_percent(upper)} of the map lies {where}, {_percent(first)} in the first half of "
        f"the second{signs}."
    )


def _map_png(report: Report, each: Explained, values: NDArray, signed: bool) -> bytes:
    """One map over its picture, with axes where the picture is a spectrogram."""
    fig, ax = plots.subplots(width=3.2, height=2.9)
    side = 128 if each.picture is None else len(each.picture)
    extent = (0, side, side, 0)
    if each.picture is not None and each.kind == "spectrogram":
        brightest = 255 * (1 - 20 / -features.FLOOR_DB)  # −20 dB: no band of a levelled clip is louder
        grey = each.picture[..., 0]
        plots.mark(ax.imshow(grey, cmap="gray", vmin=0, vmax=brightest, extent=extent), "spectrogram")
    elif each.picture is not None:
        plots.mark(ax.imshow(each.picture, extent=extent), "picture")
    fine = signed and len(values) > FINEST_SIGNED
    values = scores.pool(values[np.newaxis], FINEST_SIGNED)[0] if fine else values
    largest = np.quantile(np.abs(values), 0.98 if fine else 1)
    scaled = np.clip(values / max(largest, np.finfo(float).tiny), -1, 1)
    image = ax.imshow(
        scaled, cmap="PuOr_r" if signed else "viridis", vmin=-1 if signed else 0, vmax=1, interpolation="nearest",
        alpha=np.clip(np.abs(scaled), 0, 0.85), extent=extent,
    )  # fmt: skip
    plots.mark(image, "explanation map")
    ax.set(xlim=(0, side), ylim=(side, 0), title="integrated gradients" if signed else "Grad-CAM")
    ax.grid(False)
    if each.kind == "spectrogram":
        heights = [1 - features.hz_to_mel(hz) / features.hz_to_mel(RATE / 2) for hz in _FREQUENCIES]
        ax.set_yticks([side * height for height in heights], [f"{hz / 1000:g}" for hz in _FREQUENCIES])
        ax.set_xticks([0, side / 2, side], ["0", f"{SOUND_SECONDS / 2:g}", f"{SOUND_SECONDS:g}"])
        ax.set(xlabel="time (s)", ylabel="frequency (kHz)")
    else:
        ax.set(xticks=[], yticks=[])
    drawn = Image.open(io.BytesIO(encode(fig, "png", f"{each.model}-map", watermark=report.synthetic)))
    small = io.BytesIO()  # eight of them stand in one page
    drawn.convert("RGB").quantize(MAP_COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


# ── 6. what the models do not know ─────────────────────────────────────────────────────────────────────
def _unknown(report: Report) -> str:
    voices = report.voices
    people, labels = voices.people.loc[voices.names], voices.labels
    items = [
        f"Anyone but these {len(voices)} speakers: {int((labels == 0).sum())} HC and {int(labels.sum())} PD, one "
        "recording each. Another language, room, telephone or vowel is new to them."
    ]
    if people["age"].notna().all():
        medians = [people["age"][labels == label].median() for label in (0, 1)]
        items.append(
            f"What is age and what is disease: the median age is {medians[0]:.0f} in HC and {medians[1]:.0f} in PD. "
            "A young patient and an old healthy person are what they know least about."
        )
    items += [
        "Everything but PD that changes a voice: a cold, smoking, hearing, reflux, other diseases of the voice or "
        "the nerves, tiredness, medication and the hour it was taken. All HC are counted as healthy.",
        "The stage of the disease, and people before their diagnosis. Every patient here had one.",
        "The speaker on another day: there is one recording of each, so nobody knows how far a score moves from one "
        "day to the next.",
        "Whether this sound is a voice at all. The checks refuse tones, noise, speech and melodies that are far from a "
        "sustained vowel; a violin, another vowel or a good imitation may pass.",
        "Their own error on this recording. The range over folds and seeds says how far models of one kind disagree, "
        "not how far they are from the truth.",
    ]
    if not report.refused:
        items.append(
            f"Each model sees {SOUND_SECONDS:g} s of the recording, up to {RATE // 2} Hz. The ResNet-50 of chapter 11 "
            "is not asked."
        )
    return _section(report, "limits", "What the models do not know", _list(items))


# ── 7. stamp ───────────────────────────────────────────────────────────────────────────────────────────
def _stamp(report: Report) -> str:
    stamp = report.stamp
    facts = {
        "file": report.file or "none: named by the cohort",
        "sha256 of the recording": report.sha256,
        "cohort": f"{stamp['cohort']}, {len(report.voices)} recordings, fingerprint {report.voices.fingerprint[:12]}",
        "source": report.voices.source,
        "profile": stamp["profile"],
        "seed": str(stamp["seed"]),
        "pdlib": stamp["code_hash"],
        "requirements.lock": stamp["lock_hash"],
        "versions": ", ".join(f"{name} {version}" for name, version in stamp["versions"].items()),
        "date": f"{stamp['date']} (UTC)",
    }
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items()
    )
    return _section(report, "stamp", "What made this page", f'<dl class="stamp">{rows}</dl>')


_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1a1a1a;--soft:#595959;--line:#d0d0d0;--panel:#f4f4f2;--hc:#0072b2;
--pd:#c04f00;--own:#1a1a1a;--warn-bg:#fff3d6;--warn-ink:#5c3d00;--bad-bg:#fde3df;--bad-ink:#8a1500;--ok-bg:#e2f2e9;
--ok-ink:#0b5132;--syn:#8a1500}
@media (prefers-color-scheme:dark){:root{--bg:#16181b;--ink:#ececec;--soft:#b4b4b4;--line:#43474d;--panel:#1f2226;
--hc:#6cbcf0;--pd:#f79a5c;--own:#fff;--warn-bg:#40320f;--warn-ink:#ffe0a0;--bad-bg:#4a1c15;--bad-ink:#ffc9bf;
--ok-bg:#143524;--ok-ink:#b5eccd;--syn:#ff9c8b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:1rem/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,
sans-serif;overflow-wrap:break-word}
h1,dd{overflow-wrap:anywhere}
main{max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .4rem}
h2{font-size:1.25rem;line-height:1.3;margin:2rem 0 .5rem;border-top:2px solid var(--line);padding-top:.8rem}
h3{font-size:1.05rem;margin:1.2rem 0 .3rem}
p,ul{margin:.5rem 0;max-width:46rem}
.kicker,.why,figcaption,caption,.key{color:var(--soft);font-size:.875rem}
.why{font-size:.92em}
.kicker{margin:0}
.why{display:block;font-weight:400}
.lead{font-weight:600}
.statement{background:var(--warn-bg);color:var(--warn-ink);padding:.6rem 1rem;border-radius:.4rem;margin-top:1rem}
.statement h2{border:0;margin:0;padding:0}
.banner{background:var(--bad-bg);color:var(--bad-ink);padding:.6rem 1rem;border-radius:.4rem;max-width:none}
.synthetic{color:var(--syn);font-size:.8em;letter-spacing:.05em;margin-left:.4em}
table{width:100%;border-collapse:collapse;margin:.8rem 0;font-size:.9375rem}
caption{text-align:left;padding-bottom:.4rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .5rem;border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--line);font-size:.875rem}
tbody th{font-weight:600}
.verdict{display:inline-block;border-radius:.3rem;padding:0 .4rem;font-size:.8125rem;white-space:nowrap}
.fine{background:var(--ok-bg);color:var(--ok-ink)}.flagged{background:var(--warn-bg);color:var(--warn-ink)}
.refused{background:var(--bad-bg);color:var(--bad-ink)}
.strip{display:block;width:100%;min-width:9rem;max-width:22rem;height:auto}
.strip text{font-size:10px;fill:var(--soft)}
.axis{stroke:var(--line)}.hc{fill:var(--hc);fill-opacity:.75}.pd{fill:var(--pd);fill-opacity:.75}
path.own{fill:var(--bg);stroke:var(--own);stroke-width:1.8}line.own{stroke:var(--own);stroke-width:1.8}
.key svg{width:.9rem;height:.9rem;vertical-align:-.1rem;margin-left:.5rem}
figure{margin:1rem 0;break-inside:avoid}
.explained{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 1.5rem}
.maps{display:grid;grid-template-columns:1fr 1fr;gap:.4rem}
.maps img{width:100%;height:auto;background:#fff;border-radius:.3rem}
details{margin:.6rem 0}summary{cursor:pointer}
.stamp{font-size:.875rem;margin:0}
.stamp div{display:grid;grid-template-columns:12rem 1fr;gap:.2rem 1rem;
border-bottom:1px solid var(--line);padding:.25rem 0}
dt{color:var(--soft)}dd{margin:0}
@media (max-width:28rem){.maps{grid-template-columns:1fr}}
@media screen and (max-width:44rem){
.stack thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
.stack,.stack tbody,.stack caption,.stack tr,.stack th,.stack td{display:block;width:100%}
.stack tr{border:1px solid var(--line);border-radius:.4rem;margin:.6rem 0;padding:.3rem .6rem}
.stack tbody th{border:0;padding:.3rem 0}
.stack td{display:grid;grid-template-columns:7.5rem 1fr;gap:.6rem;border:0;padding:.2rem 0}
.stack td.wide{grid-template-columns:1fr;gap:0}.strip{max-width:none}
.stack td::before{content:attr(data-label);color:var(--soft);font-size:.875rem}
.stamp div{grid-template-columns:1fr}}
@media print{:root{--bg:#fff;--ink:#000;--soft:#444;--line:#bbb;--hc:#0072b2;--pd:#c04f00;--own:#000;--warn-bg:#fff;
--warn-ink:#000;--bad-bg:#fff;--bad-ink:#000;--ok-bg:#fff;--ok-ink:#000;--syn:#000}
@page{size:A4;margin:14mm}
body{font-size:9pt}.kicker,figcaption,caption,.key,thead th,.stamp{font-size:8pt}.verdict{font-size:7.5pt}
main{max-width:none;padding:0}table{font-size:8pt}th,td{padding:.25rem .3rem}h2{break-after:avoid;margin-top:1rem}
tr,figure,.statement{break-inside:avoid}.statement,.verdict{border:1px solid #888}details{display:none}
.explained{grid-template-columns:1fr 1fr}}
"""
