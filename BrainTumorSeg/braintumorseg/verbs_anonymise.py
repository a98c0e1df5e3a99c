"""The verb `anonymise`."""

from __future__ import annotations

from .terminal import Talk

__all__ = ["anonymise"]


def anonymise(args, talk: Talk) -> None:
    from .anonymise import anonymise as run
    from .io.atomic import check_output
    from .pseudonyms import Pseudonyms, secret_from

    check_output(args.out)
    secret = secret_from(args.seed_file)   # kept before the work: a copy whose secret is lost can never be added to
    report = run(args.paths, args.out, Pseudonyms(secret), keep_dates=args.keep_dates, keep_age_sex=args.keep_age_sex)
    talk.text(f"{report['images']} images of {report['patients']} patient{'s' * (report['patients'] > 1)} in {args.out}",
              *(f"Left out: {count} x {reason}" for reason, count in report["left_out"].items()), f"Mind: {report['faces']}")
    talk.result(report)
