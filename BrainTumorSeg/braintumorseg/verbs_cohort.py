"""The verb `cohort`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import Cancelled, ConfigError, StudiesFailed
from .progress import Update
from .terminal import Talk

__all__ = ["cohort"]


def cohort(args, talk: Talk) -> None:
    from .cohort import left_to_do, numbered, run_cohort
    from .cohort_list import list_folder, read_list
    from .cohort_manifest import open_manifest
    from .cohort_summary import format_ended
    from .cohort_workers import Options
    from .model_zoo import load_model

    cancel = talk.progress().cancel
    if args.summary is not None:
        _end(args.summary, None, talk, threading.Event())   # no run that a closed stdin should stop
        return
    if (args.folder is None) == (args.list is None):
        args.usage("give either FOLDER or --list FILE.csv")
    if args.out is None:
        args.usage("--out is needed")
    network = str(Path(args.model).resolve()) if args.model.endswith(".onnx") else args.model
    options = Options(network, device=args.device, threads=args.threads, provider=args.provider, registered=args.registered,
                      stripped=args.stripped, thorough=args.thorough, fill_gaps=args.fill_gaps, sr=args.sr, sc=args.sc,
                      with_identity=args.with_identity)
    model = load_model(options.model)
    listed = read_list(args.list) if args.list is not None else list_folder(args.folder, args.out)
    _refuse_our_names(listed)
    with open_manifest(args.out, options.made(model), args.shard, args.force) as manifest:
        entries = numbered(listed, manifest.records)
        manifest.enlist(entries)
        mine = args.shard.of(entries, lambda entry: entry.id)
        todo = left_to_do(mine, manifest, args.out, args.retry_failed)
        if len(todo) < len(mine):
            talk.text(f"{len(mine) - len(todo)} of {len(mine)} studies were dealt with before.")
        if not mine:
            talk.text(f"No study falls to part {args.shard}.")
        if todo:
            with _workers(args, options, model) as workers:
                run_cohort(todo, workers, manifest, listener=talk.show, cancel=cancel,
                           ended=lambda record: talk.text(format_ended(record, len(listed))))
    _end(args.out, {entry.id for entry in mine}, talk, cancel)


@contextmanager
def _workers(args, options, model) -> Iterator:
    """Those of a Ray cluster, or threads of this process around one open session."""
    from .cohort_workers import Lanes, at_once_here, segment_entry
    from .runtime import open_session

    if args.ray:
        from .cohort_ray import ray_workers

        with ray_workers(args.ray, options, model.card.sha256, args.out.resolve(), args.at_once) as workers:
            yield workers
        return
    # What would fail for every study fails once, before the first.
    open_session(model.weights, options.device, options.threads, provider=options.provider, variants=model.card.variants)
    turn = threading.Lock()
    yield Lanes(args.at_once or at_once_here(), lambda entry, progress: segment_entry(entry, model, options, args.out, progress, turn))


def _end(out: Path, mine: set[str] | None, talk: Talk, cancel: threading.Event) -> None:
    """Write the summary over all shards, and tell of `mine` (None: of all)."""
    from .cohort_summary import summarise, write_summary

    def tell(update: Update) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        talk.show(update)

    try:
        of_all = write_summary(out, tell)
    except KeyboardInterrupt:
        raise Cancelled("The run was cancelled before its summary was written; all studies are kept.",
                        "'braintumorseg cohort --summary DIR' writes it.") from None
    waiting = sum(record.state == "listed" for record in of_all)
    found, failure = summarise([record for record in of_all if mine is None or record.id in mine]) | {"not_begun": waiting}, None
    if found["failed"]:
        failure = StudiesFailed(f"{found['failed']} of {found['studies']} studies failed; cohort.csv says which and why.",
                                "Put right what can be, and give the same command with --retry-failed.")
    talk.text(f"{found['done']} of {found['studies']} studies are done. Results: {out / 'cohort.html'}, {out / 'cohort.csv'}")
    if waiting:
        talk.text(f"{waiting} of the whole cohort's {len(of_all)} studies {'is' if waiting == 1 else 'are'} not begun. If no shard is at work any "
                  "more, give the commands of all once again.")
    talk.result(found, failure)
    if failure is not None:
        raise failure


def _refuse_our_names(entries) -> None:
    """A study named like a file of the cohort would be in its way."""
    for entry in entries:
        if entry.id in ("cohort.csv", "cohort.html") or entry.id.startswith("manifest"):
            raise ConfigError(f"A study is named {entry.id}, as a file of the results is.", "Rename its folder.")
