"""What each verb of the command does; `cli` holds their options."""

from __future__ import annotations

from dataclasses import asdict

from .errors import OutputError
from .io.atomic import check_output
from .terminal import Talk

__all__ = ["demo", "doctor", "evaluate", "models_add", "models_list", "models_remove", "models_show", "segment"]


def segment(args, talk: Talk) -> None:
    from .io.dicom_identity import identity_asked_for
    from .model_zoo import load_model
    from .pipeline import segment as run
    from .read import read_study
    from .results import write_results

    check_output(args.out, args.force)  # before minutes of work, not after
    progress = talk.progress()
    model = load_model(args.model)
    with progress.step("read") as tell:
        study = read_study(args.paths, t1=args.t1, t1ce=args.t1ce, t2=args.t2, flair=args.flair, study=args.study, fill_gaps=args.fill_gaps,
                           progress=tell, cancel=progress.cancel)
    if study.left_out:
        talk.text(f"Not used: {'; '.join(f'{one.what} ({one.why})' for one in study.left_out)}")
    series = study.stacks.get(study.reference_role)
    identity = identity_asked_for(series) if args.with_identity else None
    segmentation = run(study, model, device=args.device, threads=args.threads, provider=args.provider, registered=args.registered,
                       stripped=args.stripped, thorough=args.thorough, progress=progress)
    report = write_results(study, segmentation, model.card, args.out, force=args.force, dicom_source=series or (), sr=args.sr, sc=args.sc,
                           identity=identity, progress=progress)
    talk.text(*summary(report), f"Results: {args.out}")
    talk.result(report)


def summary(report: dict) -> list[str]:
    """The lines a person reads at the end of a run."""
    volumes, estimated = report["volumes_ml"], report["estimated_without_t1ce"]
    lines = ["Regions  " + "   ".join(f"{name} {ml:.1f} ml{' *' * (name in estimated)}" for name, ml in volumes["regions"].items()),
             "Labels   " + "   ".join(f"{name} {ml:.1f} ml{' *' * (name in estimated)}" for name, ml in volumes["labels"].items())]
    if estimated:
        lines.append("* estimated without T1ce: not to be read as enhancement")
    if report["expected_dice"]:
        lines.append("How sure " + "   ".join(f"{name} {dice:.2f}" for name, dice in report["expected_dice"].items()) + "   (expected Dice)")
    lines += [f"{'Mind' if flag['severity'] == 'warning' else 'Note'}: {flag['text']}" for flag in report["flags"]]
    return [*lines, f"{sum(report['seconds'].values()):.1f} s with {report['model']['name']} {report['model']['version']} "
            f"on {report['provider']} ({report['precision']})",
            *([f"Note: {report['provider_note']}"] if report["provider_note"] else [])]


def evaluate(args, talk: Talk) -> None:
    from .evaluate import evaluate as run
    from .evaluation_report import format_table, to_json, write_box_plots, write_csv

    for path in (args.csv, args.plot):
        if path is not None and not path.absolute().parent.is_dir():
            raise OutputError(f"The folder for {path.name} does not exist.", "Make it first, or choose another.")
    found = run(args.truth, args.found, args.labels, args.found_labels)
    if args.csv:
        write_csv(found, args.csv)
    if args.plot:
        write_box_plots(found, args.plot)
    talk.text(format_table(found))
    talk.result(to_json(found))


def models_list(args, talk: Talk) -> None:
    from .model_zoo import list_models, unreadable_models

    models = list_models()
    for model in models:
        talk.text(f"{model.card.name:<12} {model.card.version:<8} {'embedded' if model.embedded else 'added':<9} {model.card.task}")
    for one in unreadable_models():
        talk.text(f"Mind: {one.why.what} {one.fix}.")
    talk.result([{"name": model.card.name, "version": model.card.version, "task": model.card.task, "embedded": model.embedded} for model in models])


def models_show(args, talk: Talk) -> None:
    from .model_zoo import load_model

    card = load_model(args.name).card
    data = [f"  {one.get('name', '')} ({one.get('cases', '?')} cases): {one.get('licence', '')}. {one.get('citation', '')}"
            for one in card.training_data]
    talk.text(f"{card.name} {card.version}: {card.task}", f"Reads {_inputs(card)} at {' x '.join(f'{mm:g}' for mm in card.spacing_mm)} mm; "
              f"may be missing: {', '.join(card.may_be_missing) or 'none'}", f"Licence: {card.licence}", f"Intended use: {card.intended_use}",
              "Limits:", *(f"  {limit}" for limit in card.limits), "Training data:", *data, "Accuracy:", *_accuracy(card.metrics),
              f"SHA-256 {card.sha256}")
    talk.result(asdict(card))


def _inputs(card) -> str:
    return "any sequence" if card.finds == "brain" else ", ".join(card.roles)


def _accuracy(metrics) -> list[str]:
    if not metrics:
        return ["  not measured"]
    lines = [f"  {metrics.get('definition', '')}; {metrics.get('split', '')}"]
    for region, row in metrics.get("dice", {}).items():
        scores = [f"{name} {row[name]:.3f}" for name in ("mean", "median", "worst") if row.get(name) is not None]
        lines.append(f"  Dice {region}: {', '.join(scores) or 'not measured'} (N = {row.get('n', 0)})")
    if subsets := metrics.get("dice_by_sequences"):
        regions = list(dict.fromkeys(region for row in subsets.values() for region in row))
        lines.append(f"  {'Mean Dice with these sequences':<30} " + "  ".join(f"{region:>4}" for region in regions) + "   (ET where at least 1 ml)")
        lines += [f"    {sequences:<28} " + "  ".join("   -" if row.get(region) is None else f"{row[region]:4.2f}" for region in regions)
                  for sequences, row in subsets.items()]
    return lines


def models_add(args, talk: Talk) -> None:
    from .model_zoo import add_model

    model = add_model(args.file)
    talk.text(f"Added {model.card.name} {model.card.version}. Use it with --model {model.card.name}.")
    talk.result({"added": model.card.name, "version": model.card.version})


def models_remove(args, talk: Talk) -> None:
    from .model_zoo import remove_model

    remove_model(args.name)
    talk.text(f"Removed {args.name}.")
    talk.result({"removed": args.name})


def doctor(args, talk: Talk) -> None:
    from .doctor import examine, format_findings

    findings = examine()
    talk.text(format_findings(findings))
    talk.result(findings)


def demo(args, talk: Talk) -> None:
    from .demo import run_demo

    check_output(args.out, args.force)
    for line in run_demo(args.out, seed=args.seed, force=args.force):
        talk.text(line)
