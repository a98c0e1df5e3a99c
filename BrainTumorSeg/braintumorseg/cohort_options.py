"""The options of `braintumorseg cohort`."""

from __future__ import annotations

import argparse
import re

from .arguments import some_path
from .cohort_shard import Shard

__all__ = ["add_cohort"]

_SLURM = """
On a cluster with SLURM, save this as cohort.sh and run 'sbatch cohort.sh'; --out must be on a disk that all nodes see. When a job was
killed, the same again goes on from there.

  #!/bin/bash
  #SBATCH --array=1-8 --cpus-per-task=8 --mem=16G --time=4:00:00 --requeue
  srun braintumorseg cohort STUDIES --out RESULTS --shard "$SLURM_ARRAY_TASK_ID/8" --threads "$SLURM_CPUS_PER_TASK"
"""


def add_cohort(verbs, research_only: str) -> argparse.ArgumentParser:
    """The verb's parser, without what `segment` and it have in common."""
    verb = verbs.add_parser(
        "cohort", help="segment many patients, one study a folder", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""Segment many studies with one command. {research_only}

Every folder in FOLDER is a study, DICOM or files, as 'segment' takes it; its results go into a folder of the same name in DIR. DIR also
gets cohort.csv (volumes, diameters, warnings and errors of all), cohort.html (the same with pictures) and the manifest, by which a run that was
stopped or killed is continued: give the same command again. A study that fails is listed with the reason and does not stop the others.
A run with another network, another version of this program or other options than those before it is refused, unless --force does all again.
The terminal names studies by numbers only, and what lies in them by its place in order ('file 3 of study 7'), for folders and files may be named
for patients; cohort.csv says which study is which.""",
        epilog=_SLURM)
    verb.add_argument("folder", nargs="?", type=some_path, metavar="FOLDER", help="folder of studies, a folder each")
    verb.add_argument("--list", type=some_path, metavar="FILE.csv",
                      help="instead of FOLDER: a table with the columns id, path, t1, t1ce, t2, flair, study, as needed; paths count from its folder")
    verb.add_argument("--out", type=some_path, metavar="DIR", help="folder for the results of all studies")
    verb.add_argument("--summary", type=some_path, metavar="DIR", help="segment nothing: write cohort.csv and cohort.html of all shards in DIR anew")
    verb.add_argument("--retry-failed", action="store_true", help="also those again that failed before")
    verb.add_argument("--shard", type=_shard, default=Shard(), metavar="I/N",
                      help="only the I-th of N parts, for array jobs; all with one N. A study's name decides its part, so that a folder may grow "
                           "meanwhile: parts are equal only by and large, and one of few studies may be empty")
    verb.add_argument("--at-once", type=_count, default=0, metavar="N",
                      help="studies in work at the same time (default: half of the cores, 2 to 8, as memory allows); the network takes one at a time")
    verb.add_argument("--ray", default="", metavar="ADDRESS",
                      help="work on a Ray cluster, a worker per GPU or node ('auto' or HOST:PORT; 'local' starts one here); all nodes "
                           "must see the same disk. Needs a package: pip install ray")
    verb.add_argument("--fill-gaps", action="store_true", help="make up missing slices of DICOM series from their neighbours, do not refuse them")
    verb.set_defaults(usage=verb.error)
    return verb


def _shard(words: str) -> Shard:
    match = re.fullmatch(r"(\d+)/(\d+)", words)
    try:
        return Shard(int(match[1]), int(match[2])) if match else _refuse(words)
    except ValueError:
        return _refuse(words)


def _refuse(words: str) -> Shard:
    raise argparse.ArgumentTypeError(f"'{words}' is not I/N with I from 1 to N, as in 3/8")


def _count(words: str) -> int:
    if not words.isdecimal() or not 1 <= int(words) <= 64:
        raise argparse.ArgumentTypeError(f"'{words}' is not a number from 1 to 64")
    return int(words)
