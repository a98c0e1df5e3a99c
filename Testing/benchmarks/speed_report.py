"""speed.md and speed.png from the numbers of run.py."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MOST_OTHERS", "draw", "write_table"]

MOST_OTHERS = 0.05  # of the cores, taken by processes that are not ours; past that the table says that the numbers are not to be trusted

COLOURS = {"start-up": "#9aa0a6", "read": "#5b8def", "align": "#f2a03d", "brain": "#c76bd1", "prepare": "#58b7a5", "predict": "#d9534f",
           "decide": "#b8a04a", "measure": "#7d8c5c", "draw": "#6d6fb5", "write": "#444a57"}


def write_table(result: dict, path: Path) -> None:
    """A Markdown table a group of measurements; groups that were never measured are absent."""
    parts = ["# Speed", "", "Made by `python Testing/benchmarks/run.py`; the fastest of three runs where a run takes seconds.", ""]
    parts += ["| measured | other processes had | on |", "|---|---|---|",
              *(f"| {name} | {_others(one)} | {_where(one)} |" for name, one in result.items()), ""]
    for name, table in TABLES.items():
        if name in result:
            parts += [*table(result[name]), ""]
    path.write_text("\n".join(parts), encoding="utf-8")


def _others(one: dict) -> str:
    share = one["others_share"]
    return f"{share:.0%} of the cores" + (": disturbed, not to be trusted" if share > MOST_OTHERS else "")


def _where(one: dict) -> str:
    machine = one["machine"]
    return (f"{one['case']}; {machine['processor']}, {machine['cores']} cores; Python {machine['python']}, ONNX Runtime {machine['onnxruntime']}, "
            f"torch {machine['torch']}, nnunetv2 {machine['nnunetv2']}, MONAI {machine['monai']}")


def _nnunet(one: dict) -> list[str]:
    ours, same = one["ours"], one["same_steps"]
    lines = ["## nnU-Net v2's predictor, same weights, same case, files to files", "",
             "| | seconds | passes | peak GB | `segment` is faster | its same steps are faster |", "|---|---|---|---|---|---|",
             f"| `braintumorseg segment` (whole process, with picture and report) | {ours['seconds']} | {ours['passes']} | {ours['peak_gb']} | | |",
             f"| of it the same steps: files to label file, told `--registered --stripped` | {same['seconds']} | {same['passes']} | "
             f"{same['peak_gb']} | | |"]
    for name, label in (("default", "nnUNetPredictor as it comes (mirroring, step 0.5, Gaussian)"), ("no mirroring", "the same without mirroring")):
        row = one[name]
        lines.append(f"| {label}, without imports and loading | {row['seconds']} | {row['passes']} | {row['peak_gb']} | "
                     f"{row['ours_times_faster']} x | {row['same_steps_times_faster']} x |")
    lines += ["", "| Dice | WT | TC | ET |", "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(f'{value:.4f}' for value in row.values())} |" for name, row in one["dice"].items()]
    shares = " | ".join(f"{share:.4f}" for share in one["share_of_its_own_agreement"].values())
    return [*lines, f"| ours / default, as a share of its own agreement | {shares} |"]


def _monai(one: dict) -> list[str]:
    return ["## The network alone: MONAI's sliding window on torch", "", "| | seconds | passes |", "|---|---|---|",
            f"| ours | {one['our_network_seconds']} | 1 |",
            f"| sliding_window_inference, 128³, overlap 0.5, Gaussian | {one['seconds']} ({one['ours_times_faster']} x) | {one['passes']} |",
            f"| torch, one pass over the brain | {one['one_torch_pass_seconds']} | 1 |",
            "", f"Dice of the two: {', '.join(f'{region} {value:.4f}' for region, value in one['dice'].items())}."]


def _plain_ort(one: dict) -> list[str]:
    return ["## The network alone: the same file in plain ONNX Runtime", "", "| | seconds |", "|---|---|", f"| ours ({one['our_provider']}) | "
            f"{one['our_network_seconds']} |", f"| ONNX Runtime, CPU provider, default options | {one['seconds']} ({one['ours_times_faster']} x) |",
            "", f"Probabilities differ by at most {one['largest_difference']}."]


def _floor(one: dict) -> list[str]:
    return ["## The network against the machine's floor", "",
            f"{one['gflop']} GFLOP for {' x '.join(map(str, one['voxels']))} voxels; fastest float32 matrix product "
            f"{one['peak_gflop_per_second']} GFLOP/s: at least {one['floor_seconds']} s in float32.", "",
            f"Ours in float32 {one['float32_seconds']} s, {one['float32_times_the_floor']} times that; as it runs here ({one['our_provider']}) "
            f"{one['our_network_seconds']} s, {one['times_the_floor']} times that."]


def _volumes(one: dict) -> list[str]:
    lines = ["## Larger volumes", "", f"{one['what'][0].upper()}{one['what'][1:]}.", "",
             "| voxels | seconds | peak GB | passes |", "|---|---|---|---|"]
    for row in one["segment"]:
        cells = f"left out: {row['left_out']} | | |" if "left_out" in row else f"{row['seconds']} | {row['peak_gb']} | {row['passes']} |"
        lines.append(f"| {row['side']}³ | {cells}")
    lines += ["", "The network alone, voxels of 1 mm:", "", "| voxels | seconds | peak GB | passes |", "|---|---|---|---|"]
    return lines + [f"| {row['side']}³ | {row['seconds']} | {row['peak_gb']} | {row['passes']} |" for row in one["network"]]


def _studies(one: dict) -> list[str]:
    numbers = range(1, len(one["seconds"]) + 1)
    return ["## Many studies in one process", "", f"| study | {' | '.join(map(str, numbers))} |", f"|---|{'---|' * len(numbers)}",
            f"| seconds | {' | '.join(map(str, one['seconds']))} |", f"| GB held afterwards | {' | '.join(map(str, one['held_gb_after_each']))} |"]


def _steps(one: dict) -> list[str]:
    names = [name for name in COLOURS if name == "start-up" or any(name in one[kind]["steps"] for kind in ("registered", "raw"))]
    lines = ["## Where the time of a study goes", "", f"| seconds | all | {' | '.join(names)} | peak GB |", f"|---|---|{'---|' * len(names)}---|"]
    for kind, label in (("registered", "registered, brain only (files)"), ("raw", "whole heads (DICOM phantom)")):
        row = one[kind]
        each = {"start-up": row["start_up_seconds"], **row["steps"]}
        lines.append(f"| {label} | {row['seconds']} | {' | '.join(f'{each.get(name, 0):.2f}' for name in names)} | {row['peak_gb']} |")
    return lines


TABLES = {"steps": _steps, "nnunet": _nnunet, "monai": _monai, "plain_ort": _plain_ort, "floor": _floor, "volumes": _volumes, "studies": _studies}


def draw(result: dict, path: Path) -> None:
    """Three pictures side by side: where the time goes, ours beside the peers, growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (steps, peers, growth) = pyplot.subplots(1, 3, figsize=(16, 4.2), layout="constrained", gridspec_kw={"width_ratios": [1.35, 1, 1]})
    if "steps" in result:
        _draw_steps(steps, result["steps"])
    _draw_peers(peers, result)
    if "volumes" in result:
        _draw_growth(growth, result["volumes"])
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_steps(axes, one: dict) -> None:
    kinds = (("raw", "whole heads\n(DICOM)"), ("registered", "registered,\nbrain only"))
    for place, (kind, _) in enumerate(kinds):
        left = 0.0
        for name, seconds in {"start-up": one[kind]["start_up_seconds"], **one[kind]["steps"]}.items():
            axes.barh(place, seconds, left=left, color=COLOURS[name], label=name, height=0.55)
            if seconds > 0.08 * one["raw"]["seconds"]:
                axes.text(left + seconds / 2, place, f"{name}\n{seconds:.1f}", ha="center", va="center", color="white", fontsize=8)
            left += seconds
        axes.text(left, place, f" {one[kind]['seconds']:.1f} s", va="center", fontsize=10)
    handles = dict(reversed(list(zip(*reversed(axes.get_legend_handles_labels()), strict=True))))
    axes.legend(handles.values(), handles.keys(), ncols=5, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    axes.set_yticks(range(len(kinds)), [label for _, label in kinds])
    axes.set_xlim(0, 1.12 * one["raw"]["seconds"])
    axes.set_title("Where the time of a study goes (s)", fontsize=11)


def _draw_peers(axes, result: dict) -> None:
    bars = []
    if "nnunet" in result:
        one = result["nnunet"]
        bars += [("nnU-Net v2 predictor", one["default"]["seconds"]), ("... without mirroring", one["no mirroring"]["seconds"]),
                 ("segment, with report", one["ours"]["seconds"])]
    if "monai" in result:
        bars += [("MONAI sliding window*", result["monai"]["seconds"]), ("our network*", result["monai"]["our_network_seconds"])]
    if "plain_ort" in result:
        bars.insert(-1, ("plain ONNX Runtime*", result["plain_ort"]["seconds"]))
    if "floor" in result:
        bars.append(("float32 floor*", result["floor"]["floor_seconds"]))
    for place, (label, seconds) in enumerate(reversed(bars)):
        own = label in ("segment, with report", "our network*")
        axes.barh(place, seconds, color="#d9534f" if own else "#9aa0a6", height=0.6)
        axes.text(seconds, place, f" {seconds:.3g} s", va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [label for label, _ in reversed(bars)], fontsize=9)
    if bars:
        axes.set_xscale("log")
        axes.set_xlim(0.5 * min(seconds for _, seconds in bars), 4 * max(seconds for _, seconds in bars))
    axes.set_title("Same weights, same case (* network alone)", fontsize=11)


def _draw_growth(axes, one: dict) -> None:
    rows = [row for row in one["segment"] if "seconds" in row]
    millions = [row["side"] ** 3 / 1e6 for row in rows]
    axes.plot(millions, [row["seconds"] for row in rows], "o-", color="#d9534f", label="seconds")
    axes.plot(millions, [row["peak_gb"] for row in rows], "s--", color="#5b8def", label="peak GB")
    for row, x in zip(rows, millions, strict=True):
        axes.annotate(f"{row['side']}³", (x, row["seconds"]), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("million voxels a sequence")
    axes.set_ylim(0, 1.2 * max(max(row["seconds"], row["peak_gb"]) for row in rows))
    axes.legend(frameon=False)
    axes.set_title("segment, four sequences of the same head", fontsize=11)
