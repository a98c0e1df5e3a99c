"""Fits the numbers of braintumorseg.sequences_by_image and prints how it does on patients left out of the fit.

    python Testing/benchmarks/fit_sequences_by_image.py FOLDER...     each FOLDER: one patient, t1 t1ce t2 flair as *.nii.gz

Every subset of a patient's sequences is judged, each by a fit on all other patients. Prints the confusion table, the share that is
certain, the certain ones that are wrong, and the constants of the fit on everybody.
"""

import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from braintumorseg import sequences_by_image as module
from braintumorseg.io.readers import read_volume
from braintumorseg.sequences_by_image import KINDS, Look, brighter, kinds_of, roles_of
from braintumorseg.study import ROLES

KIND = {"t1": "t1", "t1ce": "t1", "t2": "t2", "flair": "flair"}


class Remembered:
    """A Look whose traits and relations are worked out once."""

    def __init__(self, look):
        self.look, self.volume, self._traits, self._relations = look, look.volume, look.traits(), {}

    def traits(self):
        return self._traits

    def relation(self, other):
        if id(other) not in self._relations:
            self._relations[id(other)] = self.look.relation(other.look)
        return self._relations[id(other)]


def fit(patients):
    rows = [(look.traits(), KINDS.index(KIND[role])) for looks in patients for role, look in looks.items()]
    traits, kinds = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    mean, sd = traits.mean(0), traits.std(0)
    inputs, weights = np.c_[(traits - mean) / sd, np.ones(len(traits))], np.zeros((traits.shape[1] + 1, 3))
    for _ in range(1500):  # ridge logistic regression
        chances = np.exp(inputs @ weights)
        chances /= chances.sum(1, keepdims=True)
        shrink = np.r_[weights[:-1], 0 * weights[-1:]] / len(inputs)
        weights -= 0.5 * (inputs.T @ (chances - np.eye(3)[kinds]) / len(inputs) + shrink)
    relations = {}
    for first, second in (("t1", "t1"), ("t1", "t2"), ("t1", "flair"), ("t2", "flair")):
        values = [relation[:2] for looks in patients for one, two in itertools.permutations(looks, 2) if (KIND[one], KIND[two]) == (first, second)
                  and (one, two) != ("t1ce", "t1") and (relation := looks[one].relation(looks[two])) is not None]
        relations[first, second] = np.mean(values, 0), np.std(values, 0)
    return mean, sd, weights, relations


def use(mean, sd, weights, relations):
    def rounded(values):
        return tuple(np.round(values, 2).tolist())

    module._MEAN, module._SD, module._CONSTANT = rounded(mean), rounded(sd), rounded(weights[-1])
    module._WEIGHTS = tuple(rounded(row) for row in weights[:-1])
    module._RELATIONS = {kinds: (rounded(mean), rounded(sd)) for kinds, (mean, sd) in relations.items()}


def main(folders):
    patients = {}
    for folder in folders:
        paths = {role: next(iter(sorted(Path(folder).glob(f"{role}.nii*"))), None) for role in ROLES}
        patients[str(folder)] = {role: Remembered(Look.at(read_volume(path))) for role, path in paths.items() if path}
    for size in range(1, 5):
        table, certain, wrong, total, studies = Counter(), 0, [], 0, Counter()
        for name, looks in patients.items():
            use(*fit([other for key, other in patients.items() if key != name]))
            for subset in itertools.combinations(looks, size):
                roles = roles_of({role: looks[role] for role in subset})
                studies["not certain" if not roles else "right" if all(role == found for role, found in roles.items())
                        else f"wrong: {Path(name).name} {roles}"] += 1
                for role, opinion in kinds_of({role: looks[role] for role in subset}).items():
                    table[KIND[role], opinion.kind] += 1
                    total += 1
                    certain += opinion.certain
                    if opinion.certain and opinion.kind != KIND[role]:
                        wrong.append(f"{Path(name).name}: {role} among {' '.join(subset)} as {opinion.kind}")
        if total:
            print(f"{size} image(s): {total} judgements, right {sum(table[k, k] for k in KINDS) / total:.3f}, certain {certain / total:.3f}, "
                  f"certain and wrong {len(wrong)}")
            print("   ", {f"{true} as {found}": table[true, found] for true in KINDS for found in KINDS})
            print("   ", *wrong, sep="\n    ")
            print("    files without names:", dict(studies))
    contrast = Counter(brighter(looks["t1"], looks["t1ce"]) for looks in patients.values() if {"t1", "t1ce"} <= set(looks))
    print("of T1 and T1ce, after contrast is:", dict(contrast), "(right: other)")
    use(*fit(list(patients.values())))
    for name in ("_MEAN", "_SD", "_WEIGHTS", "_CONSTANT", "_RELATIONS"):
        print(name, "=", getattr(module, name))


if __name__ == "__main__":
    main(sys.argv[1:])
