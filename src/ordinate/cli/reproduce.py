"""`ordinate reproduce SLUG`: check a paper's claims here."""

import shlex
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Resume, Scale, Seed, Seeds, Steps, make_setting, place

__all__ = ["reproduce"]


def reproduce(
    slug: Annotated[str, typer.Argument(help="A paper; see ordinate papers.")],
    claim: Annotated[list[str] | None, typer.Option("--claim", help="Only this claim; may be given several times.")] = None,
    scale: Scale = "smoke",
    seeds: Seeds = None,
    seed: Seed = 0,
    device: Device = "cpu",
    steps: Steps = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Re-run a paper's claims here: the claim, the paper's figure, ours, and the verdict. Status 1 if a claim fails."""
    from ordinate.cli.console import arm_table, finding_table, print_json, say, show, watching
    from ordinate.experiment.evidence import check_paper
    from ordinate.papers import get_paper
    from ordinate.report.figures import save_evidence_figures

    paper = get_paper(slug)
    setting = make_setting(scale, seeds, seed, device, steps)
    folder = place(f"reproduce/{slug}-{scale}", out, resume)
    try:
        with watching(quiet or as_json) as watch:
            evidence = check_paper(paper, setting, folder=folder, resume=resume, only=claim or (), watch=watch)
    except KeyboardInterrupt:
        again = ["ordinate", "reproduce", slug, "--scale", scale, "--out", str(folder), "--resume"]
        for option, value, default in (
            ("--seeds", seeds, None),
            ("--seed", seed, 0),
            ("--device", device, "cpu"),
            ("--steps", steps, None),
        ):
            again += [option, str(value)] if value != default else []
        for name in claim or ():
            again += ["--claim", name]
        say(f"interrupted; finished runs are kept. Go on with: {shlex.join(again)}")
        raise
    figures = save_evidence_figures(evidence, folder / "figures")
    if as_json:
        print_json(evidence.to_json())
    else:
        if not quiet:
            for table in evidence.tables.values():
                show(arm_table(table))
        show(finding_table(f"{paper.title} ({paper.venue}), {scale} scale, {evidence.seconds:.0f} s", evidence.findings))
        for finding in evidence.findings:
            if finding.verdict != "holds" and finding.note:
                show(f"{finding.claim}: {finding.note}")
        say(f"evidence and {len(figures)} figures: {folder}")
    if evidence.verdict == "fails":
        raise typer.Exit(1)
