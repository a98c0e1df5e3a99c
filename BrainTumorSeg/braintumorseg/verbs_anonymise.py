"""The verb `anonymise`."""

from __future__ import annotations

from .terminal import Talk

__all__ = ["anonymise"]


def anonymise(args, talk: Talk) -> None:
    from .anonymise import anonymise as run
    from .io.atomic import check_output
    from .pseudonyms import Pseudonyms, load_secret, save_secret

    check_output(args.out)
    secret = load_secret(args.seed_file)
    report = run(args.paths, args.out, Pseudonyms(secret), keep_dates=args.keep_dates, keep_age_sex=args.keep_age_sex)
    if args.seed_file is not None:
        save_secret(args.seed_file, secret)
    talk.text(f"{report['images']} images of {report['patients']} patient{'s' * (report['patients'] > 1)} in {args.out}",
              *(f"Left out: {count} x {reason}" for reason, count in report["left_out"].items()), f"Mind: {report['faces']}")
    talk.result(report)
