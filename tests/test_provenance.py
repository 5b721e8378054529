import pickle
import shutil
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from pdlib import paths, provenance
from pdlib.errors import UsageError, WriteError
from pdlib.provenance import (
    Store,
    code_parts,
    differences,
    fingerprint,
    module_closure,
    syntax_hash,
    versions,
)


@dataclass(frozen=True)
class Settings:
    size: int
    name: str


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 1.0),
        (True, 1),
        ("1", 1),
        ([1, 23], [12, 3]),
        (["ab", "c"], ["a", "bc"]),
        (np.zeros(4), np.zeros((2, 2))),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        (np.array([0.0, 1.0]), np.array([0.0, np.nextafter(1.0, 2)])),
        (Settings(1, "a"), Settings(2, "a")),
        ({"a": 1}, {"b": 1}),
        ([[], [1]], [[1], []]),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
        (pd.DataFrame({"a": [1]}, index=["x"]), pd.DataFrame({"a": [1]}, index=["y"])),
    ],
)
def test_different_content_has_different_fingerprints(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_equal_content_has_equal_fingerprints():
    assert fingerprint({"b": np.arange(3), "a": 1}) == fingerprint({"a": 1, "b": np.arange(6)[:3]})
    assert fingerprint(np.float64(0.5)) == fingerprint(0.5)


def test_content_that_cannot_be_read_off_is_refused():
    with pytest.raises(TypeError, match="function"):
        fingerprint(lambda: 0)


def test_words_do_not_change_the_code_hash_but_code_does():
    plain = "def f(x):\n    return x + 1\n"
    worded = '"""A module."""\n# why\ndef f(x):\n    """Add one."""\n\n    return x + 1  # so\n'
    assert syntax_hash(plain) == syntax_hash(worded)
    assert syntax_hash(plain) != syntax_hash(plain.replace("1", "2"))


def test_the_closure_follows_imports_inside_functions(tmp_path, monkeypatch):
    package = tmp_path / "pdlib"
    package.mkdir()
    (package / "one.py").write_text("def f():\n    from pdlib import two\n    return two\n")
    (package / "two.py").write_text("from pdlib.three import x\n")
    (package / "three.py").write_text("import numpy\nx = 1\n")
    (package / "other.py").write_text("y = 1\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert module_closure("one") == ["one", "three", "two"]
    before = code_parts("one")
    (package / "other.py").write_text("y = 2\n")
    assert code_parts("one") == before
    (package / "three.py").write_text("import numpy\nx = 2\n")
    assert differences(before, code_parts("one")) == ["three"]
    assert "numpy" in versions("one")
    assert "numpy" not in versions("other")


def test_libraries_needed_by_libraries_count_too():
    found = versions("networks")
    assert {"python", "tensorflow", "keras", "numpy"} <= set(found)
    assert "optree" in found  # pdlib never imports it; Keras does


def test_a_lone_extension_module_has_its_distribution():
    assert provenance.distributions_of("parselmouth") == ("praat-parselmouth",)
    assert provenance.distributions_of("numpy") == ("numpy",)
    assert provenance.distributions_of("no_such_package") == ()
    assert "praat-parselmouth" in versions("features")


def test_a_library_that_is_replaced_while_the_process_runs_is_noticed(tmp_path, monkeypatch):
    site, code = tmp_path / "site", tmp_path / "code"
    (code / "pdlib").mkdir(parents=True)
    (code / "pdlib" / "one.py").write_text("import lone\n")
    monkeypatch.setattr(paths, "ROOT", code)
    monkeypatch.syspath_prepend(str(site))

    def install(version, needs):
        shutil.rmtree(site, ignore_errors=True)
        folder = site / f"made_up-{version}.dist-info"
        folder.mkdir(parents=True)
        needed = "".join(f"Requires-Dist: {name}\n" for name in needs)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: made-up\nVersion: {version}\n{needed}"
        )
        (folder / "RECORD").write_text("lone.cpython-311.so,sha256=a,1\nlonely/lone.py,sha256=b,1\n")

    install("1.0", ["numpy", "not-installed; python_version < '3'"])
    assert provenance.distributions_of("lone") == ("made-up",)
    first = versions("one")
    assert first["made-up"] == "1.0" and "numpy" in first and "not-installed" not in first
    install("2.0", [])
    second = versions("one")
    assert second["made-up"] == "2.0" and "numpy" not in second


def test_an_unknown_module_is_named():
    with pytest.raises(UsageError, match="no module 'nothing'"):
        module_closure("nothing")


def count_calls(store, inputs, calls, modules=("errors",)):
    def compute():
        calls.append(1)
        return {"value": np.arange(3) * 0.1, "text": np.array("line")}

    return store.get("step", inputs, compute, modules)


def test_a_stored_result_comes_back_bit_for_bit_and_is_computed_once(store):
    calls = []
    first = count_calls(store, {"seed": 1}, calls)
    again = count_calls(Store(store.folder), {"seed": 1}, calls)
    assert len(calls) == 1
    assert first["value"].tobytes() == again["value"].tobytes()
    assert str(again["text"]) == "line"


def test_any_changed_part_is_computed_anew(store, monkeypatch):
    calls = []
    base = {"seed": 1, "data": np.zeros(3)}
    count_calls(store, base, calls)
    count_calls(store, {**base, "seed": 2}, calls)
    count_calls(store, {**base, "data": np.array([0.0, 0.0, 1e-12])}, calls)
    assert len(calls) == 3
    monkeypatch.setattr(provenance, "versions", lambda *_: {"numpy": "0.0"})
    count_calls(store, base, calls)
    assert len(calls) == 4
    monkeypatch.setattr(provenance, "code_parts", lambda *_: {"errors": "changed"})
    count_calls(store, base, calls)
    assert len(calls) == 5


def test_a_deleted_folder_and_a_damaged_file_are_computed_again(store):
    import shutil

    calls = []
    count_calls(store, {"seed": 1}, calls)
    shutil.rmtree(store.folder)
    count_calls(store, {"seed": 1}, calls)
    (kept,) = store.folder.rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:40])
    result = count_calls(store, {"seed": 1}, calls)
    assert len(calls) == 3
    assert result["value"][2] == 0.2


