"""speed.md and speed.png from the numbers of run.py."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MOST_OTHERS", "draw", "write_table"]

MOST_OTHERS = 0.05  # of the cores, taken by processes that are not ours; past that the table says that the numbers are not to be trusted

OTHER = "start-up, checks, report page"   # what the engine's own clock does not name as a step
COLOURS = {OTHER: "#9aa0a6", "read": "#5b8def", "align": "#f2a03d", "brain": "#c76bd1", "prepare": "#58b7a5", "predict": "#d9534f",
           "decide": "#b8a04a", "measure": "#7d8c5c", "draw": "#6d6fb5", "write": "#444a57"}


def write_table(result: dict, path: Path) -> None:
    """A Markdown table a group of measurements; groups that were never measured are absent."""
    parts = ["# Speed", "", "Made by `python Testing/benchmarks/run.py`, all on the CPU. Where a study's time goes: the fastest of three runs; "
             "volumes and studies: one run each; elsewhere the tables say the fastest of how many.", ""]
    parts += ["| measured | other processes had | network | on |", "|---|---|---|---|",
              *(f"| {name} | {_others(one)} | {_model(one)} | {_where(one)} |" for name, one in result.items()), ""]
    for name, table in TABLES.items():
        if name in result:
            parts += [*table(result[name]), ""]
    path.write_text("\n".join(parts), encoding="utf-8")


def _others(one: dict) -> str:
    share = one["others_share"]
    return f"{share:.0%} of the cores" + (": disturbed, not to be trusted" if share > MOST_OTHERS else "")


def _model(one: dict) -> str:
    return f"{one['model']['name']} {one['model']['version']} (sha256 {one['model']['sha256'][:8]})"


def _where(one: dict) -> str:
    machine = one["machine"]
    return (f"{one['case']}; {machine['processor']}, {machine['cores']} cores; BrainTumorSeg {machine['braintumorseg']}, Python {machine['python']}, "
            f"ONNX Runtime {machine['onnxruntime']}, OpenVINO {machine['openvino']}, torch {machine['torch']}, nnunetv2 {machine['nnunetv2']}, "
            f"MONAI {machine['monai']}")


def _nnunet(one: dict) -> list[str]:
    ours, same = one["ours"], one["same_steps"]
    lines = ["## nnU-Net v2's predictor, same weights, same case, files to files", "",
             "| | seconds | fastest of | computes in | passes | peak GB | `segment` is faster | its same steps are faster |", f"|{'---|' * 8}",
             f"| `braintumorseg segment` (whole process, with picture and report) | {ours['seconds']} | {ours['runs']} | {_ours_in(ours)} | "
             f"{ours['passes']} | {ours['peak_gb']} | | |",
             f"| of it the same steps: files to label file, told `--registered --stripped` | {same['seconds']} | {same['runs']} | {_ours_in(same)} | "
             f"{same['passes']} | {same['peak_gb']} | | |"]
    for name, label in (("default", "nnUNetPredictor as it comes (mirroring, step 0.5, Gaussian)"), ("no mirroring", "the same without mirroring")):
        row = one[name]
        lines.append(f"| {label}, without imports and loading | {row['seconds']} | {row['runs']} | torch in {row['precision']} | {row['passes']} | "
                     f"{row['peak_gb']} | {row['ours_times_faster']} x | {row['same_steps_times_faster']} x |")
    lines += ["", "| Dice | WT | TC | ET |", "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(f'{value:.4f}' for value in row.values())} |" for name, row in one["dice"].items()]
    shares = " | ".join(f"{share:.4f}" for share in one["share_of_its_own_agreement"].values())
    return [*lines, f"| ours / default, as a share of its own agreement | {shares} |"]


def _monai(one: dict) -> list[str]:
    theirs, times = f"{one['runs']} | torch in {one['precision']}", f"{one['ours_times_faster']} x"
    return ["## The network alone: MONAI's sliding window on torch", "", "| | seconds | fastest of | computes in | passes |", "|---|---|---|---|---|",
            f"| ours | {one['our_network_seconds']} | {one['our_runs']} | {one['our_provider']} | 1 |",
            f"| sliding_window_inference, 128³, overlap 0.5, Gaussian | {one['seconds']} ({times}) | {theirs} | {one['passes']} |",
            f"| torch, one pass over the brain | {one['one_torch_pass_seconds']} | {theirs} | 1 |",
            "", f"Dice of the two: {', '.join(f'{region} {value:.4f}' for region, value in one['dice'].items())}."]


def _plain_ort(one: dict) -> list[str]:
    return ["## The network alone: the same file in plain ONNX Runtime", "", "| | seconds | fastest of | computes in |", "|---|---|---|---|",
            f"| ours | {one['our_network_seconds']} | {one['our_runs']} | {one['our_provider']} |",
            f"| ONNX Runtime, CPU provider, default options | {one['seconds']} ({one['ours_times_faster']} x) | {one['runs']} | {one['precision']} |",
            "", f"Probabilities differ by at most {one['largest_difference']}.{_measured_in(one)}"]


def _floor(one: dict) -> list[str]:
    return ["## The network against the machine's floor", "",
            f"{one['gflop']} GFLOP for {' x '.join(map(str, one['voxels']))} voxels; fastest float32 matrix product "
            f"{one['peak_gflop_per_second']} GFLOP/s: at least {one['floor_seconds']} s in float32.", "",
            f"Ours in float32 {one['float32_seconds']} s, {one['float32_times_the_floor']} times that; as it runs here ({one['our_provider']}) "
            f"{one['our_network_seconds']} s, {one['times_the_floor']} times that.{_measured_in(one)}"]


def _ours_in(one: dict) -> str:
    return f"{one['provider']} in {one['precision']}"


def _measured_in(one: dict) -> str:
    """Until the end of November 2026 `monai`'s seconds of our network stood for later parts of the same run, too."""
    return f" Ours as it runs was measured once, in `{one['our_network_measured_in']}`." if "our_network_measured_in" in one else ""


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
    names = [name for name in COLOURS if name == OTHER or any(name in one[kind]["steps"] for kind in ("registered", "raw"))]
    lines = ["## Where the time of a study goes", "", f"| seconds | all | {' | '.join(names)} | peak GB |", f"|---|---|{'---|' * len(names)}---|"]
    for kind, label in (("registered", "registered, brain only (files)"), ("raw", "whole heads (DICOM phantom)")):
        row = one[kind]
        each = {OTHER: row["other_seconds"], **row["steps"]}
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
        for name, seconds in {OTHER: one[kind]["other_seconds"], **one[kind]["steps"]}.items():
            axes.barh(place, seconds, left=left, color=COLOURS[name], label=name, height=0.55)
            if seconds > 0.08 * one["raw"]["seconds"]:
                axes.text(left + seconds / 2, place, f"{name} {seconds:.1f}".replace(" ", "\n"), ha="center", va="center", color="white", fontsize=8)
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
                 (f"segment, {one['ours']['precision']}", one["ours"]["seconds"])]
    if "monai" in result:
        one = result["monai"]
        bars += [("MONAI sliding window*", one["seconds"]), (f"our network, {one['our_provider'].split()[-1]}*", one["our_network_seconds"])]
    if "plain_ort" in result:
        bars.insert(-1, ("plain ONNX Runtime*", result["plain_ort"]["seconds"]))
    if "floor" in result:
        bars.append(("float32 floor*", result["floor"]["floor_seconds"]))
    for place, (label, seconds) in enumerate(reversed(bars)):
        own = label.startswith(("segment", "our network"))
        axes.barh(place, seconds, color="#d9534f" if own else "#9aa0a6", height=0.6)
        axes.text(seconds, place, f" {seconds:.3g} s", va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [label for label, _ in reversed(bars)], fontsize=9)
    if bars:
        axes.set_xscale("log")
        axes.set_xlim(0.5 * min(seconds for _, seconds in bars), 4 * max(seconds for _, seconds in bars))
    axes.set_title("Same weights, peers in float32 (* network)", fontsize=11)


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
