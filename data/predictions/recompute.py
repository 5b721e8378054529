"""CustNetGC's headline metrics from the predictions beside this file, with nothing but Python: run me."""

import csv
import hashlib
import sys
from pathlib import Path
from statistics import mean

table, sums = Path(__file__).with_name("chapter_10.csv"), Path(__file__).parent.with_name("SHA256SUMS")
line = f"{hashlib.sha256(table.read_bytes()).hexdigest()}  predictions/{table.name}"
if line not in sums.read_text(encoding="utf-8").splitlines():
    sys.exit(f"{table.name} is not as the run wrote it (data/{sums.name}): take it back with `git checkout data`")
with table.open(encoding="utf-8") as file:
    rows = [r for r in csv.DictReader(file) if (r["model"], r["variant"]) == ("custnetgc", "paper")]
found = {}
for seed in sorted({row["seed"] for row in rows}):
    part = [(int(r["label"]), int(r["predicted"]), float(r["score"])) for r in rows if r["seed"] == seed]
    tp, fp, fn, tn = (sum((y, d) == cell for y, d, _ in part) for cell in ((1, 1), (0, 1), (1, 0), (0, 0)))
    ill, well = ([score for y, _, score in part if y == label] for label in (1, 0))
    wins = sum((a > b) + (a == b) / 2 for a in ill for b in well)
    metrics = {"accuracy": (tp + tn) / len(part), "auc": wins / (len(ill) * len(well))}
    metrics |= {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "specificity": tn / (tn + fp)}
    for name, value in (metrics | {"f1": 2 * tp / (2 * tp + fp + fn)}).items():
        found.setdefault(name, []).append(value)
for name, values in found.items():
    print(name, f"{mean(values):.3f}")
