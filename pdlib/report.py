"""Chapter 13 for one recording: what can be said of it, by whom, and what such an answer has been worth.

`make` looks the recording over (`pdlib.quality`), holds its markers against the cohort, and asks the networks of
chapters 10 and 12 that have not seen it, with the models on tables beside them. A recording that lies outside what
the models saw gets no answers: `Report.refused` then says why. Nothing is trained unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdlib import custnetgc, data, evaluate, fold_results, provenance, recheck, scores, single_case, transfer
from pdlib.baselines import acoustic_table, classifier, cross_validate_table
from pdlib.cohort import load_cohort
from pdlib.confounding import shifted
from pdlib.custnetgc import FittedChain, Plan
from pdlib.errors import DataError, ParameterError
from pdlib.figures import MIN_SPEAKERS
from pdlib.fold_results import FoldResult
from pdlib.networks import Learner
from pdlib.params import Project, load_profile, read_chapters, resolve
from pdlib.paths import named
from pdlib.picture_sets import (
    PictureSet,
    slope_picture,
    slope_pictures,
    spectrogram_picture,
    spectrogram_pictures,
)
from pdlib.provenance import Arrays, Store
from pdlib.quality import Quality, look_over
from pdlib.recordings import SEX_CODE, Cohort
from pdlib.single_case import Alike, Case, Look
from pdlib.transfer import Recipe, Top

CHAPTER, TRAINING = "13", ("10", "12")
#: Share of people with PD in a population that might be screened, as in chapter 17.
PREVALENCE = 0.01
OLDEST = 120
#: Fewest recordings of a group that markers are held against, and fewest of either class in it.
GROUP, GROUP_OF_CLASS = 10, 3
YEARS = (10, 15)  # how far apart in age the group may be, the first that has enough recordings
TITLES = {
    "mobilenet_base": "MobileNetV2, base", "mobilenet_finetuned": "MobileNetV2, fine-tuned",
    "mobilenet_025": "MobileNet (α = 0.25), base", "plain_cnn": "plain CNN",
    "custnet_plain": "CustNet on slope graphs", "custnet_overlay": "CustNet on overlays",
    "custnetgc": "CustNetGC", "acoustic": "acoustic markers, logistic regression",
    "age": "age alone, no voice", "age_sex": "age and sex, no voice",
}  # fmt: skip
CLASSES = {0: "HC", 1: "PD"}
SEXES = {"F": "women", "M": "men"}
_TRAINED_STEPS = ("custnetgc-fold", "transfer-fold")


# ── what a report holds ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Person:
    """Age (years) and sex (F, M) of the speaker where they are known, and where they are from."""

    age: float | None
    sex: str | None
    source: str


@dataclass(frozen=True)
class Marker:
    """One acoustic marker: key in the acoustic table, title, unit, factor to the unit, format, what it measures."""

    key: str
    title: str
    unit: str
    factor: float
    fmt: str
    what: str


#: The markers on the page; all others are in the table of chapter 10's acoustic model.
MARKERS = (
    Marker("f0_mean_hz", "Pitch", "Hz", 1, ".0f", "vibrations of the vocal folds per second"),
    Marker("f0_sd_hz", "Pitch deviation", "Hz", 1, ".1f", "how far the pitch strays from its mean"),
    Marker("jitter_local", "Jitter", "%", 100, ".2f", "how unequal neighbouring vibrations are in length"),
    Marker("shimmer_local", "Shimmer", "%", 100, ".1f", "how unequal neighbouring vibrations are in strength"),
    Marker("hnr_db", "Harmonics to noise", "dB", 1, ".1f", "voice over breath and noise; lower is hoarser"),
    Marker("cpps_db", "Cepstral peak (CPPS)", "dB", 1, ".1f", "how clearly the overtones stand out"),
    Marker("energy_sd_db", "Level deviation", "dB", 1, ".2f", "how far the loudness strays from its mean"),
    Marker("slope_mean", "Spectral slope", "dB/kHz", 1, ".1f", "how fast the overtones fade; steeper is duller"),
    Marker("alpha_ratio_to_4khz_db", "Alpha ratio to 4 kHz", "dB", 1, ".1f", "energy below 1 kHz over that above"),
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """The recordings that markers are held against: names, and who they are, in words."""

    names: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class Answer:
    """What one model says, and what such an answer has been worth.

    Attributes
    ----------
    model, title : str
    kind : {"network", "voice table", "person table"}
    votes : DataFrame or None
        See `single_case.votes`; None where the model cannot be asked, for want of age or sex.
    like : Alike or None
        Other recordings with scores like the mean.
    at_one_in_a_hundred : pair of float or None
        The interval of `like`, restated for a population in which `PREVALENCE` have PD.
    auc : tuple of float
        Value and 95 % interval, over all recordings, each judged by folds that did not see it.
    p, adjusted : float
        Permutation p of the AUC, and after Holm's step over the networks (NaN for the others).
    others : DataFrame
        Columns label and score, mean over seeds, of the other recordings.
    """

    model: str
    title: str
    kind: str
    votes: pd.DataFrame | None
    like: Alike | None
    at_one_in_a_hundred: tuple[float, float] | None
    auc: tuple[float, float, float]
    p: float
    adjusted: float
    others: pd.DataFrame


@dataclass(frozen=True)
class Explained:
    """Where one network looked: model, seed and fold, its maps, and what they are drawn over.

    ``again`` are the rank correlations of Grad-CAM and of integrated gradients with those of another network of
    the same model; ``picture`` (size, size, 3) is None where nothing may be drawn under a map.
    """

    model: str
    title: str
    kind: str
    seed: int
    fold: int
    look: Look
    maps: tuple[NDArray, NDArray]
    agree: float
    again: tuple[float, float] | None
    picture: NDArray | None


@dataclass(frozen=True)
class Report:
    """All that the page says of one recording; see `pdlib.report_page`."""

    name: str
    file: str
    sha256: str
    case: Case | None
    group: str | None
    person: Person
    voices: Cohort
    quality: Quality
    markers: pd.DataFrame
    reference: Group
    answers: tuple[Answer, ...]
    explained: tuple[Explained, ...]
    neighbours: int
    alpha: float
    weights: tuple[str, ...]
    stamp: Mapping[str, Any]

    @property
    def refused(self) -> tuple[str, ...]:
        """Why no model was asked, one sentence each; empty where the models were."""
        return tuple(check.said for check in self.quality.refused)

    @property
    def synthetic(self) -> bool:
        """Whether no real voice stands behind the models."""
        return self.voices.kind == "synthetic"

    @property
    def own_picture(self) -> bool:
        """Whether maps lie over the recording's own picture: of a real member of the cohort none is shown."""
        return self.case is not None and (self.case.member is None or self.synthetic)


