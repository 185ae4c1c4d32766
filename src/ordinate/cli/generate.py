"""`ordinate generate RUN --prompt TEXT`: text from a trained language model."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Seed

__all__ = ["generate"]


def generate(
    run: Annotated[Path, typer.Argument(help="A run folder of ordinate train, of a language model.")],
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="What the text begins with; may be given several times.")
    ] = None,
    length: Annotated[int, typer.Option("--length", "-n", min=1, help="Characters (or bytes) to write.")] = 200,
    temperature: Annotated[float, typer.Option("--temperature", help="0 takes the likeliest; 1 draws as the model says.")] = 1.0,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw from the k likeliest alone.")] = None,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the likeliest that together have this probability.")] = 1.0,
    block: Annotated[int | None, typer.Option("--block-ngrams", help="Say no n characters in a row twice.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Write text with a trained language model, going on from prompts of any lengths."""
    import torch

    from ordinate.cli.console import print_json
    from ordinate.data.text import TextData
    from ordinate.experiment.setting import Setting
    from ordinate.generate.language import Sampling, block_ngrams
    from ordinate.generate.language import generate as go_on
    from ordinate.ground.errors import InputError
    from ordinate.models.sequence import Sequence
    from ordinate.tasks.training_run import load_run

    Setting(device=device)
    sampling = Sampling(temperature, top_k, top_p)
    finished = load_run(run)
    card, model = finished.card["input"], finished.model
    if not isinstance(model, Sequence) or card.get("kind") != "text":
        raise InputError(f"{run} holds a {type(model).__name__} of {card.get('kind')}, which does not write text")
    nothing = torch.zeros(0, dtype=torch.int64)
    text = TextData(str(run), nothing, nothing, card["vocabulary"], card["unit"])
    begun = prompts or ["\n" if card["unit"] == "bytes" or "\n" in card["vocabulary"] else card["vocabulary"][0]]
    ids = [text.encode(prompt).to(device) for prompt in begun]
    longest = max(map(len, ids)) + length
    if longest > model.max_length and model.arguments["position"] == "absolute":
        raise InputError(
            f"this model has {model.max_length} learned positions, and the longest prompt with {length} more needs {longest}: write less with --length,"
            " or train with --set position=sinusoidal (or rotary)"
        )
    written = go_on(
        model.to(device),
        ids,
        most=length,
        sampling=sampling,
        seed=seed,
        constraint=None if block is None else block_ngrams(block, ids),
        device=device,
    )
    texts = [text.decode(row.cpu()) for row in written.symbols]
    if as_json:
        print_json([{"prompt": prompt, "text": more} for prompt, more in zip(begun, texts, strict=True)])
        return
    for prompt, more in zip(begun, texts, strict=True):
        typer.echo(prompt + more)