def test_a_damaged_or_half_written_file_is_not_what_a_change_is_explained_by(store):
    calls = []
    count_calls(store, {"seed": 1}, calls)
    (kept,) = store.folder.rglob("*.npz")
    kept.with_name(".part-half-12345678.npz").write_bytes(kept.read_bytes()[:40])
    assert store.explain("step", {"seed": 2}, ("errors",)) == ["inputs.seed"]
    content = bytearray(kept.read_bytes())
    content[60] ^= 0xFF  # inside the first compressed array
    kept.write_bytes(content)
    assert store.explain("step", {"seed": 2}, ("errors",)) == ["what is stored is damaged"]
    count_calls(store, {"seed": 1}, calls)
    assert len(calls) == 2


def test_an_interrupted_computation_leaves_nothing_behind(store):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get("step", {}, stop, ("errors",))
    assert not [path for path in store.folder.rglob("*") if path.is_file()]


def test_an_unwritable_store_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    calls = []
    with pytest.raises(WriteError):
        count_calls(Store(tmp_path / "file" / "results"), {"seed": 1}, calls)
    assert not calls


def test_python_objects_are_not_stored(store):
    with pytest.raises(TypeError, match="plain arrays"):
        store.get("step", {}, lambda: {"bad": np.array([{}])}, ("errors",))


def test_explain_names_what_differs(store):
    inputs = {"seed": 1, "epochs": 3}
    assert store.explain("step", inputs, ("errors",)) == ["nothing stored yet"]
    count_calls(store, inputs, [])
    assert store.explain("step", inputs, ("errors",)) == []
    assert store.explain("step", {**inputs, "epochs": 4}, ("errors",)) == ["inputs.epochs"]


# ── many results at once ───────────────────────────────────────────────────────────────────────────────
def squares(places, order=None):
    """Places are taken one by one, or all at once and given back in another order."""
    if order is None:
        return ((place, {"value": np.array(place**2)}) for place in places)
    asked = list(places)
    return ((place, {"value": np.array(place**2)}) for place in sorted(asked, key=order))


def all_of(store, compute, count=4):
    inputs = [{"place": place} for place in range(count)]
    return [int(found["value"]) for found in store.get_all("squares", inputs, compute, ["paths"])]


def test_results_that_come_in_any_order_are_given_in_order_and_computed_once(store):
    assert all_of(store, lambda places: squares(places, order=lambda place: -place)) == [0, 1, 4, 9]
    assert (store.computed, store.loaded) == (4, 0)
    assert all_of(store, None) == [0, 1, 4, 9]  # nothing is missing, so nothing is asked
    assert (store.computed, store.loaded) == (4, 4)
    assert (
        int(store.get("squares", {"place": 2}, None, ["paths"])["value"]) == 4
    )  # the same key as one by one


def test_every_result_is_kept_as_it_comes_so_a_failure_loses_none(store):
    def fails_after_two(places):
        for count, (place, found) in enumerate(squares(places, order=lambda place: -place)):
            if count == 2:
                raise RuntimeError("the third")
            yield place, found

    with pytest.raises(RuntimeError, match="the third"):
        all_of(store, fails_after_two)
    assert store.computed == 2
    asked = []

    def noted(places):
        return squares(asked.append(place) or place for place in places)

    assert all_of(store, noted) == [0, 1, 4, 9]
    assert asked == [0, 1], "what came before the failure was computed again"


def test_a_result_that_another_run_stores_meanwhile_is_read(store):
    other, asked = Store(store.folder), []

    def beside(places):
        for place in places:
            asked.append(place)
            if place == 0:
                for taken in (1, 3):
                    other.get("squares", {"place": taken}, lambda: {"value": np.array(-7)}, ["paths"])
            yield place, {"value": np.array(place**2)}

    assert all_of(store, beside) == [0, -7, 4, -7]
    assert asked == [0, 2]


def test_a_store_that_goes_to_a_worker_is_the_workers_own(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PDLIB_RESULTS", str(tmp_path / "there"))
    assert pickle.loads(pickle.dumps(store)).folder == tmp_path / "there"
