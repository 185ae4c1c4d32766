"""`ordinate analyze circuit MODEL --positive P --negative N`: which heads of a model tell two sets of prompts apart by their codes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Seed, place

if TYPE_CHECKING:
    from torch import nn

    from ordinate.data.contrasts import Node

__all__ = ["circuit", "open_subject", "parse_heads", "read_prompts"]

Encode = Callable[[str], Sequence[int]]


def open_subject(folder: Path) -> "tuple[nn.Module, Encode | None]":
    """A model in evaluation mode, and its own way to read text, or None where it has none: from a folder of `transformers`, a run of `ordinate train`, or a model's folder of ours.

    Raises:
        InputError: no such folder, or one that cannot be read.
        MissingError: a folder of `transformers`, which is not installed.
    """
    from ordinate.data.text import TextData
    from ordinate.ground.errors import InputError, require
    from ordinate.models.base import FAMILY_FILE
    from ordinate.models.registry import load_model
    from ordinate.tasks.training_run import CARD, load_run

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if (folder / CARD).exists():
        run = load_run(folder)
        card = run.card.get("input", {})
        if card.get("kind") != "text":
            return run.model, None
        import torch

        empty = torch.zeros(0, dtype=torch.int64)
        text = TextData(str(folder), empty, empty, list(card["vocabulary"]), card["unit"])
        return run.model, lambda line: text.encode(line).tolist()
    if (folder / FAMILY_FILE).exists():
        return load_model(folder).eval(), None
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no model: it needs a config.json of transformers, or a {CARD} of ordinate train")
    transformers = require("transformers", "language")
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} cannot be read as a language model of transformers: {str(error).splitlines()[0]}") from None
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        return model, None
    return model, transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True).encode


def read_prompts(path: Path, encode: Encode | None) -> list[list[int]]:
    """A prompt a line: text where `encode` is given, or else token numbers with spaces or commas between them. Empty lines are passed over.

    Raises:
        InputError: no such file, no prompt in it, or a line that is not numbers.
    """
    from ordinate.ground.errors import InputError

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if encode is not None:
            found.append([int(token) for token in encode(line)])
            continue
        try:
            found.append([int(token) for token in line.replace(",", " ").split()])
        except ValueError:
            raise InputError(
                f"{path}, line {number}: this model has no tokenizer of its own, so that prompts are token numbers, not text"
            ) from None
    if not found:
        raise InputError(f"{path} has no prompt: give one a line")
    return found


def parse_heads(text: str) -> "list[Node]":
    """``"5.1 6.9"`` or ``"5.1,6.9"`` to layers and heads.

    Raises:
        InputError: something that is not two numbers with a dot between them.
    """
    from ordinate.ground.errors import InputError

    found = []
    for item in text.replace(",", " ").split():
        layer, dot, head = item.partition(".")
        if not dot or not layer.isdigit() or not head.isdigit():
            raise InputError(f"heads are given as layer.head, such as 5.1, not {item!r}")
        found.append((int(layer), int(head)))
    return found


def circuit(
    model: Annotated[Path, typer.Argument(help="A folder of transformers (GPT-2, Llama and their like) or a run of ordinate train.")],
    positive: Annotated[Path, typer.Option("--positive", help="Prompts that show the behaviour, one a line.")],
    negative: Annotated[Path, typer.Option("--negative", help="As many prompts that cannot show it and are alike otherwise.")],
    tokens: Annotated[bool, typer.Option("--tokens", help="Prompts are token numbers even where the model has a tokenizer.")] = False,
    truth: Annotated[str | None, typer.Option("--truth", help="Heads that are known, for the AUC: '5.1 6.9'.")] = None,
    pool: Annotated[str, typer.Option("--pool", help="Over positions: mean or last.")] = "mean",
    score: Annotated[str, typer.Option("--score", help="count, normalised, share or variation.")] = "count",
    features: Annotated[int, typer.Option("--features", help="Of an autoencoder.")] = 200,
    examples: Annotated[int, typer.Option("--examples", help="Prompts that an autoencoder is trained on.")] = 10,
    l1: Annotated[float, typer.Option("--l1", help="The weight of sparsity.")] = 0.02,
    steps: Annotated[int, typer.Option("--steps", help="Of an autoencoder's training.")] = 500,
    autoencoders: Annotated[int, typer.Option("--autoencoders", help="How many, each with a seed of its own.")] = 5,
    matched: Annotated[bool, typer.Option("--matched", help="Bring all heads' outputs to the same size first.")] = False,
    mlp: Annotated[bool, typer.Option("--mlp", help="MLPs are nodes too.")] = False,
    top: Annotated[int, typer.Option("--top", help="Heads to show.")] = 15,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank a model's attention heads by the codes that occur on positive prompts alone: a first guess at a circuit, in seconds."""
    from rich.table import Table

    from ordinate.analyze.circuit_codes import Autoencoding
    from ordinate.analyze.circuit_evaluation import evaluate_circuit
    from ordinate.analyze.circuits import find_circuit
    from ordinate.analyze.head_outputs import HeadedModel
    from ordinate.cli.console import print_json, say, show
    from ordinate.data.contrasts import Prompts
    from ordinate.experiment.setting import Setting
    from ordinate.ground.errors import InputError
    from ordinate.ground.files import write_json
    from ordinate.report.circuit import save_circuit_figure

    Setting(device=device)
    if top < 1:
        raise InputError(f"--top must be at least 1, not {top}")
    module, encode = open_subject(model)
    headed = HeadedModel(module.to(device), mlp=mlp)
    known = None if truth is None else headed.grid(parse_heads(truth))
    ours, theirs = (Prompts.of(read_prompts(path, None if tokens else encode)) for path in (positive, negative))
    result = find_circuit(
        headed,
        ours,
        theirs,
        how=Autoencoding(features=features, examples=examples, steps=steps, l1=l1),
        autoencoders=autoencoders,
        pool=pool,
        score=score,
        matched=matched,
        seed=seed,
        device=device,
    )
    document: dict[str, Any] = {
        "model": str(model),
        "prompts": len(ours),
        "layers": headed.shape[0],
        "heads": headed.heads,
        **result.to_json(),
    }
    grids = {"codes": result.scores, "edges": result.votes, "output norm": result.norms, "mean difference": result.differences}
    if known is not None:
        document["truth"] = known.tolist()
        document["AUC"] = {name: evaluate_circuit(grid.double(), known).auc for name, grid in grids.items()}
    folder = place(f"analyze/circuit-{model.resolve().name}", out, False)
    write_json(folder / "circuit.json", document)
    figures = save_circuit_figure(result, folder, title=model.resolve().name, truth=known)
    if as_json:
        print_json(document)
        return
    table = Table(
        title=f"{len(headed.layers)} layers of {headed.heads} heads, {len(ours)} prompts of each kind, {autoencoders} autoencoders",
        title_justify="left",
    )
    for column in ("head", "codes of positives alone", "votes of edges", "size of outputs", "difference of means"):
        table.add_column(column, justify="left" if column == "head" else "right")
    spread = dict(zip(result.labels, result.spread.flatten().tolist(), strict=True))
    others = {name: dict(zip(result.labels, grid.flatten().tolist(), strict=True)) for name, grid in grids.items()}
    for name, value in result.ranking()[:top]:
        cells = [f"{others[other][name]:.3g}" for other in ("edges", "output norm", "mean difference")]
        table.add_row(name, f"{value:.4g} ± {spread[name]:.2g}", *cells)
    show(table)
    if known is not None:
        show("AUC against the known heads: " + ", ".join(f"{name} {value:.3f}" for name, value in document["AUC"].items()))
    for remark in result.remarks:
        say(remark)
    if not quiet:
        say(f"numbers and {len(figures)} figures: {folder}")