# ── the whole way ──────────────────────────────────────────────────────────────────────────────────────
def make(
    recording: str,
    *,
    profile: str = "quick",
    cohort: str | None = None,
    age: float | None = None,
    sex: str | None = None,
    train: bool = False,
    project: Project | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Make the report of one recording.

    Parameters
    ----------
    recording : str
        A file, or a name of the cohort.
    profile : str
        Whose parameters of chapter 13 say which networks are asked.
    cohort : str, optional
        real, synthetic, or a folder; the profile's own where left out, and never synthetic for want of the real
        one.
    age, sex : float and {"F", "M"}, optional
        Of the speaker; a recording of the cohort brings its own.
    train : bool
        Train the networks that are not in the store; without it they are an error.
    say : callable
        Told what is being done, one line each.

    Raises
    ------
    UsageError
        For a file that does not exist, a folder, an unknown profile, or an age or sex that cannot be.
    RecordingError
        For a file that cannot be read.
    DataError
        When the recordings of the cohort, or the networks, are not there.
    """
    project = project or Project()
    age, sex = checked_person(age, sex)
    p = resolve(read_chapters(project), load_profile(profile, project), {}, [CHAPTER])[CHAPTER]
    voices = _cohort(cohort or p["cohort"], p)
    say(f"the {voices.kind} cohort: {len(voices)} recordings")
    table = acoustic_table(voices, variant=p["variant"])
    quality = look_over(recording, voices, table, variant=p["variant"])
    case = quality.case
    person = _person(case, voices, age, sex)
    path = None if recording in voices.names else named(recording)
    member = case.member if case else None
    common = {
        "name": case.name if case else path.name,
        "file": path.name if path else "",
        "sha256": data.sha256_of(path) if path else voices.recordings[voices.names.index(recording)].sha256,
        "case": case,
        "group": CLASSES[int(voices.labels[voices.names.index(member)])] if member else None,
        "person": person,
        "voices": voices,
        "quality": quality,
        "markers": table,
        "reference": reference(voices, member, person),
        "stamp": stamp(voices, profile, p["seed"]),
        "alpha": p["alpha"],
    }
    if quality.refused:
        return Report(**common, answers=(), explained=(), neighbours=0, weights=())
    say(
        "reading the networks"
        if not train
        else "reading the networks, and training those that are not stored"
    )
    models = Models.read(voices, table, p, train=train, profile=profile, project=project, say=say)
    say("asking them")
    asked = _Asked(models, case, p["variant"])
    answers = asked.answers(person, quality.markers, p)
    say("explaining those that are better than chance")
    explained = asked.explained(answers, p)
    return Report(
        **common,
        answers=answers,
        explained=explained,
        neighbours=answers[0].like.count,
        weights=models.weights,
    )


def checked_person(age: float | None, sex: str | None) -> tuple[float | None, str | None]:
    """Age and sex as they may be; see `make`."""
    if age is not None and not 0 < age <= OLDEST:
        raise ParameterError(f"--age {age:g} is no age", f"give years, above 0 and at most {OLDEST}")
    if sex is not None and sex.upper() not in SEX_CODE:
        raise ParameterError(
            f"--sex {sex!r} is not known", "the cohort knows F and M; leave it out for others"
        )
    return age, sex.upper() if sex else None


def _cohort(which: str, p: Mapping[str, Any]) -> Cohort:
    if which in ("auto", "real"):
        if data.find_local() is None:
            raise DataError(
                "the recordings of the cohort, which every report stands on, are not on this machine",
                "bring them with `python -m pdlib fetch`, or name their folder in PDLIB_DATA; --cohort synthetic "
                "tries the page out on artificial voices",
            )
        which = "real"
    return load_cohort(which, size=p["synthetic_size"], seed=p["seed"])


def _person(case: Case | None, voices: Cohort, age: float | None, sex: str | None) -> Person:
    if case is not None and case.member is not None:
        known = voices.people.loc[case.member]
        if pd.notna(known["age"]):
            return Person(float(known["age"]), known["sex"], f"the cohort's own of {case.member}")
    given = [name for name, value in (("age", age), ("sex", sex)) if value is not None]
    return Person(age, sex, f"{' and '.join(given)} as given" if given else "neither age nor sex was given")


def stamp(voices: Cohort, profile: str, seed: int) -> dict[str, Any]:
    """What made the page; see `provenance.stamp`."""
    made = provenance.stamp(("report_page",), voices, profile=profile, seed=seed)
    return made | {"date": datetime.now(UTC).isoformat(timespec="minutes")}


# ── markers ────────────────────────────────────────────────────────────────────────────────────────────
def reference(voices: Cohort, member: str | None, person: Person) -> Group:
    """The recordings nearest in age and sex that are enough to be compared with; all of them at the last.

    A group has `GROUP` recordings or more and `GROUP_OF_CLASS` or more of each class, never the recording itself.
    """
    people = voices.people.loc[[name for name in voices.names if name != member]]
    labels = pd.Series(voices.labels, index=voices.names)
    same_sex = people["sex"].eq(person.sex)
    tries: list[tuple[pd.Series, str]] = []
    if person.age is not None:
        apart = (people["age"] - person.age).abs()
        for years in YEARS:
            near = f"within {years} years of age {person.age:.0f}"
            if person.sex:
                tries.append((same_sex & apart.le(years), f"{SEXES[person.sex]} {near}"))
            else:
                tries.append((apart.le(years), f"men and women {near}, for the sex was not given"))
    if person.sex:
        why = "the age was not given" if person.age is None else "too few of them are near in age"
        tries.append((same_sex, f"{SEXES[person.sex]} of all ages, for {why}"))
    for chosen, said in tries:
        names = tuple(people.index[chosen])
        if len(names) >= GROUP and labels[list(names)].value_counts().reindex([0, 1], fill_value=0).min() >= (
            GROUP_OF_CLASS
        ):
            return Group(names, said)
    why = (
        "neither age nor sex was given"
        if not tries
        else "the cohort has too few recordings like this speaker"
    )
    return Group(tuple(people.index), f"all recordings of the cohort, for {why}")


# ── the models ─────────────────────────────────────────────────────────────────────────────────────────
class _Missing(Exception):
    """A fold that is not in the store."""


class _Kept(Store):
    """A store that reads what is there and refuses to train what is not."""

    def get_all(
        self,
        step: str,
        inputs: Iterable[Mapping[str, object]],
        compute: Callable[[Iterator[int]], Iterable[tuple[int, Arrays]]],
        modules: Sequence[str],
    ) -> Iterator[Arrays]:
        """As `Store.get_all`; raises `_Missing` in place of training."""

        def refuse(places: Iterator[int]) -> Iterator[tuple[int, Arrays]]:
            raise _Missing(step)

        return super().get_all(step, inputs, refuse if step in _TRAINED_STEPS else compute, modules)


@dataclass(frozen=True)
class Models:
    """The networks and table models of a profile, with their predictions of recordings they had not seen.

    Attributes
    ----------
    recipes : dict of str to Recipe
        The networks of chapter 12.
    plan : Plan
        Of the chain of chapter 10.
    folds : dict of str to list of FoldResult
        By name of a recipe, and "custnetgc" for the chain.
    spectrograms, graphs : PictureSet
    tables : dict of str to DataFrame
        acoustic, and age and age_sex where the cohort knows them.
    predicted : DataFrame
        See `evaluate.check_predictions`.
    """

    recipes: dict[str, Recipe]
    plan: Plan
    folds: dict[str, list[FoldResult]]
    spectrograms: PictureSet
    graphs: PictureSet
    tables: dict[str, pd.DataFrame]
    predicted: pd.DataFrame
    voices: Cohort

    @classmethod
    def read(
        cls,
        voices: Cohort,
        markers: pd.DataFrame,
        p: Mapping[str, Any],
        *,
        train: bool,
        profile: str,
        project: Project,
        say: Callable[[str], None],
    ) -> Models:
        """Read the folds of chapters 10 and 12 from the store, or train those that are missing.

        Raises
        ------
        DataError
            When one is missing and ``train`` is false; it says what makes them and how long that takes.
        """
        store = Store() if train else _Kept()
        epochs = {name: p[name] for name in ("head_epochs", "finetune_epochs", "cnn_epochs")}
        recipes = transfer.notebook_recipes(p["picture_size"], weights=p["weights"], **epochs)
        spectrograms = spectrogram_pictures(voices, variant=p["variant"], size=p["picture_size"])
        graphs = slope_pictures(voices, variant=p["variant"], size=p["input_size"])
        plan = recheck.plan_of(p)
        seeds = {"recipes": p["repeats"], "chain": p["chain_repeats"]}
        seeds = {name: list(range(p["seed"], p["seed"] + count)) for name, count in seeds.items()}

        def told(result: FoldResult) -> None:
            if train and store.computed:
                say(f"  fold {result.fold.index + 1} of {p['n_splits']}, seed {result.fold.seed}")

        try:
            folds = {
                model: transfer.cross_validate(
                    spectrograms, recipe, seeds=seeds["recipes"], n_splits=p["n_splits"],
                    cross_fits=p["cross_fits"], store=store, each=told,
                )
                for model, recipe in recipes.items()
            }  # fmt: skip
            folds["custnetgc"] = custnetgc.cross_validate(
                graphs, plan, seeds=seeds["chain"], store=store, each=told
            )
        except _Missing as missing:
            raise _not_trained(voices, profile, project) from missing
        tables = {"acoustic": markers}
        known = voices.people[["age", "sex"]].notna().all()
        tables |= {"age": voices.covariates("age")} if known["age"] else {}
        tables |= {"age_sex": voices.covariates("age", "sex")} if known.all() else {}
        table_seeds = range(p["seed"], p["seed"] + p["table_repeats"])
        predicted = [
            *(fold_results.predictions(folds[m], spectrograms, [m], p["variant"]) for m in recipes),
            fold_results.predictions(folds["custnetgc"], graphs, custnetgc.MODELS, p["variant"]),
            *(
                cross_validate_table(
                    table, voices.labels, model=name, variant=p["variant"] if name == "acoustic" else "none",
                    n_splits=p["n_splits"], seeds=table_seeds,
                )
                for name, table in tables.items()
            ),
        ]  # fmt: skip
        predicted = evaluate.check_predictions(pd.concat(predicted, ignore_index=True))
        return cls(recipes, plan, folds, spectrograms, graphs, tables, predicted, voices)

    @property
    def names(self) -> list[str]:
        """Models in the order of the page: networks, then tables."""
        return [*self.recipes, *custnetgc.MODELS, *self.tables]

    @property
    def weights(self) -> tuple[str, ...]:
        """The pretrained networks and where their weights are from, for the page."""
        tops = [recipe.network for recipe in self.recipes.values() if isinstance(recipe.network, Top)]
        return tuple(dict.fromkeys(top.backbone.title for top in tops))

    def title(self, model: str) -> str:
        """Name of a model on the page; it says where a pretrained network is untrained."""
        network = self.recipes[model].network if model in self.recipes else None
        untrained = isinstance(network, Top) and network.backbone.origin.kind == "untrained"
        return TITLES[model] + (" (untrained)" if untrained else "")


def _not_trained(voices: Cohort, profile: str, project: Project) -> DataError:
    minutes = load_profile(profile, project).minutes
    known = [minutes[number] for number in TRAINING if number in minutes]
    took = f"about {sum(known):.0f} minutes on two cores" if len(known) == len(TRAINING) else "a while"
    which = (
        ""
        if voices.kind == "real"
        else f" --cohort {voices.kind if voices.kind == 'synthetic' else 'FOLDER'}"
    )
    return DataError(
        f"the networks of profile {profile} for these {len(voices)} recordings are not in the store, or were made "
        "by other code, libraries or pretrained weights",
        f"`python -m pdlib run --profile {profile}{which} --only {','.join((*TRAINING, CHAPTER))}` trains them "
        f"({took}); with --train this command does so first",
    )


# ── asking them ────────────────────────────────────────────────────────────────────────────────────────
class _Asked:
    """One recording before the networks that have not seen it."""

    def __init__(self, models: Models, case: Case, variant: str) -> None:
        self.models, self.case = models, case
        self.judges = {m: single_case.judges(results, case.member) for m, results in models.folds.items()}
        for found in self.judges.values():
            single_case.assert_unseen(found, case.member)
        clip = case.clip(variant)
        self.spectrogram = spectrogram_picture(clip, models.spectrograms.pictures.shape[1])
        self.graph = slope_picture(clip, models.graphs.pictures.shape[1])
        self.alone = PictureSet((case.name,), np.array([-1]), self.graph[np.newaxis])
        self.learner = Learner(models.plan.network)
        self.graphs_of: dict[
            str, tuple
        ] = {}  # by model: the whole network, and the part of it that was trained
        self.chains = [
            FittedChain.of(result, models.graphs, models.plan, self.learner)
            for result in self.judges["custnetgc"]
        ]
        self.votes = self._network_votes()

    def _network_votes(self) -> dict[str, pd.DataFrame]:
        votes = {}
        for model, recipe in self.models.recipes.items():
            found = self.judges[model]
            votes[model] = single_case.votes(
                found, model, single_case.fold_scores(found, recipe, self.spectrogram)
            )
        by_chain = [chain.scores(self.alone) for chain in self.chains]
        for model in custnetgc.MODELS:
            votes[model] = single_case.votes(
                self.judges["custnetgc"], model, [one[model][0] for one in by_chain]
            )
        return votes

    def _table_votes(self, person: Person, markers: pd.Series) -> dict[str, pd.DataFrame]:
        """What the table models say: of a member as stored, of others from the models of every fold."""
        known = {"age": person.age, "sex": SEX_CODE.get(person.sex)}
        rows = {"acoustic": markers}
        rows |= {"age": pd.Series({"age": person.age})} if person.age is not None else {}
        rows |= {"age_sex": pd.Series(known)} if None not in known.values() else {}
        votes = {}
        for model, table in self.models.tables.items():
            predicted = self.models.predicted[self.models.predicted["model"] == model]
            if self.case.member is not None:
                votes[model] = predicted[predicted["recording"] == self.case.member]
            elif model in rows:
                votes[model] = table_votes(table, predicted, rows[model])
        return votes

    def answers(self, person: Person, markers: pd.Series, p: Mapping[str, Any]) -> tuple[Answer, ...]:
        """Every model's answer, networks first."""
        models, member = self.models, self.case.member
        votes = self.votes | self._table_votes(person, markers)
        predicted = models.predicted
        k = max(1, min(p["neighbours"], (len(models.voices) - (member is not None)) // 3))
        options = {"n_boot": p["n_boot"], "seed": p["seed"]}
        area = evaluate.by_group(predicted, metrics=("auc",), **options).set_index("model")
        nets = [model for model in models.names if model not in models.tables]
        chance = {
            model: evaluate.permutation_p(rows, "auc", n=p["n_boot"], seed=p["seed"])
            for model, rows in predicted.groupby("model")
        }
        adjusted = dict(zip(nets, evaluate.holm([chance[model] for model in nets]), strict=True))
        answers = []
        for model in models.names:
            rows, own = predicted[predicted["model"] == model], votes.get(model)
            like = None
            if own is not None:
                like = single_case.alike(rows, own["score"].mean(), k=k, member=member)
            others = rows[rows["recording"] != member].groupby("recording")[["label", "score"]].mean()
            kind = "network" if model in nets else "voice table" if model == "acoustic" else "person table"
            answers.append(
                Answer(
                    model, models.title(model), kind, own, like, None if like is None else in_population(like),
                    tuple(map(float, area.loc[model, ["value", "low", "high"]])), chance[model],
                    adjusted.get(model, np.nan), others,
                )
            )  # fmt: skip
        return tuple(answers)

    # --- explanations -------------------------------------------------------------------------------------
    def explained(self, answers: Sequence[Answer], p: Mapping[str, Any]) -> tuple[Explained, ...]:
        """Maps of the networks that pass the gate of chapter 14."""
        return tuple(self._explained(answer, p) for answer in answers if may_be_explained(answer, p["alpha"]))

    def _network(self, model: str, row: int) -> tuple[Any, NDArray]:
        """The network behind a row of a model's votes, and its picture of the recording."""
        if model in self.models.recipes:
            return self._joined(model, row), self.spectrogram
        chain = self.chains[row]
        if model == "custnet_plain":
            return self.learner.model(chain.teacher), self.graph
        return self.learner.model(chain.net), chain.overlaid(self.alone).pictures[0]

    def _joined(self, model: str, row: int) -> Any:
        """As `transfer.fold_network`, but all folds of a model share one graph, which is slow to build."""
        recipe = self.models.recipes[model]
        if model not in self.graphs_of:
            top = isinstance(recipe.network, Top)
            whole, _, trained = recipe.network.parts() if top else (recipe.network.build(), None, None)
            self.graphs_of[model] = whole, trained if top else whole
        whole, trained = self.graphs_of[model]
        trained.set_weights(fold_results.kept_weights(self.judges[model][row].arrays, "net"))
        return whole

    def _explained(self, answer: Answer, p: Mapping[str, Any]) -> Explained:
        on_spectrogram = answer.model in self.models.recipes
        options = {
            "baseline": "black" if on_spectrogram else "white",
            "steps": p["ig_steps"],
            "max_steps": 8 * p["ig_steps"],
        }
        row, other = single_case.typical(answer.votes)
        network, picture = self._network(answer.model, row)
        first = single_case.look(network, picture, **options)
        cam, integrated = first.pooled()
        again = None
        if other is not None:
            another, picture = self._network(answer.model, other)
            if another is not network:
                network.set_weights(another.get_weights())  # one graph for both, so it is compiled once
            second = single_case.look(network, picture, explained=CLASSES[first.asked], **options)
            again = tuple(map(_agreement, (cam, integrated), second.pooled()))
        own = self.case.member is None or self.models.voices.kind == "synthetic"
        return Explained(
            answer.model, answer.title, "spectrogram" if on_spectrogram else "graph",
            int(answer.votes["seed"].iloc[row]), int(answer.votes["fold"].iloc[row]), first,
            (first.cam, first.integrated) if own else (cam, integrated), _agreement(cam, integrated), again,
            self._backdrop(on_spectrogram, own),
        )  # fmt: skip

    def _backdrop(self, on_spectrogram: bool, own: bool) -> NDArray | None:
        """What lies under the maps: the recording's own picture, or the mean picture of the cohort."""
        if own:
            return self.spectrogram if on_spectrogram else self.graph
        pictures = (self.models.spectrograms if on_spectrogram else self.models.graphs).pictures
        enough = len(pictures) >= MIN_SPEAKERS
        return np.rint(pictures.mean(axis=0)).astype(np.uint8) if enough else None


def table_votes(table: pd.DataFrame, predicted: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """Scores of one unseen speaker by the table model of every fold and seed, columns as `single_case.votes`.

    Parameters
    ----------
    table : DataFrame
        What the models were fitted on, one row per recording.
    predicted : DataFrame
        Their predictions, which say who was tested in which fold, and at which threshold.
    row : Series
        The speaker's own values, by the columns of ``table``.
    """
    values = row[table.columns].to_numpy(float)[np.newaxis]
    label = predicted.groupby("recording")["label"].first()
    rows = []
    for (seed, fold), tested in predicted.groupby(["seed", "fold"]):
        train = table.index[~table.index.isin(tested["recording"])]
        fitted = classifier("logistic", int(seed)).fit(table.loc[train].to_numpy(float), label[train])
        score, threshold = float(fitted.predict_proba(values)[0, 1]), float(tested["threshold"].iloc[0])
        rows.append((predicted["model"].iloc[0], seed, fold, score, threshold, int(score >= threshold)))
    return pd.DataFrame(rows, columns=["model", "seed", "fold", "score", "threshold", "predicted"])


def in_population(like: Alike, prevalence: float = PREVALENCE) -> tuple[float, float]:
    """The interval of a score's share, restated for a population with this prevalence (Bayes' rule on the odds)."""
    low, high = shifted([like.low, like.high], like.prevalence, prevalence)
    return (0.0 if like.low == 0 else float(low)), (1.0 if like.high == 1 else float(high))


def may_be_explained(answer: Answer, alpha: float) -> bool:
    """Chapter 14's gate: a network, better than chance after Holm's step, with a gradient (trees have none)."""
    return answer.kind == "network" and answer.model != "custnetgc" and answer.adjusted <= alpha


def _agreement(a: NDArray, b: NDArray) -> float:
    """Rank correlation of two maps over their cells; NaN where one is the same everywhere."""
    return float(scores.rank_correlation(a[np.newaxis], b[np.newaxis])[0])
