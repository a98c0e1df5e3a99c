"""The table beside cuda.json."""

from __future__ import annotations

LEAST_AGREEMENT = 0.999   # of tumour voxels
MOST_SECONDS = 3.0        # a warm study, files to files
MOST_NETWORK = 0.150      # seconds, a pass over a brain of 1 mm voxels, from the host's memory and back
MOST_GB = 6.0             # of the GPU's memory
MOST_OTHERS = 0.05        # of the cores

ALONE = {"network": "ours: memory given back after each pass (as shipped)", "network, arena kept": "ours: memory kept between passes",
         "torch float32": "torch, same weights, one pass", "torch float16": "torch, same weights, one pass",
         "torch bfloat16": "torch, same weights, one pass", "MONAI": "MONAI's sliding window, 128³, overlap 0.5, Gaussian"}
FILES = {"studies": "ours: a warm study with pictures and report, the slowest case",
         "nnU-Net without mirroring": "nnU-Net's predictor, warm, no mirroring", "nnU-Net": "nnU-Net's predictor, warm, as it comes"}


def as_markdown(result: dict) -> str:
    parts = {name: one for name, one in result["parts"].items() if "failed" not in one}
    lines = ["# On a GPU", ""]
    if result["rehearsal"]:
        lines += ["**A rehearsal on the CPU: it shows that the parts work. Its seconds and memory (the machine's) are not those of a GPU.**", ""]
    lines += [f"Made by `python Testing/benchmarks/cuda.py`. {_where(result)}.", "", *_limits(parts)]
    lines += _peers("## The network alone, from the host's memory and back", ALONE, parts, "network")
    lines += _peers("## Files to files", FILES, parts, "studies")
    failed = [f"- {name}: {one['failed']}" for name, one in result["parts"].items() if "failed" in one]
    lines += ["## Not measured", "", *failed, ""] if failed else []
    disturbed = [name for name, one in parts.items() if one["others_share"] > MOST_OTHERS]
    lines += [f"Disturbed, for other processes had more than {MOST_OTHERS:.0%} of the cores: {', '.join(disturbed)}.", ""] if disturbed else []
    return "\n".join(lines)


def _where(result: dict) -> str:
    machine, model = result["machine"], result["model"]
    cards = "; ".join(f"{card['name']} with {card['memory_gb']} GB, driver {card['driver']}" for card in result["gpus"]) or "no GPU"
    versions = ", ".join(f"{name} {machine[name]}" for name in ("braintumorseg", "onnxruntime-gpu", "onnxruntime", "torch", "monai", "nnunetv2"))
    return (f"{cards}; {machine['processor']}, {machine['cores']} cores; {versions}; {model['name']} {model['version']} "
            f"(sha256 {model['sha256'][:8]}); {_cases(result['cases'])}")


def _cases(count: int) -> str:
    return f"{count} case{'s' * (count != 1)}"


def _limits(parts: dict) -> list[str]:
    rows = []
    if "parity" in parts:
        found = parts["parity"]
        rows.append(_limit(f"tumour voxels with the CPU's label, the worst of {_cases(len(found['cases']))} ({found['cases'][0]['gpu_in']} against "
                           f"{found['cases'][0]['cpu_in']})", f"{found['agreement']:.4%}", f"at least {LEAST_AGREEMENT:.1%}",
                           found["agreement"] >= LEAST_AGREEMENT))
    if "studies" in parts:
        found = parts["studies"]
        rows.append(_limit("a warm study, files to files, the slowest case", f"{found['seconds']:.2f} s", f"at most {MOST_SECONDS:g} s",
                           found["seconds"] <= MOST_SECONDS))
        if "gpu_gb" in found:
            rows.append(_limit(f"GPU memory of it at most ({found['gpu_gb_of']})", f"{found['gpu_gb']:.2f} GB", f"at most {MOST_GB:g} GB",
                               found["gpu_gb"] <= MOST_GB))
        else:
            rows.append(_limit("GPU memory of it at most", f"not known: {found['gpu_memory_unknown']}", f"at most {MOST_GB:g} GB", None))
    if "network" in parts:
        found = parts["network"]
        rows.append(_limit(f"the network alone, {' x '.join(map(str, found['voxels']))} voxels", f"{found['seconds'] * 1000:.0f} ms",
                           f"at most {MOST_NETWORK * 1000:.0f} ms", found["seconds"] <= MOST_NETWORK))
    return ["| | measured | limit | kept |", "|---|---|---|---|", *rows, ""] if rows else []


def _limit(what: str, measured: str, limit: str, kept: bool | None) -> str:
    return f"| {what} | {measured} | {limit} | {'not known' if kept is None else 'yes' if kept else '**no**'} |"


def _peers(title: str, names: dict[str, str], parts: dict, ours: str) -> list[str]:
    rows = []
    for name, label in names.items():
        if name not in parts:
            continue
        one = parts[name]
        times = f"{one['seconds'] / parts[ours]['seconds']:.2f} x" if ours in parts and name != ours else ""
        rows.append(f"| {label} | {one['seconds']:.3f} | {one['runs']} | {one['precision']} | {_gb(one, 'gpu_gb')} | {_gb(one, 'gpu_idle_gb')} | "
                    f"{times} |")
    head = "| | seconds | fastest of | computes in | GPU memory at most, GB | idle afterwards, GB | times ours |"
    return [title, "", head, f"|{'---|' * 7}", *rows, ""] if rows else []


def _gb(one: dict, what: str) -> str:
    return "" if one.get(what) is None else f"{one[what]:.2f}"
